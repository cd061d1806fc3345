/**
 * The protocols of a node beside HTTP: BitTorrent, WebTorrent, ed2k. Each serves shares, opens sources, joins the swarms of other
 * programs, and tells its own network what is shared here. WebTorrent and ed2k are opened when something needs them.
 */
import { systemClock } from '../base/clock.ts'
import { codeOf, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import type { Ed2kPeer, joinEd2kNetworks, OpenedEd2k } from '../transfer/ed2k.node.ts'
import type { OpenHttp } from '../transfer/http.node.ts'
import type { OtherSwarm } from '../transfer/other-swarms.node.ts'
import type { FeedContext } from '../transfer/plan.node.ts'
import type { Share, ShareIndex, Source, TransferProtocol, UploadGate } from '../transfer/protocol.ts'
import type { ShareSummary } from '../transfer/share-store.node.ts'
import { hashesOfKept, type KeptTorrent } from '../transfer/torrent-book.node.ts'
import { type Torrents, torrentHashes } from '../transfer/torrents.node.ts'
import type { openRtc, openRtcTracker } from '../transfer/webtorrent.node.ts'
import type { OfferProtocol } from '../wire/offer.ts'
import type { Config } from './config.ts'
import { ipv4Host, ownHost, tcpHost } from './listen-hosts.ts'
import { lazyProtocol, Service } from './service.ts'
import { withFreePorts } from './with-free-ports.ts'

export interface NetworkDeps {
  readonly rpc: Rpc
  readonly log: Logger
  readonly gate: UploadGate
  readonly http: OpenHttp['protocol']
  readonly sharesOf: (protocol: string) => ShareIndex
}

/** What the user named for one download. */
export interface Hints {
  readonly peers: readonly string[]
  readonly trackers: readonly string[]
}

/** One protocol as the desks use it. */
export interface Network {
  readonly protocol: TransferProtocol
  /** Opens what is needed to serve. @throws PORT_UNAVAILABLE, WEBRTC_UNAVAILABLE */
  ready(): Promise<void>
  /** Entry of an offer; undefined while it is not served. */
  endpoint(share: Share): OfferProtocol | undefined
  /** Tells the network of a share until disposed. */
  announce(record: ShareSummary): AsyncDisposable
  /** The swarm of other programs for a file; undefined when there is no way to find any. */
  others(hints: Hints): OtherSwarm | undefined
}

const isWeb = (url: string): boolean => /^wss?:/i.test(url)
const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} }

/** ed2k, and the servers and Kad that it has joined. */
interface OpenedEd2kParts extends OpenedEd2k {
  readonly networks: Awaited<ReturnType<typeof joinEd2kNetworks>>
}

/** WebTorrent and the tracker at which browsers meet it. */
interface OpenedRtc extends AsyncDisposable {
  readonly protocol: Awaited<ReturnType<typeof openRtc>>
  readonly tracker: Awaited<ReturnType<typeof openRtcTracker>>
  /** ws:// URL of the own tracker, for this node itself. */
  readonly trackerUrl: string
}

export interface Networks {
  readonly all: readonly Network[]
  /** Opens what serves these protocols. @returns why some could not be opened; they are left out, with a warning */
  ready(protocols: readonly string[]): Promise<readonly unknown[]>
  readonly bittorrent: Network & {
    readonly opened: Torrents
    /** Tells its swarm that a torrent of others is seeded here, until disposed. */
    announceTorrent(torrent: KeptTorrent): AsyncDisposable
  }
  readonly webtorrent: Network & {
    readonly service: Service<OpenedRtc>
    /** The same at WebSocket trackers that it, or the user, named. */
    announceTorrent(torrent: KeptTorrent): AsyncDisposable
    /** Joins the swarm of a torrent at WebSocket trackers that it, or the user, named; undefined without any. */
    joinTorrent(torrent: WebTorrentOf, found: readonly string[], hints: Hints, context: FeedContext): AsyncDisposable | undefined
    /** The metadata of a magnet link from peers at such trackers; undefined without any. */
    fetchMetainfo(magnet: WebMagnet, hints: Hints, signal: AbortSignal): ReturnType<OpenedRtc['protocol']['fetchMetainfo']> | undefined
  }
  readonly ed2k: Network & { readonly service: Service<OpenedEd2kParts> }
}

