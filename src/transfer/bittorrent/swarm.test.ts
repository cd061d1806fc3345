import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'node:test'
import { openTestTracker } from '../../../test/interop/bt-tracker.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { MAX_IDLE_SOURCES_KEPT } from '../limits.ts'
import type { Source } from '../protocol.ts'
import { Scheduler } from '../scheduling/scheduler.ts'
import { SlotPool } from '../scheduling/slot-pool.ts'
import { openAnnouncer } from './announcer.node.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import { encodeHandshake } from './messages.ts'
import { infoOfShare, parseInfo } from './metainfo.ts'
import type { AddressTrust, CheckAddress } from './tracker.node.ts'
import { RequestWindow } from './window.ts'

const CHUNK = 256 * 1024
const whole = new MemoryShare(seededBytes(6 * CHUNK + 9))
const { info, infoHash } = infoOfShare(whole)!
const torrent = parseInfo(info)

const open = (...shares: MemoryShare[]): Promise<BitTorrent> =>
  openBitTorrent(
    { clock: systemClock, log: silentLogger, gate: new TestGate(), shares: shareIndex(shares, () => infoHash) },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
async function fetchChunk(source: Source, chunk: number): Promise<void> {
  const delivery = new MemoryDelivery(whole.grid, { first: chunk, count: 1 })
  await source.fetch(delivery, AbortSignal.timeout(5000))
  delivery.assertMatches(whole)
  assert.equal(delivery.chunks.size, 1)
}

test('peers come from a tracker the user named, and both sides of a swarm fetch from each other while downloading', async () => {
  await using tracker = await openTestTracker('127.0.0.1')
  const even = new MemoryShare(whole.content, { chunks: [0, 2, 4, 6] })
  const odd = new MemoryShare(whole.content, { chunks: [1, 3, 5] })
  await using a = await open(even)
  await using b = await open(odd)
  const sources: Record<'a' | 'b', Source[]> = { a: [], b: [] }
  const join = (bt: BitTorrent, name: 'a' | 'b') =>
    bt.openSwarm({ torrent, trackers: [tracker.url], trust: 'given', left: () => 1, onSource: s => void sources[name].push(s) })
  await using _a = join(a, 'a')
  await eventually('a is announced', () => tracker.peersOf(bytesToHex(infoHash)).length === 1)
  await using swarm = join(b, 'b')
  await eventually('b dialled a', () => sources.b.some(s => s.has(0)))
  await eventually('a took b, which connected to it', () => sources.a.some(s => s.has(1)))
  await fetchChunk(sources.b.find(s => s.has(0))!, 4)
  await fetchChunk(sources.a.find(s => s.has(1))!, 3)
  even.add(1)
  await eventually('b hears of new chunks', () => sources.b.some(s => s.has(1)))
  assert.ok(swarm.connected > 0)
})
test('a tracker that a link named may not lead to this machine', async () => {
  await using tracker = await openTestTracker('127.0.0.1')
  await using a = await open(whole)
  await using _swarm = a.openSwarm({ torrent, trackers: [tracker.url], left: () => 1, onSource: () => assert.fail('a source came') })
  await using _announced = a.announceShare(infoHash, [tracker.url], 'given')
  await eventually('the named one is announced', () => tracker.peersOf(bytesToHex(infoHash)).length === 1)
})
test('a seeder that comes back is dialled again; disposal leaves nothing and tells the tracker', async () => {
  await using tracker = await openTestTracker('127.0.0.1')
  const fast = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms > 1000 ? ms / 100 : ms, signal) }
  const first = await open(whole)
  const port = first.port
  const deps = { clock: fast, log: silentLogger, gate: new TestGate(), shares: shareIndex([]) }
  await using client = await openBitTorrent({ ...deps, clock: { ...systemClock, sleep: fast.sleep } })
  const sources: Source[] = []
  const swarm = client.openSwarm({
    torrent,
    trackers: [tracker.url],
    peers: [{ host: '127.0.0.1', port }],
    trust: 'given',
    left: () => 1,
    onSource: s => void sources.push(s)
  })
  await eventually('the first source', () => sources.length === 1 && sources[0]!.has(0))
  await first[Symbol.asyncDispose]()
  await eventually('it is lost', () => swarm.connected === 0)
  const again = await openBitTorrent(
    { ...deps, clock: systemClock, shares: shareIndex([whole], () => infoHash) },
    { listen: { host: '127.0.0.1', port } }
  )
  await eventually('a second source', () => sources.length >= 2 && sources.at(-1)!.has(0))
  await fetchChunk(sources.at(-1)!, 6)
  await swarm[Symbol.asyncDispose]()
  assert.deepEqual(tracker.peersOf(bytesToHex(infoHash)), [])
  await again[Symbol.asyncDispose]()
})
test('when a source of a peer that connected to us is released, that peer can go on fetching from us', async () => {
  const mine = new MemoryShare(whole.content, { chunks: [0, 1] })
  await using a = await open(mine)
  await using b = await open(new MemoryShare(whole.content, { chunks: [2] }))
  const came: Source[] = []
  const went: Source[] = []
  await using _a = a.openSwarm({ torrent, left: () => 1, onSource: s => void came.push(s) })
  await using _b = b.openSwarm({
    torrent,
    peers: [{ host: '127.0.0.1', port: a.port }],
    trust: 'given',
    left: () => 1,
    onSource: s => void went.push(s)
  })
  await eventually('both have a source', () => came.some(s => s.has(2)) && went.some(s => s.has(0)))
  await came[0]![Symbol.asyncDispose]()
  await fetchChunk(went[0]!, 1)
})
test('the request window follows rate and answer time within its bounds', () => {
  const run = (rate: number, answerMs: number): number => {
    const w = new RequestWindow(0)
    for (let ms = 0; ms < 3000; ms += 10) w.add(ms, rate * 10, answerMs)
    return w.bytes
  }
  assert.equal(run(10, 1), 256 * 1024) // 10 kB/s
  assert.equal(run(100_000, 1), 25 * 100_000) // 100 MB/s on this machine: what comes while a process waits for its turn
  assert.equal(run(300_000, 100), 8 * 1024 * 1024) // 300 MB/s over 100 ms: the cap
  const middle = run(12_500, 80) // 100 Mbit/s over 80 ms
  assert.ok(middle >= 2 * 12_500 * 80 && middle < 4 * 12_500 * 80 * 3, String(middle))
})
test('closing BitTorrent while it dials leaves no connection behind', async () => {
  const sockets = (): number => process.getActiveResourcesInfo().filter(r => /TCP/.test(r)).length
  const before = sockets()
  {
    await using seeder = await open(whole)
    const client = await openBitTorrent({ clock: systemClock, log: silentLogger, gate: new TestGate(), shares: shareIndex([]) })
    const endpoint = {
      host: '127.0.0.1',
      port: seeder.port,
      extra: infoHash,
      fileId: whole.fileId,
      grid: whole.grid,
      seeder: undefined,
      ticket: undefined
    }
    const opening = client.openSource(endpoint, new AbortController().signal).then(
      () => 'opened',
      e => codeOf(e)
    )
    await client[Symbol.asyncDispose]()
    assert.equal(await opening, 'SOURCE_LOST')
  }
  await eventually('sockets are closed', () => sockets() <= before)
})

