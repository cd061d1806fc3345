/**
 * What a DHT node says of addresses, ours and those of others, stays where it means something (net/told-addresses.ts): whoever asks from
 * the internet hears of no local network, and no provider record carries one there.
 */
import type { PeerId } from '@libp2p/interface'
import type { KadDHT, KadDHTComponents } from '@libp2p/kad-dht'
import { multiaddr } from '@multiformats/multiaddr'
import { askerScopes, mayBeTold } from '../net/told-addresses.ts'

interface PbPeer {
  readonly id: Uint8Array
  readonly multiaddrs: readonly Uint8Array[]
}
interface PbMessage {
  readonly closer?: readonly PbPeer[]
  readonly providers?: readonly PbPeer[]
}
interface Options {
  readonly signal?: AbortSignal
}
/** What is used of the library's DHT. */
interface DhtInside {
  readonly rpc?: { handleMessage(from: PeerId, message: PbMessage): Promise<PbMessage | undefined> }
  readonly network?: { sendMessage(to: PeerId, message: PbMessage, options: Options): AsyncGenerator<unknown> }
}

/** Loaded with the library: it needs multiaddrs read. */
export function tellWithin(dht: KadDHT, { connectionManager, peerId }: KadDHTComponents): void {
  const { rpc, network } = dht as unknown as DhtInside
  if (!rpc?.handleMessage || !network?.sendMessage) throw new Error('the DHT library has changed: what it tells cannot be limited')
  const toldTo = (peers: readonly PbPeer[] | undefined, asker: PeerId): PbPeer[] => {
    const askers = askerScopes(connectionManager.getConnections(asker))
    return (peers ?? []).map(p => ({ ...p, multiaddrs: p.multiaddrs.filter(bytes => mayBeTold(multiaddr(bytes).toString(), askers)) }))
  }
  // A record without any address is not taken; this one says that we are the provider, and nothing of where we are.
  const nowhere = [multiaddr(`/p2p/${peerId.toString()}`).bytes]
  const handle = rpc.handleMessage.bind(rpc)
  rpc.handleMessage = async (from, message) => {
    const answer = await handle(from, message)
    if (!answer) return undefined
    const closer = toldTo(answer.closer, from).filter(p => p.multiaddrs.length > 0)
    return { ...answer, closer, providers: toldTo(answer.providers, from) }
  }
  const send = network.sendMessage
  network.sendMessage = async function* (to, message, options) {
    // Only a connection says from where it is; that there is none is told by the library.
    if (connectionManager.getConnections(to).length === 0) await connectionManager.openConnection(to, options).catch(() => {})
    const providers = toldTo(message.providers, to).map(p => (p.multiaddrs.length > 0 ? p : { ...p, multiaddrs: nowhere }))
    yield* send.call(network, to, { ...message, providers }, options)
  }
}
