/** BitTorrent as the rest of `transfer` sees it: one object that serves shares, opens sources and (swarm.node.ts) joins swarms. */
import { KithError } from '../../base/errors.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import { makeGrid } from '../grid.ts'
import type { Endpoint, Source, TransferProtocol } from '../protocol.ts'
import { openAnnouncer } from './announcer.node.ts'
import type { EncryptionMode } from './encryption.ts'
import { type HubDeps, PeerHub } from './hub.node.ts'
import { READY_MS } from './limits.ts'
import { type ListenerOptions, openListener } from './listener.node.ts'
import type { Magnet } from './magnet.ts'
import { MetadataFetch } from './metadata.node.ts'
import type { Metainfo } from './metainfo.ts'
import { PeerSource } from './source.node.ts'
import { Swarm } from './swarm.node.ts'
import type { AddressTrust, CheckAddress } from './tracker.node.ts'
import type { PeerAddress } from './urls.ts'

export interface BitTorrentDeps extends Omit<HubDeps, 'encryption'> {
  /** Rules for addresses that trackers, links and peers name: by default only public ones, unless the user gave the address. */
  readonly checkAddress?: CheckAddress
}

const checkByFilter: CheckAddress = (host, port, trust) => {
  const given = trust === 'given'
  return resolveAndCheck(host, port, { allowPrivate: given, allowLoopback: given })
}

/** Where peers of a torrent are looked for. */
export interface PeerHints {
  readonly trackers?: readonly string[]
  readonly peers?: readonly PeerAddress[]
  /** Who named them: 'given' when the user typed or configured them, 'found' (the default) when a torrent or link did. */
  readonly trust?: AddressTrust
}

export interface SwarmRequest extends PeerHints {
  /** `info` is what peers get who ask for the metadata. */
  readonly torrent: Pick<Metainfo, 'infoHash' | 'size' | 'pieceLength'> & { readonly info: Uint8Array | undefined }
  /** More hints of another trust. */
  readonly also?: PeerHints
  /** Bytes that are still missing, for trackers. */
  left(): number
  /** Takes ownership of each source, as for `openSource`. */
  onSource(source: Source): void
}

export interface BitTorrentOptions {
  /** undefined: nobody can connect to us. */
  readonly listen?: ListenerOptions | undefined
  /** "allowed" unless it is said. */
  readonly encryption?: EncryptionMode | undefined
}

/** Starts BitTorrent: it serves `deps.shares` from the moment this resolves. @throws PORT_UNAVAILABLE */
export async function openBitTorrent(deps: BitTorrentDeps, options: BitTorrentOptions = {}): Promise<BitTorrent> {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(new PeerHub({ ...deps, encryption: options.encryption ?? 'allowed' }))
  if (options.listen) stack.use(await openListener(hub, options.listen))
  return new BitTorrent(deps, hub, stack.move())
}

export class BitTorrent implements TransferProtocol {
  readonly name = 'bittorrent'
  readonly #deps: BitTorrentDeps & { readonly checkAddress: CheckAddress }
  readonly #hub: PeerHub
  readonly #stack: AsyncDisposableStack

  constructor(deps: BitTorrentDeps, hub: PeerHub, stack: AsyncDisposableStack) {
    this.#deps = { ...deps, checkAddress: deps.checkAddress ?? checkByFilter }
    this.#hub = hub
    this.#stack = stack
  }

  /** Port that peers can connect to; 0 when there is none. */
  get port(): number {
    return this.#hub.listenPort
  }

  /**
   * Connects to one seeder. `endpoint.extra` is the info-hash. Resolves when the peer has unchoked us, or after two seconds as it is.
   * @throws SOURCE_LOST, SOURCE_LIED
   */
  async openSource(endpoint: Endpoint, signal: AbortSignal): Promise<Source> {
    const { host, port, grid, ticket, seeder, extra: infoHash } = endpoint
    if (infoHash.length !== 20) throw new KithError('SOURCE_LIED', 'the offer has no info-hash')
    const session = await this.#hub.dial({ host, port }, { infoHash, grid, ticket }, signal)
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
    const { infoHash, info } = torrent
    const swarm = new Swarm({ ...this.#deps, hub: this.#hub, onSource }, { infoHash, grid, info })
    const announcers = [request, also].map(({ trackers = [], peers = [], trust = 'found' }) => {
      swarm.add(peers, trust)
      return this.#announce({ infoHash, trackers, trust, left, onPeers: (found, t) => swarm.add(found, t) })
    })
    return {
      add: (more, t) => swarm.add(more, t),
      get connected() {
        return swarm.connected
      },
      [Symbol.asyncDispose]: async () => {
        await Promise.all([...announcers, swarm].map(part => part[Symbol.asyncDispose]()))
      }
    }
  }

  /** Keeps a share announced at trackers until disposed. */
  announceShare(infoHash: Uint8Array, trackers: readonly string[], trust: AddressTrust): AsyncDisposable {
    const known = this.#hub.encryption.know(infoHash)
    const announcer = this.#announce({ infoHash, trackers, trust, left: () => 0 })
    return {
      [Symbol.asyncDispose]: async () => {
        known[Symbol.dispose]()
        await announcer[Symbol.asyncDispose]()
      }
    }
  }

  /**
   * Finds peers of a magnet link and fetches its metadata from them. Waits until a peer gives it or `signal` aborts.
   * @throws METADATA_FAILED, BAD_TORRENT, BENCODE_ERROR
   */
  async fetchMetainfo(magnet: Magnet, hints: PeerHints, signal: AbortSignal): Promise<Metainfo> {
    await using stack = new AsyncDisposableStack()
    const fetch = stack.use(new MetadataFetch({ ...this.#deps, hub: this.#hub }, magnet))
    const onPeers = (found: readonly PeerAddress[], t: AddressTrust): void => fetch.add(found, t)
    const announce = (trackers: readonly string[], trust: AddressTrust): AsyncDisposable =>
      this.#announce({ infoHash: magnet.infoHash, trackers, trust, left: () => 1, onPeers })
    stack.use(announce(magnet.trackers, 'found'))
    stack.use(announce(hints.trackers ?? [], hints.trust ?? 'found'))
    fetch.add(hints.peers ?? [], hints.trust ?? 'found')
    fetch.add(magnet.peers, 'found')
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(new KithError('METADATA_FAILED', 'no peer gave the metadata of this magnet link in time'))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([fetch.found, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #announce(options: Parameters<typeof openAnnouncer>[1]): AsyncDisposable {
    return openAnnouncer({ ...this.#deps, peerId: this.#hub.peerId, port: this.#hub.listenPort }, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}
