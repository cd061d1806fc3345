/**
 * A small eDonkey server for private networks: clients log in, offer files, search, and find each other. It tells who can be connected to by
 * trying, and keeps everything in memory. No UDP, no obfuscated connections, no other servers but those it was given.
 */
import { createServer, isIPv4, type Server, type Socket } from 'node:net'
import { randomBytes } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { isFilePort } from '../address-filter.ts'
import { ipToNumber } from './bytes.ts'
import { asUserHash } from './hello.ts'
import {
  ALL_SEARCHES_BURST,
  ALL_SEARCHES_PER_SECOND,
  MAX_PROBES,
  MAX_SERVER_CLIENTS,
  MAX_SERVER_CLIENTS_PER_ADDRESS,
  MAX_SERVER_GUESTS
} from './limits.ts'
import { ServerBook, type ServerClient } from './server-book.ts'
import { ServerConn, type ServerHouse } from './server-conn.node.ts'
import type { Login } from './server-messages.ts'
import { probeClient } from './server-probe.node.ts'

export interface Ed2kServerDeps {
  readonly clock: Clock
  readonly log: Logger
}

export interface Ed2kServerOptions {
  /** Address to listen at. */
  readonly host?: string
  /** 4661 by default; 0 takes a free one. */
  readonly port?: number
  readonly name?: string
  readonly description?: string
  /** Said to everybody who logs in. */
  readonly message?: string
  /** IPv4 addresses of other servers, for who asks. */
  readonly servers?: readonly { readonly host: string; readonly port: number }[]
  readonly maxClients?: number
  readonly maxPerAddress?: number
}

/** Listens from the moment this resolves. @throws PORT_UNAVAILABLE */
export async function openEd2kServer(deps: Ed2kServerDeps, options: Ed2kServerOptions = {}): Promise<Ed2kServer> {
  const { host = '0.0.0.0', port = 4661 } = options
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause =>
      reject(new KithError('PORT_UNAVAILABLE', `cannot listen on port ${port}`, { port }, { cause, hint: 'choose another port, or 0' }))
    )
    server.listen(port, host, resolve)
  })
  server.removeAllListeners('error')
  return new Ed2kServer(deps, options, server)
}

export class Ed2kServer implements AsyncDisposable {
  readonly port: number
  readonly #server: Server
  readonly #house: ServerHouse
  readonly #maxClients: number
  readonly #maxPerAddress: number
  readonly #book = new ServerBook()
  readonly #conns = new Set<ServerConn>()
  readonly #byClient = new Map<ServerClient, ServerConn>()
  readonly #countsByAddress = new Map<string, number>()
  readonly #tasks = new Set<Promise<void>>()
  #probes = 0
  #closing: Promise<void> | undefined

  /** Use `openEd2kServer`. */
  constructor(deps: Ed2kServerDeps, options: Ed2kServerOptions, server: Server) {
    const { name = 'kith', description = '', message = '', servers = [] } = options
    const address = server.address()
    this.port = address !== null && typeof address === 'object' ? address.port : 0
    this.#server = server
    this.#maxClients = options.maxClients ?? MAX_SERVER_CLIENTS
    this.#maxPerAddress = options.maxPerAddress ?? MAX_SERVER_CLIENTS_PER_ADDRESS
    const userHash = asUserHash(randomBytes(16))
    this.#house = {
      ...deps,
      book: this.#book,
      searches: new TokenBucket(deps.clock, ALL_SEARCHES_PER_SECOND, ALL_SEARCHES_BURST),
      userHash,
      port: this.port,
      name,
      description,
      message,
      servers: servers.map(s => ({ address: ipToNumber(s.host), port: s.port })),
      probe: (host, login, signal) => this.#probe(deps.clock, userHash, host, login, signal),
      connOf: client => this.#byClient.get(client),
      joined: (conn, client) => this.#byClient.set(client, conn)
    }
    server.on('connection', socket => this.#accept(socket))
    server.on('error', () => {}) // accepting failed (out of file descriptors): the next connection may work
  }

  /** Clients that are logged in. */
  get clients(): number {
    return this.#book.clients
  }
  get files(): number {
    return this.#book.files
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    await Promise.all([...this.#conns].map(c => c[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
    await closed
  }

  #accept(socket: Socket): void {
    const host = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
    const count = this.#countsByAddress.get(host) ?? 0
    const guests = this.#conns.size - this.#book.clients
    const isFull = this.#conns.size >= this.#maxClients || guests >= MAX_SERVER_GUESTS
    // An eDonkey server knows IPv4 only. Programs on this machine share one address: they are not counted.
    if (this.#closing || !isIPv4(host) || isFull || (count >= this.#maxPerAddress && !host.startsWith('127.'))) {
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    const conn = new ServerConn(this.#house, socket, host)
    this.#conns.add(conn)
    this.#countsByAddress.set(host, count + 1)
    const task: Promise<void> = conn.closed
      .then(() => conn[Symbol.asyncDispose]())
      .finally(() => {
        this.#left(conn)
        this.#tasks.delete(task)
      })
    this.#tasks.add(task)
  }

  #left(conn: ServerConn): void {
    this.#conns.delete(conn)
    if (conn.client) {
      this.#book.leave(conn.client)
      this.#byClient.delete(conn.client)
    }
    const left = this.#countsByAddress.get(conn.host)! - 1
    if (left > 0) this.#countsByAddress.set(conn.host, left)
    else this.#countsByAddress.delete(conn.host)
  }

  /** Only at the client's own address, and never at ports of services that could be talked into something. */
  async #probe(clock: Clock, ownHash: Uint8Array, host: string, { port, userHash, crypt }: Login, signal: AbortSignal): Promise<boolean> {
    if (this.#probes >= MAX_PROBES || !isFilePort(port)) return false
    this.#probes++
    try {
      const tryOnce = () => probeClient({ host, port, userHash, crypt }, { clock, ownHash, ownPort: this.port }, signal)
      return (await tryOnce()) || (await tryOnce()) // a low id lasts as long as the connection
    } finally {
      this.#probes--
    }
  }
}