test('peers that connect and go away take no place from those that come later', async () => {
  await using node = await open()
  const pool = new SlotPool(whole.grid.chunkBytes, 8 * whole.grid.chunkBytes)
  const dropped: string[] = []
  await using scheduler = new Scheduler({
    clock: systemClock,
    log: silentLogger,
    grid: whole.grid,
    pool,
    done: new Uint8Array(whole.grid.count),
    verify: async () => true,
    onVerified: () => {},
    onUnpaid: async () => false,
    onDropped: (_, code) => void dropped.push(code)
  })
  let came = 0
  await using _swarm = node.openSwarm({
    torrent,
    left: () => 1,
    onSource: s => {
      came++
      scheduler.add(s)
    }
  })
  const hello = encodeHandshake({ infoHash, peerId: new Uint8Array(20), fast: true, extended: false })
  for (let i = 0; i < MAX_IDLE_SOURCES_KEPT + 20; i++) {
    const socket = connect(node.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(hello)
    await once(socket, 'data')
    socket.destroy()
  }
  await eventually('all came', () => came === MAX_IDLE_SOURCES_KEPT + 20)
  await eventually('all are gone', () => scheduler.sourceCount === 0)
  assert.equal(dropped.length, came)
  assert.ok(scheduler.stats().length <= MAX_IDLE_SOURCES_KEPT, `${scheduler.stats().length} are remembered`)
})

test('a tracker whose name leads elsewhere a moment later does not make its peers trusted', async () => {
  await using tracker = await openTestTracker('127.0.0.1')
  const url = new URL(tracker.url)
  // As seen from outside: 127.0.0.1 stands for a public address, and the second look-up of the name for a private one.
  let lookups = 0
  const checkAddress: CheckAddress = async (host, _port, trust) => {
    if (host === 'tracker.test' && ++lookups > 1 && trust === 'found') throw new KithError('FORBIDDEN_ADDRESS', 'private')
    return '127.0.0.1'
  }
  const deps = { clock: systemClock, log: silentLogger, checkAddress, peerId: new Uint8Array(20), port: 9 }
  const { promise, resolve } = Promise.withResolvers<AddressTrust>()
  await using _ = openAnnouncer(deps, {
    infoHash,
    trackers: [`http://tracker.test:${url.port}${url.pathname}`],
    trust: 'given',
    left: () => 1,
    onPeers: (_peers, trust) => resolve(trust)
  })
  assert.equal(await promise, 'found')
})
