/**
 * The serving half of a connection: answers questions about files, waits for a slot, and sends the ranges that are asked for, in order.
 * A range is read and leaves in pieces of at most a chunk; two buffers alternate, so that the disk works while the socket does.
 * Each piece passes the gate before it is read. A paid share does not exist for whoever shows no ticket.
 */
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { AichEntry } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Customer, Share, ShareIndex, UploadGate } from '../protocol.ts'
import { LeWriter, wireError } from './bytes.ts'
import { Compressor } from './compressor.node.ts'
import { encodeFileAnswer, encodeHashSet, type FileRequest } from './file-request.ts'
import type { Hello } from './hello.ts'
import { encodeKithPacket, isTicketMac, type KithPacket, type RefusalCause } from './kith-packet.ts'
import { MAX_QUEUED_RANGES, MAX_TICKETS_PER_CONNECTION, PIECE_BYTES, SEND_BYTES } from './limits.ts'
import { edonkey, emule } from './opcodes.ts'
import { encodePacket, protocols } from './packet.ts'
import { type ByteRange, encodeCompressed, needs64, partHeadBytes, writePartHead } from './parts.ts'
import type { PeerWire } from './peer.node.ts'
import { type Ed2kPeer, encodeSources } from './peers.ts'
import { hasRange, type Piece, piecesOf, same } from './pieces.ts'
import { encodeRecoveryAnswer, type RecoveryRequest } from './recovery.ts'
import type { RecoveryDesk } from './recovery-desk.ts'
import { Repeats } from './repeats.ts'
import { makesPart, statusOfShare } from './share-status.ts'
import type { SlotClient, UploadSlots } from './upload-slots.ts'

const HEADS_BYTES: number = Math.ceil(SEND_BYTES / PIECE_BYTES) * partHeadBytes(true)
const BUFFER_BYTES: number = SEND_BYTES + HEADS_BYTES
const KEPT_BUFFERS = 16
/** Buffers that no connection uses at the moment. */
const spare: Uint8Array<ArrayBuffer>[] = []

export interface UploaderDeps {
  readonly clock: Clock
  readonly wire: PeerWire
  readonly shares: ShareIndex
  readonly gate: UploadGate
  readonly slots: UploadSlots
  readonly recovery: RecoveryDesk
  readonly remote: Hello
  readonly ownHash: Uint8Array
  /** The 16 bytes of our hello. */
  readonly nonce: Uint8Array
  /** Who asks for a slot; `begin` and `end` come back to us. */
  readonly client: SlotClient
  /** Other clients that asked for this file lately. */
  sourcesOf(hash: Uint8Array): readonly Ed2kPeer[]
  /** The client has an interest in this file. */
  asked(hash: Uint8Array): void
}

interface Wanted {
  readonly share: Share
  readonly hash: Uint8Array
  readonly customer: Customer | undefined
  readonly compressor: Compressor | undefined
}

export class Uploader implements AsyncDisposable {
  readonly #deps: UploaderDeps
  readonly #stop = new AbortController()
  readonly #isKith: boolean
  /** Customers by hash of the file, as proven by tickets on this connection. */
  readonly #customers = new Map<string, Customer>()
  #file: Wanted | undefined
  #granted = false
  #queue: ByteRange[] = []
  readonly #repeats: Repeats
  /** Aborts when parts that come are no news for the client any more. */
  #news: AbortController | undefined
  #running: Promise<void> | undefined
  #recovering: Promise<void> | undefined
  #buffersOut = 0
  #onBuffer: (() => void) | undefined

  constructor(deps: UploaderDeps) {
    this.#deps = deps
    this.#repeats = new Repeats(deps.clock)
    this.#isKith = deps.remote.kithNonce !== undefined
  }

