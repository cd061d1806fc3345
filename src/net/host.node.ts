/**
 * Opens the libp2p host: tcp and websockets, TLS before Noise, yamux, identify and ping under Kith's own protocol names, with the limits
 * of limits.ts. What else runs on it (DHT, mDNS) comes in as services, because `discovery` is above this folder. libp2p is loaded when a
 * host is opened, not when this file is.
 */
import type { Identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import type { Ping } from '@libp2p/ping'
import type { ServiceFactoryMap } from 'libp2p'
import { ed25519PublicKey } from '#crypto'
import { concatBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { BoundedDatastore } from './bounded-datastore.ts'
import { ConnectionLimiter, type ConnectionLimits } from './connection-limiter.ts'
import { makeGater } from './gater.ts'
import { Host, type HostServices } from './host.ts'
import { InboundPlaces } from './inbound-places.ts'
import { lazyNoise } from './lazy-noise.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  MAX_ADDRESSES_PER_PEER,
  MAX_CONNECTIONS,
  MAX_DIAL_QUEUE,
  MAX_OTHER_RECORDS,
  MAX_PARALLEL_DIALS,
  MAX_PAUSED_BYTES,
  MAX_PEER_RECORD_BYTES,
  MAX_PENDING_CONNECTIONS,
  MAX_PROVIDER_RECORDS,
  MAX_PROVIDERS_PER_FILE,
  MAX_RECORDS_PER_PROVIDER,
  MAX_STREAM_WINDOW_BYTES,
  MAX_UNKNOWN_PEERS,
  PING_INTERVAL_MS
} from './limits.ts'
import { type ReachabilityOptions, ReachabilityWatch } from './reachability-watch.ts'
import { RefusedPeers } from './refused-peers.ts'
import { RelayServer, type RelayServerOptions } from './relay-server.ts'
import { Relays } from './relays.ts'
import type { ScopeGate } from './scope-gate.ts'
import { identifyWithin } from './told-identify.ts'
import { limitWebSockets } from './websocket-limits.ts'

export interface HostDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Decides which addresses may be dialled. Shared with discovery, which teaches it. */
  readonly gate: ScopeGate
  /** 32-byte Ed25519 seed of the libp2p key: `identity.peerPrivateKey`. */
  readonly peerPrivateKey: Uint8Array
}

/** libp2p's parts, and the services that every host has. */
export type HostComponents = Parameters<ServiceFactoryMap<{ x: unknown }>['x']>[0] & { readonly identify: Identify; readonly ping: Ping }

export type HostServiceFactories<S extends HostServices> = { readonly [K in keyof S]: (components: HostComponents) => S[K] }

export interface HostOptions<S extends HostServices = HostServices> extends ConnectionLimits, ReachabilityOptions {
  /** multiaddrs to listen on; port 0 takes a free one; empty: dial only. */
  readonly listen?: readonly string[]
  /** Further multiaddrs to announce, for a port that a router forwards. */
  readonly announce?: readonly string[]
  readonly maxConnections?: number
  /** Peers remembered without a connection (threats DH8). */
  readonly maxUnknownPeers?: number
  /** multiaddrs of relays where this host reserves a slot, so that peers reach it through them (relays.ts). */
  readonly relays?: readonly string[]
  /** Be a relay for others (relay-server.ts). */
  readonly relayServer?: RelayServerOptions
  /** libp2p services beside identify and ping, as discovery's factories make them. */
  readonly services?: HostServiceFactories<S>
}

/** Fixed, documented ports: 4801 TCP, 4802 WebSocket. */
export const defaultListen: readonly string[] = ['/ip4/0.0.0.0/tcp/4801', '/ip4/0.0.0.0/tcp/4802/ws']

/**
 * Opens a host and waits until it listens; it dials nobody by itself. Dispose the host to close every connection.
 * @throws LISTEN_FAILED when a port is taken, BAD_ADDRESS
 */
export async function openHost<S extends HostServices = HostServices>(deps: HostDeps, options: HostOptions<S> = {}): Promise<Host<S>> {
  const listen = options.listen ?? defaultListen
  for (const address of listen) deps.gate.allow(address, 'listen')
  const relays = new Relays(deps, options.relays ?? [])
  const refused = new RefusedPeers()
  const reachability = new ReachabilityWatch(deps.log, options)
  const libp2p = await createLibp2p(deps, options, listen, relays, reachability, refused)
  // Not `await using` yet: until it has started there is nothing to stop.
  const host = new Host<S>({ ...deps, refused }, libp2p, relays, reachability)
  try {
    await libp2p.start()
  } catch (cause) {
    await host[Symbol.asyncDispose]()
    throw new KithError(
      'LISTEN_FAILED',
      `cannot listen on ${listen.join(', ')}`,
      {},
      { cause, hint: 'another program uses the port; try --port 0' }
    )
  }
  reachability.start()
  relays.start()
  return host
}