/** @throws PORT_UNAVAILABLE */
export async function openNetworks(stack: AsyncDisposableStack, deps: NetworkDeps, config: Config): Promise<Networks> {
  const { log, gate } = deps
  const host = tcpHost(config.listen)
  const clock = systemClock
  const { openTorrents, openOthers, readPeers } = await import('../transfer/torrents.node.ts')
  // Web seeds go the way of all HTTP.
  const torrentDeps = {
    clock,
    log: log.child('bittorrent'),
    gate,
    shares: deps.sharesOf('bittorrent'),
    http: deps.http,
    probe: { proxy: config.proxy }
  }
  const torrents = stack.use(
    await withFreePorts(config, 'PORT_UNAVAILABLE', free =>
      openTorrents(torrentDeps, {
        listen: { host, port: free ? 0 : config.ports.bittorrent },
        encryption: config.bittorrent.encryption,
        lsd: config.bittorrent.lsd,
        dhtHost: ipv4Host(config.listen),
        dhtBootstrap: config.bittorrent.dhtBootstrap,
        mainline: config.public.mainline
      })
    )
  )
  const bittorrent: Networks['bittorrent'] = {
    opened: torrents,
    protocol: torrents.protocol,
    ready: async () => {},
    endpoint: share => entry('bittorrent', torrents.port, torrentHashes(share)),
    announce: record =>
      together(
        hashesOf(record).map(h =>
          torrents.protocol.announceShare(
            h,
            record.trackers.filter(t => !isWeb(t)),
            'given'
          )
        )
      ),
    announceTorrent: kept => {
      const { given, tiers, private: isPrivate } = kept
      const to = { given: given.filter(t => !isWeb(t)), tiers, private: isPrivate }
      return together(hashesOfKept(kept).map(hash => torrents.protocol.announceTorrent(hash, to)))
    },
    others: ({ peers, trackers }) => ({
      protocol: 'bittorrent',
      open: (extra, context) => {
        const given = { peers: readPeers(peers), trackers: trackers.filter(t => !isWeb(t)) }
        return together(split(extra).map(hash => openOthers(torrents.protocol, given, hash, context)))
      }
    })
  }
  const others = { webtorrent: webTorrent(stack, deps, config), ed2k: ed2k(stack, deps, config) }
  const all = [bittorrent, others.webtorrent, others.ed2k]
  const ready = async (protocols: readonly string[]): Promise<readonly unknown[]> => {
    const open = async (network: Network): Promise<readonly unknown[]> => {
      try {
        await network.ready()
        return []
      } catch (error) {
        log.warn('a protocol is not available', { protocol: network.protocol.name, code: codeOf(error), why: textOf(error) })
        return [error]
      }
    }
    return (await Promise.all(all.filter(n => protocols.includes(n.protocol.name)).map(open))).flat()
  }
  return { all, ready, bittorrent, ...others }
}

