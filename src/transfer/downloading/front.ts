/** How far a download is whole from the front: what the whole-file hash, decryption and readers that follow may use. Pure. */
import type { Grid } from '../grid.ts'

export class Front {
  readonly #grid: Grid
  /** 1 for each chunk that is verified and in the part file. */
  readonly #done: Uint8Array
  #chunks = 0

  constructor(grid: Grid, done: Uint8Array) {
    this.#grid = grid
    this.#done = done
  }

  /** Bytes from the front that are verified and in the part file. */
  get bytes(): number {
    return Math.min(this.#grid.size, this.#chunks * this.#grid.chunkBytes)
  }

  /** Looks again. @returns whether it has moved */
  advance(): boolean {
    const before = this.#chunks
    while (this.#chunks < this.#done.length && this.#done[this.#chunks] === 1) this.#chunks++
    return this.#chunks > before
  }
}

/** Those who wait for the front to move. */
export class Followers {
  readonly #waiting = new Set<() => void>()

  /** Resolves at the next `wake`, or when `signal` aborts. */
  async next(signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wake = (): void => resolve()
    this.#waiting.add(wake)
    signal?.addEventListener('abort', wake, { once: true })
    await promise
    this.#waiting.delete(wake)
    signal?.removeEventListener('abort', wake)
  }

  wake(): void {
    for (const wake of this.#waiting) wake()
  }
}
