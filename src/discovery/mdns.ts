/**
 * Finds Kith nodes on the local network by mDNS and connects to them. An announcement may only name addresses of the local network: not
 * this machine (anybody in the network could point us at our own ports) and not public ones (or at a victim).
 */
import type { Connection, PeerDiscovery, PeerInfo } from '@libp2p/interface'
import type { MulticastDNSComponents } from '@libp2p/mdns'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Logger } from '../base/log.ts'
import { scopeOfAddress } from '../net/address-scope.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import { LAN_DIAL_TIMEOUT_MS, MAX_ADDRESSES_PER_PROVIDER, MAX_LAN_DIALS, MAX_LAN_PEERS } from './limits.ts'

/** Nodes that ask for another name do not see each other. */
export const MDNS_SERVICE = '_kith._udp.local'

/** What the service needs of libp2p. */
export interface MdnsComponents extends MulticastDNSComponents {
  readonly connectionManager: {
    openConnection(address: Multiaddr[], options: { readonly signal: AbortSignal }): Promise<Connection>
  }
}

export interface MdnsOptions {
  /** Time between questions to the network. Answers to others are immediate. */
  readonly intervalMs?: number
  /** Default 5353. */
  readonly port?: number
}

/** Factory of the LAN discovery service for `openHost`. Resolves when the library is loaded. */
export async function mdnsService(
  deps: { readonly gate: ScopeGate; readonly log: Logger },
  options: MdnsOptions = {}
): Promise<(components: MdnsComponents) => PeerDiscovery> {
  const { mdns } = await import('@libp2p/mdns')
  const factory = mdns({
    serviceTag: MDNS_SERVICE,
    interval: options.intervalMs ?? 60_000,
    ...(options.port === undefined ? {} : { port: options.port })
  })
  return components => {
    const service = factory(components)
    const seen = new Set<string>()
    let dialling = 0
    const onPeer = async ({ id, multiaddrs }: PeerInfo): Promise<void> => {
      const local = multiaddrs.slice(0, MAX_ADDRESSES_PER_PROVIDER).filter(a => isLocal(a.toString()))
      if (local.length === 0 || (!seen.has(id.toString()) && seen.size >= MAX_LAN_PEERS) || dialling >= MAX_LAN_DIALS) return
      seen.add(id.toString())
      for (const a of local) deps.gate.allow(a.toString(), 'lan')
      dialling++
      try {
        const addresses = local.map(a => a.encapsulate(`/p2p/${id.toString()}`))
        await components.connectionManager.openConnection(addresses, { signal: AbortSignal.timeout(LAN_DIAL_TIMEOUT_MS) })
      } catch (cause) {
        deps.log.debug('LAN peer not reached', { peer: id.toString(), cause })
      } finally {
        dialling--
      }
    }
    service.addEventListener('peer', event => void onPeer(event.detail))
    return service
  }
}

function isLocal(address: string): boolean {
  const scope = scopeOfAddress(address)
  return scope === 'private' || scope === 'link-local'
}
