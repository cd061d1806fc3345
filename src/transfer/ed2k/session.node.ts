/**
 * One connection with another client, in both directions: hellos, who it is, and which packet is for whom. Serving is
 * uploader.node.ts, fetching is source.node.ts; this joins them to the wire.
 */
import { randomBytes } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { ipToNumber, LeReader, LeWriter, wireError } from './bytes.ts'
import { decodeFileAnswer, decodeFileRequest, decodeHashSet, type FileAnswer, readAskerStatus, readStatus } from './file-request.ts'
import { decodeHello, encodeHello, type Hello } from './hello.ts'
import type { Ed2kIdentity } from './identity.node.ts'
import { decodeKithPacket, type KithPacket } from './kith-packet.ts'
import {
  IDLE_PACKET_BYTES,
  IDLE_PACKETS_BURST,
  MAX_CONTROL_BYTES,
  MAX_HELLO_BYTES,
  MAX_IDLE_PACKETS_PER_SECOND,
  MAX_INFLATED_BYTES,
  MAX_PACKET_BYTES,
  MAX_TEXT_BYTES
} from './limits.ts'
import { edonkey, emule } from './opcodes.ts'
import { encodePacket, type Packet, type PacketHead, protocols } from './packet.ts'
import { type CompressedPiece, decodeCompressed, decodePartRequest, type PartHead } from './parts.ts'
import type { PeerHandler, PeerWire } from './peer.node.ts'
import { decodeSources, type Ed2kPeer } from './peers.ts'
import { decodeRecoveryAnswer, decodeRecoveryRequest, type RecoveryAnswer } from './recovery.ts'
import { SecIdent } from './sec-ident.ts'
import type { Uploader } from './uploader.node.ts'

/** The half of a session that fetches a file. */
export interface SessionReader {
  /** Hash and size of the file. */
  readonly hash: Uint8Array
  readonly size: number
  fileAnswer(answer: FileAnswer): void
  noSuchFile(): void
  hashSet(hashes: Uint8Array): void
  accepted(): void
  queued(rank: number): void
  turnOver(): void
  part(head: PartHead): void
  target(offset: number): Uint8Array | number
  received(offset: number, count: number): void
  compressed(piece: CompressedPiece): void
  refused(refusal: Extract<KithPacket, { kind: 'refusal' }>): void
  recovery(answer: RecoveryAnswer): void
  readDone(): void
  closed(error: KithError): void
}

export interface SessionDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly identity: Ed2kIdentity
  /** Our hello with these 16 bytes. */
  helloOf(nonce: Uint8Array): Hello
  /** Whether an operation with a key may be paid for now. */
  mayCompute(): boolean
  /** The other side has said hello. @returns what serves it */
  greeted(session: PeerSession): Uploader
  /** A client says that it reached our port. */
  reached(host: string): void
  /** Sources of a file that a client named. */
  learned(hash: Uint8Array, peers: readonly Ed2kPeer[]): void
}

/** Packets that cost much to send, or come in numbers while a file moves: others are counted. */
const BUSY: ReadonlySet<number> = new Set([edonkey.requestParts, emule.compressedPart, emule.compressedPart64, emule.requestParts64])

export class PeerSession implements PeerHandler, AsyncDisposable {
  readonly wire: PeerWire
  /** The 16 bytes of our hello. */
  readonly nonce: Uint8Array = randomBytes(16)
  reader: SessionReader | undefined
  /** The other side wanted this connection: whoever waits for it may take it. */
  isCall = false
  readonly #deps: SessionDeps
  readonly #greeted = Promise.withResolvers<void>()
  readonly #idle: TokenBucket
  #remote: Hello | undefined
  #uploader: Uploader | undefined
  #secIdent: SecIdent | undefined

  constructor(deps: SessionDeps, wire: PeerWire) {
    this.#deps = deps
    this.wire = wire
    this.#idle = new TokenBucket(deps.clock, MAX_IDLE_PACKETS_PER_SECOND, IDLE_PACKETS_BURST)
    this.#greeted.promise.catch(() => {})
  }

