/**
 * A strict HTTP listener: places for connections in all and for each address, deadlines for head and body, few headers, TLS 1.3 if any
 * (threats CO1-CO3, CO15-CO18).
 */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { mostCrowded } from '../../base/crowding.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { ConnectionLimiter, type ConnectionLimits } from '../../net/connection-limiter.ts'
import { MAX_CONNECTIONS } from '../../net/limits.ts'
import { listenHttp, refuseBusy, refuseMalformed } from '../../platform/http-listen.node.ts'
import type { TlsIdentity } from '../../platform/x509.node.ts'
import { originNetwork } from '../delivery/origin-key.ts'
import * as limits from '../limits.ts'
import { refuse } from './answer.node.ts'

export interface HttpLimits extends ConnectionLimits {
  /** Connections in all. */
  readonly maxConnections?: number
  readonly headTimeoutMs?: number
  readonly keepAliveMs?: number
  readonly writeStallMs?: number
  readonly checkMs?: number
}

export interface ListenerOptions extends HttpLimits {
  readonly host?: string
  readonly port?: number
  readonly tls?: TlsIdentity | undefined
}

export interface Listener extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly connections: number
}

/** Listens until disposed; disposal cuts what is open. @throws HTTP_LISTEN */
export async function openListener(
  deps: { readonly clock: Clock; readonly log: Logger },
  options: ListenerOptions,
  serve: (request: IncomingMessage, response: ServerResponse) => void
): Promise<Listener> {
  const server = makeServer(options)
  const sockets = watchSockets(server, new ConnectionLimiter(deps, options), options)
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (!takeTurn(request.socket, response)) return
    watchWriting(request.socket, options.writeStallMs ?? limits.HTTP_WRITE_STALL_MS)
    if (request.rawHeaders.length > 2 * limits.MAX_HTTP_HEADERS)
      refuse(request, response, new KithError('TOO_MANY_HEADERS', 'too many headers'))
    else serve(request, response)
  }
  server.on('request', handle)
  server.on('checkContinue', handle)
  refuseMalformed(server, { lingerMs: limits.HTTP_LINGER_MS })
  await listenHttp(server, options.host ?? '127.0.0.1', options.port ?? 0)
  server.on('error', error => deps.log.warn('a connection could not be accepted', { code: codeOf(error) })) // EMFILE must not end the process
  const { address: host, port } = server.address() as AddressInfo
  let closing: Promise<void> | undefined
  const close = (): Promise<void> =>
    new Promise(resolve => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  return {
    host,
    port,
    get connections() {
      return sockets.size
    },
    [Symbol.asyncDispose]: () => (closing ??= close())
  }
}

function makeServer(o: ListenerOptions): Server {
  const headersTimeout = o.headTimeoutMs ?? limits.HTTP_HEAD_MS
  const http: ServerOptions = {
    insecureHTTPParser: false,
    maxHeaderSize: limits.MAX_HTTP_HEAD_BYTES,
    headersTimeout,
    requestTimeout: headersTimeout + limits.HTTP_SETTLE_MS + limits.HTTP_BODY_MS, // the body has its own, in body.node.ts
    keepAliveTimeout: o.keepAliveMs ?? limits.HTTP_KEEP_ALIVE_MS,
    connectionsCheckingInterval: o.checkMs ?? limits.HTTP_CHECK_MS,
    noDelay: true
  }
  const server: Server = o.tls
    ? createSecureServer({
        ...http,
        key: o.tls.key,
        cert: o.tls.certificate,
        minVersion: 'TLSv1.3',
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: headersTimeout
      })
    : createServer(http)
  server.maxHeadersCount = limits.MAX_HTTP_HEADERS + 1 // one more, so that it is seen that there were too many; Node drops the rest silently
  server.maxRequestsPerSocket = limits.MAX_HTTP_REQUESTS
  return server
}

/**
 * The open sockets. When there are as many as may be, the oldest of the network that has most makes room, unless whoever comes is of that
 * network; one for which there is no place is told to come later and closed (threats CO16).
 */
function watchSockets(server: Server, places: ConnectionLimiter, o: ListenerOptions): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  const networkOf = (socket: Socket): string => originNetwork({ address: socket.remoteAddress })
  const makeRoom = (network: string): boolean => {
    if (sockets.size < (o.maxConnections ?? MAX_CONNECTIONS)) return true
    const crowd = mostCrowded(sockets, networkOf)
    if (!crowd || crowd.size <= 1 + [...sockets].filter(s => networkOf(s) === network).length) return false
    crowd.oldest.destroy()
    return true
  }
  server.prependListener('connection', (socket: Socket) => {
    const leave = makeRoom(networkOf(socket)) ? places.admit(socket.remoteAddress ?? '') : undefined
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
      leave?.()
    })
    if (!leave) refuseBusy(socket, o.tls !== undefined)
  })
  return sockets
}

const RUNNING = new WeakMap<Socket, number>()
/** Node begins every request that a client sends behind another without waiting: too many end the connection. */
function takeTurn(socket: Socket, response: ServerResponse): boolean {
  const running = RUNNING.get(socket) ?? 0
  if (running >= limits.MAX_HTTP_PIPELINED) {
    socket.destroy()
    return false
  }
  RUNNING.set(socket, running + 1)
  response.once('close', () => RUNNING.set(socket, RUNNING.get(socket)! - 1))
  return true
}

const WATCHED = new WeakSet<Socket>()
/** Threats CO15: a client that does not read its answers is dropped. Bytes that wait and do not become fewer are what counts. */
function watchWriting(socket: Socket, stallMs: number): void {
  if (WATCHED.has(socket)) return
  WATCHED.add(socket)
  let [waiting, written] = [0, 0]
  const timer = setInterval(() => {
    const isStalled = socket.writableLength > 0 && waiting > 0 && socket.bytesWritten - socket.writableLength === written
    waiting = socket.writableLength
    written = socket.bytesWritten - socket.writableLength
    if (isStalled) socket.destroy()
  }, stallMs)
  timer.unref()
  socket.once('close', () => clearInterval(timer))
}
