/**
 * The listener that serves this node's shares over HTTP to Kith and to any other client. Nothing is looked up by path on a disk:
 * a request names a SHA-256 and the share index has it or not. docs/wire/http.md is what it speaks.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { ShareIndex, UploadGate } from '../protocol.ts'
import { BufferPool } from './buffer-pool.ts'
import { CounterWindows } from './counter-window.ts'
import {
  DEADLINE_CHECK_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  LINGER_MS,
  MAX_CONNECTIONS,
  MAX_CONNECTIONS_PER_ADDRESS,
  MAX_HEAD_BYTES,
  MAX_HEADERS,
  MAX_PIPELINED,
  MAX_REQUESTS_PER_CONNECTION,
  REQUEST_TIMEOUT_MS,
  WRITE_STALL_MS
} from './limits.ts'
import { answer, type ServeContext } from './respond.node.ts'

export interface HttpServerDeps {
  readonly shares: ShareIndex
  readonly gate: UploadGate
  readonly clock: Clock
  readonly log: Logger
}

export interface HttpServerOptions {
  /** Address to listen on. */
  readonly host?: string
  /** 0: any free one. */
  readonly port?: number
  readonly headersTimeoutMs?: number
  readonly requestTimeoutMs?: number
  readonly keepAliveMs?: number
  readonly writeStallMs?: number
  readonly deadlineCheckMs?: number
  readonly maxConnections?: number
  readonly maxConnectionsPerAddress?: number
}

export const httpServerDefaults: Required<HttpServerOptions> = {
  host: '0.0.0.0',
  port: 0,
  headersTimeoutMs: HEADERS_TIMEOUT_MS,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  keepAliveMs: KEEP_ALIVE_MS,
  writeStallMs: WRITE_STALL_MS,
  deadlineCheckMs: DEADLINE_CHECK_MS,
  maxConnections: MAX_CONNECTIONS,
  maxConnectionsPerAddress: MAX_CONNECTIONS_PER_ADDRESS
}

export interface HttpServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Connections that are open now. */
  readonly connections: number
}

/** Listens and serves until disposed; disposal cuts running answers and resolves when the last has ended. @throws HTTP_LISTEN */
export async function openHttpServer(deps: HttpServerDeps, options: HttpServerOptions = {}): Promise<HttpServer> {
  const o = { ...httpServerDefaults, ...options }
  const turns = new Turns({ ...deps, pool: new BufferPool(), windows: new CounterWindows(), writeStallMs: o.writeStallMs })
  const server = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: o.headersTimeoutMs,
      requestTimeout: o.requestTimeoutMs,
      keepAliveTimeout: o.keepAliveMs,
      connectionsCheckingInterval: o.deadlineCheckMs,
      noDelay: true
    },
    (req: IncomingMessage, res: ServerResponse) => turns.take(req, res)
  )
  // One more than allowed, so that respond.node.ts sees that there were too many; Node drops the rest silently.
  server.maxHeadersCount = MAX_HEADERS + 1
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION
  server.maxConnections = o.maxConnections
  const sockets = limitAddresses(server, o.maxConnectionsPerAddress)
  const refused = new WeakSet<Socket>()
  server.on('clientError', (error, stream) => {
    const socket = stream as Socket
    if (refused.has(socket)) return // what still comes in while it lingers
    refused.add(socket)
    refuseMalformed(socket, error, turns.has(socket))
  })
  server.on('upgrade', (_req, socket) => socket.destroy())
  server.on('connect', (_req, socket) => socket.destroy())
  await listen(server, o.host, o.port)
  server.on('error', error => deps.log.warn('a connection could not be accepted', { code: codeOf(error) })) // EMFILE must not end the process
  const { address, port } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
    await turns.ended()
  }
  return {
    host: address,
    port,
    get connections() {
      return sockets.size
    },
    [Symbol.asyncDispose]: () => (closing ??= close())
  }
}

/** Pipelined requests take turns: each costs buffers and credit, and one packet can hold hundreds. */
class Turns {
  readonly #context: ServeContext
  readonly #running = new Set<Promise<void>>()
  /** The last request of each connection, and how many are not answered. */
  readonly #bySocket = new WeakMap<Socket, { readonly work: Promise<void>; depth: number }>()

  constructor(context: ServeContext) {
    this.#context = context
  }
  has(socket: Socket): boolean {
    return this.#bySocket.has(socket)
  }
  take(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    const before = this.#bySocket.get(socket)
    const depth = (before?.depth ?? 0) + 1
    if (depth > MAX_PIPELINED) return void socket.destroy()
    const work = (before?.work ?? Promise.resolve())
      .then(() => answer(this.#context, req, res))
      .catch((error: unknown) => {
        this.#context.log.debug('request failed', { code: codeOf(error) })
        res.destroy()
      })
      .finally(() => {
        this.#running.delete(work)
        const last = this.#bySocket.get(socket)
        if (last && --last.depth === 0) this.#bySocket.delete(socket)
      })
    this.#bySocket.set(socket, { work, depth })
    this.#running.add(work)
  }
  /** Resolves when every request that was taken has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }
}

/** Keeps the set of open sockets; beyond `max` from one address a new one is told to come later and closed. */
function limitAddresses(server: Server, max: number): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  const byAddress = new Map<string, number>()
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const count = (byAddress.get(address) ?? 0) + 1
    byAddress.set(address, count)
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      const left = (byAddress.get(address) ?? 1) - 1
      if (left === 0) byAddress.delete(address)
      else byAddress.set(address, left)
    })
    if (count > max) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      socket.destroySoon()
    }
  })
  return sockets
}

/**
 * Threats HT3, CO3: what Node's strict parser refuses is answered once, unless an answer is on its way already, and closed. The rest of what
 * the client sends is read and dropped for a moment: closing at once would reset the connection before it has read the answer.
 */
function refuseMalformed(socket: Socket, error: NodeJS.ErrnoException, answering: boolean): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request'
  if (!answering) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (cause) {
    const hint =
      codeOf(cause) === 'EADDRINUSE' ? 'another program uses this port; choose another one, or 0' : 'choose another address or port'
    throw new KithError('HTTP_LISTEN', `cannot listen on ${host} port ${port}`, { host, port, cause: codeOf(cause) }, { cause, hint })
  }
}
