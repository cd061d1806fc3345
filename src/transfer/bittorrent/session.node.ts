/**
 * One connection about one torrent, in both directions: what the other side has, who chokes whom, which extensions it takes.
 * Serving is upload.node.ts, fetching is source.node.ts, metadata is metadata.node.ts; this joins them to the wire.
 */
import { randomBytes } from '#crypto'
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { Grid } from '../grid.ts'
import type { Share, Ticket, UploadGate } from '../protocol.ts'
import {
  decodeExtendedHandshake,
  decodeMetadata,
  decodeNeed,
  decodeTicket,
  type ExtendedHandshake,
  type ExtensionName,
  encodeExtendedHandshake,
  encodeMetadata,
  encodeNeed,
  encodeTicket,
  extensionIds,
  type MetadataMessage,
  NONCE_BYTES
} from './extensions.ts'
import type { HashRequest } from './hashes.ts'
import type { HashServer } from './hashes-server.node.ts'
import {
  BLOCK_BYTES,
  IDLE_MESSAGES_BURST,
  MAX_BITFIELDS,
  MAX_BLOCK_BYTES,
  MAX_HASH_REQUESTS,
  MAX_IDLE_MESSAGES_PER_SECOND,
  MAX_METADATA_REQUESTS,
  MAX_QUEUED_REQUESTS,
  METADATA_PIECE_BYTES
} from './limits.ts'
import { type Block, type Handshake, type Message, protocolError } from './messages.ts'
import type { PeerHandler, PeerWire } from './peer.node.ts'
import { isTicketMac, ticketMac } from './ticket.ts'
import { Uploader } from './upload.node.ts'
import { type PeerAddress, parsePeerAddress } from './urls.ts'

export interface SessionDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly gate: UploadGate
  /** Name of the protocol in figures and sources. */
  readonly protocol: string
  /** Our DHT node; undefined: there is none. */
  readonly dht: SessionDht | undefined
  /** Peer exchange; undefined: it is off. */
  readonly exchange: SessionExchange | undefined
  /** Answers hash requests. */
  readonly hashes: HashServer
  /** 20 bytes, the same for all connections of this node. */
  readonly ownPeerId: Uint8Array
  /** Port of our listener; 0 when there is none. */
  readonly listenPort: number
}

/** The DHT as a session sees it: peers tell each other the ports of their nodes (BEP 5). */
export interface SessionDht {
  readonly port: number
  addNode(address: PeerAddress): void
}

/** Peer exchange as a session sees it (pex-exchange.ts). */
export interface SessionExchange {
  extended(session: PeerSession): void
  received(session: PeerSession, payload: Uint8Array): void
  closed(session: PeerSession): void
}

/** What this node knows of the torrent when the connection is made. */
export interface SessionTorrent {
  readonly infoHash: Uint8Array
  /** undefined while only metadata is wanted. */
  readonly grid: Grid | undefined
  /** Bytes of the pieces that end with a file of a torrent that only has v2: what follows them is no data and is never asked for. */
  readonly pieceBytes: ReadonlyMap<number, number> | undefined
  /** Set when we can serve it. */
  readonly share: Share | undefined
  /** Info dictionary for others. */
  readonly info: Uint8Array | undefined
  /** Its peers may be told of each other: it is known not to be private (BEP 27). */
  readonly isOpen: boolean
  /** Shown to the seeder when it asks who we are. */
  readonly ticket: Ticket | undefined
  /** Tells the downloads of this node apart; undefined: not known. */
  readonly download: object | undefined
  /** The peer is the seeder of an offer. */
  readonly isOffered: boolean
}

/** The half of a session that fetches something. */
export interface SessionReader {
  choked(): void
  unchoked(): void
  /** The peer has more than before. */
  gained(): void
  block(block: Block): Uint8Array | undefined
  blockDone(block: Block): void
  rejected(block: Block): void
  needs(reason: string): void
  metadata(message: MetadataMessage): void
  extended(handshake: ExtendedHandshake): void
  /** An answer to a hash request (BEP 52). Left out by those who ask for none. */
  hashes?(message: Extract<Message, { kind: 'hashes' | 'hashReject' }>): void
  readDone(): void
  closed(error: KithError): void
}

