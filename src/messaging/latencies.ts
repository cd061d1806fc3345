/** The last so many durations and their percentiles. */
import { LATENCY_SAMPLES } from './limits.ts'

export class Latencies {
  readonly #ms = new Float64Array(LATENCY_SAMPLES)
  #count = 0

  add(ms: number): void {
    this.#ms[this.#count++ % LATENCY_SAMPLES] = ms
  }
  /** @returns undefined when nothing was measured yet */
  percentile(p: number): number | undefined {
    const n = Math.min(this.#count, LATENCY_SAMPLES)
    if (n === 0) return undefined
    return this.#ms.slice(0, n).sort()[Math.min(n - 1, Math.floor(p * n))]
  }
}
