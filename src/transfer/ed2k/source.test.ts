/** Fetching from other programs, honest and not: a client of the test sits at the other end of a real connection. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { deflateSync } from 'node:zlib'
import { type ClientOptions, TestClient, TestListener } from '../../../test/kits/ed2k-client.ts'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually, MemoryDelivery, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { equalBytes, hexToBytes } from '../../base/bytes.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { type Grid, makeGrid } from '../grid.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Source } from '../protocol.ts'
import { LeWriter } from './bytes.ts'
import { type Ed2k, openEd2k } from './ed2k.node.ts'
import { decodeFileRequest, encodeFileAnswer, type PartStatus } from './file-request.ts'
import { REASK_MS } from './limits.ts'
import { type ByteRange, decodePartRequest, encodeCompressed, needs64, partHeadBytes, writePartHead } from './parts.ts'
import { encodeSources } from './peers.ts'
import type { CheckAddress } from './swarm.node.ts'

const HASH = hexToBytes('00112233445566778899aabbccddeeff')
const MIB = 2 ** 20
const LONG_MS = 10_000

interface Scene extends AsyncDisposable {
  readonly ed2k: Ed2k
  readonly seeder: TestListener
  readonly sources: Source[]
  readonly grid: Grid
}
/** A swarm with one seeder, which the test plays. */
async function scene(
  size: number,
  options: { chunkBytes?: number; listen?: boolean; clock?: Clock; checkAddress?: CheckAddress } = {}
): Promise<Scene> {
  await using stack = new AsyncDisposableStack()
  const seeder = stack.use(await TestListener.open())
  const { chunkBytes = 256 * 1024, clock = systemClock } = options
  const { checkAddress = async (host: string) => host } = options
  const deps = { clock, log: silentLogger, shares: shareIndex([]), gate: new TestGate(), checkAddress }
  const ed2k = stack.use(await openEd2k(deps, options.listen ? { listen: { host: '127.0.0.1', port: 0 } } : {}))
  const sources: Source[] = []
  const peers = [{ host: '127.0.0.1', port: seeder.port }]
  stack.use(ed2k.openSwarm({ hash: HASH, size, chunkBytes, peers, trust: 'given', onSource: s => sources.push(s) }))
  const owned = stack.move()
  return { ed2k, seeder, sources, grid: makeGrid(size, chunkBytes), [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
/** Says hello and that it has the file. */
async function introduce(
  client: TestClient,
  size: number,
  status: PartStatus = { complete: true },
  options: ClientOptions = {}
): Promise<void> {
  await client.greet(options)
  const q = decodeFileRequest((await client.next(0xa4)).payload, true, 2)
  assert.deepEqual([q.hash, q.size, q.wantsName, q.wantsStatus], [HASH, size, true, size > PART_BYTES])
  client.send(0xc5, 0x93, encodeFileAnswer({ hash: HASH, name: 'x', aich: undefined, status: q.wantsStatus ? status : undefined }))
  await client.next(0x54)
}
async function firstSource(s: Scene): Promise<Source> {
  await eventually('a source', () => s.sources.length > 0, LONG_MS)
  return s.sources[0]!
}
const begin = (source: Source, grid: Grid, first = 0, count = grid.count): { delivery: MemoryDelivery; done: Promise<void> } => {
  const delivery = new MemoryDelivery(grid, { first, count })
  const done = source.fetch(delivery, new AbortController().signal)
  done.catch(() => {})
  return { delivery, done }
}
const requested = async (client: TestClient, opcode = 0x47): Promise<ByteRange[]> =>
  decodePartRequest((await client.next(opcode)).payload, opcode === 0xa3).ranges
function sendRange(client: TestClient, content: Uint8Array, range: ByteRange, step = 10_240, offset = 0): void {
  for (let at = range.start; at < range.end; at += step) {
    const end = Math.min(range.end, at + step)
    const head = new Uint8Array(partHeadBytes(needs64(end)))
    writePartHead(head, 0, HASH, { start: at, end }, needs64(end))
    client.socket.write(head)
    client.socket.write(content.subarray(at - offset, end - offset))
  }
}
/** Answers requests until a run is done. */
async function serveUntil(done: Promise<void>, client: TestClient, content: Uint8Array, offset = 0): Promise<ByteRange[]> {
  const all: ByteRange[] = []
  let isDone = false
  void done.finally(() => (isDone = true)).catch(() => {})
  while (!isDone) {
    await eventually('a request, or the end', () => isDone || client.packets.some(p => p.opcode === 0x47 || p.opcode === 0xa3), LONG_MS)
    const at = client.packets.findIndex(p => p.opcode === 0x47 || p.opcode === 0xa3)
    if (at < 0) continue
    const [packet] = client.packets.splice(at, 1)
    for (const range of decodePartRequest(packet!.payload, packet!.opcode === 0xa3).ranges) {
      all.push(range)
      sendRange(client, content, range, 10_240, offset)
    }
  }
  await done
  return all
}

test('chunks across a border of parts arrive whole; no range crosses it, none is asked for twice', async () => {
  const content = seededBytes(PART_BYTES + 300_000)
  await using s = await scene(content.length)
  const client = await s.seeder.accept()
  await introduce(client, content.length)
  client.send(0xe3, 0x55)
  const source = await firstSource(s)
  const first = begin(source, s.grid)
  const ranges = await serveUntil(first.done, client, content)
  assert.ok(ranges.every(r => r.start >= PART_BYTES || r.end <= PART_BYTES))
  const again = begin(source, s.grid, 36, 2)
  ranges.push(...(await serveUntil(again.done, client, content)))
  assert.equal(new Set(ranges.map(r => `${r.start}-${r.end}`)).size, ranges.length, 'aMule would not answer a range twice')
  for (const { delivery } of [first, again])
    for (const [c, bytes] of delivery.chunks)
      assert.ok(equalBytes(bytes, content.subarray(c * 262_144, c * 262_144 + bytes.length)), `chunk ${c}`)
})
test('parts that the client does not have are not there; those it has are chunks of ed2k links', async () => {
  const content = seededBytes(2 * PART_BYTES + 10)
  await using s = await scene(content.length, { chunkBytes: PART_BYTES })
  const client = await s.seeder.accept()
  await introduce(client, content.length, { complete: false, count: 3, bits: new Uint8Array([4]) })
  const source = await firstSource2(s, client)
  assert.deepEqual(
    [0, 1, 2].map(c => source.has(c)),
    [false, false, true]
  )
  const { delivery, done } = begin(source, s.grid, 2, 1)
  const ranges = await serveUntil(done, client, content)
  assert.deepEqual(ranges, [{ start: 2 * PART_BYTES, end: content.length }])
  assert.ok(equalBytes(delivery.chunks.get(2)!, content.subarray(2 * PART_BYTES)))
})
const firstSource2 = (s: Scene, client: TestClient): Promise<Source> => {
  client.send(0xe3, 0x55)
  return firstSource(s)
}
test('when one of two runs that share a range ends, the other still gets its chunk', async () => {
  const content = seededBytes(4 * MIB)
  await using s = await scene(content.length)
  const client = await s.seeder.accept()
  await introduce(client, content.length)
  const source = await firstSource2(s, client)
  // A first run fast enough that ranges of two chunks are asked for.
  await serveUntil(begin(source, s.grid, 0, 8).done, client, content)
  const stop = new AbortController()
  const one = new MemoryDelivery(s.grid, { first: 8, count: 2 })
  const ended = source.fetch(one, stop.signal)
  ended.catch(() => {})
  const ranges = await requested(client)
  stop.abort(new Error('no longer'))
  await assert.rejects(ended)
  const other = begin(source, s.grid, 9, 1)
  for (const range of ranges) sendRange(client, content, range)
  await serveUntil(other.done, client, content)
  assert.ok(equalBytes(other.delivery.chunks.get(9)!, content.subarray(9 * 262_144, 10 * 262_144)))
  one.assertUntouched()
})
test('beyond 4 GiB chunks are asked for with 64 bits', async () => {
  const size = 2 ** 32 + 600_000
  await using s = await scene(size)
  const client = await s.seeder.accept()
  await introduce(client, size)
  const source = await firstSource2(s, client)
  const first = 2 ** 14 - 1
  const offset = first * 262_144
  const content = seededBytes(size - offset)
  const { delivery, done } = begin(source, s.grid, first, s.grid.count - first)
  await serveUntil(done, client, content, offset)
  assert.equal(delivery.chunks.size, s.grid.count - first)
  for (const [c, bytes] of delivery.chunks)
    assert.ok(equalBytes(bytes, content.subarray(c * 262_144 - offset, c * 262_144 - offset + bytes.length)), `chunk ${c}`)
})
test('compressed ranges are inflated into their chunks', async () => {
  const content = Uint8Array.from({ length: 500_000 }, (_, i) => (i >> 9) & 255)
  await using s = await scene(content.length)
  const client = await s.seeder.accept()
  await introduce(client, content.length)
  const { delivery, done } = begin(await firstSource2(s, client), s.grid)
  for (let have = 0; have < content.length; )
    for (const range of await requested(client)) {
      const zlib = deflateSync(content.subarray(range.start, range.end))
      for (const packet of encodeCompressed(HASH, range, zlib, 500)) client.socket.write(packet)
      have += range.end - range.start
    }
  await within(LONG_MS, 'the run', done)
  assert.ok(equalBytes(Buffer.concat([...delivery.chunks.values()]), content))
  assert.equal(delivery.receivedBytes, content.length)
})
test('ED4: compressed data that is longer than its range, or damaged, is a lie, and so is data nobody asked for', async () => {
  const lies: ((client: TestClient, range: ByteRange) => void)[] = [
    (c, r) => writeAll(c, encodeCompressed(HASH, r, deflateSync(new Uint8Array(r.end - r.start + 1)), 10_000)),
    (c, r) => writeAll(c, encodeCompressed(HASH, r, deflateSync(new Uint8Array(r.end - r.start - 1)), 10_000)),
    (c, r) => writeAll(c, encodeCompressed(HASH, r, new Uint8Array(500), 10_000)),
    (c, r) => c.socket.write(huge(encodeCompressed(HASH, r, new Uint8Array(10), 10)[0]!)),
    (c, r) => sendRange(c, new Uint8Array(MIB), { start: r.start + 1, end: r.start + 100 }),
    (c, r) => sendRange(c, new Uint8Array(2 * MIB), { start: r.start, end: r.end + 1 }, 2 * MIB),
    (c, r) => sendRange(c, new Uint8Array(MIB), { start: r.start + 600_000, end: r.start + 600_100 })
  ]
  for (const [i, lie] of lies.entries()) {
    await using s = await scene(300_000)
    const client = await s.seeder.accept()
    await introduce(client, 300_000)
    const source = await firstSource2(s, client)
    const { done } = begin(source, s.grid)
    const [range] = await requested(client)
    lie(client, range!)
    await assert.rejects(within(LONG_MS, 'the run', done), { code: 'SOURCE_LIED' }, `lie ${i}`)
    assert.ok(source.ended)
  }
})
const writeAll = (client: TestClient, packets: readonly Uint8Array[]): void => {
  for (const p of packets) client.socket.write(p)
}
const huge = (packet: Uint8Array): Uint8Array => {
  packet.set([0xff, 0xff, 0xff, 0x7f], 6 + 20)
  return packet
}
test('in a queue the source has nothing; it has when the turn comes, and when the turn is over it is busy', async () => {
  const content = seededBytes(600_000)
  await using s = await scene(content.length)
  const client = await s.seeder.accept()
  await introduce(client, content.length)
  client.send(0xc5, 0x60, new LeWriter().u16(7).bytes(new Uint8Array(10)).done())
  const source = await firstSource(s)
  assert.ok(!source.has(0) && !source.ended)
  await assert.rejects(begin(source, s.grid).done, { code: 'SOURCE_BUSY' })
  let changes = 0
  source.onChange(() => changes++, new AbortController().signal)
  client.send(0xe3, 0x55)
  await eventually('its turn', () => source.has(0) && changes > 0, LONG_MS)
  const run = begin(source, s.grid)
  const [range] = await requested(client)
  sendRange(client, content, { start: 0, end: 10_240 })
  client.send(0xe3, 0x57)
  await assert.rejects(within(LONG_MS, 'the run', run.done), { code: 'SOURCE_BUSY' })
  assert.ok(range && !source.has(0) && !source.ended)
  client.send(0xe3, 0x55)
  await eventually('the next turn', () => source.has(0), LONG_MS)
  const next = begin(source, s.grid)
  await serveUntil(next.done, client, content)
  assert.ok(equalBytes(Buffer.concat([...next.delivery.chunks.values()]), content))
})
test('who waits may lose the connection: the client calls back and serves', async () => {
  const content = seededBytes(100_000)
  await using s = await scene(content.length, { listen: true })
  const client = await s.seeder.accept()
  await introduce(client, content.length, undefined, { number: 5 })
  client.send(0xc5, 0x60, new Uint8Array(12))
  const source = await firstSource(s)
  await client[Symbol.asyncDispose]()
  // The source hears of the lost connection before it hopes for a call: dial until it is taken.
  let caller: TestClient | undefined
  await eventually('the call is taken', async () => {
    caller = await TestClient.dial(s.ed2k.port, { number: 5 })
    caller.send(0xe3, 0x55)
    caller.send(0xc5, 0x97)
    await caller.next(0x98)
    if (source.has(0)) return true
    await caller[Symbol.asyncDispose]()
    return false
  })
  await using taken = caller!
  const run = begin(source, s.grid)
  await serveUntil(run.done, taken, content)
  assert.ok(equalBytes(run.delivery.chunks.get(0)!, content))
})
test('who does not call back is asked again after twenty minutes', async () => {
  const clock = new FakeClock()
  await using s = await scene(1000, { clock })
  const client = await s.seeder.accept()
  await introduce(client, 1000)
  client.send(0xc5, 0x60, new Uint8Array(12))
  const source = await firstSource(s)
  await client[Symbol.asyncDispose]()
  const again = s.seeder.accept().then(c => introduce(c, 1000))
  await eventually('the end of the connection is noticed', () => clock.isAwaited(REASK_MS), LONG_MS)
  await clock.advance(REASK_MS)
  await within(LONG_MS, 'it is asked again', again)
  assert.ok(!source.ended)
})
test('a client without the file is left; sources that it names for it, and for nothing else, are looked at as found', async () => {
  const asked: string[] = []
  const checkAddress: CheckAddress = async (host, port, trust) => {
    asked.push(`${host} ${trust}`)
    if (trust === 'found') throw new KithError('FORBIDDEN_ADDRESS', 'not here', { port })
    return host
  }
  await using s = await scene(1000, { checkAddress })
  const client = await s.seeder.accept()
  await client.greet()
  await client.next(0xa4)
  client.send(0xc5, 0x84, encodeSources(new Uint8Array(16), [{ host: '203.0.113.4', port: 4662 }], 4))
  client.send(0xc5, 0x84, encodeSources(HASH, [{ host: '203.0.113.5', port: 4662 }], 4))
  client.send(0xe3, 0x48, HASH)
  await client.untilClosed()
  await eventually('the named one is looked at', () => asked.length >= 2, LONG_MS)
  assert.deepEqual(asked.slice(0, 2), ['127.0.0.1 given', '203.0.113.5 found'])
})
