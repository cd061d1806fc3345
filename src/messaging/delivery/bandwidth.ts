/**
 * How many bytes may be on their way to a peer without being acknowledged: it follows what the peer really takes. While acknowledgements
 * come about as fast as the fastest did, the window grows by what was acknowledged; when they take much longer, something fills up, and it
 * shrinks to what is delivered in the usual time. Loss is TCP's: here it is a link that ends, after which a new window begins.
 */
import { FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES, MIN_WINDOW_BYTES } from '../limits.ts'

/** Waiting in the peer's own queue that is taken for granted: a commit, a busy moment. */
const USUAL_MS = 50
const SLOW_FACTOR = 3
const DECREASE = 0.7

export class SendWindow {
  #bytes = FIRST_WINDOW_BYTES
  #unacked = 0
  #fastestMs = Number.POSITIVE_INFINITY
  #reducedAt = Number.NEGATIVE_INFINITY
  /** Bytes acknowledged in the current measuring time, and the rate of the one before in bytes a second. */
  #counted = 0
  #countedSince: number
  #rate = 0

  constructor(now: number) {
    this.#countedSince = now
  }

  get bytes(): number {
    return this.#bytes
  }
  get unacked(): number {
    return this.#unacked
  }
  /** Bytes a second that were acknowledged lately. */
  get rate(): number {
    return this.#rate
  }
  /** Whether `n` more bytes may go out; one message may always. */
  allows(n: number): boolean {
    return this.#unacked === 0 || this.#unacked + n <= this.#bytes
  }
  sent(n: number): void {
    this.#unacked += n
  }

  /** `n` bytes that were sent at `sentAt` were acknowledged at `now` (monotonic ms). */
  acked(n: number, sentAt: number, now: number): void {
    const wasFull = this.#unacked + n > this.#bytes / 2
    this.#unacked = Math.max(0, this.#unacked - n)
    this.#measure(n, now)
    const tookMs = now - sentAt
    this.#fastestMs = Math.min(this.#fastestMs, tookMs)
    if (tookMs > SLOW_FACTOR * this.#fastestMs + USUAL_MS) this.#shrink(now, tookMs)
    else if (wasFull) this.#bytes = Math.min(MAX_WINDOW_BYTES, this.#bytes + n)
  }

  /** Once for each round: what was sent before it could not know. */
  #shrink(now: number, tookMs: number): void {
    if (now - this.#reducedAt < tookMs) return
    this.#reducedAt = now
    this.#bytes = Math.max(MIN_WINDOW_BYTES, this.#bytes * DECREASE)
  }

  #measure(n: number, now: number): void {
    this.#counted += n
    const ms = now - this.#countedSince
    if (ms < 1000) return
    this.#rate = (this.#counted * 1000) / ms
    this.#counted = 0
    this.#countedSince = now
  }
}
