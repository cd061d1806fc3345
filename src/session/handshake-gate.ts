/**
 * How many handshakes may be begun: a token before any public-key operation, from the link's own bucket and from everybody's (threats HS9).
 * A part of everybody's is for networks that took little of it, so that one with many addresses does not take all.
 */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import {
  HANDSHAKE_BURST,
  HANDSHAKES_PER_MINUTE,
  HANDSHAKES_PER_SECOND,
  MAX_RATED_LINKS,
  RESERVED_BURST_PER_NETWORK,
  RESERVED_HANDSHAKES_PER_SECOND
} from './limits.ts'

export class HandshakeGate {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #all: TokenBucket
  readonly #reserve: TokenBucket
  /** The one that was used last is the last. */
  readonly #byLink = new Map<string, TokenBucket>()
  readonly #byNetwork = new Map<string, TokenBucket>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
    const free = HANDSHAKES_PER_SECOND - RESERVED_HANDSHAKES_PER_SECOND
    this.#all = this.#bucket(free, free)
    this.#reserve = this.#bucket(RESERVED_HANDSHAKES_PER_SECOND, RESERVED_HANDSHAKES_PER_SECOND)
  }

  /**
   * @param link what stands for the other end before anybody is known: an address or a PeerId
   * @param network where that is
   * @returns whether it may go on
   */
  admit(link: string, network: string): boolean {
    const ofLink = this.#of(this.#byLink, link, HANDSHAKES_PER_MINUTE / 60, HANDSHAKE_BURST)
    const ofNetwork = this.#of(this.#byNetwork, network, 1, RESERVED_BURST_PER_NETWORK)
    return ofLink.tryTake() && (this.#all.tryTake() || (ofNetwork.tryTake() && this.#reserve.tryTake()))
  }

  #of(buckets: Map<string, TokenBucket>, name: string, perSecond: number, burst: number): TokenBucket {
    const bucket = buckets.get(name) ?? this.#bucket(perSecond, burst)
    buckets.delete(name)
    buckets.set(name, bucket)
    if (buckets.size > MAX_RATED_LINKS) buckets.delete(buckets.keys().next().value!)
    return bucket
  }

  /** Nobody waits at these buckets. */
  #bucket(perSecond: number, burst: number): TokenBucket {
    return new TokenBucket(
      { monotonic: () => this.#clock.monotonic(), sleep: () => Promise.reject(new Error('not waited for')) },
      perSecond,
      burst
    )
  }
}
