/**
 * WebTorrent as the rest of `transfer` sees it: BitTorrent's messages over WebRTC data channels. It serves shares to whoever comes with
 * their info-hash, opens sources to peers that have no reachable port, and joins swarms at WebSocket trackers.
 */
import { bytesToHex } from '../../base/bytes.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import type { AddressPolicy } from '../address-filter.ts'
import { type DialTorrent, type HubDeps, PeerHub } from '../bittorrent/hub.node.ts'
import { METADATA_PEERS, READY_MS } from '../bittorrent/limits.ts'
import type { Magnet } from '../bittorrent/magnet.ts'
import { type MetadataDeps, MetadataFetch } from '../bittorrent/metadata.node.ts'
import type { Metainfo } from '../bittorrent/metainfo.ts'
import type { PeerSession } from '../bittorrent/session.node.ts'
import { PeerSource } from '../bittorrent/source.node.ts'
import type { AddressTrust, CheckAddress } from '../bittorrent/tracker.node.ts'
import { makeGrid } from '../grid.ts'
import type { Endpoint, Source, TransferProtocol } from '../protocol.ts'
import { Acceptor, dialOver } from './acceptor.node.ts'
import { RtcAnnouncer, type RtcAnnouncerOptions } from './announcer.node.ts'
import type { RtcConnection, RtcOptions } from './connection.node.ts'
import { type IceServer, readIceServers } from './ice-servers.ts'
import { type LoadRtc, loadRtc } from './library.node.ts'
import { MAX_PENDING_ANSWERS, MAX_WS_TRACKERS } from './limits.ts'
import { RtcPool } from './pool.node.ts'
import type { Signalling } from './signalling.ts'
import { RtcSwarm } from './swarm.node.ts'
import { TrackerLink } from './tracker-link.node.ts'

export interface WebTorrentDeps extends Omit<HubDeps, 'protocol'> {
  /** Without it only trackers bring peers together. */
  readonly signalling?: Signalling | undefined
  /** Rules for the addresses of trackers: by default only public ones, unless the user gave the address. */
  readonly checkAddress?: CheckAddress | undefined
  /** Brings the native library; the installed one unless it is given. */
  readonly load?: LoadRtc | undefined
  readonly random?: () => number
}

export interface WebTorrentOptions extends Omit<RtcOptions, 'iceServers'> {
  readonly iceServers?: readonly IceServer[]
}

/** WebSocket trackers, and who named them. */
export interface RtcHints {
  readonly trackers?: readonly string[]
  /** 'given' when the user typed or configured them, 'found' (the default) when a torrent or link did. */
  readonly trust?: AddressTrust
}

export interface RtcSwarmRequest extends RtcHints {
  /** `info` is what peers get who ask for the metadata. */
  readonly torrent: {
    readonly infoHash: Uint8Array
    readonly size: number
    readonly pieceLength: number
    readonly info: Uint8Array | undefined
  }
  /** More trackers of another trust. */
  readonly also?: RtcHints
  /** Bytes that are still missing, for trackers. */
  left(): number
  /** Takes ownership of each source, as for `openSource`. */
  onSource(source: Source): void
}

const checkByFilter: CheckAddress = (host, port, trust) => {
  const given = trust === 'given'
  return resolveAndCheck(host, port, { allowPrivate: given, allowLoopback: given })
}

/** Starts WebTorrent: it serves `deps.shares` from the moment this resolves. @throws WEBRTC_UNAVAILABLE, BAD_ICE_SERVER */
export async function openWebTorrent(deps: WebTorrentDeps, options: WebTorrentOptions = {}): Promise<WebTorrent> {
  const { iceServers = [], ...rest } = options
  const servers = readIceServers(iceServers)
  await loadRtc(deps.load)
  await using stack = new AsyncDisposableStack()
  const pool = stack.use(new RtcPool(deps, { ...rest, iceServers: servers }))
  const hub = stack.use(new PeerHub({ ...deps, protocol: 'webtorrent' }))
  return new WebTorrent(deps, { pool, hub }, stack.move())
}

export class WebTorrent implements TransferProtocol {
  readonly name = 'webtorrent'
  readonly #deps: WebTorrentDeps
  readonly #pool: RtcPool
  readonly #hub: PeerHub
  readonly #acceptor: Acceptor
  readonly #stack: AsyncDisposableStack
  /** Swarms by info-hash: offers for them are answered. */
  readonly #swarms = new Map<string, RtcSwarm>()
  readonly #links = new Map<string, TrackerLink>()

