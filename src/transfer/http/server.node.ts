/**
 * The listener that serves this node's shares over HTTP, or HTTPS, to Kith and to any other client. Nothing is looked up by path on a
 * disk: a request names a SHA-256 and the share index has it or not. docs/wire/http.md is what it speaks.
 */
import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { listenHttp, refuseBusy, refuseMalformed } from '../../platform/http-listen.node.ts'
import type { TlsIdentity } from '../../platform/x509.node.ts'
import type { ShareIndex } from '../protocol.ts'
import { BufferPool } from './buffer-pool.ts'
import { CounterWindows } from './counter-window.ts'
import { Encoders } from './encoded-body.node.ts'
import {
  DEADLINE_CHECK_MS,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  LINGER_MS,
  MAX_HEAD_BYTES,
  MAX_HEADERS,
  MAX_REQUESTS_PER_CONNECTION,
  REQUEST_TIMEOUT_MS,
  WRITE_STALL_MS
} from './limits.ts'
import { ListenerGuard, type ListenerLimits, listenerLimitDefaults } from './listener-guard.node.ts'
import type { Gate } from './send-body.node.ts'
import { TLS_CIPHERS } from './tls-ciphers.ts'
import { Turns } from './turns.node.ts'

/** What the listeners of one node have in common. */
export interface Common {
  readonly guard: ListenerGuard
  readonly pool: BufferPool
  /** A counter that came over one listener must not come again over another. */
  readonly windows: CounterWindows
  readonly encoders: Encoders
}

export interface HttpServerDeps {
  readonly shares: ShareIndex
  readonly gate: Gate
  readonly clock: Clock
  readonly log: Logger
  /** From `makeCommon`; its own when undefined. */
  readonly common?: Common
}

export interface HttpServerOptions extends ListenerLimits {
  /** Address to listen on. */
  readonly host?: string
  /** 0: any free one. */
  readonly port?: number
  /** Key and certificate; undefined: no TLS. */
  readonly tls?: TlsIdentity | undefined
  readonly headersTimeoutMs?: number
  readonly requestTimeoutMs?: number
  readonly keepAliveMs?: number
  readonly writeStallMs?: number
  readonly deadlineCheckMs?: number
}

export const httpServerDefaults: Required<HttpServerOptions> = {
  ...listenerLimitDefaults,
  host: '0.0.0.0',
  port: 0,
  tls: undefined,
  headersTimeoutMs: HEADERS_TIMEOUT_MS,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  keepAliveMs: KEEP_ALIVE_MS,
  writeStallMs: WRITE_STALL_MS,
  deadlineCheckMs: DEADLINE_CHECK_MS
}

export interface HttpServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Connections that are open now. */
  readonly connections: number
}

export const makeCommon = (deps: { readonly clock: Clock }, limits: ListenerLimits = {}): Common => ({
  guard: new ListenerGuard(deps, limits),
  pool: new BufferPool(),
  windows: new CounterWindows(),
  encoders: new Encoders()
})

/** Listens and serves until disposed; disposal cuts running answers and resolves when the last has ended. @throws HTTP_LISTEN */
export async function openHttpServer(deps: HttpServerDeps, options: HttpServerOptions = {}): Promise<HttpServer> {
  const o = { ...httpServerDefaults, ...options }
  const common = deps.common ?? makeCommon(deps, o)
  const turns = new Turns({ ...deps, ...common, protocol: o.tls ? 'https' : 'http', writeStallMs: o.writeStallMs })
  const server = makeServer(o)
  server.on('request', (req, res) => turns.take(req, res))
  const sockets = watchSockets(server, common.guard, o.tls !== undefined)
  refuseMalformed(server, { lingerMs: LINGER_MS, isAnswering: socket => turns.has(socket) })
  await listenHttp(server, o.host, o.port)
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

function makeServer(o: Required<HttpServerOptions>): Server {
  const http: ServerOptions = {
    insecureHTTPParser: false,
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: o.headersTimeoutMs,
    requestTimeout: o.requestTimeoutMs,
    keepAliveTimeout: o.keepAliveMs,
    connectionsCheckingInterval: o.deadlineCheckMs,
    noDelay: true
  }
  const tls = o.tls && {
    key: o.tls.key,
    cert: o.tls.certificate,
    minVersion: 'TLSv1.3' as const,
    ciphers: TLS_CIPHERS,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: o.headersTimeoutMs
  }
  const server: Server = tls ? createSecureServer({ ...http, ...tls }) : createServer(http)
  // One more than allowed, so that respond.node.ts sees that there were too many; Node drops the rest silently.
  server.maxHeadersCount = MAX_HEADERS + 1
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION
  return server
}

/** Keeps the set of open sockets; one for which there is no place is told to come later and closed. */
function watchSockets(server: Server, guard: ListenerGuard, tls: boolean): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  server.prependListener('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    if (guard.admit(socket, tls) !== 'in') refuseBusy(socket, tls)
  })
  return sockets
}
