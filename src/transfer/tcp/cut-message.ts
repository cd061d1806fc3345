/**
 * The beginning of a message that a read cut off, kept until enough of it came to look again. How long a message may be is for the parser to
 * say: it refuses before it asks for more. Pure.
 */
export class CutMessage {
  readonly #parse: (start: Uint8Array) => number
  #bytes: Uint8Array
  #length = 0
  #need = 0

  /**
   * @param roomBytes what most messages fit into
   * @param parse reads one message from its start: bytes used, or 0 after `needs`
   */
  constructor(roomBytes: number, parse: (start: Uint8Array) => number) {
    this.#bytes = new Uint8Array(roomBytes)
    this.#parse = parse
  }

  /** Bytes that wait for more; 0 between messages. */
  get length(): number {
    return this.#length
  }

  /** The parser says how much of the message, from its start, it has to see. @returns 0: nothing was used */
  needs(bytes: number): 0 {
    this.#need = bytes
    return 0
  }

  /** Keeps what the parser did not use, which is less than it needs. */
  keep(start: Uint8Array): void {
    const old = this.#bytes
    if (this.#need > old.length) this.#bytes = new Uint8Array(this.#need)
    if (this.#bytes !== old || start.buffer !== old.buffer) this.#bytes.set(start)
    this.#length = start.length
  }

  /** Adds what came next; the parser looks again when it has what it needs. @returns how many of `bytes`, from `at` on, were taken */
  join(bytes: Uint8Array, at: number): number {
    const n = Math.min(this.#need - this.#length, bytes.length - at)
    this.#bytes.set(bytes.subarray(at, at + n), this.#length)
    this.#length += n
    if (this.#length === this.#need) {
      const whole = this.#bytes.subarray(0, this.#length)
      if (this.#parse(whole) > 0) this.#length = 0
      else this.keep(whole)
    }
    return n
  }
}