  constructor(deps: WebTorrentDeps, { pool, hub }: { readonly pool: RtcPool; readonly hub: PeerHub }, stack: AsyncDisposableStack) {
    this.#deps = deps
    this.#pool = pool
    this.#hub = hub
    this.#stack = stack
    const knows = (infoHash: Uint8Array): boolean => {
      const hex = bytesToHex(infoHash)
      return this.#swarms.has(hex) || deps.shares.byInfoHash(hex) !== undefined
    }
    this.#acceptor = stack.use(new Acceptor({ clock: deps.clock, log: deps.log, pool, hub, knows }))
    if (deps.signalling) stack.use(this.#serveSignalling(deps.signalling))
  }

  /**
   * Connects to one seeder by way of `endpoint.peerId`; `endpoint.extra` is the info-hash. Its host and port are not used. Resolves when the
   * peer has unchoked us, or after two seconds as it is.
   * @throws SOURCE_LOST, SOURCE_BUSY, SOURCE_LIED
   */
  async openSource(endpoint: Endpoint, signal: AbortSignal): Promise<Source> {
    const { grid, ticket, seeder, extra: infoHash, peerId } = endpoint
    const { clock, signalling } = this.#deps
    if (infoHash.length !== 20) throw new KithError('SOURCE_LIED', 'the offer has no info-hash')
    if (!signalling || peerId === undefined) throw new KithError('SOURCE_LOST', 'there is no way to offer this peer a connection')
    const scope = signalling.scopeOf(peerId)
    const policy = policyOfScope(scope)
    const connection = await this.#pool.open(scope === 'loopback')
    try {
      const sdp = await connection.offer(policy, signal)
      const answer = await signalling.exchange(peerId, { infoHash, sdp }, signal)
      await connection.accept(answer.sdp, policy)
    } catch (error) {
      await connection[Symbol.asyncDispose]()
      throw asSignallingError(error)
    }
    const session = await dialOver(this.#hub, connection, { infoHash, grid, ticket }, signal)
    const source = new PeerSource({ session, grid, clock, seeder, release: () => session[Symbol.asyncDispose]() })
    const late = new AbortController()
    try {
      await Promise.race([source.ready, clock.sleep(READY_MS, AbortSignal.any([signal, late.signal])).catch(() => {})])
    } finally {
      late.abort()
    }
    if (!source.error && !signal.aborted) return source
    await source[Symbol.asyncDispose]()
    throw source.error ?? new KithError('SOURCE_LOST', 'opening was given up')
  }

  /**
   * Joins the swarm of a torrent at WebSocket trackers (ws, wss; others are left out). Peers come as sources; chunks are the torrent's
   * pieces. The swarm is left when the result is disposed, which ends its sources.
   */
  openSwarm(request: RtcSwarmRequest): AsyncDisposable & Pick<RtcSwarm, 'connected'> {
    const { torrent, left, onSource, also = {} } = request
    const { infoHash, info } = torrent
    const grid = makeGrid(torrent.size, torrent.pieceLength)
    const { clock, log } = this.#deps
    const swarm = new RtcSwarm({ clock, log, hub: this.#hub, onSource }, { infoHash, grid, info })
    const key = bytesToHex(infoHash)
    this.#swarms.set(key, swarm)
    const room = (): number => swarm.room
    const hungry = (): boolean => swarm.connected === 0 && left() > 0
    const announcing = [request, also].map(hints => this.#announce(infoHash, hints, { left, room, hungry, onAnswered: c => swarm.dial(c) }))
    return {
      get connected() {
        return swarm.connected
      },
      [Symbol.asyncDispose]: async () => {
        if (this.#swarms.get(key) === swarm) this.#swarms.delete(key)
        await Promise.all([...announcing, swarm].map(part => part[Symbol.asyncDispose]()))
      }
    }
  }

  /**
   * Finds peers of a magnet link at WebSocket trackers and fetches its metadata from them. Waits until one gives it or `signal` aborts.
   * @throws METADATA_FAILED, BAD_TORRENT, BENCODE_ERROR
   */
  async fetchMetainfo(magnet: Magnet, hints: readonly RtcHints[], signal: AbortSignal): Promise<Metainfo> {
    await using stack = new AsyncDisposableStack()
    const { clock, log } = this.#deps
    const connect: MetadataDeps['connect'] = async () => {
      throw new KithError('SOURCE_LOST', 'peers have no address here')
    }
    const fetch = stack.use(new MetadataFetch({ clock, log, connect }, magnet))
    const options = { left: () => 1, room: () => METADATA_PEERS, hungry: () => true }
    for (const h of hints) {
      const tasks = this.#announceDialling(magnet.infoHash, h, options, fetch.torrent, session => fetch.take(session))
      stack.use(tasks)
    }
    return await fetch.within(signal)
  }

  /** Keeps a share announced at WebSocket trackers until disposed. */
  announceShare(infoHash: Uint8Array, trackers: readonly string[], trust: AddressTrust): AsyncDisposable {
    const options = { left: () => 0, room: () => MAX_PENDING_ANSWERS, hungry: () => false }
    return this.#announceDialling(infoHash, { trackers, trust }, options, { infoHash, grid: undefined }, () => {})
  }

  /** Announces, and shakes hands with those who answer our offers. */
  #announceDialling(
    infoHash: Uint8Array,
    hints: RtcHints,
    options: Pick<RtcAnnouncerOptions, 'left' | 'room' | 'hungry'>,
    torrent: DialTorrent,
    onSession: (session: PeerSession) => void
  ): AsyncDisposable {
    const stop = new AbortController()
    const tasks = new Set<Promise<void>>()
    const onAnswered = (connection: RtcConnection): void => {
      const task = dialOver(this.#hub, connection, torrent, stop.signal).then(onSession, error =>
        this.#deps.log.debug('a WebRTC peer was not reached', { code: codeOf(error), error })
      )
      tasks.add(task)
      void task.finally(() => tasks.delete(task))
    }
    const announcing = this.#announce(infoHash, hints, { ...options, onAnswered })
    return {
      [Symbol.asyncDispose]: async () => {
        stop.abort()
        await announcing[Symbol.asyncDispose]()
        await Promise.all(tasks)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#links.values()].map(link => link[Symbol.asyncDispose]()))
    await this.#stack.disposeAsync()
  }

  #announce(
    infoHash: Uint8Array,
    hints: RtcHints,
    options: Pick<RtcAnnouncerOptions, 'left' | 'room' | 'hungry' | 'onAnswered'>
  ): AsyncDisposable {
    const { clock, log } = this.#deps
    const { trackers = [], trust = 'found' } = hints
    const urls = [...new Set(trackers)].filter(url => /^wss?:\/\//i.test(url) && URL.canParse(url)).slice(0, MAX_WS_TRACKERS)
    const announcers = urls.map(url => {
      const link = this.#link(url, trust)
      const answer: RtcAnnouncerOptions['answer'] = async ({ sdp, policy }, signal) =>
        this.#acceptor.answer({ infoHash, sdp, policy, caller: `tracker ${url}` }, signal)
      return {
        link,
        announcer: new RtcAnnouncer({ clock, log, pool: this.#pool, link, peerId: this.#hub.peerId }, { ...options, infoHash, answer })
      }
    })
    return {
      [Symbol.asyncDispose]: async () => {
        await Promise.all(announcers.map(a => a.announcer[Symbol.asyncDispose]()))
        await Promise.all(announcers.map(a => this.#leave(a.link)))
      }
    }
  }

  /** The link to a tracker, shared by torrents whose trackers were named by the same kind of people. */
  #link(url: string, trust: AddressTrust): TrackerLink {
    const key = `${trust} ${url}`
    const known = this.#links.get(key)
    if (known) return known
    const { clock, log, checkAddress = checkByFilter, random = Math.random } = this.#deps
    const link = new TrackerLink({ clock, log, checkAddress, random }, url, trust)
    this.#links.set(key, link)
    return link
  }

  async #leave(link: TrackerLink): Promise<void> {
    if (!link.idle) return
    for (const [key, known] of this.#links) if (known === link) this.#links.delete(key)
    await link[Symbol.asyncDispose]()
  }

  #serveSignalling(signalling: Signalling): Disposable {
    return signalling.handle(async ({ infoHash, sdp }, peerId, signal) => {
      const scope = signalling.scopeOf(peerId)
      const offer = { infoHash, sdp, caller: `rpc ${peerId}`, policy: policyOfScope(scope), sameMachine: scope === 'loopback' }
      return { sdp: await this.#acceptor.answer(offer, signal) }
    })
  }
}

const policyOfScope = (scope: ReturnType<Signalling['scopeOf']>): AddressPolicy => ({
  allowPrivate: scope !== 'public',
  allowLoopback: scope === 'loopback'
})

/** What `openSource` says of a failed exchange: a peer that is not there, or is busy. */
function asSignallingError(error: unknown): KithError {
  const code = codeOf(error)
  if (error instanceof KithError && (code.startsWith('SOURCE_') || code === 'WEBRTC_UNAVAILABLE')) return error
  const refused = error instanceof KithError && code === 'PEER_REFUSED' ? error.data['code'] : code
  const busy = refused === 'RATE_LIMITED' || refused === 'SOURCE_BUSY'
  const lied = code.startsWith('WIRE_') || code === 'BAD_SDP' || code === 'PEER_PROTOCOL'
  const as = busy ? 'SOURCE_BUSY' : lied ? 'SOURCE_LIED' : 'SOURCE_LOST'
  return new KithError(as, 'the peer did not answer the offer of a connection', { code: String(refused) }, { cause: error })
}
