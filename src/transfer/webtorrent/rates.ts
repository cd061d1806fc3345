/** Rates of many callers, of whom only so many are remembered: the one unseen for longest is forgotten. */
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'

export interface RatesOptions {
  readonly perSecond: number
  readonly burst: number
  readonly maxCallers: number
}

export class Rates {
  readonly #clock: Clock
  readonly #options: RatesOptions
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Clock, options: RatesOptions) {
    this.#clock = clock
    this.#options = options
  }

  /** Whether this caller may do one more thing now. */
  tryTake(caller: string): boolean {
    const { perSecond, burst, maxCallers } = this.#options
    const bucket = this.#buckets.get(caller) ?? new TokenBucket(this.#clock, perSecond, burst)
    this.#buckets.delete(caller)
    this.#buckets.set(caller, bucket)
    if (this.#buckets.size > maxCallers) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket.tryTake()
  }
}
