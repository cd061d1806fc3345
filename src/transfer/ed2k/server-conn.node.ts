/** One connection of a server with a client: login, what it offers, asks and searches. Whatever a client breaks ends its connection, nothing else. */
import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { ipToNumber, LeReader, wireError } from './bytes.ts'
import { HIGH_ID_FROM } from './hello.ts'
import {
  CLIENT_PACKET_BYTES,
  CLIENT_PACKETS_BURST,
  CLIENT_PACKETS_PER_SECOND,
  HANDSHAKE_MS,
  MAX_SERVER_PACKET_BYTES,
  MAX_SERVER_QUEUE_BYTES,
  SEARCHES_BURST,
  SEARCHES_PER_SECOND
} from './limits.ts'
import { encodePacket, PacketSplitter, protocols } from './packet.ts'
import type { ServerBook, ServerClient } from './server-book.ts'
import { decodeFiles, encodeFound } from './server-files.ts'
import {
  decodeLogin,
  decodeSourcesWanted,
  encodeCall,
  encodeFoundSources,
  encodeGivenId,
  encodeMessage,
  encodeServerName,
  encodeServers,
  encodeStatus,
  type FoundSource,
  type Login,
  type ServerAddress,
  serverAbilities,
  serverOps
} from './server-messages.ts'
import { decodeSearch } from './server-search.ts'
import { encodePacked, unpack } from './unpack.node.ts'

/** The server, as a connection sees it. */
export interface ServerHouse {
  readonly clock: Clock
  readonly log: Logger
  readonly book: ServerBook
  /** Of all clients together. */
  readonly searches: TokenBucket
  readonly userHash: Uint8Array
  readonly port: number
  readonly name: string
  readonly description: string
  readonly message: string
  readonly servers: readonly ServerAddress[]
  /** Whether the client can be connected to at its own address. */
  probe(host: string, login: Login, signal: AbortSignal): Promise<boolean>
  /** The connection of somebody who is logged in. */
  connOf(client: ServerClient): ServerConn | undefined
  joined(conn: ServerConn, client: ServerClient): void
}

const { zlib, newTags, unicode, largeFiles, crypt } = serverAbilities
const ABILITIES: number = zlib | newTags | unicode | largeFiles | crypt
const KEEP_ALIVE_MS = 60_000

export class ServerConn implements AsyncDisposable {
  readonly host: string
  readonly #house: ServerHouse
  readonly #socket: Socket
  readonly #packets = new PacketSplitter(MAX_SERVER_PACKET_BYTES)
  readonly #stop = new AbortController()
  readonly #rate: TokenBucket
  readonly #searches: TokenBucket
  readonly #closed = Promise.withResolvers<void>()
  readonly #tasks: Promise<void>[] = []
  #login: Login | undefined
  #client: ServerClient | undefined
  /** What came before the id was given. */
  #early: { readonly opcode: number; readonly payload: Uint8Array }[] = []

