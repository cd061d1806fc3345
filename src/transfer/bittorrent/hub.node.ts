/**
 * All peer connections of this node: dials and accepts them, makes sessions of them, and knows which torrents it takes part in
 * (its shares, and downloads that have a swarm).
 */
import type { Socket } from 'node:net'
import { randomBytes } from '#crypto'
import { bytesToHex, concatBytes, equalBytes, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { Grid } from '../grid.ts'
import type { Share, ShareIndex, Ticket, UploadGate } from '../protocol.ts'
import { Encryption, type EncryptionMode } from './encryption.ts'
import { isCutOf } from './file-tree.ts'
import { HashServer } from './hashes-server.node.ts'
import { type Handshake, protocolError } from './messages.ts'
import { infosOfShare, parseInfo, type SharedInfo, shortPieces, v2HashOf } from './metainfo.ts'
import { PeerWire, type PeerWireOptions } from './peer.node.ts'
import { PeerSession, type SessionDht, type SessionExchange, type SessionTorrent } from './session.node.ts'
import { formatPeerAddress, type PeerAddress } from './urls.ts'

export interface HubDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
  /** What carries the connections, as the gate's figures and sources name it; "bittorrent" unless it is said. */
  readonly protocol?: string
  /** Our DHT node, once there is one. */
  readonly dht?: () => SessionDht | undefined
  /** Peer exchange; left out: it is off. */
  readonly exchange?: SessionExchange
  /** Of TCP connections; "allowed" unless it is said. */
  readonly encryption?: EncryptionMode
}

/** A download that also takes peers who connect to us. */
export interface Downloading {
  readonly infoHash: Uint8Array
  readonly grid: Grid
  readonly info: Uint8Array | undefined
  /** BEP 27: its peers are not told of each other. */
  readonly private?: boolean | undefined
  readonly download?: object | undefined
  /** Called with the session of a peer that connected to us. */
  onPeer(session: PeerSession): void
}

export interface DialTorrent {
  /** What our handshake names: v1, or v2 cut to 20 bytes. */
  readonly infoHash: Uint8Array
  /** All of the v2 info-hash, when it is known while `info` is not. */
  readonly infoHashV2?: Uint8Array | undefined
  readonly grid: Grid | undefined
  readonly info?: Uint8Array | undefined
  /** BEP 27; undefined: not known. */
  readonly private?: boolean | undefined
  readonly ticket?: Ticket | undefined
  /** The download that this is for: a peer that has the file under several info-hashes is used once. */
  readonly download?: object | undefined
  /** The peer is the seeder of an offer. */
  readonly isOffered?: boolean
}

/** What an info dictionary says of v2. */
interface InfoFacts {
  /** v2 info-hash: 32 bytes. */
  readonly v2?: Uint8Array | undefined
  readonly pieceBytes?: ReadonlyMap<number, number> | undefined
  /** There is no v1 half. */
  readonly onlyV2?: boolean
}

/** Client id in the style other programs show: "-KT0100-" and twelve random bytes. */
const PEER_ID_PREFIX = utf8('-KT0100-')

export class PeerHub implements AsyncDisposable {
  readonly peerId: Uint8Array = concatBytes(PEER_ID_PREFIX, randomBytes(12))
  /** Set by the listener. */
  listenPort: number = 0
  readonly encryption: Encryption
  readonly #deps: HubDeps
  readonly #wires = new Set<PeerWire>()
  readonly #sessions = new Set<PeerSession>()
  readonly #downloads = new Map<string, Downloading>()
  /** Info dictionaries that somebody asked about, by hex info-hash. */
  readonly #infosOfShare = new WeakMap<Share, Map<string, Uint8Array>>()
  readonly #factsOfInfo = new WeakMap<Uint8Array, InfoFacts>()
  readonly #hashes: HashServer
  #closed = false

  constructor(deps: HubDeps) {
    this.#deps = deps
    this.encryption = new Encryption(deps.clock, deps.encryption ?? 'allowed')
    this.#hashes = new HashServer(deps.clock)
  }

