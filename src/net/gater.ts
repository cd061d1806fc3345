/** Who may connect, be dialled, be remembered and be relayed: libp2p asks here (threats CO16-CO18, DH8). */
import type { Connection, ConnectionGater, PeerId } from '@libp2p/interface'
import { parseAddress } from './address-scope.ts'
import type { ConnectionLimiter } from './connection-limiter.ts'
import type { InboundPlaces } from './inbound-places.ts'
import { MAX_RELAYED_CONNECTIONS } from './limits.ts'
import type { RefusedPeers } from './refused-peers.ts'
import type { RelayServer } from './relay-server.ts'
import type { ScopeGate } from './scope-gate.ts'

export interface GaterDeps {
  readonly gate: ScopeGate
  readonly limiter: ConnectionLimiter
  readonly places: InboundPlaces
  readonly refused: RefusedPeers
  readonly relayServer: RelayServer | undefined
  /** Live connections of a peer. */
  readonly connectionsOf: (peer: PeerId) => readonly Connection[]
}

export function makeGater({ gate, limiter, places, refused, relayServer, connectionsOf }: GaterDeps): ConnectionGater {
  let relayed = 0
  /** The relay's own connection has its place by address; what comes through it is counted by itself. */
  const admitRelayed = (): (() => void) | undefined => {
    if (relayed >= MAX_RELAYED_CONNECTIONS) return undefined
    relayed++
    return () => void relayed--
  }
  return {
    denyDialPeer: peer => refused.has(peer.toString()),
    // Also who was dialled at an address alone, and who comes through a relay.
    denyInboundEncryptedConnection: peer => refused.has(peer.toString()),
    denyOutboundEncryptedConnection: peer => refused.has(peer.toString()),
    denyDialMultiaddr: address => !gate.permits(address.toString()),
    filterMultiaddrForPeer: (_, address) => parseAddress(address.toString()) !== undefined,
    denyInboundConnection: connection => {
      const from = parseAddress(connection.remoteAddr.toString())
      const release = from && (from.relay === undefined ? limiter.admit(from.host) : admitRelayed())
      if (!release) return true
      connection.addEventListener('close', release, { once: true })
      return !places.take(connection)
    },
    denyInboundUpgradedConnection: (_peer, connection) => {
      places.upgraded(connection)
      return false
    },
    denyInboundRelayReservation: peer => relayServer?.refusesReservation(peer, connectionsOf(peer)) ?? true,
    denyOutboundRelayedConnection: source => relayServer?.refusesCircuit(source) ?? true
  }
}