  constructor(house: ServerHouse, socket: Socket, host: string) {
    this.#house = house
    this.#socket = socket
    this.host = host
    this.#rate = new TokenBucket(house.clock, CLIENT_PACKETS_PER_SECOND, CLIENT_PACKETS_BURST)
    this.#searches = new TokenBucket(house.clock, SEARCHES_PER_SECOND, SEARCHES_BURST)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('data', (bytes: Uint8Array) => this.#guard(() => this.#read(bytes)))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#stop.abort()
      this.#closed.resolve()
    })
    this.#tasks.push(this.#watch())
  }

  get client(): ServerClient | undefined {
    return this.#client
  }
  /** Resolves when the socket is closed. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** A client that does not read what it asked for is closed. */
  send(opcode: number, payload: Uint8Array): void {
    this.#write(encodePacket(protocols.edonkey, opcode, payload))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#socket.destroy()
    await this.#closed.promise
    await Promise.all(this.#tasks)
  }

  #write(bytes: Uint8Array): void {
    if (this.#socket.destroyed) return
    this.#socket.write(bytes)
    if (this.#socket.writableLength > MAX_SERVER_QUEUE_BYTES) this.#socket.destroy()
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#drop(error)
    }
  }

  #drop(error: unknown): void {
    this.#house.log.debug('a client of the eDonkey server was dropped', { host: this.host, error })
    this.#socket.destroy()
  }

  /** Nobody stays without logging in. */
  async #watch(): Promise<void> {
    await this.#house.clock.sleep(HANDSHAKE_MS, this.#stop.signal).catch(() => {})
    if (!this.#login) this.#socket.destroy()
  }

  #read(bytes: Uint8Array): void {
    if (this.#stop.signal.aborted) return
    for (const packet of this.#packets.push(bytes)) {
      if (!this.#rate.tryTake()) throw wireError('too many packets')
      const { protocol, opcode, payload } = unpack(packet, protocols.edonkey, MAX_SERVER_PACKET_BYTES)
      if (!this.#rate.tryTake(Math.floor(payload.length / CLIENT_PACKET_BYTES))) throw wireError('too many long packets')
      if (protocol !== protocols.edonkey) continue
      if (!this.#login) this.#begin(opcode, payload)
      else if (this.#client) this.#take(this.#client, opcode, payload)
      else this.#keep(opcode, payload)
    }
  }

  #begin(opcode: number, payload: Uint8Array): void {
    if (opcode !== serverOps.login) throw wireError('something else than a login', { opcode })
    this.#login = decodeLogin(payload)
    this.#tasks.push(this.#admit(this.#login).catch(error => this.#drop(error)))
  }

  #keep(opcode: number, payload: Uint8Array): void {
    this.#early.push({ opcode, payload })
    if (this.#early.length > MAX_EARLY) throw wireError('packets before the id was given')
  }

  async #admit(login: Login): Promise<void> {
    const house = this.#house
    if (house.message !== '') this.send(serverOps.message, encodeMessage(house.message))
    const isHigh = login.port !== 0 && (await house.probe(this.host, login, this.#stop.signal))
    if (this.#stop.signal.aborted) return
    const address = ipToNumber(this.host)
    const client = house.book.join(login, isHigh ? address : undefined)
    this.#client = client
    house.joined(this, client)
    if (client.id < HIGH_ID_FROM) this.send(serverOps.message, encodeMessage(LOW_ID_WARNING))
    this.send(serverOps.id, encodeGivenId({ id: client.id, abilities: ABILITIES, address }, house.port))
    this.#sayStatus()
    const { userHash, name, description, port } = house
    const own = ipToNumber((this.#socket.localAddress ?? '0.0.0.0').replace(/^::ffff:/, ''))
    this.send(serverOps.server, encodeServerName({ hash: userHash, address: own, port, name, description }))
    for (const { opcode, payload } of this.#early.splice(0)) this.#guard(() => this.#take(client, opcode, payload))
  }

  #sayStatus(): void {
    const { clients, files } = this.#house.book
    this.send(serverOps.status, encodeStatus({ clients, files }))
  }

  #take(client: ServerClient, opcode: number, payload: Uint8Array): void {
    const { book, servers } = this.#house
    switch (opcode) {
      case serverOps.offerFiles: {
        const files = decodeFiles(payload)
        book.offer(client, files)
        if (files.length === 0) this.#sayStatus()
        break
      }
      case serverOps.wantSources:
      case serverOps.wantSourcesCrypt:
        this.#sources(client, payload, opcode === serverOps.wantSourcesCrypt)
        break
      case serverOps.search: {
        const search = decodeSearch(payload)
        const mayLook = this.#searches.tryTake() && this.#house.searches.tryTake()
        const records = mayLook ? book.search(search) : []
        const found = encodeFound(records)
        const takesPacked = (this.#login!.abilities & zlib) !== 0
        this.#write((takesPacked ? encodePacked : encodePacket)(protocols.edonkey, serverOps.found, found))
        break
      }
      case serverOps.wantServers:
        this.send(serverOps.servers, encodeServers(servers))
        break
      case serverOps.callMe:
        this.#callMe(client, payload)
        break
    }
  }

  #sources(client: ServerClient, payload: Uint8Array, withCrypt: boolean): void {
    const { hash, size } = decodeSourcesWanted(payload)
    const sources = this.#house.book.sourcesOf(client, hash, size).map(asSource)
    if (sources.length > 0)
      this.send(withCrypt ? serverOps.sourcesCrypt : serverOps.sources, encodeFoundSources({ hash, sources }, withCrypt))
  }

  /** Asks a client that cannot be connected to, to connect to this one. */
  #callMe(client: ServerClient, payload: Uint8Array): void {
    const { book } = this.#house
    const r = new LeReader(payload)
    const id = r.u32()
    r.end()
    const target = client.id >= HIGH_ID_FROM ? book.byLowId(id) : undefined
    const conn = target && this.#house.connOf(target)
    if (conn) conn.send(serverOps.call, encodeCall(client.crypt.supported ? asSource(client) : { id: client.id, port: client.port }))
    else this.send(serverOps.callFailed, new Uint8Array())
  }
}

const asSource = ({ id, port, userHash, crypt: c }: ServerClient): FoundSource => ({ id, port, userHash, crypt: c })

const MAX_EARLY = 16
const LOW_ID_WARNING = 'WARNING : You have a lowid. Please review your network config and/or your settings.'
