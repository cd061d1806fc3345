/**
 * Finds Kith nodes on the local network by mDNS and connects to them. An announcement may only name addresses of the local network: not
 * this machine (anybody in the network could point us at our own ports) and not public ones (or at a victim).
 */
import type { Connection, PeerDiscovery, PeerInfo } from '@libp2p/interface'
import type { MulticastDNSComponents } from '@libp2p/mdns'
import type { Multiaddr } from '@multiformats/multiaddr'
import { type Clock, systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { scopeOfAddress, scopeOfIp } from '../net/address-scope.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import {
  LAN_DIAL_TIMEOUT_MS,
  MAX_ADDRESSES_PER_PROVIDER,
  MAX_LAN_DIALS,
  MAX_LAN_PEERS,
  MDNS_ANSWERS_PER_SECOND,
  MDNS_REPLIES_BURST,
  MDNS_REPLIES_PER_SECOND
} from './limits.ts'

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

/** What is used of the library: its handlers, which it registers by these names when it starts. */
interface ServiceInside extends PeerDiscovery {
  _onMdnsQuery: (event: unknown, from?: { readonly address?: string }) => void
  _onMdnsResponse: (event: unknown, from?: { readonly address?: string }) => void
}

/** Factory of the LAN discovery service for `openHost`. Resolves when the library is loaded. */
export async function mdnsService(
  deps: { readonly gate: ScopeGate; readonly log: Logger; readonly clock?: Clock },
  options: MdnsOptions = {}
): Promise<(components: MdnsComponents) => PeerDiscovery> {
  const { mdns } = await import('@libp2p/mdns')
  const factory = mdns({
    serviceTag: MDNS_SERVICE,
    interval: options.intervalMs ?? 60_000,
    ...(options.port === undefined ? {} : { port: options.port })
  })
  return components => {
    const service = factory(components) as ServiceInside
    limitPackets(service, deps.clock ?? systemClock)
    const seen = new Set<string>()
    // A flood of invented peers uses up the burst; the trickle gives a real one its turn later.
    const unseen = new TokenBucket(deps.clock ?? systemClock, MAX_LAN_PEERS / 3600, MAX_LAN_PEERS)
    let dialling = 0
    const onPeer = async ({ id, multiaddrs }: PeerInfo): Promise<void> => {
      const local = multiaddrs.slice(0, MAX_ADDRESSES_PER_PROVIDER).filter(a => isLocal(a.toString()))
      const isNew = !seen.has(id.toString())
      if (local.length === 0 || dialling >= MAX_LAN_DIALS || (isNew && !unseen.tryTake())) return
      seen.add(id.toString())
      if (seen.size > MAX_LAN_PEERS) seen.delete(seen.values().next().value!)
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

/**
 * Answers questions a few times a second however many there are, reads so many answers, and neither from beyond the local network
 * (threats DH9): whoever answers from there was not asked.
 */
function limitPackets(service: ServiceInside, clock: Clock): void {
  const { _onMdnsQuery: onQuery, _onMdnsResponse: onResponse } = service
  if (!onQuery || !onResponse) throw new Error('the mDNS library has changed: its packets cannot be limited')
  const replies = new TokenBucket(clock, MDNS_REPLIES_PER_SECOND, MDNS_REPLIES_BURST)
  const answers = new TokenBucket(clock, MDNS_ANSWERS_PER_SECOND)
  const isNear = (from: { readonly address?: string } | undefined): boolean =>
    ['private', 'link-local', 'loopback'].includes(scopeOfIp(from?.address ?? ''))
  service._onMdnsQuery = (event, from) => {
    if (isNear(from) && asksForUs(event) && replies.tryTake()) onQuery(event, from)
  }
  service._onMdnsResponse = (event, from) => {
    if (isNear(from) && answers.tryTake()) onResponse(event, from)
  }
}

/** Whether a question is for Kith: those of other programs must not use up our replies. */
function asksForUs(event: unknown): boolean {
  const { questions } = event as { readonly questions?: readonly { readonly name?: unknown }[] }
  return questions?.[0]?.name === MDNS_SERVICE
}

function isLocal(address: string): boolean {
  const scope = scopeOfAddress(address)
  return scope === 'private' || scope === 'link-local'
}
