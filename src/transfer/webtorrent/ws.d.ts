/** The part of the package ws that is used here: it has no types of its own. */
declare module 'ws' {
  import type { EventEmitter } from 'node:events'
  import type { IncomingMessage } from 'node:http'
  import type { LookupFunction } from 'node:net'
  import type { Duplex } from 'node:stream'

  export interface ClientOptions {
    readonly perMessageDeflate: boolean
    readonly maxPayload: number
    readonly handshakeTimeout: number
    readonly followRedirects: boolean
    readonly lookup?: LookupFunction
    readonly headers?: Readonly<Record<string, string>>
  }
  interface SocketEvents {
    open: []
    message: [data: Buffer | ArrayBuffer | Buffer[], isBinary: boolean]
    close: [code: number, reason: Buffer]
    error: [error: Error]
    pong: [data: Buffer]
    ping: [data: Buffer]
  }
  export class WebSocket extends EventEmitter<SocketEvents> {
    static readonly OPEN: 1
    readonly readyState: number
    readonly bufferedAmount: number
    constructor(address: string | URL, options: ClientOptions)
    send(data: string | Uint8Array): void
    ping(): void
    close(code?: number): void
    terminate(): void
  }
  export interface ServerOptions {
    readonly noServer: true
    readonly perMessageDeflate: boolean
    readonly maxPayload: number
    readonly clientTracking: boolean
  }
  export class WebSocketServer {
    constructor(options: ServerOptions)
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: WebSocket) => void): void
    close(done: () => void): void
  }
}
