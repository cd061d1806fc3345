/** The last so many durations and their percentiles. */
import { LATENCY_SAMPLES } from './limits.ts'

const FIRST_SAMPLES = 16

export class Latencies {
  /** Grows: most peers are idle. */
  #ms = new Float64Array(FIRST_SAMPLES)
  #count = 0

  add(ms: number): void {
    if (this.#count === this.#ms.length && this.#count < LATENCY_SAMPLES) {
      const more = new Float64Array(Math.min(LATENCY_SAMPLES, 4 * this.#count))
      more.set(this.#ms)
      this.#ms = more
    }
    this.#ms[this.#count++ % LATENCY_SAMPLES] = ms
  }
  /** @returns undefined when nothing was measured yet */
  percentile(p: number): number | undefined {
    const n = Math.min(this.#count, LATENCY_SAMPLES)
    if (n === 0) return undefined
    return this.#ms.slice(0, n).sort()[Math.min(n - 1, Math.floor(p * n))]
  }
}
