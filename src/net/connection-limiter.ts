/**
 * Limits inbound connections by where they come from, before any handshake costs a public-key operation (threats CO16, CO17, CO18).
 * An IPv6 customer has a whole /64, so that is what counts as one address. This machine itself has its own, larger number.
 */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { networkOf, rateKeyOf, scopeOfIp } from './address-scope.ts'
import {
  INBOUND_PER_SECOND,
  MAX_CONNECTIONS_LOOPBACK,
  MAX_CONNECTIONS_PER_IP,
  MAX_CONNECTIONS_PER_NETWORK,
  MAX_RATED_ADDRESSES
} from './limits.ts'

export interface ConnectionLimits {
  /** Inbound connections from one address at a time. */
  readonly perIp?: number
  /** The same for loopback addresses. */
  readonly loopback?: number
  /** Inbound connections from one address in a second; loopback is exempt. */
  readonly perSecond?: number
}
export const connectionLimitDefaults: Required<ConnectionLimits> = {
  perIp: MAX_CONNECTIONS_PER_IP,
  loopback: MAX_CONNECTIONS_LOOPBACK,
  perSecond: INBOUND_PER_SECOND
}

export class ConnectionLimiter {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #limits: Required<ConnectionLimits>
  readonly #open = new Map<string, number>()
  /** Oldest first. */
  readonly #rates = new Map<string, TokenBucket>()

  constructor(deps: { readonly clock: Pick<Clock, 'monotonic' | 'sleep'> }, limits: ConnectionLimits = {}) {
    this.#clock = deps.clock
    this.#limits = { ...connectionLimitDefaults, ...limits }
  }

  /** Addresses and networks with open connections; for tests of leaks. */
  get size(): number {
    return this.#open.size
  }

  /** Takes a place for a connection from `ip`. @returns what gives it back, once; undefined when there is none: refuse the connection */
  admit(ip: string): (() => void) | undefined {
    const key = rateKeyOf(ip)
    const isLoopback = scopeOfIp(ip) === 'loopback'
    if (!isLoopback && !this.#rate(key).tryTake()) return undefined
    // Local networks are not somebody else's.
    const network = scopeOfIp(ip) === 'public' ? `network ${networkOf(ip)}` : undefined
    const most = isLoopback ? this.#limits.loopback : this.#limits.perIp
    if (this.#held(key) >= most || (network !== undefined && this.#held(network) >= MAX_CONNECTIONS_PER_NETWORK)) return undefined
    const held = network === undefined ? [key] : [key, network]
    for (const name of held) this.#open.set(name, this.#held(name) + 1)
    return () => {
      for (const name of held.splice(0)) {
        const left = this.#held(name) - 1
        if (left === 0) this.#open.delete(name)
        else this.#open.set(name, left)
      }
    }
  }

  #held(name: string): number {
    return this.#open.get(name) ?? 0
  }

  #rate(key: string): TokenBucket {
    const bucket = this.#rates.get(key) ?? new TokenBucket(this.#clock, this.#limits.perSecond)
    this.#rates.delete(key)
    this.#rates.set(key, bucket)
    if (this.#rates.size > MAX_RATED_ADDRESSES) this.#rates.delete(this.#rates.keys().next().value!)
    return bucket
  }
}
