/** One connection with a server, as its client: login, offers, questions, and what the server says unasked. */
import { connect, type Socket } from 'node:net'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError, textOf } from '../../base/errors.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { LeWriter, wireError } from './bytes.ts'
import {
  LOGIN_MS,
  MAX_OFFERED_FILES,
  MAX_SEND_QUEUE_BYTES,
  MAX_SERVER_PACKET_BYTES,
  OFFERS_PER_PACKET,
  SERVER_KEEP_ALIVE_MS,
  SERVER_PACKETS_BURST,
  SERVER_PACKETS_PER_SECOND
} from './limits.ts'
import { encodePacket, PacketSplitter, protocols } from './packet.ts'
import { encodeOffers, type OfferedFile } from './server-files.ts'
import { aborted } from './server-gather.ts'
import {
  decodeCall,
  decodeFoundSources,
  decodeGivenId,
  decodeMessage,
  decodeServerName,
  decodeStatus,
  encodeLogin,
  encodeSourcesWanted,
  type FoundSource,
  type FoundSources,
  type GivenId,
  type Login,
  type ServerStatus,
  serverAbilities,
  serverOps
} from './server-messages.ts'
import { encodePacked, unpack } from './unpack.node.ts'

/** What the server says. Whatever these throw ends the connection. */
export interface ServerEvents {
  id(id: GivenId): void
  status(status: ServerStatus): void
  /** Remote text. */
  named(name: string): void
  message(text: string): void
  sources(found: FoundSources): void
  /** We are to connect to this client. */
  call(client: FoundSource): void
}

export class ServerSession implements AsyncDisposable {
  readonly #clock: Clock
  readonly #socket: Socket
  readonly #events: ServerEvents
  readonly #login: Login
  readonly #packets = new PacketSplitter(MAX_SERVER_PACKET_BYTES)
  readonly #rate: TokenBucket
  readonly #stop = new AbortController()
  readonly #gone = Promise.withResolvers<void>()
  readonly #loggedIn = Promise.withResolvers<void>()
  readonly #offered = new Set<string>()
  readonly #watching: Promise<void>
  #error: KithError | undefined
  #given: GivenId | undefined
  #lastSendMs: number

