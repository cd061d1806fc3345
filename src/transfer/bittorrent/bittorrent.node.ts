/** BitTorrent as the rest of `transfer` sees it: one object that serves shares, opens sources and (swarm.node.ts) joins swarms. */
import { KithError } from '../../base/errors.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import { checkEndpoint } from '../address-filter.ts'
import { type Grid, makeGrid } from '../grid.ts'
import type { ProbeOptions } from '../http/probe.node.ts'
import { type HttpProtocol, httpProtocol } from '../http/source.node.ts'
import { type Mainline, type MainlineOptions, openMainline } from '../mainline/mainline.node.ts'
import type { Endpoint, Source, TransferProtocol } from '../protocol.ts'
import type { ListenerOptions } from '../tcp/capped-listener.node.ts'
import { openAnnouncer } from './announcer.node.ts'
import type { EncryptionMode } from './encryption.ts'
import { type Finders, openFinders } from './finders.node.ts'
import { type HubDeps, PeerHub } from './hub.node.ts'
import { READY_MS } from './limits.ts'
import { openListener } from './listener.node.ts'
import { type Lsd, type LsdOptions, openLsd } from './lsd.node.ts'
import type { Magnet } from './magnet.ts'
import { type MetadataDeps, MetadataFetch } from './metadata.node.ts'
import type { Metainfo } from './metainfo.ts'
import { PeerExchange } from './pex-exchange.ts'
import type { PeerSession } from './session.node.ts'
import { PeerSource } from './source.node.ts'
import { Swarm } from './swarm.node.ts'
import type { AddressTrust, CheckAddress } from './tracker.node.ts'
import type { PeerAddress } from './urls.ts'
import { openWebSeeds } from './web-seed.node.ts'

export interface BitTorrentDeps extends Omit<HubDeps, 'encryption' | 'exchange' | 'dht'> {
  /** Rules for addresses that trackers, links and peers name: by default only public ones, unless the user gave the address. */
  readonly checkAddress?: CheckAddress
  /** Fetches from web seeds; one of its own by default. */
  readonly http?: HttpProtocol
  /** How web seeds are probed: proxy, certificate authorities. */
  readonly probe?: ProbeOptions
  /** Given nodes of the DHT on disposal, for the next start's `bootstrap`. */
  readonly saveNodes?: (nodes: readonly string[]) => void
}

const checkByFilter: CheckAddress = (host, port, trust) => {
  const given = trust === 'given'
  return resolveAndCheck(host, port, { allowPrivate: given, allowLoopback: given })
}

/** Where peers of a torrent are looked for. */
export interface PeerHints {
  readonly trackers?: readonly string[]
  readonly peers?: readonly PeerAddress[]
  /** URLs of HTTP servers that have the file (BEP 19). */
  readonly webSeeds?: readonly string[]
  /** Who named them: 'given' when the user typed or configured them, 'found' (the default) when a torrent or link did. */
  readonly trust?: AddressTrust
}

export interface SwarmRequest extends PeerHints {
  /** `info` is what peers get who ask for the metadata. */
  readonly torrent: Pick<Metainfo, 'infoHash' | 'size' | 'pieceLength'> &
    Partial<Pick<Metainfo, 'private' | 'trackerTiers' | 'webSeeds' | 'name' | 'multiFile' | 'files'>> & {
      readonly info: Uint8Array | undefined
    }
  /** More hints of another trust. */
  readonly also?: PeerHints
  /** The grid of a download that others bring sources for, too: a peer that they use is not used again. */
  readonly download?: Grid | undefined
  /** Bytes that are still missing, for trackers. */
  left(): number
  /** Takes ownership of each source, as for `openSource`. */
  onSource(source: Source): void
  /** One line for the user: a web seed that cannot be used. */
  note?(text: string): void
}

/** Where a torrent that is here is announced. */
export interface AnnounceTo {
  /** Trackers that the user named. */
  readonly given?: readonly string[]
  /** Trackers that the torrent named: each on its own, and those of `tiers` one at a time (BEP 12). */
  readonly found?: readonly string[]
  readonly tiers?: readonly (readonly string[])[] | undefined
  /** BEP 27. */
  readonly private?: boolean
}

