/** A scripted BitTorrent peer for tests: sends any bytes, collects what comes. */
import { connect, createServer, type Socket } from 'node:net'
import {
  decodeMessage,
  encodeHandshake,
  encodeMessage,
  HANDSHAKE_BYTES,
  type Message,
  readU32
} from '../../src/transfer/bittorrent/messages.ts'

export class RawPeer implements AsyncDisposable {
  readonly socket: Socket
  readonly received: Message[] = []
  handshake: Uint8Array | undefined
  ended: boolean = false
  #bytes = Buffer.alloc(0)
  readonly #waiting = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (b: Buffer) => this.#take(b))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.ended = true
      this.#wake()
    })
  }
  static async dial(port: number): Promise<RawPeer> {
    const socket = connect({ host: '127.0.0.1', port })
    const peer = new RawPeer(socket)
    await new Promise(resolve => socket.once('connect', resolve))
    return peer
  }
  shake(infoHash: Uint8Array, peerId: Uint8Array = new Uint8Array(20).fill(9), flags: { fast?: boolean; extended?: boolean } = {}): void {
    this.socket.write(encodeHandshake({ infoHash, peerId, fast: flags.fast ?? true, extended: flags.extended ?? true }))
  }
  send(...messages: readonly Message[]): void {
    this.socket.write(Buffer.concat(messages.map(encodeMessage)))
  }
  raw(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }
  /** Resolves when `ready` holds; rejects after five seconds, or when the connection ends first. */
  async until(what: string, ready: () => boolean): Promise<void> {
    const end = performance.now() + 5000
    while (!ready()) {
      const left = end - performance.now()
      if (left <= 0)
        throw new Error(`did not happen: ${what}; got ${this.received.map(m => m.kind).join(' ')}${this.ended ? ', closed' : ''}`)
      await new Promise<void>(resolve => {
        const wake = (): void => {
          clearTimeout(timer)
          this.#waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, left)
        timer.unref() // a script that nobody waits for any more must not hold the process
        this.#waiting.add(wake)
      })
    }
  }
  async message<K extends Message['kind']>(kind: K): Promise<Message & { readonly kind: K }> {
    await this.until(kind, () => this.received.some(m => m.kind === kind))
    return this.received.find(m => m.kind === kind) as Message & { readonly kind: K }
  }
  closed(): Promise<void> {
    return this.until('the connection closes', () => this.ended)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.ended) await new Promise(resolve => this.socket.once('close', resolve))
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }
  #take(b: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, b])
    if (!this.handshake && this.#bytes.length >= HANDSHAKE_BYTES) {
      this.handshake = Uint8Array.from(this.#bytes.subarray(0, HANDSHAKE_BYTES))
      this.#bytes = this.#bytes.subarray(HANDSHAKE_BYTES)
    }
    while (this.handshake && this.#bytes.length >= 4) {
      const length = readU32(this.#bytes, 0)
      if (this.#bytes.length < 4 + length) break
      this.received.push(decodeMessage(Uint8Array.from(this.#bytes.subarray(4, 4 + length)), undefined))
      this.#bytes = this.#bytes.subarray(4 + length)
    }
    this.#wake()
  }
}

export interface RawServer extends AsyncDisposable {
  readonly port: number
}

/** Listens, and gives each connection to `script`. */
export async function rawSeeder(script: (peer: RawPeer) => Promise<void>): Promise<RawServer> {
  const peers: RawPeer[] = []
  const server = createServer(socket => {
    const peer = new RawPeer(socket)
    peers.push(peer)
    script(peer).catch(() => {}) // the client's own assertions say what went wrong
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(peers.map(p => p[Symbol.asyncDispose]()))
      await new Promise(resolve => server.close(resolve))
    }
  }
}
