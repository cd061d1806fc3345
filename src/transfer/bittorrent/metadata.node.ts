/**
 * Fetches the info dictionary of a magnet link from peers (BEP 9), several at a time; the first whose hashes are right wins. Of a torrent
 * with v2 the same peer is asked for the piece layers: without them one of v2 alone cannot be checked, and a hybrid only by SHA-1, so for
 * a moment others are asked before that has to do.
 */
import { sha1, sha256 } from '#hash'
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { encodeMetadata, type MetadataMessage } from './extensions.ts'
import { missingLayers } from './file-tree.ts'
import { fetchLayers } from './hashes-fetch.node.ts'
import { asSourceError, type DialTorrent } from './hub.node.ts'
import { KnownPeers } from './known-peers.ts'
import {
  MAX_BENCODE_BYTES,
  MAX_METADATA_RETRY_MS,
  METADATA_DIALS,
  METADATA_MS,
  METADATA_PEERS,
  METADATA_PIECE_BYTES,
  METADATA_RETRY_MS,
  TREES_MS
} from './limits.ts'
import { hasV1, type Magnet } from './magnet.ts'
import { type Block, protocolError } from './messages.ts'
import { isTorrentError, type Metainfo, parseInfo } from './metainfo.ts'
import type { PeerSession, SessionReader } from './session.node.ts'
import { badTorrent } from './torrent-text.ts'
import type { AddressTrust } from './tracker.node.ts'
import { formatPeerAddress, type PeerAddress } from './urls.ts'

export interface MetadataDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Connects to a peer that was `add`ed, after a look at its address. */
  connect(peer: PeerAddress, trust: AddressTrust, torrent: DialTorrent, signal: AbortSignal): Promise<PeerSession>
}

/** A second connection to the same peer. */
type Reconnect = (torrent: DialTorrent) => Promise<PeerSession>

/** Requests in flight at one peer. */
const AHEAD = 8

interface Candidate {
  readonly peer: PeerAddress
  readonly trust: AddressTrust
  /** Times it was dialled without success. */
  readonly failures: number
}

/** Asks peers as they are added until one has given the info dictionary. */
export class MetadataFetch implements AsyncDisposable {
  readonly #deps: MetadataDeps
  readonly #magnet: Magnet
  readonly #stop = new AbortController()
  readonly #found = Promise.withResolvers<Metainfo>()
  readonly #known = new KnownPeers()
  readonly #queue: Candidate[] = []
  readonly #tasks = new Set<Promise<void>>()
  /** A hybrid whose trees nobody gave yet. */
  #withoutTrees: Metainfo | undefined
  #workers = 0

  constructor(deps: MetadataDeps, magnet: Magnet) {
    this.#deps = deps
    this.#magnet = magnet
    this.#found.promise.catch(() => {})
  }

  /** The torrent, proven by the hashes in the link. Rejects with METADATA_FAILED on disposal, BAD_TORRENT or BENCODE_ERROR. */
  get found(): Promise<Metainfo> {
    return this.#found.promise
  }

