import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import test from 'node:test'
import { deflateSync } from 'node:zlib'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { LeReader, LeWriter } from './bytes.ts'
import { asUserHash, type Crypt } from './hello.ts'
import { PeerHub } from './hub.node.ts'
import { makeEd2kIdentity } from './identity.node.ts'
import { HANDSHAKE_MS, SERVER_KEEP_ALIVE_MS, SERVER_RETRY_MS } from './limits.ts'
import { openListener } from './listener.node.ts'
import { foundKey, isLowId } from './low-id.node.ts'
import { encodePacket, type Packet, PacketSplitter, protocols } from './packet.ts'
import type { Ed2kPeer } from './peers.ts'
import { openEd2kServer } from './server.node.ts'
import { decodeFiles, encodeOffers, type OfferedFile } from './server-files.ts'
import { openEd2kServerLink, type ServerLinkDeps, type ServerLinkOptions, type ServerLinkStatus } from './server-link.node.ts'
import {
  decodeFoundSources,
  decodeGivenId,
  decodeServers,
  encodeFoundSources,
  encodeGivenId,
  encodeLogin,
  encodeSourcesWanted,
  serverOps
} from './server-messages.ts'
import { encodeSearch } from './server-search.ts'
import { unpack } from './unpack.node.ts'

const deps = { clock: systemClock, log: silentLogger }
const local = { host: '127.0.0.1', port: 0 }
const HASH = new Uint8Array(16).fill(7)
const NO_CRYPT: Crypt = { supported: false, requested: false, required: false }
const never = (): AbortSignal => new AbortController().signal

/** The client half that servers and clients connect to. */
async function openHub(stack: AsyncDisposableStack, requireObfuscation = false): Promise<PeerHub> {
  const share = new MemoryShare(seededBytes(1000), { ed2k: { hash: HASH, parts: new Uint8Array(), aich: new Uint8Array(20) } })
  const hub = stack.use(
    new PeerHub(
      { ...deps, shares: shareIndex([share]), gate: new TestGate() },
      { identity: makeEd2kIdentity(), nickname: 'test', wantObfuscation: requireObfuscation, requireObfuscation }
    )
  )
  stack.use(await openListener(hub, local))
  return hub
}
const file = (hash: Uint8Array = HASH): OfferedFile => ({ hash, size: 1000, name: 'a file.bin', complete: true })
const openLink = (more: Partial<ServerLinkDeps>, options: Partial<ServerLinkOptions> & { readonly port: number }) =>
  openEd2kServerLink(
    { ...deps, shares: () => [], ...more },
    { host: '127.0.0.1', userHash: asUserHash(new Uint8Array(16)), listenPort: 0, ...options }
  )
async function firstOf<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item
  return undefined
}

/** A client made by hand. */
class RawClient implements AsyncDisposable {
  readonly packets: Packet[] = []
  readonly #socket: Socket
  readonly #splitter = new PacketSplitter()
  closed: boolean = false
  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', bytes => {
      for (const p of this.#splitter.push(bytes)) this.packets.push(unpack(p, protocols.edonkey))
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
  }
  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new RawClient(socket)
  }
  send(opcode: number, payload: Uint8Array = new Uint8Array(), protocol = 0xe3): void {
    this.#socket.write(encodePacket(protocol, opcode, payload))
  }
  raw(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }
  login(port = 0, name = 'raw'): void {
    this.send(serverOps.login, encodeLogin({ userHash: asUserHash(new Uint8Array(16)), port, name, abilities: 0x119, crypt: NO_CRYPT }))
  }
  async next(opcode: number): Promise<Uint8Array> {
    await eventually(`packet ${opcode}`, () => this.packets.some(p => p.opcode === opcode))
    const at = this.packets.findIndex(p => p.opcode === opcode)
    return this.packets.splice(at, 1)[0]!.payload
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    await eventually('closed', () => this.closed)
  }
}