async function createLibp2p<S extends HostServices>(
  deps: HostDeps,
  options: HostOptions<S>,
  listen: readonly string[],
  relays: Relays,
  reachability: ReachabilityWatch,
  refused: RefusedPeers
): Promise<Libp2p<S>> {
  const [{ createLibp2p }, { tcp }, { webSockets }, { tls }, { yamux }, { identify }, { ping }, { keys }, relayTransport] =
    await Promise.all([
      import('libp2p'),
      import('@libp2p/tcp'),
      import('@libp2p/websockets'),
      import('@libp2p/tls'),
      import('@libp2p/yamux'),
      import('@libp2p/identify'),
      import('@libp2p/ping'),
      import('@libp2p/crypto'),
      relays.transport()
    ])
  const maxConnections = options.maxConnections ?? MAX_CONNECTIONS
  const maxSockets = maxConnections + 2 * MAX_PENDING_CONNECTIONS
  const privateKey = keys.privateKeyFromRaw(await withPublicKey(deps.peerPrivateKey))
  let created: Libp2p | undefined
  const self = privateKey.publicKey.toCID().toString()
  const isConnected = (key: string): boolean =>
    key.endsWith(self) || (created?.getPeers().some(p => key.endsWith(p.toCID().toString())) ?? false)
  const limiter = new ConnectionLimiter(deps, options)
  const places = new InboundPlaces({ connections: () => created?.getConnections() ?? [], maxConnections })
  const relayServer = options.relayServer && new RelayServer(options.relayServer)
  const services = {
    identify: identifyWithin(identify({ protocolPrefix: 'kith' })),
    ping: ping({ protocolPrefix: 'kith' }),
    reachability: await reachability.service(),
    ...(relayServer ? { relayServer: await relayServer.service() } : {}),
    ...options.services
  }
  const libp2p = await createLibp2p<S>({
    start: false,
    privateKey,
    nodeInfo: { name: 'kith', version: '1', userAgent: 'kith' },
    addresses: {
      listen: [...listen],
      appendAnnounce: [...(options.announce ?? [])],
      announceFilter: addresses => relays.announced(addresses)
    },
    transports: [
      tcp({ maxConnections: maxSockets }),
      limitWebSockets(
        webSockets({ http: { headersTimeout: HANDSHAKE_TIMEOUT_MS, requestTimeout: HANDSHAKE_TIMEOUT_MS, maxHeaderSize: 8192 } }),
        maxSockets
      ),
      relayTransport
    ],
    connectionEncrypters: [tls(), lazyNoise],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: MAX_STREAM_WINDOW_BYTES, maxReadBufferLength: MAX_PAUSED_BYTES } })],
    datastore: datastoreFor(isConnected, self, options.maxUnknownPeers ?? MAX_UNKNOWN_PEERS),
    connectionManager: {
      // Who has no place is inbound-places.ts's; these are only never to be reached.
      maxConnections: maxSockets,
      maxIncomingPendingConnections: 2 * MAX_PENDING_CONNECTIONS,
      // Rates are the limiter's: it knows IPv6 networks and exempts this machine.
      inboundConnectionThreshold: Number.MAX_SAFE_INTEGER,
      maxParallelDials: MAX_PARALLEL_DIALS,
      maxDialQueueLength: MAX_DIAL_QUEUE,
      maxPeerAddrsToDial: MAX_ADDRESSES_PER_PEER,
      dialTimeout: HANDSHAKE_TIMEOUT_MS,
      inboundUpgradeTimeout: HANDSHAKE_TIMEOUT_MS,
      // No lookups for /dnsaddr that peers send us.
      resolvers: {}
    },
    connectionMonitor: { pingInterval: PING_INTERVAL_MS, protocolPrefix: 'kith' },
    connectionGater: makeGater({
      gate: deps.gate,
      limiter,
      places,
      refused,
      relayServer,
      connectionsOf: peer => created?.getConnections(peer) ?? []
    }),
    // The record type of the caller's services and of ours is one object; S names the caller's part.
    services: services as unknown as ServiceFactoryMap<S>
  })
  created = libp2p as unknown as Libp2p
  return libp2p
}

/** Seed and public key, as libp2p keeps Ed25519 keys. From the seed alone it derives the other in JavaScript, which takes 20 ms. */
async function withPublicKey(seed: Uint8Array): Promise<Uint8Array> {
  return concatBytes(seed, await ed25519PublicKey(seed))
}

function datastoreFor(isConnected: (key: string) => boolean, self: string, maxUnknownPeers: number): BoundedDatastore {
  const isOwn = (key: string): boolean => key.endsWith(self)
  const records = { max: MAX_PROVIDER_RECORDS, maxBytes: 64, maxPerGroup: MAX_PROVIDERS_PER_FILE, maxPerAuthor: MAX_RECORDS_PER_PROVIDER }
  return new BoundedDatastore([
    { prefix: '/peers/', max: maxUnknownPeers, maxBytes: MAX_PEER_RECORD_BYTES, keep: isConnected },
    { ...records, prefix: '/dht/provider/', keep: isOwn },
    { ...records, prefix: '/public-dht/provider/', keep: isOwn },
    // Values other than provider records have no validator and so never get here; libp2p's own odds and ends do.
    { prefix: '/', max: MAX_OTHER_RECORDS, maxBytes: MAX_PEER_RECORD_BYTES }
  ])
}
