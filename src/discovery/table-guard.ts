/**
 * Keeps one operator from filling the routing table (threats DH7, T8): one node for each public address, ten for each /24 (IPv6 /48).
 * Addresses in private networks do not count: there one network is all there is.
 */
import type { PeerId } from '@libp2p/interface'
import { networkOf, rateKeyOf, scopeOfIp } from '../net/address-scope.ts'
import { MAX_TABLE_PER_IP, MAX_TABLE_PER_NETWORK } from './limits.ts'

/** What is used of the library's routing table. */
export interface GuardedTable {
  addEventListener(name: 'peer:add' | 'peer:remove', listener: (event: CustomEvent<PeerId>) => void): void
  remove(peer: PeerId): Promise<void>
}

/** Removes what is too much as soon as it was added. @param addressOf IP of the live connection to a peer */
export function guardTable(table: GuardedTable, addressOf: (peer: PeerId) => string | undefined): void {
  const ips = new Tally(MAX_TABLE_PER_IP)
  const networks = new Tally(MAX_TABLE_PER_NETWORK)
  table.addEventListener('peer:add', ({ detail: peer }) => {
    const ip = addressOf(peer)
    if (ip === undefined || scopeOfIp(ip) !== 'public') return
    const id = peer.toString()
    if (ips.add(rateKeyOf(ip), id) && networks.add(networkOf(ip), id)) return
    // Removal is announced like any other, which takes the peer out of the tallies.
    table.remove(peer).catch(() => {})
  })
  table.addEventListener('peer:remove', ({ detail: peer }) => {
    ips.delete(peer.toString())
    networks.delete(peer.toString())
  })
}

/** Members of groups; the table bounds how many there are. */
class Tally {
  readonly #max: number
  readonly #groups = new Map<string, Set<string>>()
  readonly #groupOf = new Map<string, string>()

  constructor(max: number) {
    this.#max = max
  }

  /** @returns false when the group is full: the member is not counted then */
  add(group: string, member: string): boolean {
    const members = this.#groups.get(group) ?? new Set()
    if (!members.has(member) && members.size >= this.#max) return false
    this.#groups.set(group, members.add(member))
    this.#groupOf.set(member, group)
    return true
  }

  delete(member: string): void {
    const group = this.#groupOf.get(member)
    if (group === undefined) return
    this.#groupOf.delete(member)
    const members = this.#groups.get(group)!
    members.delete(member)
    if (members.size === 0) this.#groups.delete(group)
  }
}