function webTorrent(stack: AsyncDisposableStack, deps: NetworkDeps, config: Config): Networks['webtorrent'] {
  const { log } = deps
  const { trackers: configured } = config.webtorrent
  const service = stack.use(new Service(() => openRtcParts(deps, config)))
  const own = (): readonly string[] => (service.opened ? [service.opened.trackerUrl] : [])
  return {
    service,
    protocol: lazyProtocol('webtorrent', service, s => s.protocol),
    ready: async () => void (await service.open()),
    endpoint: share =>
      service.opened ? entry('webtorrent', service.opened.tracker.port, torrentHashes(share).subarray(0, 20)) : undefined,
    announce: record => {
      const { opened } = service
      if (!opened) return nothing
      const trackers = [...own(), ...configured, ...record.trackers.filter(isWeb)]
      return together(hashesOf(record).map(h => opened.protocol.announceShare(h, trackers, 'given')))
    },
    others: ({ trackers }) => {
      const web = [...configured, ...trackers.filter(isWeb)]
      if (web.length === 0) return undefined
      const join = async (extra: Uint8Array, context: Parameters<OtherSwarm['open']>[1]): Promise<AsyncDisposable> => {
        const { openRtcOthers } = await import('../transfer/webtorrent.node.ts')
        const { protocol } = await service.open()
        return together(split(extra).map(hash => openRtcOthers(protocol, { trackers: web }, hash, context)))
      }
      return { protocol: 'webtorrent', open: (extra, context) => later(join(extra, context), log) }
    },
    announceTorrent: kept => {
      const { opened } = service
      if (!opened || kept.private) return nothing
      const given = [...configured, ...kept.given.filter(isWeb)]
      const all = (hash: Uint8Array): AsyncDisposable[] => [
        opened.protocol.announceShare(hash, given, 'given'),
        opened.protocol.announceShare(hash, kept.webTrackers, 'found')
      ]
      return together(hashesOfKept(kept).flatMap(all))
    },
    fetchMetainfo: (magnet, hints, signal) => {
      const given = [...configured, ...hints.trackers.filter(isWeb)]
      const found = magnet.webTrackers ?? []
      if (given.length + found.length === 0) return undefined
      const named = [{ trackers: found }, { trackers: given, trust: 'given' as const }]
      return service.open().then(({ protocol }) => protocol.fetchMetainfo(magnet, named, signal))
    },
    joinTorrent: (torrent, found, hints, context) => {
      const given = [...configured, ...hints.trackers.filter(isWeb)]
      if (given.length + found.length === 0) return undefined
      const onSource = (source: Source): void => {
        if (!context.add(source)) void source[Symbol.asyncDispose]()
      }
      const join = async (): Promise<AsyncDisposable> => {
        const { protocol } = await service.open()
        const also = { trackers: given, trust: 'given' as const }
        return protocol.openSwarm({ torrent, trackers: found, trust: 'found', also, left: () => context.bytesLeft(), onSource })
      }
      return later(join(), log)
    }
  }
}

