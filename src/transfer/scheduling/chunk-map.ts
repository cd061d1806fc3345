/**
 * What is known of every chunk of a download: missing → assigned (to one source; raced at the end by others) → verifying → done. A
 * byte for each, so that 2²² chunks cost 4 MiB and a look at all of them a millisecond.
 */
export const chunkState = { missing: 0, assigned: 1, verifying: 2, done: 3 } as const

const { missing, assigned, verifying, done } = chunkState

export class ChunkMap {
  readonly #state: Uint8Array
  /** Chunks that are not done. */
  left = 0
  #lowest = 0

  /** @param have 1 for chunks that are there already; copied */
  constructor(have: Uint8Array) {
    this.#state = Uint8Array.from(have, d => (d === 1 ? done : missing))
    for (const s of this.#state) if (s !== done) this.left++
  }

  get count(): number {
    return this.#state.length
  }
  /** The lowest chunk that nobody has brought yet; `count` when there is none. */
  get lowest(): number {
    while (this.#lowest < this.#state.length && this.#state[this.#lowest]! >= verifying) this.#lowest++
    return this.#lowest
  }
  isMissing(chunk: number): boolean {
    return this.#state[chunk] === missing
  }
  isAssigned(chunk: number): boolean {
    return this.#state[chunk] === assigned
  }
  /** Missing or assigned: bytes of it are of use. */
  isWanted(chunk: number): boolean {
    return this.#state[chunk]! < verifying
  }

  assign(chunk: number): void {
    this.#state[chunk] = assigned
  }
  verify(chunk: number): void {
    this.#state[chunk] = verifying
  }
  finish(chunk: number): void {
    this.#state[chunk] = done
    this.left--
  }
  /** It was wrong, or could not be written: somebody may still hold it. */
  reopen(chunk: number): void {
    this.#state[chunk] = assigned
    if (chunk < this.#lowest) this.#lowest = chunk
  }
  /** Nobody works on it any more. */
  putBack(chunk: number): void {
    this.#state[chunk] = missing
    if (chunk < this.#lowest) this.#lowest = chunk
  }
}
