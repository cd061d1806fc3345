/** Opens the peer network of a node: the libp2p host with its DHTs, LAN discovery, relays and whoever introduces it to others. */
import { systemClock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Identity } from '../identity/identity.ts'
import type { Host } from '../net/host.ts'
import type { Config } from './config.ts'
import type { NodeParts } from './parts.node.ts'
import { withFreePorts } from './with-free-ports.ts'

export interface OpenedNetwork {
  readonly host: Host
  readonly finder: NodeParts['finder']
  readonly gate: NodeParts['gate']
}

export interface NetworkWishes {
  readonly identity: Identity
  readonly log: Logger
  /** Others are asked whether they reach us: worth it for a node that is there for a while. */
  readonly staysUp: boolean
}

/** @throws LISTEN_FAILED */
export async function openNetwork(stack: AsyncDisposableStack, config: Config, wishes: NetworkWishes): Promise<OpenedNetwork> {
  const [{ openHost }, { ScopeGate }, { DhtFinder }, { openBootstrap }, { lookupName, lookupTxt }, { watchAddresses }] = await Promise.all([
    import('../net/host.node.ts'),
    import('../net/scope-gate.ts'),
    import('../discovery/dht-finder.ts'),
    import('../discovery/bootstrap.ts'),
    import('../net/lookup.node.ts'),
    import('../net/address-watch.node.ts')
  ])
  const { identity, staysUp } = wishes
  const gate = new ScopeGate()
  const log = wishes.log.child('net')
  const deps = { clock: systemClock, log, gate }
  const services = await servicesOf(config, gate, log, staysUp)
  const { reachability, relays } = config
  const setting = reachability === 'auto' ? {} : { reachability }
  const open = (listen: readonly string[]) =>
    openHost({ ...deps, peerPrivateKey: identity.peerPrivateKey }, { listen, services, relays, autonat: staysUp, ...setting })
  const opened = stack.use(await withFreePorts(config, 'LISTEN_FAILED', free => open(listenOn(config, free))))
  const { dht, publicDht } = opened.services as Partial<Record<'dht' | 'publicDht', ConstructorParameters<typeof DhtFinder>[0]['dht']>>
  const finder = stack.use(new DhtFinder({ ...deps, log: wishes.log.child('discovery'), dht, publicDht, peerId: opened.peerId }))
  const host = opened as unknown as Host
  stack.use(watchAddresses(systemClock, () => host.addressesLost()))
  const introduced = config.public.ipfs
    ? [...config.bootstrap, ...(await import('../discovery/public-dht.ts')).publicBootstrap]
    : config.bootstrap
  stack.use(openBootstrap({ ...deps, host, lookup: lookupName, lookupTxt }, introduced))
  return { host, finder, gate }
}

type Gate = NodeParts['gate']

async function servicesOf(config: Config, gate: Gate, log: Logger, staysUp: boolean) {
  const { dhtService } = await import('../discovery/dht.ts')
  const dht = await dhtService({ gate })
  const mdns = config.mdns ? { mdns: await (await import('../discovery/mdns.ts')).mdnsService({ gate, log }) } : {}
  const open = config.public.ipfs ? await (await import('../discovery/public-dht.ts')).publicDhtServices({ gate }) : {}
  const gossip = staysUp ? { pubsub: await (await import('../messaging/topics-service.ts')).gossipService({ clock: systemClock }) } : {}
  return { dht, ...mdns, ...open, ...gossip }
}

function listenOn(config: Config, free: boolean): string[] {
  const port = (n: number): number => (free ? 0 : n)
  return config.listen.flatMap(ip => {
    const base = ip.includes(':') ? `/ip6/${ip}` : `/ip4/${ip}`
    return [`${base}/tcp/${port(config.ports.tcp)}`, `${base}/tcp/${port(config.ports.ws)}/ws`]
  })
}
