/** Token buckets by name, as many as a limit allows; the one unused for longest is forgotten. */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'

export class RatedNames {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #rate: number
  readonly #burst: number
  readonly #max: number
  /** Unused for longest first. */
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, rate: { readonly perSecond: number; readonly burst: number }, max: number) {
    this.#clock = clock
    this.#rate = rate.perSecond
    this.#burst = rate.burst
    this.#max = max
  }

  get size(): number {
    return this.#buckets.size
  }

  tryTake(name: string, n = 1): boolean {
    const bucket = this.#buckets.get(name) ?? new TokenBucket(this.#clock, this.#rate, this.#burst)
    this.#buckets.delete(name)
    this.#buckets.set(name, bucket)
    if (this.#buckets.size > this.#max) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket.tryTake(n)
  }
}
