/** Peers of a torrent found without a tracker: through the DHT, from other peers, on the local network, on web servers. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { openTestTracker } from '../../../test/interop/bt-tracker.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { makeGrid } from '../grid.ts'
import { openMainline } from '../mainline/mainline.node.ts'
import type { Source } from '../protocol.ts'
import { type BitTorrent, type BitTorrentOptions, openBitTorrent } from './bittorrent.node.ts'
import { parseMagnet } from './magnet.ts'
import { infoOfShare, type Metainfo, makeInfo, makeTorrent, parseInfo, parseTorrent } from './metainfo.ts'
import { webSeedUrl } from './web-seed.ts'

const CHUNK = 256 * 1024
const whole = new MemoryShare(seededBytes(5 * CHUNK + 9))
const { info, infoHash } = infoOfShare(whole)!
const torrent = parseInfo(info)
const log = silentLogger
const deps = { clock: systemClock, log }

async function open(
  stack: AsyncDisposableStack,
  host: string,
  shares: MemoryShare[],
  options: BitTorrentOptions = {}
): Promise<BitTorrent> {
  const all = { ...deps, gate: new TestGate(), shares: shareIndex(shares, () => infoHash) }
  return stack.use(await openBitTorrent(all, { listen: { host, port: 0 }, ...options }))
}
/** Joins the swarm and collects its sources. */
function join(stack: AsyncDisposableStack, bt: BitTorrent, more: Partial<Parameters<BitTorrent['openSwarm']>[0]> = {}): Source[] {
  const sources: Source[] = []
  const request = { torrent, left: () => 1, onSource: (s: Source) => void sources.push(s), ...more }
  stack.use(bt.openSwarm(request))
  stack.use(bt.openWebSeeds(request))
  return sources
}
async function fetchChunk(source: Source, chunk: number): Promise<void> {
  const delivery = new MemoryDelivery(whole.grid, { first: chunk, count: 1 })
  await source.fetch(delivery, AbortSignal.timeout(5000))
  delivery.assertMatches(whole)
  assert.equal(delivery.chunks.size, 1)
}

test('a magnet link without trackers or peers works through the DHT: metadata, then the file', async () => {
  await using stack = new AsyncDisposableStack()
  const router = stack.use(await openMainline(deps, { host: '127.0.0.1' }))
  const dht = { bootstrap: [`127.0.0.1:${router.port}`] }
  const seeder = await open(stack, '127.0.0.2', [whole], { dht })
  stack.use(seeder.announceShare(infoHash, [], 'given'))
  const leecher = await open(stack, '127.0.0.3', [], { dht })
  const found = await leecher.fetchMetainfo(parseMagnet(`magnet:?xt=urn:btih:${bytesToHex(infoHash)}`), {}, AbortSignal.timeout(10_000))
  assert.equal(found.name, whole.name)
  const sources = join(stack, leecher, { torrent: found })
  await eventually('a source', () => sources.some(s => s.has(0)))
  await fetchChunk(sources[0]!, 3)
  assert.equal(seeder.dht?.port, seeder.port) // where other programs expect it
})

test('peers of a private torrent are never looked for outside its trackers, nor told of', async () => {
  await using stack = new AsyncDisposableStack()
  const router = stack.use(await openMainline(deps, { host: '127.0.0.1' }))
  const dht = { bootstrap: [`127.0.0.1:${router.port}`] }
  const made = makeInfo({ name: 'private.bin', size: whole.grid.size, pieceLength: CHUNK, pieces: whole.pieces, private: true })
  const secret = parseInfo(made.info)
  assert.ok(secret.private)
  const a = await open(stack, '127.0.0.2', [], { dht })
  const b = await open(stack, '127.0.0.3', [], { dht })
  const c = await open(stack, '127.0.0.4', [], { dht })
  const peers = [{ host: '127.0.0.2', port: a.port }]
  await Promise.all([a, b, c].map(n => n.dht!.ready))
  join(stack, a, { torrent: secret })
  const ofB = join(stack, b, { torrent: secret, trust: 'given', peers })
  const ofC = join(stack, c, { torrent: secret, trust: 'given', peers })
  await eventually('both are connected to the first', () => ofB.length === 1 && ofC.length === 1)
  // The same nodes with an open torrent do find each other, after which the private one would have been found as well.
  const open1 = join(stack, b)
  const open2 = join(stack, c)
  await eventually('the open torrent', () => open1.length > 0 && open2.length > 0)
  assert.deepEqual([ofB.length, ofC.length], [1, 1])
  for await (const peer of router.lookup(made.infoHash, AbortSignal.timeout(5000))) assert.fail(`${peer.host} was announced`)
})