  /** The other side's hello; undefined until it came. */
  get remote(): Hello | undefined {
    return this.#remote
  }
  /** Resolves when hellos were exchanged; rejects when the connection ended before. */
  get greeted(): Promise<void> {
    return this.#greeted.promise
  }
  get isKith(): boolean {
    return this.#remote?.kithNonce !== undefined
  }
  /** It has proven that it holds its key. */
  get identified(): boolean {
    return this.#secIdent?.verified === true
  }
  /** Its address without the port. */
  get host(): string {
    return this.wire.address.slice(0, this.wire.address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  }
  get uploader(): Uploader | undefined {
    return this.#uploader
  }

  sayHello(): void {
    this.send(protocols.edonkey, edonkey.hello, encodeHello(this.#deps.helloOf(this.nonce), false))
  }
  send(protocol: number, opcode: number, payload?: Uint8Array): void {
    this.wire.write(encodePacket(protocol, opcode, payload))
  }

  maxPayload({ protocol, opcode }: PacketHead): number | undefined {
    const isHello = protocol === protocols.edonkey && (opcode === edonkey.hello || opcode === edonkey.helloAnswer)
    if (!this.#remote) {
      if (!isHello) throw wireError('a packet before the hello', { opcode })
      return MAX_HELLO_BYTES
    }
    if (isHello) return MAX_HELLO_BYTES
    const isKnown = protocol === protocols.edonkey ? EDONKEY.has(opcode) : EMULE.has(opcode)
    if (!isKnown) {
      this.#count()
      return undefined
    }
    if (protocol === protocols.packed) return MAX_INFLATED_BYTES
    if (protocol === protocols.edonkey && opcode === edonkey.hashSet) return this.reader ? MAX_PACKET_BYTES : undefined
    if (opcode === emule.compressedPart || opcode === emule.compressedPart64) {
      if (!this.reader) throw wireError('data that nobody asked for')
      return MAX_PACKET_BYTES
    }
    return MAX_CONTROL_BYTES
  }

  packet({ protocol, opcode, payload }: Packet): void {
    if (!BUSY.has(opcode)) this.#count(payload.length)
    if (protocol === protocols.edonkey && (opcode === edonkey.hello || opcode === edonkey.helloAnswer)) {
      this.#onHello(payload, opcode === edonkey.helloAnswer)
    } else if (protocol === protocols.edonkey) this.#onEdonkey(opcode, payload)
    else this.#onEmule(opcode, payload)
  }

  part(head: PartHead): void {
    if (!this.reader || !this.#isFor(head.hash)) throw wireError('data that nobody asked for')
    this.reader.part(head)
  }
  target(offset: number): Uint8Array | number {
    return this.reader?.target(offset) ?? Number.POSITIVE_INFINITY
  }
  received(offset: number, count: number): void {
    this.reader?.received(offset, count)
  }
  readDone(): void {
    this.reader?.readDone()
  }
  keepAlive(): void {
    if (this.isKith) this.send(protocols.emule, emule.kith, new Uint8Array(1))
  }
  closed(error: KithError): void {
    this.#deps.log.debug('connection with a client ended', { address: this.wire.address, code: error.code, error })
    this.#greeted.reject(error)
    void this.#uploader?.[Symbol.asyncDispose]() // awaited again in our own disposal
    this.reader?.closed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wire[Symbol.asyncDispose]()
    await this.#uploader?.[Symbol.asyncDispose]()
  }

  /** Also for what it holds when inflated: 270 bytes become 250,000. (threats ED1) */
  #count(bytes = 0): void {
    if (!this.#idle.tryTake(1 + Math.floor(bytes / IDLE_PACKET_BYTES))) throw wireError('too many packets that carry nothing')
  }

  /** Long answers to short questions pass no upload limit: they are taken from the same account. (threats ED9) */
  #countAnswer(bytes: number): void {
    if (bytes > IDLE_PACKET_BYTES) this.#count(bytes)
  }

  /** Whoever connects says hello; the other answers. A second hello is answered too, but the first one counts. */
  #onHello(payload: Uint8Array, isAnswer: boolean): void {
    const hello = decodeHello(payload, isAnswer)
    if (!isAnswer) this.send(protocols.edonkey, edonkey.helloAnswer, encodeHello(this.#deps.helloOf(this.nonce), true))
    if (this.#remote) return
    this.#remote = hello
    this.wire.ready()
    this.#uploader = this.#deps.greeted(this)
    this.#identify(hello)
    this.#greeted.resolve()
  }

  #identify(hello: Hello): void {
    const { identity, mayCompute } = this.#deps
    if (!identity.key || (hello.abilities.secIdent & 1) === 0 || hello.kithNonce) return
    this.#secIdent = new SecIdent({ key: identity.key, mayCompute, send: (opcode, payload) => this.send(protocols.emule, opcode, payload) })
    this.#secIdent.begin()
  }

  #isFor(hash: Uint8Array): boolean {
    const own = this.reader?.hash
    if (!own) return false
    for (let i = 0; i < 16; i++) if (own[i] !== hash[i]) return false
    return true
  }

  #onEdonkey(opcode: number, payload: Uint8Array): void {
    const r = new LeReader(payload)
    const uploader = this.#uploader!
    switch (opcode) {
      case edonkey.nameRequest: {
        const hash = r.hash()
        readAskerStatus(r, this.#remote!.abilities.extendedRequests)
        uploader.nameRequest(hash)
        break
      }
      case edonkey.statusRequest:
        uploader.statusRequest(r.hash())
        break
      case edonkey.hashSetRequest:
        this.#countAnswer(uploader.hashSetRequest(r.hash()))
        break
      case edonkey.startUpload:
        uploader.startUpload(r.hash())
        break
      case edonkey.cancelTransfer:
      case edonkey.endOfDownload:
        uploader.cancel()
        break
      case edonkey.requestParts: {
        const { hash, ranges } = decodePartRequest(payload, false)
        uploader.partRequest(hash, ranges)
        break
      }
      default:
        this.#toReader(opcode, payload, r)
    }
  }

  #toReader(opcode: number, payload: Uint8Array, r: LeReader): void {
    const { reader } = this
    if (!reader) return
    switch (opcode) {
      case edonkey.name: {
        const hash = r.hash()
        if (this.#isFor(hash)) reader.fileAnswer({ hash, name: r.text16(MAX_TEXT_BYTES), status: undefined, aich: undefined })
        break
      }
      case edonkey.status: {
        const hash = r.hash()
        if (this.#isFor(hash)) reader.fileAnswer({ hash, name: undefined, status: readStatus(r, reader.size), aich: undefined })
        break
      }
      case edonkey.noSuchFile:
        if (this.#isFor(r.hash())) reader.noSuchFile()
        break
      case edonkey.hashSet: {
        const { hash, hashes } = decodeHashSet(payload)
        if (this.#isFor(hash)) reader.hashSet(hashes)
        break
      }
      case edonkey.acceptUpload:
        reader.accepted()
        break
      case edonkey.outOfParts:
        reader.turnOver()
        break
      case edonkey.queueRank:
        reader.queued(r.u32())
        break
    }
  }

  #onEmule(opcode: number, payload: Uint8Array): void {
    const uploader = this.#uploader!
    const { reader } = this
    switch (opcode) {
      case emule.multiPacketExt:
      case emule.multiPacket:
        this.#countAnswer(
          uploader.fileRequest(decodeFileRequest(payload, opcode === emule.multiPacketExt, this.#remote!.abilities.extendedRequests))
        )
        break
      case emule.requestParts64: {
        const { hash, ranges } = decodePartRequest(payload, true)
        uploader.partRequest(hash, ranges)
        break
      }
      case emule.multiPacketAnswer:
        if (reader && this.#isFor(payload)) reader.fileAnswer(decodeFileAnswer(payload, reader.size))
        break
      case emule.queueRanking:
        reader?.queued(new LeReader(payload).u16())
        break
      case emule.compressedPart:
      case emule.compressedPart64: {
        const piece = decodeCompressed(payload, opcode === emule.compressedPart64)
        if (!reader || !this.#isFor(piece.hash)) throw wireError('data that nobody asked for')
        reader.compressed(piece)
        break
      }
      case emule.sources2: {
        const { hash, peers } = decodeSources(payload)
        if (this.#isFor(hash)) this.#deps.learned(hash, peers) // unasked ones would let anybody send us anywhere
        break
      }
      case emule.recovery: {
        const answer = decodeRecoveryAnswer(payload)
        if (reader && this.#isFor(answer.hash)) reader.recovery(answer)
        break
      }
      case emule.recoveryRequest:
        uploader.recoveryRequest(decodeRecoveryRequest(payload))
        break
      case emule.publicIpRequest:
        if (/^[0-9.]+$/.test(this.host)) this.send(protocols.emule, emule.publicIp, new LeWriter().u32(ipToNumber(this.host)).done())
        break
      case emule.secIdentState:
        this.#secIdent?.onState(payload)
        break
      case emule.publicKey:
        this.#secIdent?.onKey(payload)
        break
      case emule.signature:
        this.#secIdent?.onSignature(payload)
        break
      case emule.portReached:
        this.#deps.reached(this.host)
        break
      case emule.kith:
        this.#onKith(payload)
        break
    }
  }

  #onKith(payload: Uint8Array): void {
    if (!this.isKith) return
    const packet = decodeKithPacket(payload)
    if (packet?.kind === 'ticket') this.#uploader!.ticket(packet)
    else if (packet && this.#isFor(packet.hash)) this.reader?.refused(packet)
  }
}

const EDONKEY: ReadonlySet<number> = new Set(Object.values(edonkey))
const EMULE: ReadonlySet<number> = new Set(Object.values(emule))

/** Why a connection ended, as sources say it. */
export function asSourceError(error: unknown): KithError {
  if (error instanceof KithError && error.code.startsWith('SOURCE_')) return error
  const known = error instanceof KithError ? error : undefined
  const code = known?.code === 'ED2K_WIRE' ? 'SOURCE_LIED' : 'SOURCE_LOST'
  return new KithError(code, known?.message ?? 'the connection ended', known?.data, { cause: error })
}