  /** `found`, until `signal` aborts. @throws METADATA_FAILED, BAD_TORRENT, BENCODE_ERROR */
  async within(signal: AbortSignal): Promise<Metainfo> {
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(new KithError('METADATA_FAILED', 'no peer gave the metadata of this magnet link in time'))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([this.found, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** What the connections that bring metadata are about. */
  get torrent(): DialTorrent {
    const { infoHash, infoHashV2 } = this.#magnet
    return { infoHash, infoHashV2, grid: undefined }
  }

  /** Asks a peer that is connected already. Owns the session. */
  take(session: PeerSession): void {
    const work = async (): Promise<void> => {
      await using asked = session
      try {
        if (!this.#stop.signal.aborted) await this.#read(asked, undefined)
      } catch (error) {
        this.#deps.log.debug('a peer gave no metadata', { peer: asked.wire.address, error })
      }
    }
    this.#track(work())
  }

  /** The queue is bounded by what one magnet and its trackers may name. */
  add(peers: Iterable<PeerAddress>, trust: AddressTrust): void {
    for (const peer of peers) {
      if (this.#stop.signal.aborted || !this.#known.take(peer, trust)) continue
      this.#queue.push({ peer, trust, failures: 0 })
    }
    this.#startWorkers()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#found.reject(new KithError('METADATA_FAILED', 'no peer gave the metadata of this magnet link'))
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }

  #startWorkers(): void {
    while (this.#workers < METADATA_PEERS && this.#queue.length > 0) {
      this.#workers++
      this.#track(
        this.#work().finally(() => {
          this.#workers--
          if (this.#workers === 0 && this.#queue.length === 0) this.#takeWithoutTrees() // nobody is left who could have them
        })
      )
    }
  }

  #takeWithoutTrees(): void {
    if (!this.#withoutTrees || this.#stop.signal.aborted) return
    this.#deps.log.debug('a hybrid is checked by SHA-1: no peer gave its trees', { name: this.#withoutTrees.name })
    this.#find(this.#withoutTrees)
  }

  #find(torrent: Metainfo): void {
    this.#found.resolve(torrent)
    this.#stop.abort()
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }

  async #work(): Promise<void> {
    for (let next = this.#queue.shift(); next && !this.#stop.signal.aborted; next = this.#queue.shift()) {
      try {
        await this.#ask(next)
      } catch (error) {
        this.#deps.log.debug('a peer gave no metadata', { peer: formatPeerAddress(next.peer), error })
        const again = codeOf(error) === 'SOURCE_LOST' && next.failures + 1 < METADATA_DIALS
        if (again) this.#track(this.#later({ ...next, failures: next.failures + 1 }))
      }
    }
  }

