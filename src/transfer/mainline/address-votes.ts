/**
 * What our public address is, by what other nodes say they see (BEP 42 `ip`). Each address has one vote, and several must agree before it
 * is believed: a single node could otherwise choose our id. Pure.
 */
import { classOfAddress } from '../address-filter.ts'
import { ADDRESS_VOTES, MAX_VOTERS } from './limits.ts'

export class AddressVotes {
  /** Host that was seen, by voter; the oldest vote goes first. */
  readonly #votes = new Map<string, string>()
  #address: string | undefined

  /** Our public address; undefined until enough nodes agree. */
  get address(): string | undefined {
    return this.#address
  }

  /** @returns true when the address has changed by this vote */
  vote(voter: string, host: string): boolean {
    if (classOfAddress(host) !== 'public' || classOfAddress(voter) !== 'public') return false
    this.#votes.delete(voter)
    this.#votes.set(voter, host)
    if (this.#votes.size > MAX_VOTERS) this.#votes.delete(this.#votes.keys().next().value!)
    if (host === this.#address) return false
    const count = [...this.#votes.values()].filter(h => h === host).length
    if (count < ADDRESS_VOTES || 2 * count <= this.#votes.size) return false
    this.#address = host
    return true
  }
}
