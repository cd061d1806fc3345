/**
 * One TCP connection between clients, plain or obfuscated. Reads go into one scratch buffer that all connections share (a read is used
 * up before the next one begins), small packets are read in place, and the data of a part is copied once: from there to where its
 * owner says. Long parts, which Kith peers send each other, are read straight into the slot. Timers only watch for silence.
 */
import { connect, type Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import { CutMessage } from '../tcp/cut-message.ts'
import { wireError } from './bytes.ts'
import { CARE_MS, HANDSHAKE_MS, KEEP_ALIVE_MS, MAX_SEND_QUEUE_BYTES, READ_BYTES, SILENCE_MS, WRITE_STALL_MS } from './limits.ts'
import { Opening } from './obfuscation.node.ts'
import { edonkey, emule } from './opcodes.ts'
import { isProtocol, PACKET_HEADER_BYTES, type Packet, type PacketHead, protocols, readPacketHead } from './packet.ts'
import { type PartHead, partHeadBytes, readPartHead } from './parts.ts'
import type { Rc4 } from './rc4.ts'
import { unpack } from './unpack.node.ts'

/** What a connection does with what it receives. Whatever these throw closes the connection. */
export interface PeerHandler {
  /** Longest payload of this kind that is wanted; undefined: the packet is skipped. */
  maxPayload(head: PacketHead): number | undefined
  /** A whole packet. Its payload is only there until this returns. */
  packet(packet: Packet): void
  /** Data of a part begins. */
  part(head: PartHead): void
  /** Where the bytes of the part from this offset of the file on go, as many as belong in one place; a number: so many are thrown away. */
  target(offset: number): Uint8Array | number
  /** `count` bytes from this offset on were put there, or discarded. */
  received(offset: number, count: number): void
  /** Everything that one read brought has been handled: the moment to send what has gathered. */
  readDone(): void
  /** Said every 30 s in which nothing was sent. */
  keepAlive(): void
  /** The connection has ended; nothing is called afterwards. */
  closed(error: KithError): void
}

export interface PeerWireOptions {
  readonly clock: Clock
  /** "192.0.2.1:4662", for logs and keys. */
  readonly address: string
  readonly ownHash: Uint8Array
  /** Connect obfuscated, to the client with this user hash. */
  readonly obfuscateTo?: Uint8Array | undefined
  /** Close plain connections that come in. */
  readonly refusePlain?: boolean
}

/** On Windows a read is under way before its socket is readable, so there every connection needs its own buffer. */
const shared = process.platform === 'win32' ? undefined : Buffer.allocUnsafeSlow(READ_BYTES)
/** The rest of a part goes straight to its slot when it is at least so long; else reading several packets at once is cheaper. */
const DIRECT_BYTES = 32 * 1024
/** Read of a header between long parts: little of the data comes with it and has to be copied. */
const HEADER_READ_BYTES = 2 * 1024

export class PeerWire implements AsyncDisposable {
  readonly address: string
  readonly incoming: boolean
  readonly #options: PeerWireOptions
  readonly #handler: PeerHandler
  readonly #gone = Promise.withResolvers<void>()
  readonly #stop = new AbortController()
  readonly #watch: Promise<void>
  #socket: Socket | undefined
  #error: KithError | undefined
  /** undefined once it is known whether and how the connection is obfuscated. */
  #opening: Opening | undefined
  #isOpen = false
  #send: Rc4 | undefined
  #receive: Rc4 | undefined
  /** What was written before the opening was done. */
  #unsent: [Uint8Array, (() => void) | undefined][] = []
  /** Data of a part: where the next byte belongs, and how many come. */
  #offset = 0
  #dataLeft = 0
  #skipLeft = 0
  #longParts = false
  /** What the socket is reading into, when that is a slot. */
  #direct: Uint8Array | undefined
  #onDirect: (() => void) | undefined
  readonly #cut = new CutMessage(256, start => this.#parse(start, 0))
  #ready = false
  #lastReadMs: number
  #lastSendMs: number
  /** When the last write was taken by the kernel, or the first of several was begun. */
  #lastDrainMs = 0

  private constructor(options: PeerWireOptions, incoming: boolean, handlerOf: (wire: PeerWire) => PeerHandler) {
    this.#options = options
    this.address = options.address
    this.incoming = incoming
    this.#lastReadMs = options.clock.monotonic()
    this.#lastSendMs = this.#lastReadMs
    if (options.obfuscateTo) this.#opening = Opening.to(options.obfuscateTo)
    this.#isOpen = !incoming && !options.obfuscateTo
    this.#handler = handlerOf(this)
    this.#watch = this.#care()
  }

  /** Connects to an address that was checked. @throws SOURCE_LOST */
  static async dial(
    host: string,
    port: number,
    options: PeerWireOptions,
    handlerOf: (wire: PeerWire) => PeerHandler,
    signal: AbortSignal
  ): Promise<PeerWire> {
    signal.throwIfAborted()
    const wire = new PeerWire(options, false, handlerOf)
    const onAbort = (): void => wire.close(new KithError('SOURCE_LOST', 'dialling was given up'))
    signal.addEventListener('abort', onAbort, { once: true })
    const scratch = shared ?? Buffer.allocUnsafeSlow(READ_BYTES)
    const small = scratch.subarray(0, HEADER_READ_BYTES)
    const onread = {
      buffer: (): Uint8Array => (wire.#direct = wire.#directTarget()) ?? (wire.#longParts ? small : scratch),
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
      if (wire.#opening?.greeting) wire.#put(wire.#opening.greeting)
      return wire
    } catch (error) {
      await wire[Symbol.asyncDispose]()
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Takes a socket that connected to us. */
  static accept(socket: Socket, options: PeerWireOptions, handlerOf: (wire: PeerWire) => PeerHandler): PeerWire {
    const wire = new PeerWire(options, true, handlerOf)
    wire.#use(socket)
    socket.setNoDelay(true)
    socket.on('data', (bytes: Uint8Array) => wire.#read(bytes))
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
  get obfuscated(): boolean {
    return this.#send !== undefined
  }

  /** The hello of the other side was read: from now on only silence ends it. */
  ready(): void {
    this.#ready = true
  }

  /**
   * Sends bytes, in the order of the calls. They may be changed on the way and are the caller's again when `done` is called, which it
   * is in any case; a peer that asks without ever reading is closed.
   */
  write(bytes: Uint8Array, done?: () => void): void {
    if (this.#error || !this.#socket) done?.()
    else if (!this.#isOpen) this.#unsent.push([bytes, done])
    else this.#put(this.#send ? this.#send.apply(bytes) : bytes, done)
  }

  /**
   * Says that these bytes, which `target` gave out, are not ours any more.
   * @returns a promise when the socket has been told to read into them already: they are ours until it resolves
   */
  release(slot: Uint8Array): Promise<void> | undefined {
    const d = this.#direct
    if (this.#error || d?.buffer !== slot.buffer || d.byteOffset < slot.byteOffset || d.byteOffset >= slot.byteOffset + slot.length)
      return undefined
    const done = Promise.withResolvers<void>()
    this.#onDirect = done.resolve
    return Promise.race([done.promise, this.ended])
  }

  close(error: KithError): void {
    if (this.#error) return
    this.#error = error
    this.#stop.abort()
    for (const [, done] of this.#unsent.splice(0)) done?.()
    if (this.#socket) this.#socket.destroy()
    else this.#gone.resolve()
    this.#handler.closed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close(new KithError('SOURCE_LOST', 'the connection was closed here'))
    await Promise.all([this.#gone.promise, this.#watch])
  }

  #use(socket: Socket): void {
    this.#socket = socket
    socket.on('error', cause =>
      this.close(new KithError('SOURCE_LOST', `the connection failed: ${textOf(cause)}`, { code: codeOf(cause) }, { cause }))
    )
    socket.on('end', () => this.close(new KithError('SOURCE_LOST', 'the peer closed the connection')))
    socket.on('close', () => {
      this.close(new KithError('SOURCE_LOST', 'the connection was closed'))
      this.#gone.resolve()
    })
  }

  #put(bytes: Uint8Array, done?: () => void): void {
    const socket = this.#socket!
    this.#lastSendMs = this.#options.clock.monotonic()
    if (socket.writableLength === 0) this.#lastDrainMs = this.#lastSendMs
    socket.write(bytes, () => {
      this.#lastDrainMs = this.#options.clock.monotonic()
      done?.()
    })
    if (socket.writableLength > MAX_SEND_QUEUE_BYTES) this.close(wireError('the peer does not read what it asks for'))
  }

  async #care(): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stop
    try {
      await clock.sleep(HANDSHAKE_MS, signal)
      if (!this.#ready) this.close(new KithError('SOURCE_LOST', 'no hello in time'))
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
    if (!this.#error && now - this.#lastSendMs > KEEP_ALIVE_MS) this.#handler.keepAlive()
  }

  #directTarget(): Uint8Array | undefined {
    if (this.#dataLeft < DIRECT_BYTES || this.#receive) return undefined
    const target = this.#handler.target(this.#offset)
    if (typeof target === 'number' || target.length < DIRECT_BYTES) return undefined
    return target.length > this.#dataLeft ? target.subarray(0, this.#dataLeft) : target
  }

  #readDirect(length: number): void {
    this.#onDirect?.()
    this.#onDirect = undefined
    if (this.#error) return
    this.#lastReadMs = this.#options.clock.monotonic()
    this.#guard(() => this.#took(length))
  }

  #read(bytes: Uint8Array): void {
    if (this.#error) return
    this.#lastReadMs = this.#options.clock.monotonic()
    this.#guard(() => {
      if (this.#isOpen) this.#consume(this.#receive ? this.#receive.apply(bytes) : bytes)
      else this.#open(bytes)
    })
  }

  /** Whatever a handler throws ends the connection, never the process. */
  #guard(work: () => void): void {
    try {
      work()
      if (!this.#error) this.#handler.readDone()
    } catch (error) {
      this.close(error instanceof KithError ? error : new KithError('INTERNAL', textOf(error), {}, { cause: error }))
    }
  }

  /** The first bytes: plain packets, or an opening. */
  #open(bytes: Uint8Array): void {
    if (!this.#opening && bytes.length > 0) {
      if (isProtocol(bytes[0]!)) {
        if (this.#options.refusePlain) throw wireError('plain connections are not taken here')
        this.#isOpen = true
        this.#consume(bytes)
        return
      }
      this.#opening = Opening.from(this.#options.ownHash)
    }
    const done = this.#opening?.push(bytes)
    if (!done) return
    this.#send = done.send
    this.#receive = done.receive
    this.#isOpen = true
    if (done.reply) this.#put(done.reply)
    for (const [unsent, onDone] of this.#unsent.splice(0)) this.write(unsent, onDone)
    this.#consume(done.rest)
  }

  #consume(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length && !this.#error) {
      if (this.#dataLeft > 0) at += this.#copy(bytes, at)
      else if (this.#skipLeft > 0) {
        const n = Math.min(this.#skipLeft, bytes.length - at)
        this.#skipLeft -= n
        at += n
      } else if (this.#cut.length > 0) at += this.#cut.join(bytes, at)
      else {
        const used = this.#parse(bytes, at)
        if (used === 0) this.#cut.keep(bytes.subarray(at))
        at = used === 0 ? bytes.length : at + used
      }
    }
  }

  #copy(bytes: Uint8Array, at: number): number {
    const target = this.#handler.target(this.#offset)
    const room = typeof target === 'number' ? target : target.length
    const n = Math.min(this.#dataLeft, bytes.length - at, room)
    if (typeof target !== 'number') target.set(bytes.subarray(at, at + n))
    this.#took(n)
    return n
  }

  #took(count: number): void {
    const from = this.#offset
    this.#offset += count
    this.#dataLeft -= count
    this.#handler.received(from, count)
  }

  /** @returns bytes used; 0 when the packet is not whole, with `#cut` told how much is needed to look again */
  #parse(b: Uint8Array, at: number): number {
    const head = readPacketHead(b, at)
    if (!head) return this.#cut.needs(PACKET_HEADER_BYTES)
    const is64 = head.protocol === protocols.emule && head.opcode === emule.sendingPart64
    if (is64 || (head.protocol === protocols.edonkey && head.opcode === edonkey.sendingPart)) return this.#parsePart(b, at, head, is64)
    const most = this.#handler.maxPayload(head)
    if (most === undefined) {
      this.#skipLeft = head.payloadBytes
      return PACKET_HEADER_BYTES
    }
    if (head.payloadBytes > most) throw wireError('a packet that is too long for its kind', { opcode: head.opcode })
    const length = PACKET_HEADER_BYTES + head.payloadBytes
    if (b.length - at < length) return this.#cut.needs(length)
    const payload = b.subarray(at + PACKET_HEADER_BYTES, at + length)
    this.#handler.packet(unpack({ protocol: head.protocol, opcode: head.opcode, payload }))
    return length
  }

  #parsePart(b: Uint8Array, at: number, head: PacketHead, is64: boolean): number {
    const length = partHeadBytes(is64)
    if (head.payloadBytes <= length - PACKET_HEADER_BYTES) throw wireError('a part without data')
    if (b.length - at < length) return this.#cut.needs(length)
    const part = readPartHead(b, at, is64, head.payloadBytes)
    this.#handler.part(part)
    this.#offset = part.start
    this.#dataLeft = part.end - part.start
    this.#longParts = this.#dataLeft >= 2 * DIRECT_BYTES
    return length
  }
}