async function openRtcParts({ log, gate, rpc, sharesOf }: NetworkDeps, config: Config): Promise<OpenedRtc> {
  const { openRtc, openRtcTracker } = await import('../transfer/webtorrent.node.ts')
  await using stack = new AsyncDisposableStack()
  const rtcDeps = { clock: systemClock, log: log.child('webtorrent'), gate, rpc, shares: sharesOf('webtorrent') }
  const protocol = stack.use(await openRtc(rtcDeps, { iceServers: config.webtorrent.iceServers }))
  const host = tcpHost(config.listen)
  const trackerDeps = { clock: systemClock, log: log.child('tracker') }
  const tracker = stack.use(
    await withFreePorts(config, 'PORT_UNAVAILABLE', free => openRtcTracker(trackerDeps, { host, port: free ? 0 : config.ports.tracker }))
  )
  const owned = stack.move()
  return {
    protocol,
    tracker,
    trackerUrl: `ws://${ownHost(config.listen)}:${tracker.port}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

function ed2k(stack: AsyncDisposableStack, deps: NetworkDeps, config: Config): Networks['ed2k'] {
  const service = stack.use(new Service(() => openEd2kParts(deps, config)))
  const isJoined = config.ed2k.servers.length > 0 || config.ed2k.serverMet !== undefined || hasKad(config)
  return {
    service,
    protocol: lazyProtocol('ed2k', service, s => s.protocol),
    ready: async () => void (await service.open()),
    endpoint: share => (service.opened && share.ed2k ? entry('ed2k', service.opened.port, share.ed2k.hash) : undefined),
    announce: ({ ed2k, name, stamp, pricePerMb }) =>
      (ed2k && pricePerMb === 0n && service.opened?.networks.announce({ hash: ed2k.hash, name, size: stamp.size, complete: true })) ||
      nothing,
    others: () => {
      if (!isJoined) return undefined
      const join = async (hash: Uint8Array, context: FeedContext): Promise<AsyncDisposable> => {
        const { openEd2kOthers } = await import('../transfer/ed2k.node.ts')
        const { protocol, networks } = await service.open()
        return openEd2kOthers(protocol, hash, { given: [], finders: networks.finders }, context)
      }
      const open: OtherSwarm['open'] = (hash, context) => (hash.length === 16 ? later(join(hash, context), deps.log) : nothing)
      return { protocol: 'ed2k', open }
    }
  }
}

const hasKad = ({ public: { kad }, ed2k: { kadBootstrap, nodesFile } }: Config): boolean =>
  kad || kadBootstrap.length > 0 || nodesFile !== undefined

async function openEd2kParts({ log, gate, sharesOf }: NetworkDeps, config: Config): Promise<OpenedEd2kParts> {
  const { openEd2kNode, joinEd2kNetworks, kadNodesAt, readEd2kFiles } = await import('../transfer/ed2k.node.ts')
  await using stack = new AsyncDisposableStack()
  const clock = systemClock
  const host = tcpHost(config.listen)
  const identityPath = `${config.folders.data}/ed2k-identity.json`
  const node = stack.use(
    await withFreePorts(config, 'PORT_UNAVAILABLE', free =>
      openEd2kNode(
        { clock, log: log.child('ed2k'), gate, shares: sharesOf('ed2k') },
        { listen: { host, port: free ? 0 : config.ports.ed2k }, identityPath }
      )
    )
  )
  const { port, protocol } = node
  const named = readEd2kFiles(config.ed2k, log)
  const servers = [...config.ed2k.servers, ...named.servers]
  const kept = kadNodesAt(`${config.folders.state}/kad-nodes`)
  const bootstrap = [...new Set([...config.ed2k.kadBootstrap, ...(config.public.kad ? kept.load() : []), ...named.nodes])]
  const kad = hasKad(config) ? { host: ipv4Host(config.listen), port, bootstrap } : undefined
  const joinDeps = {
    clock,
    log: log.child('ed2k'),
    onStatus: protocol.setStatus.bind(protocol),
    saveNodes: (nodes: readonly string[]): void => {
      if (config.public.kad) kept.save(nodes)
    },
    connectTo: (peer: Ed2kPeer, trust: 'given' | 'found'): void => void protocol.connectTo(peer, trust)
  }
  const networks = stack.use(await joinEd2kNetworks(joinDeps, { servers, kad, userHash: protocol.userHash, listenPort: port }))
  protocol.setCaller(low => networks.callLowId(low))
  protocol.setReached(host => networks.reachedBy(host))
  const owned = stack.move()
  return { port, protocol, networks, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const entry = (name: string, port: number, extra: Uint8Array): OfferProtocol | undefined =>
  extra.length === 0 ? undefined : { name, port, extra }

/** Every info-hash under which a share is served. */
const hashesOf = ({ infoHash, infoHashV2, plainInfoHash }: ShareSummary): Uint8Array[] =>
  [infoHash, infoHashV2?.subarray(0, 20), plainInfoHash].filter(h => h !== undefined)

const split = (hashes: Uint8Array): Uint8Array[] =>
  hashes.length === 0 || hashes.length % 20 !== 0
    ? []
    : Array.from({ length: hashes.length / 20 }, (_, i) => hashes.subarray(20 * i, 20 * i + 20))

const together = (parts: readonly AsyncDisposable[]): AsyncDisposable => ({
  [Symbol.asyncDispose]: async () => void (await Promise.all(parts.map(p => p[Symbol.asyncDispose]())))
})

type WebMagnet = Parameters<OpenedRtc['protocol']['fetchMetainfo']>[0]
/** What is known of a torrent before its swarm is joined. */
type WebTorrentOf = Parameters<OpenedRtc['protocol']['openSwarm']>[0]['torrent']

/** Something that is still being opened. */
function later(opening: Promise<AsyncDisposable>, log: Logger): AsyncDisposable {
  const opened = opening.catch(error => void log.warn('a network could not be joined', { code: codeOf(error) }))
  return { [Symbol.asyncDispose]: async () => void (await (await opened)?.[Symbol.asyncDispose]()) }
}
