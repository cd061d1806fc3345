/** How many handshakes may be begun: a token before any public-key operation, from the link's own bucket and from everybody's (threats HS9). */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { HANDSHAKE_BURST, HANDSHAKES_PER_MINUTE, HANDSHAKES_PER_SECOND, MAX_RATED_LINKS } from './limits.ts'

export class HandshakeGate {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #all: TokenBucket
  /** The one that was used last is the last. */
  readonly #byLink = new Map<string, TokenBucket>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
    this.#all = this.#bucket(HANDSHAKES_PER_SECOND, HANDSHAKES_PER_SECOND)
  }

  /** @param link what stands for the other end before anybody is known: an address or a PeerId @returns whether it may go on */
  admit(link: string): boolean {
    const bucket = this.#byLink.get(link) ?? this.#bucket(HANDSHAKES_PER_MINUTE / 60, HANDSHAKE_BURST)
    this.#byLink.delete(link)
    this.#byLink.set(link, bucket)
    if (this.#byLink.size > MAX_RATED_LINKS) this.#byLink.delete(this.#byLink.keys().next().value!)
    return bucket.tryTake() && this.#all.tryTake()
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
