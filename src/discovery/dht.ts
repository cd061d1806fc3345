/** Kademlia as Kith runs it: a network of its own by protocol name, server mode, no stored values, bounded lookups. */
import type { PeerId } from '@libp2p/interface'
import type { KadDHT, KadDHTComponents, SingleKadDHT } from '@libp2p/kad-dht'
import type { Multiaddr } from '@multiformats/multiaddr'
import { ipOf } from '../net/libp2p-rpc.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import { ALPHA, CLEANUP_MS, DISJOINT_PATHS, K, MAX_ADDRESSES_PER_PROVIDER, MAX_PROVIDERS, PROVIDER_VALIDITY_MS } from './limits.ts'
import { guardTable } from './table-guard.ts'

/** Nodes with another protocol name are another network. */
export const KAD_PROTOCOL = '/kith/kad/1.0.0'

export interface DhtServiceOptions {
  /** Default KAD_PROTOCOL. */
  readonly protocol?: string
  /** Ask others, but store nothing for them. */
  readonly clientMode?: boolean
  /** What tells the records and log lines of two DHTs in one host apart. */
  readonly name?: string
}

/** A DHT with a readable routing table; what the factory below makes. */
export type Dht = SingleKadDHT & { readonly routingTable: EventTarget & { readonly size: number } }

/**
 * Factory of the DHT service for `openHost`. The gate filters every address that the DHT learns or hands out.
 * Resolves when the library is loaded.
 */
export async function dhtService(
  deps: { readonly gate: ScopeGate },
  options: DhtServiceOptions = {}
): Promise<(components: KadDHTComponents) => Dht> {
  const [{ kadDHT }, { tellWithin }] = await Promise.all([import('@libp2p/kad-dht'), import('./dht-told.ts')])
  let own: ((peer: PeerId) => Multiaddr[] | undefined) | undefined
  const factory = kadDHT({
    protocol: options.protocol ?? KAD_PROTOCOL,
    clientMode: options.clientMode ?? false,
    ...(options.name === undefined
      ? {}
      : {
          logPrefix: `libp2p:${options.name}`,
          datastorePrefix: `/${options.name}`,
          metricsPrefix: `libp2p_${options.name.replace('-', '_')}`
        }),
    kBucketSize: K,
    alpha: ALPHA,
    disjointPaths: DISJOINT_PATHS,
    // The first lookup waits for one of the node's own id; without peers that one waits for the first to come.
    initialQuerySelfInterval: 50,
    // Nothing but provider records: no value has a valid namespace, not even the built-in public keys.
    validators: { pk: refuseValue },
    reprovide: { interval: CLEANUP_MS, validity: PROVIDER_VALIDITY_MS, threshold: 0 },
    peerInfoMapper: peer => ({
      ...peer,
      multiaddrs: (own?.(peer.id) ?? peer.multiaddrs.filter(a => deps.gate.permits(a.toString()))).slice(0, MAX_ADDRESSES_PER_PROVIDER)
    })
  })
  return components => {
    // Who asks the provider itself is told: the library's answer has only what it knows of others. They are the addresses of the records
    // that we send. The gate says whom we may dial, and would drop those in a home network; these are for the asker's gate.
    own = peer => (components.peerId.equals(peer) ? components.addressManager.getAddresses() : undefined)
    const dht = factory(components) as Dht
    liftProviderLimit(dht)
    tellWithin(dht, components)
    guardTable(dht.routingTable as unknown as Parameters<typeof guardTable>[0], (peer: PeerId) => addressOf(components, peer))
    return dht
  }
}

function refuseValue(): never {
  throw new Error('values are not stored')
}

const addressOf = (components: KadDHTComponents, peer: PeerId): string | undefined =>
  components.connectionManager
    .getConnections(peer)
    .map(ipOf)
    .find(ip => ip !== undefined)

/**
 * The library ends a lookup when it has k = 20 providers, so that 20 invented ones would hide every real one. `contentRouting` reads its
 * limit from a table it does not use otherwise; it gets a view of that table with a larger number. finder.test.ts fails if an update
 * changes that.
 */
function liftProviderLimit(dht: KadDHT): void {
  const { contentRouting } = dht as unknown as { contentRouting?: { routingTable?: object } }
  if (!contentRouting?.routingTable) throw new Error('the DHT library has changed: its provider limit cannot be lifted')
  contentRouting.routingTable = Object.create(contentRouting.routingTable, { kBucketSize: { value: MAX_PROVIDERS } }) as object
}
