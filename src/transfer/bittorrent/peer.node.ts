/**
 * One connection that speaks the peer wire, over TCP or any other stream of bytes. On TCP, reads go into one scratch buffer that all connections share (a read is consumed
 * before the next one begins), small messages are parsed in place, and the payload of a 16 KiB block is copied once: from there to
 * the slot its owner names. Longer blocks, which Kith peers ask each other for, are read straight into the slot. Timers only watch
 * for silence; none is on the data path.
 */
import { connect, type Socket } from 'node:net'
import { concatBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import type { Rc4 } from '../ed2k/rc4.ts'
import type { Grid } from '../grid.ts'
import { CutMessage } from '../tcp/cut-message.ts'
import type { WireEncryption } from './encryption.ts'
import {
  CARE_MS,
  HANDSHAKE_MS,
  KEEP_ALIVE_MS,
  MAX_MSE_PAYLOAD_BYTES,
  MAX_SEND_QUEUE_BYTES,
  READ_BYTES,
  SILENCE_MS,
  WRITE_STALL_MS
} from './limits.ts'
import {
  type Block,
  checkBlock,
  checkLength,
  decodeHandshake,
  decodeMessage,
  encodeHandshake,
  encodeMessage,
  HANDSHAKE_BYTES,
  type Handshake,
  type Message,
  messageIds,
  PIECE_HEADER_BYTES,
  protocolError,
  readU32,
  startsLikeHandshake
} from './messages.ts'
import type { MseHandshake } from './mse.ts'

/** What a connection does with what it receives. Whatever these throw closes the connection. */
export interface PeerHandler {
  /** Pieces of the torrent; undefined while only metadata is wanted. */
  readonly grid: Grid | undefined
  message(message: Message): void
  /** Where the payload of this block goes (exactly as long); undefined discards it. */
  block(block: Block): Uint8Array | undefined
  /** The payload is there. */
  blockDone(block: Block): void
  /** Everything that one read brought has been handled: the moment to send what has gathered. */
  readDone(): void
  /** The connection has ended; nothing is called afterwards. */
  closed(error: KithError): void
}

/** What carries the bytes: a TCP socket, or whatever else is reliable and keeps their order. */
export interface ByteStream {
  /** Bytes that wait to be sent. */
  readonly writableLength: number
  /** Sends after what was written before; the bytes do not change until `done`, which is called in any case. */
  write(bytes: Uint8Array, done: () => void): unknown
  /** Ends it at once in both directions. */
  destroy(): void
}

/** What a stream that is no socket tells its wire. */
export interface ByteStreamEvents {
  /** Bytes came; they are used up when this returns. */
  data(bytes: Uint8Array): void
  /** It does not work any more. */
  failed(error: KithError): void
  /** It has ended, and nothing of it is left. */
  gone(): void
}

export interface PeerWireOptions extends WireEncryption {
  readonly clock: Clock
  /** "192.0.2.1:6881", for logs and keys. */
  readonly address: string
  readonly incoming: boolean
  /** Answers the other side's handshake: the caller sends its own with `sendHandshake` if it has not yet. Throwing closes. */
  onHandshake(handshake: Handshake, wire: PeerWire): PeerHandler
}

/** On Windows a read is under way before its socket is readable, so there every connection needs its own buffer. */
const shared = process.platform === 'win32' ? undefined : Buffer.allocUnsafeSlow(READ_BYTES)
/** The rest of a block goes straight to its slot when it is at least so long; else reading several blocks at once is cheaper. */
const DIRECT_BYTES = 32 * 1024
/** Read of a header between such blocks: little of the payload comes with it and has to be copied. */
const HEADER_READ_BYTES = 2 * 1024

export class PeerWire implements AsyncDisposable {
  readonly address: string
  readonly incoming: boolean
  readonly #options: PeerWireOptions
  readonly #gone = Promise.withResolvers<void>()
  readonly #stop = new AbortController()
  readonly #watch: Promise<void>
  #socket: ByteStream | undefined
  #handler: PeerHandler | undefined
  /** Set while an encryption handshake is under way. */
  #mse: MseHandshake | undefined
  #encrypt: Rc4 | undefined
  #decrypt: Rc4 | undefined
  #encrypted = false
  /** What was written while an encryption handshake is under way. */
  #held: { readonly bytes: Uint8Array; readonly done: (() => void) | undefined }[] = []
  #refused = false
  #error: KithError | undefined
  #block: Block | undefined
  #blockLeft = 0
  #target: Uint8Array | undefined
  /** The part of `#target` that the socket is reading into. */
  #direct: Uint8Array | undefined
  #longBlocks = false
  readonly #cut = new CutMessage(HANDSHAKE_BYTES, start => this.#parse(start, 0))
  #lastReadMs: number
  #lastSendMs: number
  /** When the last write was taken by the kernel, or the first of several was begun. */
  #lastDrainMs = 0

  constructor(options: PeerWireOptions) {
    this.#options = options
    this.address = options.address
    this.incoming = options.incoming
    this.#lastReadMs = options.clock.monotonic()
    this.#lastSendMs = this.#lastReadMs
    this.#watch = this.#care()
  }

  /** Connects to an address that was checked. @throws SOURCE_LOST */
  static async dial(host: string, port: number, options: PeerWireOptions, signal: AbortSignal): Promise<PeerWire> {
    signal.throwIfAborted()
    const wire = new PeerWire(options)
    const onAbort = (): void => wire.close(new KithError('SOURCE_LOST', 'dialling was given up'))
    signal.addEventListener('abort', onAbort, { once: true })
    const scratch = shared ?? Buffer.allocUnsafeSlow(READ_BYTES)
    const small = scratch.subarray(0, HEADER_READ_BYTES)
    const onread = {
      buffer: (): Uint8Array => (wire.#direct = wire.#directTarget()) ?? (wire.#longBlocks ? small : scratch),
      callback: (length: number, buffer: Uint8Array): boolean => {
        if (wire.#direct === buffer) wire.#readDirect(length)
        else wire.#read(length === buffer.length ? buffer : buffer.subarray(0, length))
        return true
      }
    }
    const connected = Promise.withResolvers<void>()
    wire.#use(connect({ host, port, onread, noDelay: true }, connected.resolve))
    try {
      await Promise.race([connected.promise, wire.ended])
      if (wire.#error) throw wire.#error
      wire.#beginEncryption()
      return wire
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Takes a socket that connected to us. */
  static accept(socket: Socket, options: PeerWireOptions): PeerWire {
    const wire = new PeerWire(options)
    wire.#use(socket)
    socket.setNoDelay(true)
    socket.on('data', (bytes: Uint8Array) => wire.#read(bytes))
    return wire
  }

  /** Takes a stream that is open. */
  static over(open: (events: ByteStreamEvents) => ByteStream, options: PeerWireOptions): PeerWire {
    const wire = new PeerWire(options)
    wire.#socket = open({
      data: bytes => wire.#read(bytes),
      failed: error => wire.close(error),
      gone: () => wire.#onGone()
    })
    return wire
  }

  /** Resolves when the socket is closed. */
  get ended(): Promise<void> {
    return this.#gone.promise
  }
  /** Why it ended; undefined while it is open. */
  get error(): KithError | undefined {
    return this.#error
  }

  /** The other side ended the connection before it had said anything: it may want encryption. */
  get refused(): boolean {
    return this.#refused
  }
  /** The connection began with an encryption handshake. */
  get encrypted(): boolean {
    return this.#encrypted
  }

  sendHandshake(handshake: Handshake): void {
    this.write(encodeHandshake(handshake))
  }
  send(message: Message): void {
    this.write(encodeMessage(message))
  }
  /**
   * Queues bytes that must not change until `done`, and are not the caller's until then: they may be encrypted in place. Closes a peer
   * that asks without ever reading.
   */
  write(bytes: Uint8Array, done?: () => void): void {
    const socket = this.#socket
    if (this.#error || !socket) {
      done?.()
      return
    }
    if (this.#mse) {
      this.#held.push({ bytes, done })
      return
    }
    this.#encrypt?.apply(bytes)
    this.#lastSendMs = this.#options.clock.monotonic()
    if (socket.writableLength === 0) this.#lastDrainMs = this.#lastSendMs
    socket.write(bytes, () => {
      this.#lastDrainMs = this.#options.clock.monotonic()
      done?.()
    })
    if (socket.writableLength > MAX_SEND_QUEUE_BYTES) this.close(protocolError('the peer does not read what it asks for'))
  }
  /**
   * The slot that a half-received block goes to is no longer ours: the rest of the block is thrown away.
   * @returns false when the socket has been told to read into it already: it is ours until the block is done
   */
  discardBlock(target: Uint8Array): boolean {
    if (this.#target !== target) return true
    if (this.#direct && !this.#error) return false
    this.#target = undefined
    return true
  }

  close(error: KithError): void {
    if (this.#error) return
    this.#error = error
    this.#stop.abort()
    for (const { done } of this.#held.splice(0)) done?.()
    if (this.#socket) this.#socket.destroy()
    else this.#gone.resolve()
    this.#handler?.closed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close(new KithError('SOURCE_LOST', 'the connection was closed here'))
    await Promise.all([this.#gone.promise, this.#watch])
  }

  #use(socket: Socket): void {
    this.#socket = socket
    const onEnd = (): void => {
      if (!this.#error && !this.#handler && this.#cut.length === 0) this.#refused = true
    }
    socket.on('error', onEnd)
    socket.on('end', onEnd)
    socket.on('close', onEnd)
    socket.on('error', cause =>
      this.close(new KithError('SOURCE_LOST', `the connection failed: ${textOf(cause)}`, { code: codeOf(cause) }, { cause }))
    )
    socket.on('end', () => this.close(new KithError('SOURCE_LOST', 'the peer closed the connection')))
    socket.on('close', () => this.#onGone())
  }

  #onGone(): void {
    this.close(new KithError('SOURCE_LOST', 'the connection was closed'))
    this.#gone.resolve()
  }

  async #care(): Promise<void> {
    const { clock } = this.#options
    const signal = this.#stop.signal
    try {
      await clock.sleep(HANDSHAKE_MS, signal)
      if (!this.#handler) this.close(new KithError('SOURCE_LOST', 'no handshake in time'))
      while (!signal.aborted) {
        await clock.sleep(CARE_MS, signal)
        this.#lookOver(clock.monotonic())
      }
    } catch {
      // closed
    }
  }

  #lookOver(now: number): void {
    if (now - this.#lastReadMs > SILENCE_MS) this.close(new KithError('SOURCE_LOST', 'the peer fell silent'))
    if ((this.#socket?.writableLength ?? 0) > 0 && now - this.#lastDrainMs > WRITE_STALL_MS)
      this.close(new KithError('SOURCE_LOST', 'the peer takes nothing'))
    if (now - this.#lastSendMs > KEEP_ALIVE_MS) this.send({ kind: 'keepAlive' })
  }

  #read(bytes: Uint8Array): void {
    if (this.#error) return
    this.#lastReadMs = this.#options.clock.monotonic()
    this.#guard(() => {
      this.#decrypt?.apply(bytes)
      this.#consume(bytes)
    })
  }

  /** Whatever a handler throws ends the connection, never the process. */
  #guard(work: () => void): void {
    try {
      work()
      if (!this.#error) this.#handler?.readDone()
    } catch (error) {
      this.close(error instanceof KithError ? error : new KithError('INTERNAL', textOf(error), {}, { cause: error }))
    }
  }

  #directTarget(): Uint8Array | undefined {
    const target = this.#target
    return target && this.#blockLeft >= DIRECT_BYTES ? target.subarray(target.length - this.#blockLeft) : undefined
  }

  #readDirect(length: number): void {
    if (this.#error) return
    this.#lastReadMs = this.#options.clock.monotonic()
    if (this.#decrypt && this.#direct) this.#decrypt.apply(this.#direct.subarray(0, length))
    this.#blockLeft -= length
    if (this.#blockLeft === 0) this.#guard(() => this.#finishBlock())
  }

  #consume(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length && !this.#error) {
      if (this.#block) at += this.#payload(bytes, at)
      else if (this.#cut.length > 0) at += this.#cut.join(bytes, at)
      else {
        const used = this.#parse(bytes, at)
        if (used === 0) this.#cut.keep(bytes.subarray(at))
        at = used === 0 ? bytes.length : at + used
      }
    }
  }

  #payload(bytes: Uint8Array, at: number): number {
    const block = this.#block!
    const n = Math.min(this.#blockLeft, bytes.length - at)
    if (this.#target) this.#target.set(bytes.subarray(at, at + n), block.length - this.#blockLeft)
    this.#blockLeft -= n
    if (this.#blockLeft === 0) this.#finishBlock()
    return n
  }

  #finishBlock(): void {
    const block = this.#block!
    this.#block = undefined
    this.#target = undefined
    this.#handler!.blockDone(block)
  }

  /** @returns bytes used; 0 when the message is not whole, with `#cut` told how much is needed to look again */
  #parse(b: Uint8Array, at: number): number {
    const left = b.length - at
    const handler = this.#handler
    if (!handler) return this.#parseHandshake(b.subarray(at))
    if (left < 4) return this.#cut.needs(4)
    const length = readU32(b, at)
    if (length === 0) return 4
    if (left < 5) return this.#cut.needs(5)
    const id = b[at + 4]!
    checkLength(length, id, handler.grid)
    if (id === messageIds.piece) {
      if (left < PIECE_HEADER_BYTES) return this.#cut.needs(PIECE_HEADER_BYTES)
      const block = { piece: readU32(b, at + 5), begin: readU32(b, at + 9), length: length - 9 }
      checkBlock(block, handler.grid)
      this.#target = handler.block(block)
      this.#block = block
      this.#blockLeft = block.length
      this.#longBlocks = block.length >= 2 * DIRECT_BYTES
      return PIECE_HEADER_BYTES
    }
    if (left < 4 + length) return this.#cut.needs(4 + length)
    handler.message(decodeMessage(b.subarray(at + 4, at + 4 + length), handler.grid))
    return 4 + length
  }

  #parseHandshake(b: Uint8Array): number {
    if (this.#mse) return this.#shake(this.#mse, b)
    if (!startsLikeHandshake(b)) {
      this.#mse = this.#encrypted ? undefined : this.#options.onEncrypted?.()
      if (!this.#mse) throw protocolError('not a BitTorrent handshake')
      return this.#shake(this.#mse, b)
    }
    if (this.#options.onlyEncrypted && !this.#encrypted) throw protocolError('a handshake that is not encrypted')
    if (b.length < HANDSHAKE_BYTES) return this.#cut.needs(HANDSHAKE_BYTES)
    this.#handler = this.#options.onHandshake(decodeHandshake(b.subarray(0, HANDSHAKE_BYTES)), this)
    return HANDSHAKE_BYTES
  }

  #beginEncryption(): void {
    const initiator = this.#options.encryption?.(() => this.#takeHeld())
    if (!initiator) return
    this.write(initiator.start())
    this.#mse = initiator
  }

  /** What goes with the encryption handshake: all that waits, or nothing when that is too much. */
  #takeHeld(): Uint8Array {
    if (this.#held.reduce((n, h) => n + h.bytes.length, 0) > MAX_MSE_PAYLOAD_BYTES) return new Uint8Array()
    const held = this.#held.splice(0)
    for (const { done } of held) done?.()
    return concatBytes(...held.map(h => h.bytes))
  }

  /** One step of the encryption handshake; takes all of `b`. */
  #shake(mse: MseHandshake, b: Uint8Array): number {
    const { send, done } = mse.push(b)
    if (done) {
      this.#mse = undefined
      this.#encrypted = true
    }
    if (send && this.#socket) this.#socket.write(send, () => {})
    if (!done) return b.length
    this.#encrypt = done.encrypt
    this.#decrypt = done.decrypt
    for (const { bytes, done: written } of this.#held.splice(0)) this.write(bytes, written)
    this.#consume(done.rest)
    return b.length
  }
}
