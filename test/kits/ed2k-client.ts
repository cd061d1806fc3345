/** An eDonkey client that does what a test says, over real sockets: either end of a connection. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { LeWriter } from '../../src/transfer/ed2k/bytes.ts'
import { type Abilities, asUserHash, decodeHello, encodeHello, type Hello } from '../../src/transfer/ed2k/hello.ts'
import { encodePacket, type Packet, PacketSplitter } from '../../src/transfer/ed2k/packet.ts'
import { eventually } from './transfer-doubles.ts'

export const PLAIN_ABILITIES: Abilities = {
  aich: true,
  compression: false,
  secIdent: 0,
  extendedRequests: 2,
  multiPacket: true,
  multiPacketExt: true,
  largeFiles: true,
  sourceExchange2: true,
  crypt: { supported: false, requested: false, required: false },
  kadVersion: 0
}

export interface ClientOptions {
  /** Which of many: makes the user hash. */
  readonly number?: number
  readonly port?: number
  readonly abilities?: Partial<Abilities>
  /** As a Kith peer. */
  readonly kithNonce?: Uint8Array
  /** What a server calls it. */
  readonly low?: Pick<Hello, 'id' | 'serverIp' | 'serverPort'>
}

/** Hello of a client, which is not Kith unless it says so. */
export const helloOf = ({
  number = 1,
  port = 0,
  abilities = {},
  kithNonce,
  low = { id: 0, serverIp: 0, serverPort: 0 }
}: ClientOptions): Hello => ({
  userHash: asUserHash(new Uint8Array(16).fill(number)),
  ...low,
  port,
  udpPort: 0,
  kadPort: 0,
  name: 'test',
  abilities: { ...PLAIN_ABILITIES, ...abilities },
  kithNonce
})

export class TestClient implements AsyncDisposable {
  readonly socket: Socket
  readonly packets: Packet[] = []
  closed = false
  /** What the listener said when it was dialled. */
  greeting: Hello | undefined
  readonly #splitter = new PacketSplitter()

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('data', bytes => this.packets.push(...this.#splitter.push(bytes)))
  }

  /** Connects and exchanges hellos. */
  static async dial(port: number, options: ClientOptions = {}): Promise<TestClient> {
    const client = await TestClient.connect(port)
    client.send(0xe3, 0x01, encodeHello(helloOf(options), false))
    client.greeting = decodeHello((await client.next(0x4c)).payload, true)
    return client
  }
  static async connect(port: number): Promise<TestClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new TestClient(socket)
  }
  /** Says hello to whoever connected. */
  async greet(options: ClientOptions = {}): Promise<void> {
    await this.next(0x01)
    this.send(0xe3, 0x4c, encodeHello(helloOf(options), true))
  }

  send(protocol: number, opcode: number, payload: Uint8Array = new Uint8Array()): void {
    this.socket.write(encodePacket(protocol, opcode, payload))
  }
  /** Asks for a file and a slot, and waits until it is served. */
  async begin(hash: Uint8Array): Promise<void> {
    this.send(0xe3, 0x54, hash)
    await this.next(0x55)
  }
  /** Asks for ranges with 32 bits. */
  ask(hash: Uint8Array, ...ranges: readonly (readonly [number, number])[]): void {
    const w = new LeWriter().bytes(hash)
    for (let side = 0; side < 2; side++) for (let i = 0; i < 3; i++) w.u32(ranges[i]?.[side] ?? 0)
    this.send(0xe3, 0x47, w.done())
  }
  /** The next packet of this kind; those before it are forgotten. */
  async next(opcode: number): Promise<Packet> {
    const find = (): number => this.packets.findIndex(p => p.opcode === opcode)
    await eventually(`packet ${opcode.toString(16)}`, () => find() >= 0 || this.closed, 10_000)
    const at = find()
    assert.ok(at >= 0, `closed instead of packet ${opcode.toString(16)}`)
    return this.packets.splice(0, at + 1)[at]!
  }
  async untilClosed(): Promise<void> {
    await eventually('the connection is closed', () => this.closed, 10_000)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return
    this.socket.destroy()
    await once(this.socket, 'close')
  }
}

/** Waits for connections. */
export class TestListener implements AsyncDisposable {
  readonly #server: Server
  readonly #clients: TestClient[] = []
  #taken = 0

  constructor(server: Server) {
    this.#server = server
    server.on('connection', socket => this.#clients.push(new TestClient(socket)))
  }
  static async open(): Promise<TestListener> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new TestListener(server)
  }
  get port(): number {
    return (this.#server.address() as { port: number }).port
  }
  /** The next connection. */
  async accept(): Promise<TestClient> {
    await eventually('a connection', () => this.#clients.length > this.#taken, 10_000)
    return this.#clients[this.#taken++]!
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map(c => c[Symbol.asyncDispose]()))
    this.#server.close()
    await once(this.#server, 'close')
  }
}