  /** A Kith peer shows who it is. A wrong proof closes: whoever shows one knows how. @throws ED2K_WIRE */
  ticket({ hash, id, mac }: Extract<KithPacket, { kind: 'ticket' }>): void {
    const { gate, shares, ownHash, remote, nonce } = this.#deps
    const share = shares.byEd2k?.(bytesToHex(hash))
    const customer = share && gate.customerOf(id, share)
    if (!customer) return // expired: it is told what it needs when it asks
    const scope = { hash, seederHash: ownHash, ownHash: remote.userHash, nonce }
    if (!isTicketMac(customer.ticket, scope, mac)) throw wireError('a ticket with a wrong MAC')
    if (this.#customers.size >= MAX_TICKETS_PER_CONNECTION) this.#customers.delete(this.#customers.keys().next().value!)
    this.#customers.set(bytesToHex(hash), customer)
  }

  /** Answers what is asked about a file, in a multipacket. @returns bytes of the list of sources that was sent */
  fileRequest(q: FileRequest): number {
    const share = this.#findOrTell(q.hash, q.size)
    if (!share) return 0
    this.#deps.asked(q.hash)
    this.#send(
      protocols.emule,
      emule.multiPacketAnswer,
      encodeFileAnswer({
        hash: q.hash,
        name: q.wantsName ? share.name : undefined,
        status: q.wantsStatus ? statusOfShare(share) : undefined,
        aich: q.wantsAich ? share.ed2k?.aich : undefined
      })
    )
    const sources = q.wantsSources === undefined ? [] : this.#deps.sourcesOf(q.hash)
    if (q.wantsSources === undefined || sources.length === 0) return 0
    const list = encodeSources(q.hash, sources, q.wantsSources)
    this.#send(protocols.emule, emule.sources2, list)
    return list.length
  }

  /** The packets of before the multipacket. */
  nameRequest(hash: Uint8Array): void {
    const share = this.#findOrTell(hash)
    if (!share) return
    this.#deps.asked(hash)
    this.#send(protocols.edonkey, edonkey.name, new LeWriter().bytes(hash).text16(share.name).done())
  }
  statusRequest(hash: Uint8Array): void {
    const share = this.#findOrTell(hash)
    if (!share) return
    const status = encodeFileAnswer({ hash, name: undefined, aich: undefined, status: statusOfShare(share) })
    const bare = new Uint8Array([...status.subarray(0, 16), ...status.subarray(17)])
    this.#send(protocols.edonkey, edonkey.status, bare)
  }
  /** @returns bytes that were sent: up to a megabyte for a question of 16 */
  hashSetRequest(hash: Uint8Array): number {
    const share = this.#findOrTell(hash)
    if (!share) return 0
    const parts = share.ed2k?.parts ?? new Uint8Array()
    this.#send(protocols.edonkey, edonkey.hashSet, encodeHashSet(hash, parts.length > 16 ? parts : new Uint8Array()))
    return parts.length
  }