  private constructor(clock: Clock, socket: Socket, login: Login, events: ServerEvents) {
    this.#clock = clock
    this.#socket = socket
    this.#login = login
    this.#events = events
    this.#rate = new TokenBucket(clock, SERVER_PACKETS_PER_SECOND, SERVER_PACKETS_BURST)
    this.#lastSendMs = clock.monotonic()
    this.#loggedIn.promise.catch(() => {})
    socket.setNoDelay(true)
    socket.on('connect', () => this.#send(serverOps.login, encodeLogin(login)))
    socket.on('data', (bytes: Uint8Array) => this.#read(bytes))
    socket.on('error', cause => this.#close(lost(`the connection failed: ${textOf(cause)}`, cause)))
    socket.on('end', () => this.#close(lost('the server closed the connection')))
    socket.on('close', () => {
      this.#close(lost('the connection was closed'))
      this.#gone.resolve()
    })
    this.#watching = this.#watch()
  }

  /** Connects to an address that was checked and logs in. @throws SERVER_LOST when it gives no id within 30 s */
  static async open(
    clock: Clock,
    address: { readonly host: string; readonly port: number },
    login: Login,
    events: ServerEvents,
    signal: AbortSignal
  ): Promise<ServerSession> {
    const session = new ServerSession(clock, connect(address), login, events)
    const opened = new AbortController()
    const given = aborted(AbortSignal.any([signal, opened.signal])).then(() => {
      if (!opened.signal.aborted) session.#close(lost('connecting was given up'))
    })
    try {
      await session.#loggedIn.promise
      return session
    } catch (error) {
      await session[Symbol.asyncDispose]()
      throw error
    } finally {
      opened.abort()
      await given
    }
  }

  /** Resolves when the connection has ended. */
  get ended(): Promise<void> {
    return this.#gone.promise
  }
  get error(): KithError | undefined {
    return this.#error
  }

  /** Tells the server of files that it was not told of yet, whole ones first; beyond 2,000 in all the rest is left out. */
  offer(files: Iterable<OfferedFile>): void {
    const fresh: OfferedFile[] = []
    const isLargeTaken = this.#can(serverAbilities.largeFiles)
    for (const file of files) {
      if (this.#offered.size >= MAX_OFFERED_FILES) break
      const key = bytesToHex(file.hash) + (file.complete ? '+' : '')
      if (this.#offered.has(key) || file.size === 0 || (file.size >= 2 ** 32 && !isLargeTaken)) continue
      this.#offered.add(key)
      fresh.push(file)
    }
    const form = {
      marks: this.#can(serverAbilities.zlib),
      newTags: this.#can(serverAbilities.newTags),
      id: this.#given?.id ?? 0,
      port: this.#login.port
    }
    for (let at = 0; at < fresh.length; at += OFFERS_PER_PACKET) {
      const payload = encodeOffers(fresh.slice(at, at + OFFERS_PER_PACKET), form)
      if (form.marks) this.#write(encodePacked(protocols.edonkey, serverOps.offerFiles, payload))
      else this.#send(serverOps.offerFiles, payload)
    }
  }

  askSources(hash: Uint8Array, size: number): void {
    if (size >= 2 ** 32 && !this.#can(serverAbilities.largeFiles)) return
    const isCryptKnown = this.#can(serverAbilities.crypt) && this.#login.crypt.supported
    this.#send(isCryptKnown ? serverOps.wantSourcesCrypt : serverOps.wantSources, encodeSourcesWanted(hash, size))
  }

  /** Has the server tell a client that cannot be connected to, to connect to us. */
  askCall(lowId: number): void {
    this.#send(serverOps.callMe, new LeWriter().u32(lowId).done())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close(lost('the connection was closed here'))
    await Promise.all([this.#gone.promise, this.#watching])
  }

  #can(ability: number): boolean {
    return ((this.#given?.abilities ?? 0) & ability) !== 0
  }

  #send(opcode: number, payload: Uint8Array): void {
    this.#write(encodePacket(protocols.edonkey, opcode, payload))
  }

  #write(bytes: Uint8Array): void {
    if (this.#error) return
    this.#lastSendMs = this.#clock.monotonic()
    this.#socket.write(bytes)
    if (this.#socket.writableLength > MAX_SEND_QUEUE_BYTES) this.#close(lost('the server takes nothing'))
  }

  #close(error: KithError): void {
    if (this.#error) return
    this.#error = error
    this.#stop.abort()
    this.#loggedIn.reject(error)
    this.#socket.destroy()
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop
    try {
      await this.#clock.sleep(LOGIN_MS, signal)
      if (!this.#given) this.#close(lost('the server gave no id in time'))
      while (!signal.aborted) {
        await this.#clock.sleep(SERVER_KEEP_ALIVE_MS / 4, signal)
        if (this.#clock.monotonic() - this.#lastSendMs >= SERVER_KEEP_ALIVE_MS)
          this.#send(serverOps.offerFiles, encodeOffers([], { marks: true, newTags: true, id: 0, port: 0 }))
      }
    } catch {
      // closed
    }
  }

  #read(bytes: Uint8Array): void {
    try {
      for (const packet of this.#packets.push(bytes)) {
        if (this.#error) return
        if (!this.#rate.tryTake()) throw wireError('too many packets')
        const { protocol, opcode, payload } = unpack(packet, protocols.edonkey, MAX_SERVER_PACKET_BYTES)
        if (protocol === protocols.edonkey) this.#take(opcode, payload)
      }
    } catch (error) {
      this.#close(error instanceof KithError ? error : lost(textOf(error), error))
    }
  }

  #take(opcode: number, payload: Uint8Array): void {
    const events = this.#events
    switch (opcode) {
      case serverOps.id: {
        const given = decodeGivenId(payload)
        if (given.id === 0) throw lost('the server refused us')
        this.#given = given
        events.id(given)
        this.#loggedIn.resolve()
        break
      }
      case serverOps.status:
        events.status(decodeStatus(payload))
        break
      case serverOps.server:
        events.named(decodeServerName(payload).name)
        break
      case serverOps.message:
        events.message(decodeMessage(payload))
        break
      case serverOps.sources:
      case serverOps.sourcesCrypt:
        events.sources(decodeFoundSources(payload, opcode === serverOps.sourcesCrypt))
        break
      case serverOps.call:
        events.call(decodeCall(payload))
        break
    }
  }
}

const lost = (why: string, cause?: unknown): KithError => new KithError('SERVER_LOST', why, {}, { cause })
