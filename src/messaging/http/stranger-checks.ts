/**
 * How many signatures of whoever has no session are checked: a few for each address, and not more than a part of a processor for all
 * together, whatever addresses they come from (DESIGN §2: no public-key operation without a token from a per-address bucket).
 */
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { ALL_STRANGER_CHECKS_PER_SECOND, MAX_RATED_ADDRESSES, STRANGER_CHECKS_BURST, STRANGER_CHECKS_PER_SECOND } from '../limits.ts'
import { RatedNames } from '../rated.ts'

export class StrangerChecks {
  readonly #each: RatedNames
  readonly #all: TokenBucket

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>) {
    this.#each = new RatedNames(clock, { perSecond: STRANGER_CHECKS_PER_SECOND, burst: STRANGER_CHECKS_BURST }, MAX_RATED_ADDRESSES)
    this.#all = new TokenBucket(clock, ALL_STRANGER_CHECKS_PER_SECOND)
  }

  /** @param addressKey rateKeyOf its address (net/address-scope.ts) */
  allow(addressKey: string): boolean {
    return this.#each.tryTake(addressKey) && this.#all.tryTake()
  }
}
