/**
 * What protects others and us from forged and too many questions (threats BT8): tokens that prove an address, a memory of addresses
 * that have answered us, and rates for each address. Pure.
 */
import { hmacSha256, randomBytes } from '#crypto'
import { equalBytes, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'
import { MAX_PROVEN_ADDRESSES, MAX_RATED_ADDRESSES, PROVEN_MS, TOKEN_MS } from './limits.ts'

const TOKEN_BYTES = 8
type Monotonic = Pick<Clock, 'monotonic'>

/** Tokens for announce_peer and put: a MAC of the address under a secret that changes every five minutes. */
export class Tokens {
  readonly #clock: Monotonic
  #secrets: readonly [now: Uint8Array, before: Uint8Array] = [randomBytes(32), randomBytes(32)]
  #sinceMs: number

  constructor(clock: Monotonic) {
    this.#clock = clock
    this.#sinceMs = clock.monotonic()
  }

  for(host: string): Uint8Array {
    this.#rotate()
    return make(this.#secrets[0], host)
  }

  isFor(host: string, token: Uint8Array): boolean {
    this.#rotate()
    return this.#secrets.some(secret => equalBytes(make(secret, host), token))
  }

  #rotate(): void {
    const periods = Math.floor((this.#clock.monotonic() - this.#sinceMs) / TOKEN_MS)
    if (periods === 0) return
    this.#secrets = [randomBytes(32), periods === 1 ? this.#secrets[0] : randomBytes(32)]
    this.#sinceMs += periods * TOKEN_MS
  }
}

const make = (secret: Uint8Array, host: string): Uint8Array => hmacSha256(secret, utf8(host)).subarray(0, TOKEN_BYTES)

/** Addresses that have answered us lately, so that what we send there is not sent to a victim, and how they see us. */
export class ProvenAddresses {
  readonly #clock: Monotonic
  readonly #known = new Map<string, { readonly untilMs: number; readonly seenAs: PeerAddress | undefined }>()

  constructor(clock: Monotonic) {
    this.#clock = clock
  }

  prove(host: string, seenAs?: PeerAddress): void {
    const before = this.#known.get(host)
    this.#known.delete(host)
    this.#known.set(host, { untilMs: this.#clock.monotonic() + PROVEN_MS, seenAs: seenAs ?? before?.seenAs })
    if (this.#known.size > MAX_PROVEN_ADDRESSES) this.#known.delete(this.#known.keys().next().value!)
  }
  has(host: string): boolean {
    return (this.#known.get(host)?.untilMs ?? 0) > this.#clock.monotonic()
  }
  seenAs(host: string): PeerAddress | undefined {
    return this.has(host) ? this.#known.get(host)?.seenAs : undefined
  }
}

/** A token bucket for each address (an IPv6 /64 counts as one), the least recently used forgotten first. */
export class RateByAddress {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** Whether this address may cost us once more. */
  tryTake(host: string): boolean {
    const key = rateKeyOf(host)
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, this.#perSecond, this.#burst)
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > MAX_RATED_ADDRESSES) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket.tryTake()
  }
}