test('a client that can be connected to gets its address as id, and what it offers is found by others', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openEd2kServer(deps, { ...local, name: 'the server', message: 'welcome' }))
  const hub = await openHub(stack)
  const shares = [file()]
  const a = stack.use(openLink({ shares: () => shares }, { port: server.port, userHash: hub.userHash, listenPort: hub.listenPort }))
  await eventually('connected', () => a.status.state === 'connected' && server.files === 1 && a.status.name !== '')
  assert.ok(a.isHighId)
  assert.deepEqual([a.status.name, a.status.message, a.status.serverPort], ['the server', 'welcome', server.port])
  shares.push(file(new Uint8Array(16).fill(8)))
  a.offer()
  await eventually('two files', () => server.files === 2)
  const b = stack.use(openLink({}, { port: server.port }))
  const found = await within(5000, 'a source', firstOf(b.find(HASH, 1000, never())))
  assert.ok(found && !isLowId(found))
  assert.deepEqual([found.host, found.port], ['127.0.0.1', hub.listenPort])
  assert.ok(found.userHash && equalBytes(found.userHash, hub.userHash) && found.crypt?.supported)
  assert.equal(b.trustOf(found), 'given')
  await a[Symbol.asyncDispose]()
  await eventually('gone with its files', () => server.clients === 1 && server.files === 0)
})

test('a client that wants obfuscation is tried obfuscated', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openEd2kServer(deps, local))
  const hub = await openHub(stack, true)
  const link = stack.use(openLink({}, { port: server.port, userHash: hub.userHash, listenPort: hub.listenPort, crypt: hub.crypt }))
  await eventually('connected', () => link.status.state === 'connected')
  assert.ok(link.isHighId)
})

test('a client that cannot be connected to has a low id, and connects to those who want its files', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openEd2kServer(deps, local))
  const [low, high] = [await openHub(stack), await openHub(stack)]
  const called: Ed2kPeer[] = []
  const onStatus = ({ id, serverIp, serverPort }: ServerLinkStatus): void => {
    low.status = { ...low.status, id, serverIp, serverPort }
  }
  const connectTo = (peer: Ed2kPeer): void => {
    called.push(peer)
    void low.dial(peer, never()).catch(() => {})
  }
  const a = stack.use(
    openLink({ shares: () => [file()], connectTo, onStatus }, { port: server.port, userHash: low.userHash, listenPort: 0 })
  )
  await eventually('offered', () => server.files === 1)
  assert.ok(!a.isHighId && a.status.id > 0)
  const b = stack.use(openLink({}, { port: server.port, userHash: high.userHash, listenPort: high.listenPort }))
  await eventually('connected', () => b.isHighId)
  const found = await within(5000, 'a source', firstOf(b.find(HASH, 1000, never())))
  assert.ok(found && isLowId(found))
  const session = await within(5000, 'the call', high.callBack(found, never()))
  assert.ok(equalBytes(session.remote!.userHash, low.userHash))
  assert.deepEqual([called[0]?.port, found.lowId], [high.listenPort, a.status.id])
  // Two low ids are nothing to each other.
  const c = stack.use(openLink({}, { port: server.port }))
  await eventually('connected', () => c.status.state === 'connected')
  await using raw = await RawClient.open(server.port)
  raw.login()
  await raw.next(serverOps.id)
  raw.send(serverOps.callMe, new LeWriter().u32(a.status.id).done())
  await raw.next(serverOps.callFailed)
  raw.send(serverOps.wantSources, encodeSourcesWanted(HASH, 1000))
  raw.send(serverOps.wantServers)
  assert.deepEqual(decodeServers(await raw.next(serverOps.servers)), [])
  assert.equal(raw.packets.filter(p => p.opcode === serverOps.sources).length, 0)
})

test('searches are answered, packed offers are read, an offer of nothing says that we are there', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openEd2kServer(deps, { ...local, servers: [{ host: '192.0.2.9', port: 4661 }] }))
  const raw = stack.use(await RawClient.open(server.port))
  raw.login()
  assert.ok(decodeGivenId(await raw.next(serverOps.id)).id < 2 ** 24)
  await raw.next(serverOps.status)
  const many = Array.from({ length: 50 }, (_, i) => ({ ...file(new Uint8Array(16).fill(i)), name: `red rose ${i}.ogg` }))
  const offers = encodeOffers(many, { marks: true, newTags: true, id: 0, port: 0 })
  raw.send(serverOps.offerFiles, deflateSync(offers), 0xd4)
  raw.send(serverOps.offerFiles, new LeWriter().u32(0).done())
  const status = new LeReader(await raw.next(serverOps.status))
  assert.deepEqual([status.u32(), status.u32()], [1, 50])
  raw.send(serverOps.search, encodeSearch({ kind: 'words', text: 'rose 49' }))
  const found = decodeFiles(await raw.next(serverOps.found))
  assert.deepEqual(
    found.map(f => [f.name, f.sources, f.completeSources]),
    [['red rose 49.ogg', 1, 1]]
  )
  raw.send(serverOps.wantServers)
  assert.equal((await raw.next(serverOps.servers)).length, 7)
  const other = stack.use(await RawClient.open(server.port))
  other.login()
  other.send(serverOps.wantSources, encodeSourcesWanted(HASH, 1000)) // before its id: waits
  await other.next(serverOps.id)
})