test('peers tell each other of further ones, unless that is off', async () => {
  await using stack = new AsyncDisposableStack()
  const hub = await open(stack, '127.0.0.1', [new MemoryShare(whole.content, { chunks: [0] })])
  const b = await open(stack, '127.0.0.1', [new MemoryShare(whole.content, { chunks: [1] })])
  const c = await open(stack, '127.0.0.1', [new MemoryShare(whole.content, { chunks: [2] })])
  const off = await open(stack, '127.0.0.1', [], { pex: false, listen: undefined })
  const peers = [{ host: '127.0.0.1', port: hub.port }]
  join(stack, hub)
  const ofOff = join(stack, off, { trust: 'given', peers })
  const ofB = join(stack, b, { trust: 'given', peers })
  await eventually('connected', () => ofB.length > 0 && ofOff.length > 0)
  const ofC = join(stack, c, { trust: 'given', peers })
  await eventually('c learnt of b', () => ofC.some(s => s.has(1)))
  await fetchChunk(ofC.find(s => s.has(1))!, 1)
  assert.equal(ofOff.length, 1)
})

test('with local discovery on, two on one network find each other without being told', async () => {
  await using stack = new AsyncDisposableStack()
  const socket = createSocket('udp4')
  await new Promise<void>(resolve => socket.bind(0, resolve))
  const { port } = socket.address()
  await new Promise<void>(resolve => socket.close(resolve))
  const lsd = { interface: '127.0.0.1', port }
  const seeder = await open(stack, '127.0.0.1', [whole], { lsd })
  stack.use(seeder.announceShare(infoHash, [], 'given'))
  const sources = join(stack, await open(stack, '127.0.0.1', [], { lsd }))
  await eventually('a source', () => sources.some(s => s.has(4)))
  await fetchChunk(sources[0]!, 4)
})