  /** Which hashes the blocks of a part must have. One question at a time: others are refused. */
  recoveryRequest(q: RecoveryRequest): void {
    this.#repeats.clear() // a part was wrong
    const share = this.#recovering ? undefined : this.#find(q.hash)
    if (!share) {
      this.#sendRecovery(q, undefined)
      return
    }
    this.#recovering = this.#deps.recovery
      .entriesOf(share, q, this.#stop.signal)
      .catch(() => undefined)
      .then(nodes => {
        this.#recovering = undefined
        if (!this.#stop.signal.aborted) this.#sendRecovery(q, nodes)
      })
  }

  /** Asks to be served. */
  startUpload(hash: Uint8Array): void {
    const share = this.#findOrTell(hash)
    if (!share) return
    this.#choose(share, hash)
    const rank = this.#deps.slots.ask(this.#deps.client)
    if (rank === 0) this.begin()
    else if (rank !== undefined) this.#sendRank(rank)
  }

  /** The client is called back because it has a slot now. @returns false when the file is not here any more */
  resume(hash: Uint8Array): boolean {
    const share = this.#find(hash)
    if (!share) return false
    this.#choose(share, hash)
    this.begin()
    return true
  }
  /** What it asked for last. */
  get wanted(): Uint8Array | undefined {
    return this.#file?.hash
  }

  /** The slot is ours. */
  begin(): void {
    this.#granted = true
    this.#send(protocols.edonkey, edonkey.acceptUpload)
  }
  /** The turn is over; the client is back in the queue. */
  end(): void {
    this.#granted = false
    this.#queue = []
    this.#send(protocols.edonkey, edonkey.outOfParts)
  }
  /** The client wants no more. */
  cancel(): void {
    this.#granted = false
    this.#queue = []
    this.#deps.slots.leave(this.#deps.client)
  }

  /** @throws ED2K_WIRE beyond the file (threats ED5), or too many ranges wait */
  partRequest(hash: Uint8Array, ranges: readonly ByteRange[]): void {
    const file = this.#file
    if (!file || !this.#granted || !equalBytes(hash, file.hash)) return
    for (const range of this.#isKith ? ranges : this.#repeats.fresh(ranges)) {
      if (range.end > file.share.grid.size) throw wireError('a range beyond the file', { end: range.end })
      if (this.#queue.some(same(range))) continue
      if (this.#queue.length >= MAX_QUEUED_RANGES) throw wireError('too many ranges are waiting')
      this.#queue.push(range)
    }
    this.#deps.slots.used(this.#deps.client, 0)
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new KithError('SOURCE_LOST', 'the connection ended'))
    this.#queue = []
    this.#onBuffer?.()
    await Promise.all([this.#running, this.#recovering])
  }

  #choose(share: Share, hash: Uint8Array): void {
    const old = this.#file && equalBytes(this.#file.hash, hash) ? this.#file : undefined
    const compress = !this.#isKith && this.#deps.remote.abilities.compression
    const compressor = old ? old.compressor : compress ? new Compressor(share.name) : undefined
    this.#file = { share, hash, customer: this.#customers.get(bytesToHex(hash)), compressor }
    if (old?.share !== share) this.#tellNews(share, hash)
    if (old) return
    this.#queue = []
    this.#repeats.clear()
  }

  /** A Kith peer hears of each part that becomes whole; others ask again. */
  #tellNews(share: Share, hash: Uint8Array): void {
    this.#news?.abort()
    if (!this.#isKith || statusOfShare(share).complete) return
    this.#news = new AbortController()
    const tell = (chunk: number): void => {
      if (!makesPart(share, chunk)) return
      const status = statusOfShare(share)
      this.#send(protocols.emule, emule.multiPacketAnswer, encodeFileAnswer({ hash, status, name: undefined, aich: undefined }))
    }
    share.onChunk(tell, AbortSignal.any([this.#news.signal, this.#stop.signal]))
  }

  /** The share this client may know of. */
  #find(hash: Uint8Array): Share | undefined {
    const key = bytesToHex(hash)
    const share = this.#deps.shares.byEd2k?.(key)
    if (!share || (share.pricePerMb !== 0n && !this.#customers.has(key))) return undefined
    if (this.#isKith || share.grid.size > PART_BYTES) return share
    return statusOfShare(share).complete ? share : undefined // others do not ask what a file of one part has
  }

  /** The share; when there is none of this hash and size, the client hears so. */
  #findOrTell(hash: Uint8Array, size?: number): Share | undefined {
    const found = this.#find(hash)
    if (found && (size === undefined || size === found.grid.size)) return found
    const hidden = this.#isKith && !found ? this.#deps.shares.byEd2k?.(bytesToHex(hash)) : undefined
    if (hidden) this.#refuse(hash, 'unpaid', 'this file costs money: fetch it with a ticket', [])
    else this.#send(protocols.edonkey, edonkey.noSuchFile, hash)
    return undefined
  }

  #refuse(hash: Uint8Array, cause: RefusalCause, reason: string, ranges: readonly ByteRange[]): void {
    if (!this.#isKith) return
    this.#send(protocols.emule, emule.kith, encodeKithPacket({ kind: 'refusal', hash, cause, reason, ranges }))
  }

  #send(protocol: number, opcode: number, payload?: Uint8Array): void {
    this.#deps.wire.write(encodePacket(protocol, opcode, payload))
  }
  #sendRecovery({ hash, part, root }: RecoveryRequest, nodes: readonly AichEntry[] | undefined): void {
    this.#send(protocols.emule, emule.recovery, encodeRecoveryAnswer({ hash, data: nodes && { part, root, nodes } }))
  }
  #sendRank(rank: number): void {
    this.#send(protocols.emule, emule.queueRanking, new LeWriter().u16(Math.min(rank, 0xffff)).bytes(new Uint8Array(10)).done())
  }

  async #run(): Promise<void> {
    try {
      await Promise.resolve() // the rest of this read may bring more ranges
      while (this.#queue.length > 0 && !this.#stop.signal.aborted) await this.#serve(this.#file!, this.#queue[0]!)
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#deps.wire.close(new KithError('SOURCE_LOST', 'the file cannot be served any more', {}, { cause: error }))
    }
  }

  /** Sends the first range of the queue; it stays there meanwhile, so that a repetition is known. */
  async #serve(file: Wanted, range: ByteRange): Promise<void> {
    if (!this.#shareWith(file, range)) return this.#lack(file.hash, range, range)
    const pieces = piecesOf(range, file.share.grid.chunkBytes)
    const packed = file.compressor?.wanted ? await this.#serveCompressed(file, file.compressor, range, pieces) : false
    for (const piece of packed ? [] : pieces) {
      if (!this.#isCurrent(range) || !(await this.#admit(file, piece))) return
      if (!(await this.#sendPiece(file, piece))) return this.#lack(file.hash, range, { start: piece.start, end: range.end })
    }
    if (!this.#take(range)) return
    this.#repeats.sent(range)
    if (!this.#deps.slots.used(this.#deps.client, range.end - range.start) && this.#granted) this.end()
  }

  /** The share that has these bytes: a download that was served may have become one. */
  #shareWith({ share, hash }: Wanted, range: ByteRange): Share | undefined {
    if (hasRange(share, range)) return share
    const now = this.#find(hash)
    if (!now || now === share || !hasRange(now, range)) return undefined
    this.#choose(now, hash)
    return now
  }

  /** A Kith peer may ask again; others would only wait, and hear that there is nothing any more. */
  #lack(hash: Uint8Array, range: ByteRange, rest: ByteRange): void {
    if (!this.#take(range)) return
    this.#refuse(hash, 'missing', 'this part is not there now', [rest])
    if (this.#isKith || this.#find(hash)) return
    this.#send(protocols.edonkey, edonkey.noSuchFile, hash)
    this.cancel()
  }

  #isCurrent(range: ByteRange): boolean {
    return !this.#stop.signal.aborted && this.#queue[0] === range
  }
  /** Takes a range that was dealt with off the queue. @returns false when the queue was emptied meanwhile */
  #take(range: ByteRange): boolean {
    if (this.#queue[0] !== range) return false
    this.#queue.shift()
    return true
  }

  async #admit(file: Wanted, piece: Piece): Promise<boolean> {
    const { share, customer } = file
    const reason = await this.#deps.gate.admit(share, customer, piece.chunk, piece.end - piece.start, this.#stop.signal)
    if (this.#stop.signal.aborted) return false
    if (reason === undefined) return true
    const [first, ...rest] = this.#queue
    this.#queue = []
    if (first) this.#refuse(file.hash, 'unpaid', reason, [{ start: Math.max(first.start, piece.start), end: first.end }, ...rest])
    return false
  }

  /** @returns false when the bytes are not there any more */
  async #sendPiece(file: Wanted, { start, end }: ByteRange): Promise<boolean> {
    const buffer = await this.#takeBuffer()
    const { hash } = file
    const share = this.#shareWith(file, { start, end })
    if (this.#stop.signal.aborted || !share) {
      this.#giveBack(buffer)
      return this.#stop.signal.aborted
    }
    const is64 = needs64(end)
    const step = this.#isKith ? SEND_BYTES : PIECE_BYTES
    const headBytes = partHeadBytes(is64)
    const bytes = end - start
    const room = Math.ceil(bytes / step) * headBytes
    try {
      await share.read(start, bytes, buffer.subarray(room, room + bytes))
    } catch (error) {
      this.#giveBack(buffer)
      throw error
    }
    // Read behind room for all heads, each stretch moves forward to its place, never over one that has not moved yet.
    let from = room
    let to = 0
    for (let at = start; at < end; at += step) {
      const stretch = { start: at, end: Math.min(end, at + step) }
      const n = stretch.end - at
      to += writePartHead(buffer, to, hash, stretch, is64)
      if (to !== from) buffer.copyWithin(to, from, from + n)
      to += n
      from += n
    }
    this.#deps.wire.write(buffer.subarray(0, to), () => this.#giveBack(buffer))
    this.#deps.gate.sent('ed2k', bytes)
    return true
  }

  /** @returns false when it was not worth it, or is not wanted any more: then nothing was sent */
  async #serveCompressed(file: Wanted, compressor: Compressor, range: ByteRange, pieces: readonly Piece[]): Promise<boolean> {
    const bytes = new Uint8Array(range.end - range.start)
    await file.share.read(range.start, bytes.length, bytes)
    const zlib = await compressor.compress(bytes)
    if (!zlib) return false
    for (const piece of pieces) if (!this.#isCurrent(range) || !(await this.#admit(file, piece))) return true
    if (!this.#isCurrent(range)) return true
    const packets = encodeCompressed(file.hash, range, zlib, PIECE_BYTES)
    const sent = Promise.withResolvers<void>()
    for (const [i, p] of packets.entries()) this.#deps.wire.write(p, i === packets.length - 1 ? sent.resolve : undefined)
    this.#deps.gate.sent('ed2k', bytes.length)
    await sent.promise
    return true
  }

  async #takeBuffer(): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#buffersOut >= 2 && !this.#stop.signal.aborted) {
      const free = Promise.withResolvers<void>()
      this.#onBuffer = free.resolve
      await free.promise
    }
    this.#buffersOut++
    return spare.pop() ?? new Uint8Array(BUFFER_BYTES)
  }

  #giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#buffersOut--
    if (spare.length < KEPT_BUFFERS) spare.push(buffer)
    this.#onBuffer?.()
  }
}