  async #ask({ peer, trust }: Candidate): Promise<void> {
    const connect: Reconnect = torrent => this.#deps.connect(peer, trust, torrent, this.#soon)
    await using session = await connect(this.torrent)
    await this.#read(session, connect)
  }

  get #soon(): AbortSignal {
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(METADATA_MS)])
  }

  /** @throws SOURCE_LOST, SOURCE_LIED */
  async #read(session: PeerSession, connect: Reconnect | undefined): Promise<void> {
    const info = await readMetadata(session, this.#magnet, this.#soon)
    try {
      await this.#complete(session, this.#parse(info), connect)
    } catch (error) {
      if (!isTorrentError(error)) throw error
      this.#found.reject(error) // everybody would give the same
      this.#stop.abort()
    }
  }

  /** @throws SOURCE_LOST, SOURCE_LIED when the peer gives no trees of a torrent that needs them */
  async #complete(session: PeerSession, torrent: Metainfo, connect: Reconnect | undefined): Promise<void> {
    if (!torrent.v2 || missingLayers(torrent.v2, torrent.pieceLength).length === 0) return this.#find(torrent)
    if (!torrent.pieces) return this.#find(await fetchLayers(session, torrent, this.#soon))
    if (!this.#withoutTrees) {
      this.#withoutTrees = torrent
      this.#track(
        this.#deps.clock.sleep(TREES_MS, this.#stop.signal).then(
          () => this.#takeWithoutTrees(),
          () => {}
        )
      )
    }
    if (session.remote.v2) return this.#find(await fetchLayers(session, torrent, this.#soon))
    if (!connect) return
    // A peer of the v1 swarm may be one of the v2 swarm, too: there it answers hash requests.
    await session[Symbol.asyncDispose]()
    await using again = await connect({ infoHash: torrent.v2.infoHash.slice(0, 20), infoHashV2: torrent.v2.infoHash, grid: undefined })
    this.#find(await fetchLayers(again, torrent, this.#soon))
  }

  /** A link names a torrent by one version's hash only if it has that version. */
  #parse(info: Uint8Array): Metainfo {
    const { trackers, webSeeds, infoHashV2 } = this.#magnet
    const torrent = parseInfo(info, trackers, webSeeds)
    if ((infoHashV2 && !torrent.v2) || (hasV1(this.#magnet) && !torrent.pieces)) throw badTorrent('it is of another version than its link')
    return torrent
  }

  /** A program that has just been started may not know its torrent yet. */
  async #later(candidate: Candidate): Promise<void> {
    const pauseMs = Math.min(MAX_METADATA_RETRY_MS, METADATA_RETRY_MS * 2 ** candidate.failures)
    await this.#deps.clock.sleep(pauseMs, this.#stop.signal).catch(() => {})
    if (this.#stop.signal.aborted) return
    this.#queue.push(candidate)
    this.#startWorkers()
  }
}

/** @throws SOURCE_LOST, SOURCE_LIED when the size is unacceptable or the hash is wrong */
export async function readMetadata(session: PeerSession, magnet: Magnet, signal: AbortSignal): Promise<Uint8Array> {
  const reader = new MetadataReader(session, magnet)
  const onAbort = (): void => session.wire.close(new KithError('SOURCE_LOST', 'the metadata did not come in time'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal.aborted) onAbort()
    return await reader.done
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

class MetadataReader implements SessionReader {
  readonly #session: PeerSession
  readonly #magnet: Magnet
  readonly #done = Promise.withResolvers<Uint8Array>()
  #bytes: Uint8Array | undefined
  #missing = new Set<number>()
  #asked = 0

  constructor(session: PeerSession, magnet: Magnet) {
    this.#session = session
    this.#magnet = magnet
    this.#done.promise.catch(() => {})
    session.reader = this
    if (session.wire.error) this.closed(session.wire.error)
    else this.extended()
  }

  get done(): Promise<Uint8Array> {
    return this.#done.promise
  }

  extended(): void {
    const h = this.#session.extended
    if (!h || this.#bytes) return
    if (h.metadataSize === undefined || h.ids.ut_metadata === undefined) return // it may say so later, when it has it
    if (h.metadataSize > MAX_BENCODE_BYTES) throw protocolError('the metadata is too large', { size: h.metadataSize })
    this.#bytes = new Uint8Array(h.metadataSize)
    this.#missing = new Set(Array(Math.ceil(h.metadataSize / METADATA_PIECE_BYTES)).keys())
    for (let i = 0; i < AHEAD; i++) this.#askNext()
  }

  /** Pieces may come in any order, each once, each of its exact length (threats BT6). */
  metadata(m: MetadataMessage): void {
    if (m.kind === 'reject') throw protocolError('the peer refuses to give the metadata')
    const bytes = this.#bytes
    if (m.kind !== 'data') return
    if (!bytes || !this.#missing.delete(m.piece)) throw protocolError('a piece of metadata that was not asked for', { piece: m.piece })
    const from = m.piece * METADATA_PIECE_BYTES
    if (m.totalSize !== bytes.length || m.data.length !== Math.min(METADATA_PIECE_BYTES, bytes.length - from))
      throw protocolError('a piece of metadata has the wrong length', { piece: m.piece })
    bytes.set(m.data, from)
    if (this.#missing.size > 0) this.#askNext()
    else if (isOf(this.#magnet, bytes)) this.#done.resolve(bytes)
    else throw protocolError('the metadata has the wrong hash')
  }

  choked(): void {}
  unchoked(): void {}
  gained(): void {}
  rejected(): void {}
  needs(): void {}
  readDone(): void {}
  block(_block: Block): never {
    throw protocolError('a block that was not asked for')
  }
  blockDone(): void {}
  closed(error: KithError): void {
    this.#done.reject(asSourceError(error))
  }

  #askNext(): void {
    const piece = this.#asked
    if (piece * METADATA_PIECE_BYTES >= this.#bytes!.length) return
    this.#asked++
    this.#session.sendExtension('ut_metadata', encodeMetadata({ kind: 'request', piece }))
  }
}

/** Every hash of the link is that of the info dictionary. */
const isOf = (magnet: Magnet, info: Uint8Array): boolean =>
  (!hasV1(magnet) || equalBytes(sha1(info), magnet.infoHash)) && (!magnet.infoHashV2 || equalBytes(sha256(info), magnet.infoHashV2))
