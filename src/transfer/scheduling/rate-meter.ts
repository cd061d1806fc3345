/** Bytes per second over the last three seconds, in quarter-second steps. Fixed memory, no timer. */
const STEP_MS = 250
const STEPS = 12

export class RateMeter {
  readonly #steps = new Float64Array(STEPS)
  #step: number
  readonly #startMs: number

  constructor(nowMs: number) {
    this.#step = Math.floor(nowMs / STEP_MS)
    this.#startMs = nowMs
  }

  add(nowMs: number, bytes: number): void {
    this.#advance(nowMs)
    this.#steps[this.#step % STEPS]! += bytes
  }

  /** Bytes per second; early on over the time since the start. */
  rate(nowMs: number): number {
    this.#advance(nowMs)
    let sum = 0
    for (const s of this.#steps) sum += s
    const windowMs = Math.min((STEPS - 1) * STEP_MS + (nowMs % STEP_MS), Math.max(50, nowMs - this.#startMs))
    return (sum * 1000) / windowMs
  }

  #advance(nowMs: number): void {
    const step = Math.floor(nowMs / STEP_MS)
    if (step - this.#step >= STEPS) this.#steps.fill(0)
    else for (let s = this.#step + 1; s <= step; s++) this.#steps[s % STEPS] = 0
    this.#step = Math.max(this.#step, step)
  }
}