/** An HTTP server of parts. @param bodyOf a path; undefined: 404. @returns its URL, without a slash at the end */
async function serveRanges(stack: AsyncDisposableStack, bodyOf: (path: string) => Uint8Array | undefined): Promise<string> {
  const server = createServer((request, response) => {
    const body = bodyOf(request.url ?? '')
    if (!body) return void response.writeHead(404).end()
    const [, first = '0', last = ''] = /bytes=([0-9]+)-([0-9]*)/.exec(request.headers.range ?? '') ?? []
    const end = Math.min(Number(last), body.length - 1)
    response.writeHead(206, { 'content-range': `bytes ${first}-${end}/${body.length}`, 'content-length': end - Number(first) + 1 })
    response.end(body.subarray(Number(first), end + 1))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => void server.closeAllConnections())
  stack.defer(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a web seed becomes a source; one that a stranger named may not be on this machine, one of another size is not used', async () => {
  await using stack = new AsyncDisposableStack()
  const base = await serveRanges(stack, url => whole.content.subarray(url === '/short' ? 1 : 0))
  const leecher = await open(stack, '127.0.0.2', [])
  const notes: string[] = []
  const note = (text: string): void => void notes.push(text)
  const named: Metainfo = { ...torrent, webSeeds: [`${base}/named.bin`] }
  assert.equal(join(stack, leecher, { torrent: named, note }).length, 0)
  await eventually('the stranger is refused', () => notes.length === 1)
  const sources = join(stack, leecher, { also: { webSeeds: [`${base}/`, `${base}/short`], trust: 'given' }, note })
  await eventually('a source', () => sources.length === 1)
  assert.equal(sources[0]!.protocol, 'http')
  await fetchChunk(sources[0]!, 5)
  await eventually('the one of another size is refused', () => notes.length === 2)
  assert.equal(webSeedUrl('http://h/f/', 'ä b'), 'http://h/f/%C3%A4%20b')
  await sources[0]![Symbol.asyncDispose]()
})

test('BEP 19: of a torrent with several files each piece is put together from the files that it covers, under the name of the torrent', async () => {
  await using stack = new AsyncDisposableStack()
  const place = (path: readonly string[]): string => `/seed/folder/${path.map(encodeURIComponent).join('/')}`
  const files = [
    { path: ['a b'], length: 100_000, pad: false },
    { path: ['d', 'ü'], length: 5, pad: false },
    { path: ['.pad'], length: 1000, pad: true },
    { path: ['d', 'z'], length: 300_000, pad: false }
  ]
  const byUrl = new Map(files.flatMap((f, i) => (f.pad ? [] : [[place(f.path), seededBytes(f.length, i)] as const])))
  const whole = Buffer.concat(files.map(f => byUrl.get(place(f.path)) ?? new Uint8Array(f.length)))
  const size = whole.length
  const asked: string[] = []
  const server = await serveRanges(stack, url => {
    asked.push(url)
    return byUrl.get(url)
  })
  const base = `${server}/seed`
  const bt = await open(stack, '127.0.0.2', [])
  const folder = { ...torrent, name: 'folder', size, pieceLength: 32_768, multiFile: true, files }
  const notes: string[] = []
  const note = (text: string): void => void notes.push(text)
  const sources = join(stack, bt, { torrent: folder, also: { webSeeds: [base], trust: 'given' }, note })
  await eventually('a source', () => sources.length === 1)
  const grid = makeGrid(size, 32_768)
  for (let first = 0; first < grid.count; first += 5) {
    const delivery = new MemoryDelivery(grid, { first, count: Math.min(5, grid.count - first) })
    await sources[0]!.fetch(delivery, AbortSignal.timeout(5000))
    for (const [chunk, bytes] of delivery.chunks)
      assert.deepEqual(Buffer.from(bytes), whole.subarray(chunk * 32_768, chunk * 32_768 + bytes.length), `${chunk}`)
  }
  assert.deepEqual([...new Set(asked)].sort(), [...byUrl.keys()].sort())
  byUrl.set('/seed/folder/a%20b', whole.subarray(0, 99_999))
  await sources[0]![Symbol.asyncDispose]()
  join(stack, bt, { torrent: folder, also: { webSeeds: [`${base}/`], trust: 'given' }, note })
  await eventually('one whose file has another size is not used', () => notes.some(n => n.includes('another size')))
})

test('of the trackers of a torrent one tier is asked after the other, and only one that answers', async () => {
  await using stack = new AsyncDisposableStack()
  const trackers = await Promise.all([0, 1].map(async () => stack.use(await openTestTracker('127.0.0.1'))))
  const dead = 'http://127.0.0.1:9/announce'
  const made = makeTorrent({
    name: whole.name,
    size: whole.grid.size,
    pieceLength: CHUNK,
    pieces: whole.pieces,
    trackers: [dead, ...trackers.map(t => t.url)]
  })
  const parsed = parseTorrent(made.bytes)
  assert.deepEqual(parsed.trackerTiers, [[dead], [trackers[0]!.url], [trackers[1]!.url]])
  const all = { ...deps, gate: new TestGate(), shares: shareIndex([]), checkAddress: async (host: string) => host }
  const bt = stack.use(await openBitTorrent(all, { listen: { host: '127.0.0.1', port: 0 } }))
  join(stack, bt, { torrent: parsed, trackers: parsed.trackers })
  await eventually('announced', () => trackers[0]!.peersOf(bytesToHex(infoHash)).length === 1)
  assert.deepEqual(trackers[1]!.peersOf(bytesToHex(infoHash)), [])
})
