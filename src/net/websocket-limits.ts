/**
 * libp2p's WebSocket transport offers no limits for what comes before its handshake: a connection that says nothing stays for ever, the
 * `ws` package allows frames of 100 MiB and 131,072 fragments (threats CO1, CO8, CO10), and one malformed frame is an uncaught error. Its
 * listeners are given what they lack here. They hold their servers in properties that are not in the types; host.test.ts fails when an
 * update moves them.
 */
import type { Transport } from '@libp2p/interface'
import { HANDSHAKE_TIMEOUT_MS } from './limits.ts'

/** libp2p writes far less in one frame; a larger one is not libp2p. */
export const MAX_FRAME_BYTES: number = 1024 * 1024
const MAX_FRAGMENTS = 64
const MAX_BUFFERED_CHUNKS = 1024

interface Socket {
  destroy(): unknown
  once(event: 'close', listener: () => void): unknown
}
interface WebSocketInside {
  on(event: 'error', listener: () => void): unknown
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
    // From here on libp2p's own deadline for the handshake holds.
    clearTimeout(deadlines.get(request.socket))
    onWsServerConnection.call(listener, ws, request)
  }
}