  /** Connects to a checked address and shakes hands. @throws SOURCE_LOST, SOURCE_LIED */
  async dial(address: PeerAddress, torrent: DialTorrent, signal: AbortSignal): Promise<PeerSession> {
    const { mode } = this.encryption
    let wire: PeerWire | undefined
    const connect = (encrypted: boolean): Promise<PeerSession> => {
      const more = encrypted ? this.encryption.outgoing(torrent.infoHash) : {}
      const open = async (options: PeerWireOptions): Promise<PeerWire> =>
        (wire = await PeerWire.dial(address.host, address.port, { ...options, ...more }, signal))
      return this.dialOver(formatPeerAddress(address), open, torrent, signal)
    }
    try {
      return await connect(mode === 'required')
    } catch (error) {
      // Hanging up on a plain handshake is how a peer says that it wants an encrypted one.
      if (mode !== 'allowed' || !wire?.refused || signal.aborted || this.#closed) throw error
      return await connect(true)
    }
  }

  /** Shakes hands over a connection that `connect` makes. @param address for logs and keys @throws SOURCE_LOST, SOURCE_LIED */
  async dialOver(
    address: string,
    connect: (options: PeerWireOptions) => PeerWire | Promise<PeerWire>,
    torrent: DialTorrent,
    signal: AbortSignal
  ): Promise<PeerSession> {
    if (this.#closed) throw new KithError('SOURCE_LOST', 'BitTorrent was closed')
    const v2 = torrent.infoHashV2 ?? this.#factsOf(torrent.info).v2
    const ready = Promise.withResolvers<PeerSession>()
    ready.promise.catch(() => {})
    const wire = await connect({
      clock: this.#deps.clock,
      address,
      incoming: false,
      onHandshake: (remote, w) => {
        const mayUpgrade = v2 !== undefined && isCutOf(remote.infoHash, v2)
        if (!mayUpgrade && !equalBytes(remote.infoHash, torrent.infoHash)) throw protocolError('the peer answers for another torrent')
        const session = this.#session(w, this.#torrent(torrent), remote)
        ready.resolve(session)
        return session
      }
    })
    this.#keep(wire)
    if (this.#closed) wire.close(new KithError('SOURCE_LOST', 'BitTorrent was closed')) // while it was dialling
    const onAbort = (): void => wire.close(new KithError('SOURCE_LOST', 'dialling was given up'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      wire.sendHandshake(this.#handshake(torrent.infoHash, v2))
      const session = await Promise.race([ready.promise, wire.ended])
      if (session && !wire.error) return session
      throw asSourceError(wire.error)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Takes a socket that connected to us; unknown torrents are closed at once. */
  accept(socket: Socket, address: string): PeerWire {
    const encryption = this.encryption.incoming(socket.remoteAddress ?? address)
    return this.acceptOver(address, options => PeerWire.accept(socket, { ...options, ...encryption }))
  }

  /** Takes a connection that somebody else began; unknown torrents are closed at once. */
  acceptOver(address: string, open: (options: PeerWireOptions) => PeerWire): PeerWire {
    const wire = open({
      clock: this.#deps.clock,
      address,
      incoming: true,
      onHandshake: (remote, w) => {
        const download = this.#downloads.get(bytesToHex(remote.infoHash))
        const torrent = this.#torrent(
          {
            infoHash: remote.infoHash,
            grid: download?.grid,
            info: download?.info,
            private: download && (download.private ?? false),
            download: download?.download
          },
          download?.infoHash
        )
        if (!torrent.grid) throw new KithError('SOURCE_LOST', 'a peer asks for a torrent that is not here')
        const { v2 } = this.#factsOf(torrent.info)
        // Who asks by v1 and says it knows v2 is answered with v2 (BEP 52, upgrade path): only then will it ask us for hashes.
        w.sendHandshake(this.#handshake(v2 && remote.v2 ? v2.subarray(0, 20) : remote.infoHash, v2))
        const session = this.#session(w, torrent, remote)
        download?.onPeer(session)
        return session
      }
    })
    this.#keep(wire)
    return wire
  }

  /** Peers that connect for this torrent, by either hash of a hybrid, are handed to `onPeer` until disposed. */
  register(download: Downloading): Disposable {
    const v2 = this.#factsOf(download.info).v2?.subarray(0, 20)
    const keys = [download.infoHash, ...(v2 ? [v2] : [])].map(bytesToHex)
    for (const key of keys) this.#downloads.set(key, download)
    const known = [download.infoHash, ...(v2 ? [v2] : [])].map(hash => this.encryption.know(hash))
    return {
      [Symbol.dispose]: () => {
        for (const k of known) k[Symbol.dispose]()
        for (const key of keys) if (this.#downloads.get(key) === download) this.#downloads.delete(key)
      }
    }
  }

  /** Connections to the same peer for the same download: it has the file under several info-hashes. */
  twinsOf(session: PeerSession): PeerSession[] {
    const { download } = session.torrent
    if (!download) return []
    const isTwin = (s: PeerSession): boolean =>
      s !== session && !s.wire.error && s.torrent.download === download && equalBytes(s.remote.peerId, session.remote.peerId)
    return [...this.#sessions].filter(isTwin)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#sessions].map(s => s[Symbol.asyncDispose]()))
    await Promise.all([...this.#wires].map(w => w[Symbol.asyncDispose]()))
  }

  #keep(wire: PeerWire): void {
    this.#wires.add(wire)
    void wire.ended.then(() => this.#wires.delete(wire))
  }

  /** Says that we speak v2 only about torrents that have it: others close on that. */
  #handshake(infoHash: Uint8Array, v2: Uint8Array | undefined): Handshake {
    return { infoHash, peerId: this.peerId, fast: true, extended: true, dht: this.#deps.dht?.() !== undefined, v2: v2 !== undefined }
  }

  /** @param alias a second hash by which a share of the torrent may be known */
  #torrent(
    { infoHash, grid, info, private: isPrivate, ticket, download, isOffered = false }: DialTorrent,
    alias = infoHash
  ): SessionTorrent {
    const { shares } = this.#deps
    const share = shares.byInfoHash(bytesToHex(infoHash)) ?? shares.byInfoHash(bytesToHex(alias))
    const fits = share && (!grid || (share.grid.size === grid.size && share.grid.chunkBytes === grid.chunkBytes)) ? share : undefined
    const known = info ?? (fits && this.#info(fits, infoHash))
    const { pieceBytes, onlyV2 } = this.#factsOf(known)
    const pieces = grid ?? fits?.grid
    // An info dictionary of our own making is never private.
    const isOpen = isPrivate === undefined ? info === undefined && known !== undefined && !fits?.torrent?.private : !isPrivate
    return {
      infoHash,
      grid: pieces && onlyV2 ? withWholePieces(pieces) : pieces,
      pieceBytes,
      share: fits,
      info: known,
      isOpen,
      ticket,
      download,
      isOffered
    }
  }

  #info(share: Share, infoHash: Uint8Array): Uint8Array | undefined {
    const known = this.#infosOfShare.get(share) ?? new Map<string, Uint8Array>()
    const hex = bytesToHex(infoHash)
    const info = known.get(hex) ?? infosOfShare(share).find(m => isNamed(m, infoHash))?.info
    if (info) this.#infosOfShare.set(share, known.set(hex, info))
    return info
  }

  #factsOf(info: Uint8Array | undefined): InfoFacts {
    if (!info) return {}
    let facts = this.#factsOfInfo.get(info)
    if (!facts) {
      const v2 = v2HashOf(info)
      const torrent = v2 && parseInfo(info)
      facts = torrent ? { v2, pieceBytes: shortPieces(torrent), onlyV2: !torrent.pieces } : {}
      this.#factsOfInfo.set(info, facts)
    }
    return facts
  }

  #session(wire: PeerWire, torrent: SessionTorrent, remote: Handshake): PeerSession {
    if (equalBytes(remote.peerId, this.peerId)) throw protocolError('connected to ourselves')
    const { clock, log, gate, dht, exchange, protocol = 'bittorrent' } = this.#deps
    const session = new PeerSession(
      { clock, log, gate, protocol, dht: dht?.(), exchange, hashes: this.#hashes, ownPeerId: this.peerId, listenPort: this.listenPort },
      wire,
      torrent,
      remote
    )
    this.#sessions.add(session)
    void wire.ended.then(() => session[Symbol.asyncDispose]()).finally(() => this.#sessions.delete(session))
    session.begin()
    return session
  }
}

/** Of a torrent without v1 libtorrent asks for whole pieces, also of the last: behind a file there are zeros. */
const withWholePieces = ({ chunkBytes, count }: Grid): Grid => ({ size: chunkBytes * count, chunkBytes, count })

const isNamed = ({ infoHash, infoHashV2 }: SharedInfo, by: Uint8Array): boolean =>
  equalBytes(infoHash, by) || (infoHashV2 !== undefined && isCutOf(by, infoHashV2))

/** Why a connection ended, as sources say it. */
export function asSourceError(error: KithError | undefined): KithError {
  if (error?.code.startsWith('SOURCE_')) return error
  const code = error?.code === 'PEER_WIRE' ? 'SOURCE_LIED' : 'SOURCE_LOST'
  return new KithError(code, error?.message ?? 'the connection ended', error?.data, { cause: error })
}
