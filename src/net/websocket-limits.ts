/**
 * libp2p's WebSocket transport offers no limits for what comes before its handshake: a connection that says nothing stays for ever, the
 * `ws` package allows frames of 100 MiB and 131,072 fragments (threats CO1, CO8, CO10) and answers every ping (CO14), and one malformed
 * frame is an uncaught error. Its listeners are given what they lack here. They hold their servers in properties that are not in the types; host.test.ts fails when an
 * update moves them.
 */
import type { Transport } from '@libp2p/interface'
import { HANDSHAKE_TIMEOUT_MS } from './limits.ts'

/** libp2p writes far less in one frame; a larger one is not libp2p. */
export const MAX_FRAME_BYTES: number = 1024 * 1024
const MAX_FRAGMENTS = 64
const MAX_BUFFERED_CHUNKS = 1024
/** libp2p sends none: it has a ping of its own, in a stream. Proxies send one now and then. */
export const MAX_PINGS = 20
const PING_WINDOW_MS = 10_000
/** RFC 6455 §7.4.1. */
const UNSUPPORTED_DATA = 1003
const POLICY_VIOLATION = 1008

interface Socket {
  destroy(): unknown
  destroySoon(): unknown
  once(event: 'close', listener: () => void): unknown
}
interface WebSocketInside {
  on(event: 'error' | 'ping', listener: () => void): unknown
  on(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown
  close(status: number): void
}
interface ListenerInside {
  wsServer?: { options?: Record<string, unknown> }
  server?: { maxConnections?: number; on(event: 'connection', listener: (socket: Socket) => void): unknown }
  onWsServerConnection?: (ws: WebSocketInside, request: { socket: Socket }) => void
}

/** Wraps a transport factory so that every listener has limits. @param maxSockets accepted TCP connections of one listener */
export function limitWebSockets<C>(factory: (components: C) => Transport, maxSockets: number): (components: C) => Transport {
  return components => {
    const transport = factory(components)
    const create = transport.createListener.bind(transport)
    transport.createListener = options => {
      const listener = create(options)
      limitListener(listener as ListenerInside, maxSockets)
      return listener
    }
    return transport
  }
}

function limitListener(listener: ListenerInside, maxSockets: number): void {
  const { wsServer, server, onWsServerConnection } = listener
  if (!wsServer?.options || !server || !onWsServerConnection) {
    throw new Error('the WebSocket listener has changed: its limits cannot be set')
  }
  Object.assign(wsServer.options, { maxPayload: MAX_FRAME_BYTES, maxFragments: MAX_FRAGMENTS, maxBufferedChunks: MAX_BUFFERED_CHUNKS })
  server.maxConnections = maxSockets
  const deadlines = new WeakMap<Socket, ReturnType<typeof setTimeout>>()
  server.on('connection', socket => {
    const timer = setTimeout(() => socket.destroy(), HANDSHAKE_TIMEOUT_MS)
    deadlines.set(socket, timer)
    socket.once('close', () => clearTimeout(timer))
  })
  listener.onWsServerConnection = (ws, request) => {
    // libp2p does not listen for errors of the WebSocket: a malformed frame would end the process. `ws` closes it by itself.
    ws.on('error', () => {})
    const hangUp = (status: number): void => {
      ws.close(status)
      request.socket.destroySoon()
    }
    limitPings(ws, () => hangUp(POLICY_VIOLATION))
    ws.on('message', (_, isBinary) => isBinary || hangUp(UNSUPPORTED_DATA)) // libp2p speaks no text (threats CO12)
    // From here on libp2p's own deadline for the handshake holds.
    clearTimeout(deadlines.get(request.socket))
    onWsServerConnection.call(listener, ws, request)
  }
}

function limitPings(ws: WebSocketInside, onFlood: () => void): void {
  let pings = 0
  let sinceMs = 0
  ws.on('ping', () => {
    const now = performance.now()
    if (now - sinceMs > PING_WINDOW_MS) {
      pings = 0
      sinceMs = now
    }
    if (++pings > MAX_PINGS) onFlood()
  })
}
