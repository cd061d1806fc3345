/** How often we are asked, and how often we ask: aMule ignores, and in the end bans, whoever asks more than it likes in a minute. */
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
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

/** A token bucket for each node, the least recently used forgotten first. On this machine several nodes share an address, so the port counts there. */
export class Rates {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** @param node `addressKey` */
  of(node: string): TokenBucket {
    const bucket = this.#buckets.get(node) ?? new TokenBucket(this.#clock, this.#perSecond, this.#burst)
    this.#buckets.delete(node)
    this.#buckets.set(node, bucket)
    if (this.#buckets.size > MAX_PACED) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}

/** Questions of others: how many of a kind one address may ask. */
export class AskedRates {
  readonly #rates: ReadonlyMap<string, Rates>

  constructor(clock: Clock) {
    this.#rates = new Map(Object.entries(QUESTIONS).map(([kind, n]) => [kind, new Rates(clock, n / MINUTE_S, n)]))
  }

  tryTake(kind: QuestionKind, address: string): boolean {
    return this.#rates.get(kind)!.of(address).tryTake()
  }
}

/** What a find is for: looking has a share of the rate that publishing leaves alone. */
export type FindPurpose = 'looking' | 'publishing'

/** Our questions: a little fewer than the other side answers, so that none is lost to a clock that runs otherwise. */
export class AskingPace {
  readonly #rates: ReadonlyMap<string, Rates>

  constructor(clock: Clock) {
    const others = Object.entries(QUESTIONS).map(([kind, n]) => [kind, n > 2 ? n - 1 : n] as const)
    const finds = [
      ['find looking', SEARCH_FINDS_PER_MINUTE],
      ['find publishing', PUBLISH_FINDS_PER_MINUTE]
    ] as const
    this.#rates = new Map([...others, ...finds].map(([key, n]) => [key, new Rates(clock, (0.9 * n) / MINUTE_S, n)]))
  }

  /** Waits until this node may be asked; at once for the first few. */
  take(kind: QuestionKind, address: string, purpose: FindPurpose, signal: AbortSignal): Promise<void> {
    return this.#rates
      .get(kind === 'find' ? `find ${purpose}` : kind)!
      .of(address)
      .take(1, signal)
  }
}
