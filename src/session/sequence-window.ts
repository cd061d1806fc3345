/**
 * The receiving end of a session's sequence: every number once, in order. What comes early waits for what is missing, within bounds (threats
 * SM24). Nothing changes before `accept`, which the caller calls when the message has proved to be authentic (threats RT3).
 */
import { KithError } from '../base/errors.ts'
import { MAX_REORDERED_BYTES, MAX_REORDERED_MESSAGES, MAX_SEQUENCE_GAP } from './limits.ts'

interface Waiting<T> {
  readonly item: T
  readonly bytes: number
}

export class SequenceWindow<T> {
  #next = 1
  #bytes = 0
  readonly #waiting = new Map<number, Waiting<T>>()

  /** The lowest number that has not come. */
  get next(): number {
    return this.#next
  }
  /** Messages that came early. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether a message of this number was accepted already. */
  has(sequenceNum: number): boolean {
    return sequenceNum < this.#next || this.#waiting.has(sequenceNum)
  }

  /**
   * Whether a message may come now; changes nothing.
   * @throws REPLAY_DETECTED when it was there, SEQUENCE_ERROR when it is too far ahead or does not fit
   */
  check(sequenceNum: number, bytes: number): void {
    if (this.has(sequenceNum)) throw new KithError('REPLAY_DETECTED', 'this message was received before', { sequenceNum })
    if (sequenceNum - this.#next > MAX_SEQUENCE_GAP) this.#refuse('the message is too far ahead', sequenceNum)
    if (sequenceNum === this.#next) return
    if (this.#waiting.size >= MAX_REORDERED_MESSAGES || this.#bytes + bytes > MAX_REORDERED_BYTES)
      this.#refuse('too much waits for a missing message', sequenceNum)
  }

  /** Takes a message. @returns what can be delivered now, in order @throws as `check` */
  accept(sequenceNum: number, item: T, bytes: number): T[] {
    this.check(sequenceNum, bytes)
    if (sequenceNum === this.#next) {
      this.#next++
      return this.#waiting.size === 0 ? [item] : [item, ...this.#release()]
    }
    this.#waiting.set(sequenceNum, { item, bytes })
    this.#bytes += bytes
    return []
  }

  /** Gives up the first missing messages: @returns what waited for them alone. If they come after all, they are refused as replayed. */
  skipGap(): T[] {
    if (this.#waiting.size === 0) return []
    this.#next = Math.min(...this.#waiting.keys())
    return this.#release()
  }

  /** [first, last] of what is missing in front of what waits, lowest first. */
  missing(): [number, number][] {
    const gaps: [number, number][] = []
    let next = this.#next
    for (const n of [...this.#waiting.keys()].sort((a, b) => a - b)) {
      if (n > next) gaps.push([next, n - 1])
      next = n + 1
    }
    return gaps
  }

  #release(): T[] {
    const out: T[] = []
    for (let w = this.#waiting.get(this.#next); w; w = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next++)
      this.#bytes -= w.bytes
      out.push(w.item)
    }
    return out
  }

  #refuse(why: string, sequenceNum: number): never {
    throw new KithError('SEQUENCE_ERROR', why, { sequenceNum, expected: this.#next })
  }
}