export interface BitTorrentOptions {
  /** undefined: nobody can connect to us. */
  readonly listen?: Partial<ListenerOptions> | undefined
  /** "allowed" unless it is said. */
  readonly encryption?: EncryptionMode | undefined
  /** A node of the DHT. Left out: none. Without a port it takes the listener's number, or a free one. */
  readonly dht?: MainlineOptions | undefined
  /** Local service discovery, which joins a multicast group; off unless it is said, and without a listener. */
  readonly lsd?: boolean | LsdOptions | undefined
  /** Peer exchange; on unless it is said. */
  readonly pex?: boolean | undefined
}

/** Starts BitTorrent: it serves `deps.shares` from the moment this resolves. @throws PORT_UNAVAILABLE */
export async function openBitTorrent(deps: BitTorrentDeps, options: BitTorrentOptions = {}): Promise<BitTorrent> {
  await using stack = new AsyncDisposableStack()
  const exchange = options.pex === false ? undefined : stack.use(new PeerExchange<PeerSession>(deps.clock))
  let dht: Mainline | undefined
  const hubDeps = { ...deps, encryption: options.encryption ?? 'allowed', dht: () => dht, ...(exchange ? { exchange } : {}) }
  const hub = stack.use(new PeerHub(hubDeps))
  if (options.listen) stack.use(await openListener(hub, options.listen))
  if (options.dht) dht = stack.use(await openDht(deps, { host: dhtHost(options.listen?.host), ...options.dht }, hub.listenPort))
  const lsdOptions = options.lsd === true ? {} : options.lsd
  const lsd = lsdOptions && hub.listenPort > 0 ? await tryLsd(deps, hub.listenPort, lsdOptions) : undefined
  if (lsd) stack.use(lsd)
  const http = deps.http ?? stack.use(httpProtocol(deps))
  return new BitTorrent({ ...deps, checkAddress: deps.checkAddress ?? checkByFilter, http }, { hub, dht, lsd, exchange }, stack.move())
}

/** "::" takes connections of both kinds, but a DHT node is of one: the larger network. */
const dhtHost = (host = '0.0.0.0'): string => (host === '::' ? '0.0.0.0' : host)

/** A machine without a network has no group to join: that is no reason not to start. */
async function tryLsd(deps: BitTorrentDeps, listenPort: number, options: LsdOptions): Promise<Lsd | undefined> {
  try {
    return await openLsd(deps, listenPort, options)
  } catch (error) {
    deps.log.warn('local service discovery is off: its group cannot be joined', { error })
    return undefined
  }
}

/** Other programs expect the DHT at the number of the listener. @throws PORT_UNAVAILABLE */
async function openDht(deps: BitTorrentDeps, options: MainlineOptions, listenPort: number): Promise<Mainline> {
  const { clock, log, checkAddress, saveNodes } = deps
  const mainlineDeps = {
    clock,
    log,
    ...(saveNodes ? { saveNodes } : {}),
    ...(checkAddress ? { checkAddress: (host: string, port: number) => checkAddress(host, port, 'given') } : {})
  }
  if (options.port !== undefined) return await openMainline(mainlineDeps, options)
  return await openMainline(mainlineDeps, { ...options, port: listenPort }).catch(() => openMainline(mainlineDeps, { ...options, port: 0 }))
}

/** What a BitTorrent is made of. */
interface Parts {
  readonly hub: PeerHub
  readonly dht: Mainline | undefined
  readonly lsd: Lsd | undefined
  readonly exchange: PeerExchange<PeerSession> | undefined
}

export class BitTorrent implements TransferProtocol {
  readonly name = 'bittorrent'
  readonly #deps: BitTorrentDeps & { readonly checkAddress: CheckAddress; readonly http: HttpProtocol }
  readonly #parts: Parts
  readonly #hub: PeerHub
  readonly #stack: AsyncDisposableStack

