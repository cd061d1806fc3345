/**
 * A WebSocket tracker that this node can be: brings browsers and nodes together that have no reachable port. Anybody may use it, so
 * everything about it is bounded: sockets, messages, swarms, and what waits for those who do not read.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { fromUtf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { rateKeyOf, scopeOfIp } from '../../net/address-scope.ts'
import {
  MAX_CLIENT_MESSAGE_BYTES,
  MAX_TRACKER_ADDRESSES,
  MAX_TRACKER_QUEUE_BYTES,
  MAX_TRACKER_SOCKETS,
  MAX_TRACKER_SOCKETS_PER_ADDRESS,
  TRACKER_MESSAGES_PER_SECOND,
  WS_SILENCE_MS
} from './limits.ts'
import { Rates } from './rates.ts'
import { readClientMessage } from './tracker-messages.ts'
import { scrapePage } from './tracker-scrape.ts'
import { type TrackerClient, TrackerSwarms } from './tracker-swarms.ts'

export interface TrackerServerDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly random?: () => number
}

export interface TrackerServerOptions {
  readonly host?: string
  /** 0 takes a free one. */
  readonly port?: number
  readonly maxSockets?: number
  readonly maxSocketsPerAddress?: number
  /** Programs on this machine share one address: do not count them. */
  readonly exemptLoopback?: boolean
}

export const trackerServerDefaults: Required<TrackerServerOptions> = {
  host: '0.0.0.0',
  port: 8000,
  maxSockets: MAX_TRACKER_SOCKETS,
  maxSocketsPerAddress: MAX_TRACKER_SOCKETS_PER_ADDRESS,
  exemptLoopback: true
}

export interface TrackerServer extends AsyncDisposable {
  readonly port: number
  /** Clients that are connected. */
  readonly connected: number
}

/** Starts a tracker for ws://host:port/ and its HTTP scrape. @throws PORT_UNAVAILABLE */
export async function openWebSocketTracker(deps: TrackerServerDeps, options: TrackerServerOptions = {}): Promise<TrackerServer> {
  const o = { ...trackerServerDefaults, ...options }
  const swarms = new TrackerSwarms({ clock: deps.clock, random: deps.random ?? Math.random })
  const clients = new Clients(deps, o, swarms)
  const http = createServer({ maxHeaderSize: 8 * 1024, headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 })
  http.maxConnections = o.maxSockets + 64
  http.on('request', (request, response) => answerHttp(swarms, request, response))
  http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => clients.upgrade(request, socket, head))
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: Error): void =>
      reject(
        new KithError('PORT_UNAVAILABLE', `cannot listen on port ${o.port}`, { port: o.port }, { cause, hint: 'choose another port, or 0' })
      )
    http.once('error', onError)
    http.listen(o.port, o.host, () => {
      http.off('error', onError)
      resolve()
    })
  })
  http.on('error', () => {}) // accepting failed (out of file descriptors): the next connection may work
  const address = http.address()
  const stop = new AbortController()
  const watching = clients.watch(stop.signal)
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    stop.abort()
    clients.closeAll()
    await new Promise<void>(resolve => {
      http.close(() => resolve())
      http.closeAllConnections()
    })
    await watching
  }
  return {
    port: address !== null && typeof address === 'object' ? address.port : o.port,
    get connected() {
      return clients.size
    },
    [Symbol.asyncDispose]: () => (closing ??= close())
  }
}

/** GET /scrape?info_hash=… in bencode; everything else is not here. */
function answerHttp(swarms: TrackerSwarms, request: IncomingMessage, response: ServerResponse): void {
  const page = request.method === 'GET' ? scrapePage(request.url ?? '', hash => swarms.count(hash)) : undefined
  response.writeHead(page ? 200 : 404, { 'content-type': 'text/plain', 'access-control-allow-origin': '*', connection: 'close' })
  response.end(page)
}

interface Connected extends TrackerClient {
  readonly socket: WebSocket
  alive: boolean
}

class Clients {
  readonly #deps: TrackerServerDeps
  readonly #options: Required<TrackerServerOptions>
  readonly #swarms: TrackerSwarms
  readonly #rates: Rates
  readonly #countsByAddress = new Map<string, number>()
  readonly #clients = new Set<Connected>()
  readonly #server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_CLIENT_MESSAGE_BYTES,
    clientTracking: false
  })

  constructor(deps: TrackerServerDeps, options: Required<TrackerServerOptions>, swarms: TrackerSwarms) {
    this.#deps = deps
    this.#options = options
    this.#swarms = swarms
    const perSecond = TRACKER_MESSAGES_PER_SECOND
    this.#rates = new Rates(deps.clock, { perSecond, burst: 10 * perSecond, maxCallers: MAX_TRACKER_ADDRESSES })
  }

  get size(): number {
    return this.#clients.size
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const ip = request.socket.remoteAddress ?? ''
    const address = rateKeyOf(ip)
    const exempt = this.#options.exemptLoopback && scopeOfIp(ip) === 'loopback'
    const count = this.#countsByAddress.get(address) ?? 0
    if (this.#clients.size >= this.#options.maxSockets || (count >= this.#options.maxSocketsPerAddress && !exempt)) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      return
    }
    this.#server.handleUpgrade(request, socket, head, ws => this.#take(ws, address, exempt))
  }

  closeAll(): void {
    for (const { socket } of this.#clients) socket.terminate()
    this.#server.close(() => {})
  }

  /** A client that shows no sign of life between two rounds is closed. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#deps.clock.sleep(WS_SILENCE_MS, signal).catch(() => {})
      for (const client of signal.aborted ? [] : this.#clients) {
        if (!client.alive) client.socket.terminate()
        client.alive = false
        if (client.socket.readyState === WebSocket.OPEN) client.socket.ping()
      }
    }
  }

  #take(socket: WebSocket, address: string, exempt: boolean): void {
    const client: Connected = { socket, address, alive: true, send: text => this.#send(client, text) }
    this.#clients.add(client)
    this.#countsByAddress.set(address, (this.#countsByAddress.get(address) ?? 0) + 1)
    socket.on('error', () => socket.terminate())
    socket.on('pong', () => (client.alive = true))
    socket.on('message', data => {
      client.alive = true
      if (!exempt && !this.#rates.tryTake(address)) socket.terminate()
      else this.#onMessage(client, data as Uint8Array)
    })
    socket.on('close', () => {
      this.#clients.delete(client)
      this.#swarms.leave(client)
      const left = this.#countsByAddress.get(address)! - 1
      if (left > 0) this.#countsByAddress.set(address, left)
      else this.#countsByAddress.delete(address)
    })
  }

  #send({ socket }: Connected, text: string): void {
    if (socket.readyState !== WebSocket.OPEN) return
    if (socket.bufferedAmount > MAX_TRACKER_QUEUE_BYTES) socket.terminate()
    else socket.send(text)
  }

  #onMessage(client: Connected, data: Uint8Array): void {
    try {
      this.#swarms.handle(client, readClientMessage(fromUtf8(data)))
    } catch (error) {
      this.#deps.log.debug('a client of the tracker was closed', { address: client.address, error })
      client.socket.terminate()
    }
  }
}