test('ED1: who sends no login, garbage, a packet that inflates to too much, or too many packets is dropped; others stay', async () => {
  await using stack = new AsyncDisposableStack()
  const clock = new FakeClock()
  const server = stack.use(await openEd2kServer({ ...deps, clock }, { ...local, maxClients: 5 }))
  const good = stack.use(await RawClient.open(server.port))
  good.login()
  await good.next(serverOps.id)
  const bad: ((c: RawClient) => void)[] = [
    c => c.raw(new Uint8Array([0x47, 0x45, 0x54])),
    c => c.send(serverOps.search, new Uint8Array(5)),
    c => c.send(serverOps.login, new Uint8Array(5)),
    c => {
      c.login()
      c.send(serverOps.offerFiles, deflateSync(new Uint8Array(10_000_000)), 0xd4)
    },
    c => {
      c.login()
      c.send(serverOps.offerFiles, new Uint8Array([255, 255, 255, 255]))
    },
    c => {
      c.login()
      for (let i = 0; i < 300; i++) c.send(serverOps.wantServers)
    },
    c => {
      c.login()
      const packed = deflateSync(new LeWriter().u32(0).u8(0).done())
      const long = deflateSync(
        encodeOffers(
          Array.from({ length: 2_000 }, () => file()),
          { marks: true, newTags: true, id: 0, port: 0 }
        )
      )
      c.send(serverOps.offerFiles, packed, 0xd4)
      for (let i = 0; i < 60; i++) c.send(serverOps.offerFiles, long, 0xd4)
    }
  ]
  for (const misbehave of bad) {
    await using c = await RawClient.open(server.port)
    misbehave(c)
    await eventually('dropped', () => c.closed)
  }
  await eventually('only one', () => server.clients === 1)
  const crowd = await Promise.all(Array.from({ length: 6 }, async () => stack.use(await RawClient.open(server.port))))
  await eventually('too many', () => crowd.filter(c => c.closed).length === 2)
  await clock.advance(HANDSHAKE_MS)
  await eventually('the silent ones are gone', () => crowd.every(c => c.closed))
  good.send(serverOps.wantServers)
  await good.next(serverOps.servers)
})