  /** Use `openBitTorrent`. */
  constructor(
    deps: BitTorrentDeps & { readonly checkAddress: CheckAddress; readonly http: HttpProtocol },
    parts: Parts,
    stack: AsyncDisposableStack
  ) {
    this.#deps = deps
    this.#parts = parts
    this.#hub = parts.hub
    this.#stack = stack
  }

  /** Our node of the DHT, when there is one. */
  get dht(): Mainline | undefined {
    return this.#parts.dht
  }
  /** Port that peers can connect to; 0 when there is none. */
  get port(): number {
    return this.#hub.listenPort
  }

  /**
   * Connects to one seeder. `endpoint.extra` is the info-hash. Resolves when the peer has unchoked us, or after two seconds as it is.
   * @throws SOURCE_LOST, SOURCE_LIED, FORBIDDEN_ADDRESS, URL_FORBIDDEN
   */
  async openSource(endpoint: Endpoint, signal: AbortSignal): Promise<Source> {
    const { host, port, grid, ticket, seeder, extra } = endpoint
    checkEndpoint(host, port)
    if (extra.length === 0 || extra.length % 20 !== 0) throw new KithError('SOURCE_LIED', 'the offer has no info-hash')
    const infoHash = extra.subarray(0, 20) // the others are for programs that cannot read a hybrid
    const session = await this.#hub.dial({ host, port }, { infoHash, grid, ticket, download: grid, isOffered: true }, signal)
    // Found in a swarm before its offer was used: from now on what it gives is its own, and counted once.
    for (const twin of this.#hub.twinsOf(session).filter(t => !t.torrent.isOffered))
      twin.wire.close(new KithError('SOURCE_LOST', 'the seeder is used by its offer'))
    const source = new PeerSource({ session, grid, clock: this.#deps.clock, seeder, release: () => session[Symbol.asyncDispose]() })
    const late = new AbortController()
    try {
      await Promise.race([source.ready, this.#deps.clock.sleep(READY_MS, AbortSignal.any([signal, late.signal])).catch(() => {})])
    } finally {
      late.abort()
    }
    if (!source.error && !signal.aborted) return source
    await source[Symbol.asyncDispose]()
    throw source.error ?? new KithError('SOURCE_LOST', 'opening was given up')
  }

  /**
   * Joins the swarm of a torrent: announces it, dials peers, and takes those that connect to us. Peers come as sources; chunks are the
   * torrent's pieces. The swarm is left when the result is disposed, which ends its sources.
   */
  openSwarm(request: SwarmRequest): AsyncDisposable & Pick<Swarm, 'add' | 'connected'> {
    const { torrent, left, onSource, also = {} } = request
    const grid = makeGrid(torrent.size, torrent.pieceLength)
    const { infoHash, info, private: isPrivate = false, trackerTiers: tiers } = torrent
    const ownAddress = (): PeerAddress | undefined => this.#ownAddress()
    const swarm = new Swarm(
      { ...this.#deps, hub: this.#hub, ownAddress, onSource },
      { infoHash, grid, info, private: isPrivate, download: request.download }
    )
    const onPeers = (found: Iterable<PeerAddress>, t: AddressTrust): void => swarm.add(found, t)
    const parts: (AsyncDisposable | Disposable)[] = [request, also].map(({ trackers = [], peers = [], trust = 'found' }) => {
      swarm.add(peers, trust)
      const tiered = trust === 'found' ? tiers : undefined
      return this.#announce({ infoHash, trackers: trackers.filter(t => !tiered?.flat().includes(t)), tiers: tiered, trust, left, onPeers })
    })
    // BEP 27: the tracker decides who may take part, so nobody else is asked and nobody is told.
    if (!isPrivate) parts.push(openFinders(this.#finders, { infoHash, announce: true, onPeers }))
    const { exchange } = this.#parts
    if (exchange && !isPrivate) parts.push(exchange.listen(infoHash, (peers, session) => swarm.addFrom(session, peers)))
    return {
      add: (more, t) => swarm.add(more, t),
      get connected() {
        return swarm.connected
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([...parts, swarm].map(part => (Symbol.dispose in part ? part[Symbol.dispose]() : part[Symbol.asyncDispose]())))
      }
    }
  }

  /** Keeps a share announced until disposed: at these trackers, if any, in the DHT and on the local network. */
  announceShare(infoHash: Uint8Array, trackers: readonly string[], trust: AddressTrust): AsyncDisposable {
    return this.announceTorrent(infoHash, { [trust]: trackers })
  }

  /** The same for a torrent that others made. What is private is told to its trackers only. */
  announceTorrent(infoHash: Uint8Array, { given = [], found = [], tiers, private: isPrivate = false }: AnnounceTo): AsyncDisposable {
    const known = this.#hub.encryption.know(infoHash)
    const left = (): number => 0
    const parts = [
      this.#announce({ infoHash, trackers: given, trust: 'given', left }),
      this.#announce({ infoHash, trackers: found, tiers, trust: 'found', left })
    ]
    if (!isPrivate) parts.push(openFinders(this.#finders, { infoHash, announce: true }))
    return {
      [Symbol.asyncDispose]: async () => {
        known[Symbol.dispose]()
        await Promise.all(parts.map(part => part[Symbol.asyncDispose]()))
      }
    }
  }

  /**
   * Finds peers of a magnet link and fetches its metadata from them. Waits until a peer gives it or `signal` aborts.
   * @throws METADATA_FAILED, BAD_TORRENT, BENCODE_ERROR
   */
  async fetchMetainfo(magnet: Magnet, hints: PeerHints, signal: AbortSignal): Promise<Metainfo> {
    await using stack = new AsyncDisposableStack()
    const { clock, log, checkAddress } = this.#deps
    const connect: MetadataDeps['connect'] = async (peer, trust, torrent, soon) =>
      this.#hub.dial({ host: await checkAddress(peer.host, peer.port, trust), port: peer.port }, torrent, soon)
    const fetch = stack.use(new MetadataFetch({ clock, log, connect }, magnet))
    const onPeers = (found: readonly PeerAddress[], t: AddressTrust): void => fetch.add(found, t)
    const announce = (trackers: readonly string[], trust: AddressTrust): AsyncDisposable =>
      this.#announce({ infoHash: magnet.infoHash, trackers, trust, left: () => 1, onPeers })
    stack.use(announce(magnet.trackers, 'found'))
    stack.use(openFinders(this.#finders, { infoHash: magnet.infoHash, announce: false, onPeers }))
    stack.use(announce(hints.trackers ?? [], hints.trust ?? 'found'))
    fetch.add(hints.peers ?? [], hints.trust ?? 'found')
    fetch.add(magnet.peers, 'found')
    return await fetch.within(signal)
  }

  get #finders(): Finders {
    return { dht: this.#parts.dht, lsd: this.#parts.lsd, port: this.#hub.listenPort }
  }

  #ownAddress(): PeerAddress | undefined {
    const host = this.#parts.dht?.publicAddress ?? this.#parts.exchange?.votes.address
    return host === undefined ? undefined : { host, port: this.#hub.listenPort }
  }

  /** Fetches from the HTTP servers that the torrent, its link or the user named (BEP 19), until disposed. */
  openWebSeeds(request: SwarmRequest): AsyncDisposable {
    const { torrent, also, onSource } = request
    const grid = makeGrid(torrent.size, torrent.pieceLength)
    const { name = '', multiFile = false, files = [], webSeeds = [] } = torrent
    const byUrl = new Map<string, AddressTrust>()
    for (const { webSeeds: urls = [], trust = 'found' } of [{ webSeeds }, request, also ?? {}])
      for (const url of urls) byUrl.set(url, trust)
    const urls = [...byUrl].map(([url, trust]) => ({ url, trust }))
    const note = request.note && ((text: string): void => request.note?.(text))
    const { clock, log, http, probe } = this.#deps
    return openWebSeeds(
      { clock, log, http, probe, onSource, ...(note ? { note } : {}) },
      { urls, torrent: { ...torrent, name, multiFile, files }, grid }
    )
  }

  #announce(options: Parameters<typeof openAnnouncer>[1]): AsyncDisposable {
    return openAnnouncer({ ...this.#deps, peerId: this.#hub.peerId, port: this.#hub.listenPort }, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}
