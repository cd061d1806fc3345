/**
 * How many bytes to have in flight on one connection: twice what fits the path (best recent rate × shortest answer time), and at least what
 * comes in BUSY_MS. Enough to fill a long path, and little on a slow one, so that chunks can still be given to others.
 */
import { FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES, MIN_WINDOW_BYTES } from './limits.ts'

const PERIOD_MS = 50
/** A process that has to wait for a processor answers late: a window of the path alone would run dry on a busy machine. */
const BUSY_MS = 25

export class RequestWindow {
  bytes: number = FIRST_WINDOW_BYTES
  #sinceMs: number
  #arrived = 0
  #rate = 0
  #answerMs = Number.POSITIVE_INFINITY

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  /** `bytes` arrived `answerMs` after they were asked for. */
  add(nowMs: number, bytes: number, answerMs: number): void {
    this.#arrived += bytes
    if (answerMs < this.#answerMs) this.#answerMs = answerMs
    const ms = nowMs - this.#sinceMs
    if (ms < PERIOD_MS) return
    const rate = this.#arrived / ms
    this.#rate = Math.max(rate, this.#rate * 0.9)
    this.bytes = Math.min(MAX_WINDOW_BYTES, Math.max(MIN_WINDOW_BYTES, Math.max(2 * this.#answerMs, BUSY_MS) * this.#rate))
    this.#answerMs *= 1.02 // a path may become longer
    this.#arrived = 0
    this.#sinceMs = nowMs
  }
}
