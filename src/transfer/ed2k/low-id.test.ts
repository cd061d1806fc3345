/** Clients that cannot be connected to: a server, theirs and ours, has them connect, to serve or to be served. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { helloOf, TestClient, TestListener } from '../../../test/kits/ed2k-client.ts'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { joinEd2kNetworks, serveEd2k } from '../ed2k.node.ts'
import { makeGrid } from '../grid.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Source } from '../protocol.ts'
import { type Ed2k, openEd2k } from './ed2k.node.ts'
import { encodeHello, HIGH_ID_FROM } from './hello.ts'
import { CALLBACK_MS } from './limits.ts'
import { callBack, isHelloOf } from './low-id.node.ts'
import { encodePacket } from './packet.ts'
import type { Ed2kPeer } from './peers.ts'
import type { Ed2kServer } from './server.node.ts'
import { openEd2kServerLink } from './server-link.node.ts'
import type { Ed2kNetworks } from './server-networks.node.ts'

const LONG_MS = 20_000
const deps = { clock: systemClock, log: silentLogger }
const CONTENT = seededBytes(PART_BYTES + 300_000)
const DIGEST = ed2kOf(CONTENT)
const SHARE = new MemoryShare(CONTENT, { ed2k: DIGEST })
const { hash } = DIGEST
const size = CONTENT.length

interface Side {
  readonly ed2k: Ed2k
  readonly networks: Ed2kNetworks
  /** Whom the server told it to connect to. */
  readonly calls: readonly Ed2kPeer[]
}
/** Joined at the server; without a port for others unless `isOpen`. */
async function join(stack: AsyncDisposableStack, server: Ed2kServer, shares: MemoryShare[], isOpen: boolean, slots = 64): Promise<Side> {
  const listen = { host: '127.0.0.1', port: 0 }
  const ed2k = stack.use(
    await openEd2k({ ...deps, shares: shareIndex(shares), gate: new TestGate() }, isOpen ? { listen, slots } : { slots })
  )
  const calls: Ed2kPeer[] = []
  const connectTo = (peer: Ed2kPeer, trust: 'given' | 'found'): void => {
    calls.push(peer)
    void ed2k.connectTo(peer, trust)
  }
  const networks = stack.use(
    await joinEd2kNetworks(
      { ...deps, connectTo, onStatus: s => ed2k.setStatus(s) },
      { servers: [`127.0.0.1:${server.port}`], userHash: ed2k.userHash, listenPort: isOpen ? ed2k.port : 0 }
    )
  )
  ed2k.setCaller(low => networks.callLowId(low))
  for (const s of shares) networks.announce({ hash: s.ed2k!.hash, size: s.content.length, name: s.name, complete: true })
  await eventually('logged in', () => networks.servers[0]?.state === 'connected', LONG_MS)
  assert.equal(networks.servers[0]!.id >= HIGH_ID_FROM, isOpen)
  return { ed2k, networks, calls }
}
function swarm(stack: AsyncDisposableStack, { ed2k, networks }: Side): Source[] {
  const sources: Source[] = []
  stack.use(ed2k.openSwarm({ hash, size, chunkBytes: PART_BYTES, finders: networks.finders, onSource: s => void sources.push(s) }))
  return sources
}
async function fetchAll(source: Source): Promise<Uint8Array> {
  const delivery = new MemoryDelivery(makeGrid(size, PART_BYTES), { first: 0, count: 2 })
  await within(LONG_MS, 'the file', source.fetch(delivery, new AbortController().signal))
  return concatBytes(delivery.chunks.get(0)!, delivery.chunks.get(1)!)
}

