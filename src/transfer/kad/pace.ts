/** How often we are asked, and how often we ask: aMule ignores, and in the end bans, whoever asks more than it likes in a minute. */
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { RateByAddress } from '../mainline/guards.ts'
import {
  CHECKS_PER_MINUTE,
  FINDS_PER_MINUTE,
  FIRST_PER_MINUTE,
  HELLOS_PER_MINUTE,
  MAX_PACED,
  PINGS_PER_MINUTE,
  PUBLICATIONS_PER_MINUTE,
  PUBLISH_FINDS_PER_MINUTE,
  SEARCH_FINDS_PER_MINUTE,
  SEARCHES_PER_MINUTE
} from './limits.ts'

const MINUTE_S = 60
export type QuestionKind = 'first' | 'hello' | 'find' | 'search' | 'publish' | 'check' | 'ping'
export const QUESTIONS: Readonly<Record<QuestionKind, number>> = {
  first: FIRST_PER_MINUTE,
  hello: HELLOS_PER_MINUTE,
  find: FINDS_PER_MINUTE,
  search: SEARCHES_PER_MINUTE,
  publish: PUBLICATIONS_PER_MINUTE,
  check: CHECKS_PER_MINUTE,
  ping: PINGS_PER_MINUTE
}

/** Questions of others: how many of a kind one address may ask. */
export class AskedRates {
  readonly #rates: ReadonlyMap<string, RateByAddress>

  constructor(clock: Clock) {
    this.#rates = new Map(Object.entries(QUESTIONS).map(([kind, n]) => [kind, new RateByAddress(clock, n / MINUTE_S, n)]))
  }

  tryTake(kind: QuestionKind, address: string): boolean {
    return this.#rates.get(kind)!.tryTake(address)
  }
}

/** What a find is for: looking has a share of the rate that publishing leaves alone. */
export type FindPurpose = 'looking' | 'publishing'

/** Our questions: a little fewer than the other side answers, so that none is lost to a clock that runs otherwise. */
export class AskingPace {
  readonly #clock: Clock
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Waits until this address may be asked; at once for the first few. */
  take(kind: QuestionKind, address: string, purpose: FindPurpose, signal: AbortSignal): Promise<void> {
    const isFind = kind === 'find'
    const key = `${address} ${kind} ${isFind ? purpose : ''}`
    const finds = purpose === 'looking' ? SEARCH_FINDS_PER_MINUTE : PUBLISH_FINDS_PER_MINUTE
    const burst = isFind ? finds : QUESTIONS[kind] > 2 ? QUESTIONS[kind] - 1 : QUESTIONS[kind]
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, (0.9 * burst) / MINUTE_S, burst)
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > MAX_PACED) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket.take(1, signal)
  }
}
