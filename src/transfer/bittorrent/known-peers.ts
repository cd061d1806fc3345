/**
 * The peers of one torrent that were taken up, each once. One in a private network that a stranger named first, and that must not be
 * dialled on such a word, is taken up again when the user, or somebody the user pointed us to, names it. Pure.
 */
import { classOfHost } from '../address-filter.ts'
import { MAX_SWARM_PEERS } from './limits.ts'
import { formatPeerAddress, type PeerAddress } from './urls.ts'

/** Who named an address: as AddressTrust of tracker.node.ts. */
type Trust = 'given' | 'found'

export class KnownPeers {
  readonly #trust = new Map<string, Trust>()

  /** Remembers a peer. @returns false when it is known already, or there are too many */
  take(peer: PeerAddress, trust: Trust): boolean {
    const key = formatPeerAddress(peer)
    const known = this.#trust.get(key)
    if (known === undefined ? this.#trust.size >= MAX_SWARM_PEERS : !(trust === 'given' && known === 'found' && isNear(peer))) return false
    this.#trust.set(key, trust)
    return true
  }

  /** It may be named again. Not if another word for it has been taken meanwhile. */
  forget(peer: PeerAddress, trust: Trust): void {
    const key = formatPeerAddress(peer)
    if (this.#trust.get(key) === trust) this.#trust.delete(key)
  }
}

const isNear = ({ host }: PeerAddress): boolean => classOfHost(host) !== 'public'