test('a file is fetched from a client that cannot be connected to: the server has it connect to us', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serveEd2k(deps, { host: '127.0.0.1', port: 0 }))
  const { calls } = await join(stack, server, [SHARE], false)
  await eventually('offered', () => server.files === 1)
  const high = await join(stack, server, [], true)
  const { finders } = high.networks
  const set = high.ed2k.fetchHashSet({ hash, size, peers: [], finders }, new AbortController().signal)
  assert.deepEqual(await within(LONG_MS, 'the part hashes', set), DIGEST.parts)
  const sources = swarm(stack, high)
  await eventually('a source', () => sources[0]?.has(1) === true, LONG_MS)
  assert.match(sources[0]!.key, /^ed2k low id 1 of \d+:\d+$/)
  assert.equal(calls.length, 1, 'over the connection that brought the part hashes: aMule would not connect again so soon')
  assert.ok(equalBytes(await fetchAll(sources[0]!), CONTENT))
})
test('who waits in our queue and cannot be connected to may hang up: the server calls it when its turn comes', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serveEd2k(deps, { host: '127.0.0.1', port: 0 }))
  const high = await join(stack, server, [SHARE], true, 1)
  await using first = await TestClient.dial(high.ed2k.port)
  await first.begin(hash)
  const calls: Ed2kPeer[] = []
  const userHash = helloOf({ number: 2 }).userHash
  const connectTo = (peer: Ed2kPeer): void => void calls.push(peer)
  const options = { host: '127.0.0.1', port: server.port, userHash, listenPort: 0 }
  const link = stack.use(openEd2kServerLink({ ...deps, shares: () => [], connectTo }, options))
  await eventually('logged in', () => link.status.state === 'connected', LONG_MS)
  const { id, serverIp, serverPort } = link.status
  const who = { number: 2, low: { id, serverIp, serverPort } }
  const waiting = await TestClient.dial(high.ed2k.port, who)
  waiting.send(0xe3, 0x54, hash)
  await waiting.next(0x60)
  await waiting[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  await eventually('the call', () => calls.length === 1, LONG_MS)
  assert.deepEqual([calls[0]?.host, calls[0]?.port], ['127.0.0.1', high.ed2k.port])
  await using back = await TestClient.dial(high.ed2k.port, who)
  await back.next(0x55)
  assert.deepEqual(high.ed2k.uploads, { served: 1, waiting: 0 })
})
test('who cannot be connected to gets its turn over the connection that the server had it make', async () => {
  await using seeder = await TestListener.open()
  await using ed2k = await openEd2k({ ...deps, shares: shareIndex([]), gate: new TestGate(), checkAddress: async host => host })
  const peer = { host: '127.0.0.1', port: seeder.port }
  const sources: Source[] = []
  await using _ = ed2k.openSwarm({ hash, size: 1000, chunkBytes: PART_BYTES, peers: [peer], onSource: s => void sources.push(s) })
  const first = await seeder.accept()
  await first.greet()
  await first.next(0x54)
  first.send(0xc5, 0x60, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
  await eventually('it waits', () => sources.length === 1, LONG_MS)
  await first[Symbol.asyncDispose]()
  const calling = ed2k.connectTo(peer, 'given')
  const second = await seeder.accept()
  await second.next(0x01)
  const answer = encodePacket(0xe3, 0x4c, encodeHello(helloOf({}), true))
  second.socket.write(concatBytes(answer, encodePacket(0xe3, 0x55))) // in one read
  await calling
  await eventually('it serves', () => sources[0]!.has(0), LONG_MS)
})
test('a low id is that of the hello; a call that leads to nothing ends', async () => {
  const hello = helloOf({ low: { id: 5, serverIp: 7, serverPort: 4661 } })
  const low = { lowId: 5, serverIp: 7, serverPort: 4661 }
  const { userHash } = hello
  assert.ok(isHelloOf(hello, low) && isHelloOf(hello, { ...low, serverIp: 8, userHash }))
  assert.ok(
    !isHelloOf(hello, { ...low, lowId: 6 }) &&
      !isHelloOf(hello, { ...low, serverIp: 8 }) &&
      isHelloOf(hello, { ...low, lowId: 6, userHash })
  )
  assert.ok(isHelloOf({ ...hello, id: 2 ** 31 }, low), 'its own address')
  assert.ok(!isHelloOf(hello, { ...low, userHash: new Uint8Array(16) }), 'anybody else')
  const clock = new FakeClock()
  const awaitLowId = (): Disposable => ({ [Symbol.dispose]: () => {} })
  const lost = { code: 'SOURCE_LOST' }
  const never = new AbortController().signal
  await assert.rejects(callBack({ clock, awaitLowId }, { ...low, call: () => false }, never), lost)
  const late = callBack({ clock, awaitLowId }, { ...low, call: () => true }, never)
  late.catch(() => {})
  await clock.advance(CALLBACK_MS)
  await assert.rejects(late, lost)
  await assert.rejects(callBack({ clock, awaitLowId }, { ...low, call: () => true }, AbortSignal.abort()), lost)
})