/** A server made by hand: `answer` says what to each packet. */
async function rawServer(
  stack: AsyncDisposableStack,
  answer: (packet: Packet, say: (opcode: number, payload: Uint8Array) => void, socket: Socket) => void
) {
  const sockets: Socket[] = []
  const server = createServer(socket => {
    const packets = new PacketSplitter()
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', bytes => {
      for (const p of packets.push(bytes)) answer(p, (opcode, payload) => socket.write(encodePacket(0xe3, opcode, payload)), socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(async () => {
    for (const s of sockets) s.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  return { port: (server.address() as { port: number }).port, sockets }
}
const ID = encodeGivenId({ id: 0x0200000a, abilities: 0, address: 0 }, 4661)

test('a link comes back when its server was lost, ever more rarely, and says that it is there', async () => {
  await using stack = new AsyncDisposableStack()
  const seen: Packet[] = []
  let refuse = true
  const server = await rawServer(stack, (packet, say, socket) => {
    seen.push(packet)
    if (refuse) socket.destroy()
    else if (packet.opcode === serverOps.login) say(serverOps.id, ID)
  })
  const clock = new FakeClock()
  const states: string[] = []
  const link = stack.use(openLink({ clock, onStatus: s => states.push(s.state) }, { port: server.port }))
  await eventually('refused', () => link.status.state === 'waiting')
  assert.equal(link.status.error, 'SERVER_LOST')
  await clock.advance(SERVER_RETRY_MS)
  await eventually('refused again', () => seen.length === 2 && link.status.state === 'waiting')
  await clock.advance(SERVER_RETRY_MS)
  assert.equal(link.status.state, 'waiting')
  refuse = false
  await clock.advance(SERVER_RETRY_MS)
  await eventually('connected', () => link.status.state === 'connected')
  seen.length = 0
  await eventually('keeps alive', async () => {
    await clock.advance(SERVER_KEEP_ALIVE_MS / 4)
    return seen.some(p => p.opcode === serverOps.offerFiles && bytesToHex(p.payload) === '00000000')
  })
  server.sockets.at(-1)?.destroy()
  await eventually('waits', () => link.status.state === 'waiting')
  await clock.advance(SERVER_RETRY_MS)
  await eventually('connected again', () => link.status.state === 'connected')
  assert.ok(states.includes('connecting'))
})

test('ED6: a server can name public clients of files we look for, and nothing else', async () => {
  await using stack = new AsyncDisposableStack()
  const calls: Ed2kPeer[] = []
  const address = (a: number, b: number, c: number, d: number): number => a + b * 256 + c * 65_536 + d * 2 ** 24
  const server = await rawServer(stack, ({ opcode, payload }, say) => {
    if (opcode === serverOps.login) say(serverOps.id, ID)
    if (opcode !== serverOps.wantSources) return
    const { hash } = decodeFoundSources(new Uint8Array([...payload.subarray(0, 16), 0]), false)
    for (let i = 0; i < 20; i++)
      say(
        serverOps.call,
        new LeWriter()
          .u32(address(8, 8, 8, 8))
          .u16(4662)
          .done()
      )
    say(
      serverOps.call,
      new LeWriter()
        .u32(address(10, 0, 0, 1))
        .u16(4662)
        .done()
    )
    say(serverOps.sources, encodeFoundSources({ hash: new Uint8Array(16), sources: [{ id: address(8, 8, 4, 4), port: 4662 }] }, false))
    const ids: readonly (readonly [number, number])[] = [
      [address(10, 0, 0, 1), 4662],
      [address(127, 0, 0, 1), 4662],
      [address(169, 254, 169, 254), 8080],
      [address(8, 8, 8, 1), 0],
      [address(8, 8, 8, 2), 22],
      [address(8, 8, 8, 3), 4662],
      [5, 4662]
    ]
    say(serverOps.sources, encodeFoundSources({ hash, sources: ids.map(([id, port]) => ({ id, port })) }, false))
  })
  const classOf = (host: string) =>
    host === '127.0.0.1' ? ('public' as const) : host.startsWith('8.') ? ('public' as const) : ('private' as const)
  // 127.0.0.1 stands for a server on the internet.
  const link = stack.use(openLink({ classOf, connectTo: p => calls.push(p) }, { port: server.port }))
  await eventually('connected', () => link.status.state === 'connected')
  const over = new AbortController()
  const found: string[] = []
  for await (const p of link.find(HASH, 1000, over.signal)) {
    found.push(foundKey(p))
    if (found.at(-1)?.startsWith('8.8.8.3')) over.abort()
  }
  assert.deepEqual(found, ['127.0.0.1:4662', '8.8.8.3:4662', `low id 5 of ${link.status.serverIp}:${server.port}`])
  assert.equal(calls.length, 10)
  assert.ok(calls.every(p => p.host === '8.8.8.8'))
})

test('what is no packet of a server ends the connection, and the link goes on', async () => {
  const bad: readonly [opcode: number, payload: Uint8Array][] = [
    [serverOps.id, new Uint8Array(2)],
    [serverOps.id, new Uint8Array(8)],
    [serverOps.sources, new Uint8Array(17).fill(255)],
    [serverOps.message, new LeWriter().u16(5000).bytes(new Uint8Array(5000)).done()],
    [serverOps.server, new Uint8Array(26).fill(255)]
  ]
  for (const [opcode, payload] of bad) {
    await using stack = new AsyncDisposableStack()
    const server = await rawServer(stack, (_, say) => say(opcode, payload))
    const link = stack.use(openLink({}, { port: server.port }))
    await eventually('waiting', () => link.status.state === 'waiting')
    assert.ok(['ED2K_WIRE', 'SERVER_LOST'].includes(link.status.error ?? ''))
  }
})
