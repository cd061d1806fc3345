/** One timer for whatever is due next. Nothing runs while nothing is due. */
import type { Clock } from '../base/clock.ts'

export class Alarm implements Disposable {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #ring: () => void
  #dueAt = Number.POSITIVE_INFINITY
  #timer: AbortController | undefined
  #closed = false

  /** @param ring must not throw; it asks for the next alarm itself */
  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, ring: () => void) {
    this.#clock = clock
    this.#ring = ring
  }

  /** Rings at `due` (monotonic ms) at the latest. Later times than one that is set already change nothing. */
  at(due: number): void {
    if (this.#closed || due >= this.#dueAt) return
    this.#dueAt = due
    this.#timer?.abort()
    const timer = new AbortController()
    this.#timer = timer
    // A timer of the platform counts 31 bits of milliseconds.
    const ms = Math.min(Math.max(0, due - this.#clock.monotonic()), 2 ** 30)
    this.#clock.sleep(ms, timer.signal).then(
      () => {
        if (this.#timer !== timer) return
        this.#timer = undefined
        this.#dueAt = Number.POSITIVE_INFINITY
        this.#ring()
      },
      () => {}
    )
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#timer?.abort()
    this.#timer = undefined
  }
}
