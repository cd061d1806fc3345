/**
 * Opens a running node: lock, identity, network, discovery, payments, shares, servers. What was opened closes in reverse order when a
 * later step throws or the node is disposed.
 */
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { type Logger, silentLogger } from '../base/log.ts'
import type { Identity } from '../identity/identity.ts'
import { openIdentity } from '../identity/open.node.ts'
import { lockFolder } from '../platform/files.node.ts'
import type { ColdTier } from '../transfer/chunk-cache.ts'
import type { Share, ShareIndex } from '../transfer/protocol.ts'
import type { KeptTorrent } from '../transfer/torrent-book.node.ts'
import { FirstWorkers } from '../transfer/verify-workers.node.ts'
import type { OfferProtocol } from '../wire/offer.ts'
import { lazyAsk } from './ask/lazy-ask.ts'
import type { AskService } from './ask-types.ts'
import type { Config } from './config.ts'
import { DownloadMemory } from './files/download-memory.node.ts'
import { tcpHost } from './listen-hosts.ts'
import { openNetworks } from './networks.node.ts'
import { type OpenedNetwork, openNetwork } from './open-network.node.ts'
import type { NodeParts, Notices } from './parts.node.ts'
import { FREE_ONLY } from './protocols.ts'
import { RunningNode } from './running-node.node.ts'
import { Service } from './service.ts'
import type { KithNode } from './types.ts'
import { withFreePorts } from './with-free-ports.ts'

export interface OpenNodeOptions {
  readonly signal?: AbortSignal
  readonly log?: Logger
  /** Remember running downloads in this home, and go on with those of the last time: for a node that is meant to stay up. */
  readonly resume?: boolean
  /** A download follows at once: its threads start while the rest of the node opens. */
  readonly fetches?: boolean
  /** Of this home's API: opens the message server's /peers and /stats to its owner. */
  readonly token?: string
}

/**
 * @throws ALREADY_RUNNING, LISTEN_FAILED, HTTP_LISTEN, IDENTITY_DAMAGED, KEY_FILE_MODE, STORE_CORRUPT and other STORE_ codes
 */
export async function openNode(config: Config, options: OpenNodeOptions = {}): Promise<KithNode> {
  const log = options.log ?? silentLogger
  await using stack = new AsyncDisposableStack()
  stack.use(lockFolder(config.folders.data))
  const workers = options.fetches ? stack.use(new FirstWorkers()) : undefined
  const identity = await openIdentity(join(config.folders.data, 'identity'), { clock: systemClock })
  options.signal?.throwIfAborted()
  const network = await openNetwork(stack, config, { identity, log, staysUp: options.resume === true })
  options.signal?.throwIfAborted()
  const { openPayments } = await import('./payments.node.ts')
  const payments = stack.use(await openPayments({ clock: systemClock, log: log.child('pay'), rpc: network.host.rpc, identity }, config))
  const parts = { ...(await openServing(stack, config, identity, network, payments, log)), workers }
  const memory = options.resume ? new DownloadMemory(join(config.folders.state, 'downloads.json')) : undefined
  const ask = openAskService(stack, parts, options, () => node)
  const node: RunningNode = new RunningNode(parts, ask.service, stack.move(), memory)
  node.announceAll()
  node.resumeDownloads()
  // A node that stays is there for others: it takes messages and sends what waits.
  if (options.resume) await ask.open()
  return node
}

/** Messaging, opened when it is first used. */
function openAskService(
  stack: AsyncDisposableStack,
  parts: NodeParts,
  options: OpenNodeOptions,
  node: () => RunningNode
): { readonly service: AskService; open(): Promise<unknown> } {
  const { config, identity, host, gate, finder, log } = parts
  const service = stack.use(
    new Service(async () => {
      const { openAskDesk } = await import('./ask/open-ask-desk.node.ts')
      const files = { config, identity, host, gate, finder, log, token: options.token, staysUp: options.resume === true }
      return openAskDesk(files, node, event => node().tell(event))
    })
  )
  return { service: lazyAsk(async () => (await service.open()).desk), open: () => service.open() }
}

