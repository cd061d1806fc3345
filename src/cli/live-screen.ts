/** Draws lines in place on a terminal, at most ten times a second, and cleans up after itself. */
import type { Clock } from '../base/clock.ts'

export interface Terminal {
  write(text: string): unknown
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

const FRAME_MS = 100

export class LiveScreen implements Disposable {
  readonly #terminal: Terminal
  readonly #clock: Pick<Clock, 'monotonic'>
  #drawn = 0
  #at = Number.NEGATIVE_INFINITY
  #open = true

  constructor(terminal: Terminal, clock: Pick<Clock, 'monotonic'>) {
    this.#terminal = terminal
    this.#clock = clock
  }

  get columns(): number {
    return this.#terminal.columns || 80 // a terminal that does not know says 0
  }

  /** Replaces what was drawn. A frame that comes too soon after the last is left out, unless it is `last`. */
  draw(lines: () => readonly string[], last = false): void {
    const now = this.#clock.monotonic()
    if (!this.#open || (!last && now - this.#at < FRAME_MS)) return
    const hide = this.#drawn === 0 ? '\u001b[?25l' : ''
    this.#at = now
    // Lines that scroll off the top could not be drawn over.
    const frame = lines().slice(0, Math.max(1, (this.#terminal.rows || 24) - 1))
    // Each line is cleared to its end, and what an earlier, taller frame left below is cleared too.
    this.#terminal.write(`${hide}${up(this.#drawn)}${frame.map(l => `${l}\u001b[K\n`).join('')}\u001b[J`)
    this.#drawn = frame.length
  }

  /** Takes the picture away, for other text to be printed. */
  clear(): void {
    if (this.#drawn > 0) this.#terminal.write(`${up(this.#drawn)}\u001b[J`)
    if (this.#drawn > 0) this.#terminal.write('\u001b[?25h')
    this.#drawn = 0
    this.#at = Number.NEGATIVE_INFINITY
  }

  /** Leaves the last picture where it is and shows the cursor again. */
  [Symbol.dispose](): void {
    if (this.#open && this.#drawn > 0) this.#terminal.write('\u001b[?25h')
    this.#open = false
  }
}

const up = (lines: number): string => (lines > 0 ? `\u001b[${lines}A\r` : '')
