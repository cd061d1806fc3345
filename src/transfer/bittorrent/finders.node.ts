/** Where peers of a torrent are found beside its trackers: the DHT and the local network. Private torrents (BEP 27) use neither. */
import type { Mainline } from '../mainline/mainline.node.ts'
import type { Lsd } from './lsd.node.ts'
import type { AddressTrust } from './tracker.node.ts'
import type { PeerAddress } from './urls.ts'

export interface Finders {
  readonly dht: Mainline | undefined
  readonly lsd: Lsd | undefined
  /** Where peers reach us; 0: nowhere, so nothing is announced. */
  readonly port: number
}

export interface FinderRequest {
  readonly infoHash: Uint8Array
  /** Tell others that we have it, or a part of it. */
  readonly announce: boolean
  /** Left out: nobody is looked for. */
  onPeers?(peers: readonly PeerAddress[], trust: AddressTrust): void
}

/** Looks and announces until disposed. */
export function openFinders({ dht, lsd, port }: Finders, request: FinderRequest): AsyncDisposable {
  const { infoHash } = request
  const onPeers = request.onPeers?.bind(request)
  const parts: (AsyncDisposable | Disposable)[] = []
  if (dht && onPeers) parts.push(dht.search(infoHash, peer => onPeers([peer], dht.isGiven(peer) ? 'given' : 'found')))
  if (dht && request.announce && port > 0) parts.push(dht.announce(infoHash, port))
  if (lsd) parts.push(lsd.announce(infoHash, onPeers && (peer => onPeers([peer], 'given'))))
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(parts.map(p => (Symbol.dispose in p ? p[Symbol.dispose]() : p[Symbol.asyncDispose]())))
    }
  }
}