async function openServing(
  stack: AsyncDisposableStack,
  config: Config,
  identity: Identity,
  network: OpenedNetwork,
  payments: NodeParts['payments'],
  log: Logger
): Promise<NodeParts> {
  const [
    { ShareBook },
    { openHttp },
    { TicketBook },
    { createUploadGate },
    { serveOffers },
    { openKithStream },
    { openTlsIdentity },
    { ChunkCache },
    { TorrentBook }
  ] = await Promise.all([
    import('../transfer/share-book.node.ts'),
    import('../transfer/http.node.ts'),
    import('../transfer/tickets.ts'),
    import('../transfer/upload-gate.ts'),
    import('../transfer/offers.ts'),
    import('../transfer/stream.ts'),
    import('../platform/x509.node.ts'),
    import('../transfer/chunk-cache.ts'),
    import('../transfer/torrent-book.node.ts')
  ])
  const signer = {
    instanceKey: identity.instance.key,
    peerId: identity.peerId,
    certificate: identity.peerCertificate,
    sign: identity.sign.bind(identity)
  }
  const tickets = new TicketBook(systemClock)
  const endpoints: { of: (share: Share, names: readonly string[]) => readonly OfferProtocol[] } = { of: () => [] }
  const notices: Notices = {}
  const cold = await openDiskCache(stack, config)
  const cache = new ChunkCache(
    { clock: systemClock, ...(cold ? { cold } : {}) },
    config.cacheBytes === undefined ? {} : { maxBytes: config.cacheBytes }
  )
  const shares = stack.use(
    await ShareBook.open(
      {
        clock: systemClock,
        signer,
        cache,
        endpoints: (share, names) => endpoints.of(share, names),
        onStopped: (fileId, reason) => notices.shareStopped?.(fileId, reason)
      },
      join(config.folders.data, 'shares.db')
    )
  )
  const gate = createUploadGate(
    {
      clock: systemClock,
      tickets,
      payments: payments.gate,
      termsOf: share => shares.termsOf(share),
      onAdmitted: (share, bytes) => (share.torrent ? undefined : notices.admitted?.(share.fileId, bytes)), // what others made has no file id
      onSent: () => {}
    },
    { uploadLimit: config.uploadLimit }
  )
  const torrentDeps = { clock: systemClock, log: log.child('torrents'), onStopped: (t: KeptTorrent) => notices.torrentStopped?.(t) }
  const torrents = stack.use(new TorrentBook(torrentDeps, join(config.folders.data, 'seeded-torrents')))
  const sharesOf = (protocol: string): ShareIndex => torrents.beside(shares.forProtocol(protocol), protocol)
  const serving = { gate, clock: systemClock, log: log.child('transfer') }
  const tls = openTlsIdentity(join(config.folders.data, 'identity', 'tls.key'))
  const host = tcpHost(config.listen)
  const http = stack.use(
    await withFreePorts(config, 'HTTP_LISTEN', free =>
      openHttp(
        { ...serving, shares: sharesOf('http'), secureShares: sharesOf('https') },
        { host, port: free ? 0 : config.ports.http, secure: { tls, port: free ? 0 : config.ports.https }, proxy: config.proxy }
      )
    )
  )
  const networks = await openNetworks(stack, { rpc: network.host.rpc, log, gate, http: http.protocol, sharesOf }, config)
  const stream = stack.use(openKithStream({ ...serving, streams: network.host.streams, shares: sharesOf('kith') }))
  const pin = http.pin ?? new Uint8Array()
  endpoints.of = (share, names) => {
    const all: (OfferProtocol | undefined)[] = [
      { name: 'http', port: http.server.port, extra: new Uint8Array() },
      { name: 'https', port: http.secureServer?.port ?? 0, extra: pin },
      { name: 'kith', port: 0, extra: new Uint8Array() },
      ...networks.all.map(n => n.endpoint(share))
    ]
    const isFree = share.pricePerMb === 0n
    return all.filter(e => e !== undefined).filter(e => names.includes(e.name) && (isFree || !FREE_ONLY.has(e.name)))
  }
  const offers = { rpc: network.host.rpc, clock: systemClock, signer, tickets, payments: payments.gate }
  stack.use(serveOffers(offers, shares))
  const protocols = [http.protocol, http.secureProtocol, ...networks.all.map(n => n.protocol), stream]
  return { config, log, identity, ...network, payments, shares, torrents, offers, httpPort: http.server.port, networks, protocols, notices }
}

/** The disk tier of the cache: for shares that lie on something slower than the state folder. */
async function openDiskCache(stack: AsyncDisposableStack, { diskCacheBytes: maxBytes, folders }: Config): Promise<ColdTier | undefined> {
  if (maxBytes === undefined) return undefined
  const { DiskCache } = await import('../transfer/chunk-cache-disk.node.ts')
  return stack.use(await DiskCache.open(join(folders.state, 'chunk-cache'), { maxBytes }))
}
