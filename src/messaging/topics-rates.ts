/** A token bucket for each of many keys. Those that were not seen for longest are forgotten, and begin anew. */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'

export class KeyedRates {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #perSecond: number
  readonly #burst: number
  readonly #max: number
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, perSecond: number, burst: number, max: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
    this.#max = max
  }

  /** Takes one token of the key, if there is one. */
  tryTake(key: string): boolean {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, this.#perSecond, this.#burst)
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > this.#max) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket.tryTake()
  }
}