const VERSION = 'Kith 0.1'
/** Shares that were complete once: looking at each piece of a large file for every connection would let anybody keep us busy. */
const complete = new WeakSet<Share>()

export class PeerSession implements PeerHandler, AsyncDisposable {
  readonly wire: PeerWire
  readonly torrent: SessionTorrent
  readonly remote: Handshake
  readonly grid: Grid | undefined
  reader: SessionReader | undefined
  readonly #deps: SessionDeps
  readonly #stop = new AbortController()
  readonly #uploader: Uploader | undefined
  readonly #nonce = randomBytes(NONCE_BYTES)
  readonly #idle: TokenBucket
  #extended: ExtendedHandshake | undefined
  #bits: Uint8Array | undefined
  #hasAll = false
  #knowsPieces = false
  #bitfields = 0
  #choked = true
  #metadataServed = 0
  #hashRequests = 0
  #hashesSent: Promise<void> = Promise.resolve()

  constructor(deps: SessionDeps, wire: PeerWire, torrent: SessionTorrent, remote: Handshake) {
    this.#deps = deps
    this.wire = wire
    this.torrent = torrent
    this.remote = remote
    this.grid = torrent.grid
    this.#idle = new TokenBucket(deps.clock, MAX_IDLE_MESSAGES_PER_SECOND, IDLE_MESSAGES_BURST)
    const { share } = torrent
    if (share)
      this.#uploader = new Uploader({
        wire,
        share,
        gate: deps.gate,
        protocol: deps.protocol,
        fast: remote.fast,
        tellNeed: reason => this.#tellNeed(reason)
      })
  }

  /** Sends what we have and can do. The handshakes were exchanged. */
  begin(): void {
    const { share } = this.torrent
    this.#sendPieces(share)
    if (this.remote.extended) this.#sendExtended(share)
    if (this.remote.dht && this.#deps.dht) this.wire.send({ kind: 'port', port: this.#deps.dht.port })
    if (!share) return
    share.onChunk(piece => this.wire.send({ kind: 'have', piece }), this.#stop.signal)
    if (share.pricePerMb === 0n) this.#uploader?.unchoke() // nobody waits for a timer; the paid wait to hear who asks
  }

  get protocol(): string {
    return this.#deps.protocol
  }
  /** The peer has this piece, by what it said so far. */
  remoteHas(piece: number): boolean {
    return this.#hasAll || (this.#bits !== undefined && ((this.#bits[piece >> 3] ?? 0) & (0x80 >> (piece & 7))) !== 0)
  }
  /** The peer has said what it has. */
  get knowsPieces(): boolean {
    return this.#knowsPieces
  }
  /** The peer serves us nothing at the moment. */
  get choked(): boolean {
    return this.#choked
  }
  /** The peer's extended handshake; undefined until it came. */
  get extended(): ExtendedHandshake | undefined {
    return this.#extended
  }

  /** Sends an extension message if the peer takes it. */
  sendExtension(name: ExtensionName, payload: Uint8Array): boolean {
    const id = this.#extended?.ids[name]
    if (id === undefined) return false
    this.wire.send({ kind: 'extended', id, payload })
    return true
  }

  message(m: Message): void {
    if (m.kind !== 'request' && m.kind !== 'reject' && !this.#idle.tryTake()) throw protocolError('too many messages that carry nothing')
    switch (m.kind) {
      case 'choke':
        this.#choked = true
        this.reader?.choked()
        break
      case 'unchoke':
        this.#choked = false
        this.reader?.unchoked()
        break
      case 'have':
        this.#gain(m.piece)
        break
      case 'bitfield':
        this.#learnPieces(m.bits, false)
        break
      case 'haveAll':
      case 'haveNone':
        this.#learnPieces(undefined, m.kind === 'haveAll')
        break
      case 'request':
        if (this.#uploader) this.#uploader.request(m)
        else if (this.remote.fast) this.wire.send({ ...m, kind: 'reject' })
        break
      case 'cancel':
        this.#uploader?.cancel(m)
        break
      case 'reject':
        this.reader?.rejected(m)
        break
      case 'port': {
        const host = parsePeerAddress(this.wire.address)?.host
        if (host !== undefined && m.port > 0) this.#deps.dht?.addNode({ host, port: m.port })
        break
      }
      case 'extended':
        this.#onExtension(m.id, m.payload)
        break
      case 'hashRequest':
        this.#serveHashes(m)
        break
      case 'hashes':
      case 'hashReject':
        if (!this.reader?.hashes) throw protocolError('hashes that nobody asked for')
        this.reader.hashes(m)
        break
    }
  }

  block(block: Block): Uint8Array | undefined {
    if (!this.reader) throw protocolError('a block that nobody asked for', { piece: block.piece })
    return this.reader.block(block)
  }
  blockDone(block: Block): void {
    this.reader?.blockDone(block)
  }
  readDone(): void {
    this.reader?.readDone()
  }
  closed(error: KithError): void {
    this.#deps.log.debug('peer connection ended', { address: this.wire.address, code: error.code, error })
    this.#stop.abort()
    this.#exchange?.closed(this)
    void this.#uploader?.[Symbol.asyncDispose]() // awaited again in our own disposal
    this.reader?.closed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wire[Symbol.asyncDispose]()
    await Promise.all([this.#uploader?.[Symbol.asyncDispose](), this.#hashesSent])
  }

  #sendPieces(share: Share | undefined): void {
    const count = this.grid?.count ?? 0
    if (this.remote.fast && (!share || complete.has(share))) {
      this.wire.send({ kind: share ? 'haveAll' : 'haveNone' })
      return
    }
    const bits = new Uint8Array(Math.ceil(count / 8))
    let n = 0
    for (let i = 0; share && i < count; i++) {
      if (!share.has(i)) continue
      bits[i >> 3]! |= 0x80 >> (i & 7)
      n++
    }
    if (share && n === count) complete.add(share)
    if (this.remote.fast && (n === 0 || n === count)) this.wire.send({ kind: n === 0 ? 'haveNone' : 'haveAll' })
    else if (n > 0) this.wire.send({ kind: 'bitfield', bits })
  }

  get #exchange(): SessionExchange | undefined {
    return this.torrent.isOpen ? this.#deps.exchange : undefined
  }

  #sendExtended(share: Share | undefined): void {
    const { ut_metadata, kith, kith_ticket, ut_pex } = extensionIds
    const payload = encodeExtendedHandshake({
      ids: { ut_metadata, kith, ...(share ? { kith_ticket } : {}), ...(this.#exchange ? { ut_pex } : {}) },
      version: VERSION,
      requestQueue: MAX_QUEUED_REQUESTS,
      listenPort: this.#deps.listenPort || undefined,
      yourIp: parsePeerAddress(this.wire.address)?.host,
      metadataSize: this.torrent.info?.length,
      uploadOnly: false,
      nonce: share ? this.#nonce : undefined,
      maxBlock: MAX_BLOCK_BYTES
    })
    this.wire.send({ kind: 'extended', id: 0, payload })
  }

  #gain(piece: number): void {
    const count = this.grid?.count
    if (count === undefined || this.#hasAll) return
    this.#knowsPieces = true
    this.#bits ??= new Uint8Array(Math.ceil(count / 8))
    this.#bits[piece >> 3]! |= 0x80 >> (piece & 7)
    this.reader?.gained()
  }

  /** aria2 sends a second bitfield when that is shorter than many haves, so later ones add to what is known. */
  #learnPieces(bits: Uint8Array | undefined, all: boolean): void {
    if (++this.#bitfields > MAX_BITFIELDS) throw protocolError('too many bitfields')
    this.#knowsPieces = true
    if (this.grid && bits) {
      if (this.#bits) for (let i = 0; i < bits.length; i++) this.#bits[i]! |= bits[i]!
      else this.#bits = bits
    }
    this.#hasAll ||= all
    this.reader?.gained()
  }

  #onExtension(id: number, payload: Uint8Array): void {
    if (id === 0) this.#onExtended(decodeExtendedHandshake(payload))
    else if (id === extensionIds.ut_metadata) {
      const m = decodeMetadata(payload)
      if (m?.kind === 'request') this.#serveMetadata(m.piece)
      else if (m) this.reader?.metadata(m)
    } else if (id === extensionIds.ut_pex) this.#exchange?.received(this, payload)
    else if (id === extensionIds.kith_ticket) this.#onTicket(payload)
    else if (id === extensionIds.kith) {
      const reason = decodeNeed(payload)
      if (reason !== undefined) this.reader?.needs(reason)
    }
  }

  #onExtended(handshake: ExtendedHandshake): void {
    const first = this.#extended === undefined
    this.#extended = { ...handshake, ids: { ...this.#extended?.ids, ...handshake.ids } }
    const { ticket, infoHash } = this.torrent
    if (first && ticket && handshake.nonce) {
      const scope = { infoHash, seederPeerId: this.remote.peerId, ownPeerId: this.#deps.ownPeerId, nonce: handshake.nonce }
      this.sendExtension('kith_ticket', encodeTicket({ id: ticket.id, mac: ticketMac(ticket.key, scope) }))
    }
    if (handshake.ids.kith !== undefined) this.#uploader?.unchoke() // it understands being told to pay
    this.#exchange?.extended(this)
    this.reader?.extended(this.#extended)
  }

  /** A wrong ticket closes: whoever shows one knows how. */
  #onTicket(payload: Uint8Array): void {
    const uploader = this.#uploader
    if (!uploader) return
    const { id, mac } = decodeTicket(payload)
    const customer = this.#deps.gate.customerOf(id, uploader.share)
    const scope = {
      infoHash: this.torrent.infoHash,
      seederPeerId: this.#deps.ownPeerId,
      ownPeerId: this.remote.peerId,
      nonce: this.#nonce
    }
    if (!customer) return // expired: it is told what it needs when it asks for bytes
    if (!equalBytes(customer.ticket.id, id) || !isTicketMac(customer.ticket, scope, mac)) throw protocolError('a ticket with a wrong MAC')
    uploader.customer = customer
  }

  #tellNeed(reason: string): void {
    this.sendExtension('kith', encodeNeed(reason))
  }

  /** One after another: the answer to a request may be computed from a few MiB of the file. */
  #serveHashes(request: HashRequest): void {
    if (++this.#hashRequests > MAX_HASH_REQUESTS) throw protocolError('too many hash requests are waiting')
    const { share } = this.torrent
    this.#hashesSent = this.#hashesSent.then(async () => {
      const hashes = share && !this.wire.error ? await this.#deps.hashes.answer(share, request) : undefined
      this.#hashRequests--
      this.wire.send(hashes ? { ...request, kind: 'hashes', hashes } : { ...request, kind: 'hashReject' })
    })
  }

  #serveMetadata(piece: number): void {
    const { info } = this.torrent
    if (++this.#metadataServed > MAX_METADATA_REQUESTS) throw protocolError('too many requests for metadata')
    const from = piece * METADATA_PIECE_BYTES
    const data = info?.subarray(from, from + METADATA_PIECE_BYTES)
    if (!info || !data || data.length === 0) this.sendExtension('ut_metadata', encodeMetadata({ kind: 'reject', piece }))
    else this.sendExtension('ut_metadata', encodeMetadata({ kind: 'data', piece, totalSize: info.length, data }))
  }
}

/** Longest block to ask this peer for. */
export const blockSize = (session: PeerSession): number => {
  const wants = session.extended?.maxBlock ?? BLOCK_BYTES
  return session.extended?.ids.kith === undefined ? BLOCK_BYTES : Math.max(BLOCK_BYTES, Math.min(MAX_BLOCK_BYTES, wants))
}
