/**
 * Which addresses that other nodes name may be contacted: public ones, and those of the kind that the user gave as first node, or that
 * this node itself listens at. So a node on the internet cannot point us at our own network. Pure.
 */
import { type AddressClass, checkPort, classOfAddress } from '../address-filter.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'

export class ContactScope {
  readonly #kinds = new Set<AddressClass>(['public'])
  readonly #v6: boolean

  constructor(v6: boolean) {
    this.#v6 = v6
  }

  /** The user gave this address: others of its kind are in the same network. */
  widen(host: string): void {
    const kind = classOfAddress(host)
    if (kind === 'private' || kind === 'loopback') this.#kinds.add(kind)
  }

  /** A node or peer that somebody named. */
  allows(address: PeerAddress): boolean {
    return this.isUsable(address) && this.#kinds.has(classOfAddress(address.host))
  }

  /** Something that has sent us a datagram from there. */
  isUsable({ host, port }: PeerAddress): boolean {
    if (host.includes(':') !== this.#v6 || classOfAddress(host) === 'never') return false
    try {
      checkPort(port)
      return true
    } catch {
      return false
    }
  }
}
