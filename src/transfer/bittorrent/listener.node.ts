/** The TCP port where peers reach us: 200 connections, 8 from one address. */
import { type Listener, type ListenerOptions, openCappedListener } from '../tcp/capped-listener.node.ts'
import type { PeerHub } from './hub.node.ts'
import { MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS } from './limits.ts'
import { formatPeerAddress } from './urls.ts'

export const listenerDefaults: ListenerOptions = {
  host: '0.0.0.0',
  port: 6881,
  maxConnections: MAX_CONNECTIONS,
  maxPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
  exemptLoopback: true
}

/** Starts to listen for `hub`, which learns its port. @throws PORT_UNAVAILABLE */
export async function openListener(hub: PeerHub, options: Partial<ListenerOptions> = {}): Promise<Listener> {
  const listener = await openCappedListener({ ...listenerDefaults, ...options }, (socket, from) =>
    hub.accept(socket, formatPeerAddress(from))
  )
  hub.listenPort = listener.port
  return listener
}
