import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { type RawPeer, rawSeeder } from '../../../test/interop/bt-raw-peer.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { Source } from '../protocol.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import { encodeExtendedHandshake, encodeMetadata, extensionIds } from './extensions.ts'
import { type Block, encodeMessage, type Message } from './messages.ts'
import { infoOfShare, makeTorrent } from './metainfo.ts'

const CHUNK = 256 * 1024
const share = new MemoryShare(seededBytes(4 * CHUNK))
const { info, infoHash } = infoOfShare(share)!

const client = (): Promise<BitTorrent> =>
  openBitTorrent({
    clock: systemClock,
    log: silentLogger,
    gate: new TestGate(),
    shares: { byFileId: () => undefined, byInfoHash: () => undefined },
    checkAddress: async host => host
  })
const endpoint = (port: number) => ({
  host: '127.0.0.1',
  port,
  extra: infoHash,
  fileId: share.fileId,
  grid: share.grid,
  seeder: undefined,
  ticket: undefined
})
const code = async (work: Promise<unknown>): Promise<string> =>
  within(
    8000,
    'an end',
    work.then(
      () => 'none',
      e => (e instanceof KithError ? e.code : String(e))
    )
  )

interface Requests extends Block {
  readonly kind: 'request'
}
const requestsOf = (p: RawPeer): Requests[] => p.received.filter((m): m is Requests => m.kind === 'request')
const blockOf = (r: { piece: number; begin: number; length: number }): Message => ({
  kind: 'piece',
  piece: r.piece,
  begin: r.begin,
  block: share.chunk(r.piece).subarray(r.begin, r.begin + r.length)
})
/** A seeder that has all, unchokes, waits for a request and then does what `script` says. */
const seeder = (script: (p: RawPeer, first: Requests) => unknown, fast = true) =>
  rawSeeder(async p => {
    await p.until('handshake', () => p.handshake !== undefined)
    p.shake(infoHash, undefined, { fast, extended: false })
    p.send({ kind: 'bitfield', bits: Uint8Array.of(0xf0) }, { kind: 'unchoke' })
    await script(p, (await p.message('request')) as Requests)
  })

async function fetchOne(port: number, count = 1): Promise<{ code: string; delivery: MemoryDelivery }> {
  await using bt = await client()
  await using source = await bt.openSource(endpoint(port), new AbortController().signal)
  const delivery = new MemoryDelivery(share.grid, { first: 0, count })
  const result = await code(source.fetch(delivery, new AbortController().signal))
  delivery.assertUntouched()
  return { code: result, delivery }
}

for (const [why, expected, script] of [
  ['sends a block that was not asked for', 'SOURCE_LIED', (p, _) => p.send(blockOf({ piece: 3, begin: 0, length: 16384 }))],
  ['sends the same block twice', 'SOURCE_LIED', (p, r) => p.send(blockOf(r), blockOf(r))],
  ['sends a block of another length', 'SOURCE_LIED', (p, r) => p.send(blockOf({ ...r, length: 100 }))],
  ['sends a block outside its piece', 'SOURCE_LIED', p => p.raw(Uint8Array.of(0, 0, 0, 10, 7, 0, 0, 0, 0, 0, 4, 0, 0, 1))],
  ['sends nonsense', 'SOURCE_LIED', p => p.raw(new Uint8Array(randomBytes(64)).fill(255, 0, 4))],
  ['rejects what it says it has', 'SOURCE_BUSY', (p, r) => p.send({ ...r, kind: 'reject' })],
  ['chokes', 'SOURCE_BUSY', p => p.send({ kind: 'choke' })],
  ['hangs up within a block', 'SOURCE_LOST', p => p.socket.end(Uint8Array.of(0, 0, 0x40, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3))]
] as readonly (readonly [string, string, (p: RawPeer, r: Requests) => unknown])[]) {
  test(`a seeder that ${why} is ${expected}`, async () => {
    await using server = await seeder(script)
    assert.equal((await fetchOne(server.port)).code, expected)
  })
}
test('a seeder for another torrent, or one that says nothing, is not opened', async () => {
  await using other = await rawSeeder(async p => {
    p.shake(new Uint8Array(20))
  })
  await using bt = await client()
  assert.equal(await code(bt.openSource(endpoint(other.port), new AbortController().signal)), 'SOURCE_LIED')
  await using mute = await rawSeeder(async () => {})
  assert.equal(await code(bt.openSource(endpoint(mute.port), AbortSignal.timeout(100))), 'SOURCE_LOST')
})
for (const fast of [true, false]) {
  test(`blocks may come in any order and in drips (${fast ? 'fast extension' : 'plain'})`, async () => {
    await using server = await seeder(async p => {
      await p.until('32 requests', () => requestsOf(p).length >= 32)
      const bytes = Buffer.concat(
        requestsOf(p)
          .reverse()
          .map(r => encodeMessage(blockOf(r)))
      )
      for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 7 + 3) % 50_000) {
        p.raw(bytes.subarray(at, at + step))
        await new Promise(resolve => setImmediate(resolve))
      }
    }, fast)
    const { code, delivery } = await fetchOne(server.port, 2)
    assert.equal(code, 'none')
    assert.equal(delivery.chunks.size, 2)
    delivery.assertMatches(share)
  })
  test(`after a choke the source has nothing, says so, and goes on when unchoked (${fast ? 'fast extension' : 'plain'})`, async () => {
    let peer: RawPeer | undefined
    await using server = await seeder(async (p, r) => {
      peer = p
      p.send({ kind: 'choke' }, blockOf(r)) // one block was in the send queue
    }, fast)
    await using bt = await client()
    await using source = await bt.openSource(endpoint(server.port), new AbortController().signal)
    let changes = 0
    source.onChange(() => changes++, new AbortController().signal)
    assert.equal(
      await code(source.fetch(new MemoryDelivery(share.grid, { first: 0, count: 1 }), new AbortController().signal)),
      'SOURCE_BUSY'
    )
    assert.ok(!source.has(0))
    const before = requestsOf(peer!).length
    peer!.send({ kind: 'unchoke' })
    await eventually('unchoked', () => source.has(0) && changes > 0)
    const delivery = new MemoryDelivery(share.grid, { first: 0, count: 1 })
    const done = source.fetch(delivery, new AbortController().signal)
    await peer!.until('it asks again', () => requestsOf(peer!).length >= before + 16)
    peer!.send(...requestsOf(peer!).slice(before).map(blockOf))
    assert.equal(await code(done), 'none')
    delivery.assertMatches(share)
  })
}
test('a block that was cancelled and asked for again is taken, whichever answer comes', async () => {
  let peer: RawPeer | undefined
  await using server = await seeder(p => {
    peer = p
  })
  await using bt = await client()
  await using source: Source = await bt.openSource(endpoint(server.port), new AbortController().signal)
  const stop = new AbortController()
  const first = source.fetch(new MemoryDelivery(share.grid, { first: 0, count: 1 }), stop.signal)
  await eventually('16 requests', () => peer !== undefined && requestsOf(peer).length === 16)
  stop.abort(new KithError('CANCELLED', 'enough'))
  assert.equal(await code(first), 'CANCELLED')
  const delivery = new MemoryDelivery(share.grid, { first: 0, count: 1 })
  const again = source.fetch(delivery, new AbortController().signal)
  await peer!.until('16 cancels', () => peer!.received.filter(m => m.kind === 'cancel').length === 16)
  const asked = requestsOf(peer!)
  peer!.send(...asked.slice(0, 8).map(blockOf)) // too late for the cancel
  peer!.send(...asked.slice(8).map((r): Message => ({ ...r, kind: 'reject' })))
  await peer!.until('the refused are asked for again', () => requestsOf(peer!).length === 24)
  peer!.send(...requestsOf(peer!).slice(16).map(blockOf))
  assert.equal(await code(again), 'none')
  delivery.assertMatches(share)
})

const metadataSeeder = (size: number, answer: (piece: number) => Message[]) =>
  rawSeeder(async p => {
    await p.until('handshake', () => p.handshake !== undefined)
    p.shake(infoHash)
    const ids = { ut_metadata: 5 }
    const none = {
      version: undefined,
      requestQueue: undefined,
      listenPort: undefined,
      uploadOnly: true,
      nonce: undefined,
      maxBlock: undefined
    }
    p.send({ kind: 'haveAll' }, { kind: 'extended', id: 0, payload: encodeExtendedHandshake({ ids, metadataSize: size, ...none }) })
    await p.until('a request', () => p.received.some(m => m.kind === 'extended' && m.id === 5))
    for (let piece = 0; piece * 16384 < size && piece < 3; piece++) p.send(...answer(piece))
  })
const data = (piece: number, totalSize: number, bytes: Uint8Array): Message => ({
  kind: 'extended',
  id: extensionIds.ut_metadata,
  payload: encodeMetadata({ kind: 'data', piece, totalSize, data: bytes })
})
const magnetOf = (hash: Uint8Array) => ({ infoHash: hash, name: undefined, trackers: [], webSeeds: [], peers: [] })
// threats BT6
for (const [why, size, answer] of [
  ['claims 1 GB', 1e9, () => []],
  ['gives other bytes of the right length', info.length, (i: number) => [data(i, info.length, new Uint8Array(info.length))]],
  ['gives too many bytes', info.length, (i: number) => [data(i, info.length, new Uint8Array(info.length + 1))]],
  ['gives a piece that was not asked for', info.length, () => [data(7, info.length, info)]],
  [
    'gives a piece twice',
    info.length + 16384,
    () => [data(0, info.length + 16384, new Uint8Array(16384)), data(0, info.length + 16384, new Uint8Array(16384))]
  ]
] as const) {
  test(`a peer that ${why} as metadata is left, an honest one is used`, async () => {
    await using liar = await metadataSeeder(size, answer)
    await using honest = await metadataSeeder(info.length, i => [data(i, info.length, info)])
    await using bt = await client()
    const peers = [liar.port, honest.port].map(port => ({ host: '127.0.0.1', port }))
    const alone = bt.fetchMetainfo(magnetOf(infoHash), { peers: peers.slice(0, 1) }, AbortSignal.timeout(300))
    assert.equal(await code(alone), 'METADATA_FAILED')
    const metainfo = await bt.fetchMetainfo(magnetOf(infoHash), { peers }, AbortSignal.timeout(5000))
    assert.deepEqual([metainfo.name, metainfo.size, metainfo.pieceLength], [share.name, share.grid.size, CHUNK])
  })
}
test('metadata of many pieces arrives whole', async () => {
  const pieces = new Uint8Array(randomBytes(20 * 9000)) // 180 KB of info: 11 pieces
  const made = makeTorrent({ name: 'big', size: 9000 * CHUNK, pieceLength: CHUNK, pieces })
  const big = Object.assign(Object.create(share) as MemoryShare, {
    name: 'big',
    pieces,
    grid: { size: 9000 * CHUNK, chunkBytes: CHUNK, count: 9000 }
  })
  await using seeding = await openBitTorrent(
    {
      clock: systemClock,
      log: silentLogger,
      gate: new TestGate(),
      shares: { byFileId: () => undefined, byInfoHash: () => Object.assign(big, { has: () => true, onChunk: () => {} }) }
    },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  await using bt = await client()
  const peers = [{ host: '127.0.0.1', port: seeding.port }]
  const metainfo = await bt.fetchMetainfo(magnetOf(made.infoHash), { peers }, AbortSignal.timeout(5000))
  assert.deepEqual(Uint8Array.from(metainfo.info), made.info)
})
test('BT11: a refusal by the address rules leaves a peer alone', async () => {
  let asked = 0
  const deps = {
    clock: systemClock,
    log: silentLogger,
    gate: new TestGate(),
    shares: { byFileId: () => undefined, byInfoHash: () => undefined }
  }
  await using server = await rawSeeder(async () => void asked++)
  await using bt = await openBitTorrent(deps)
  const peers = [{ host: '127.0.0.1', port: server.port }]
  const magnet = { ...magnetOf(infoHash), peers } // x.pe of a link: a stranger's word
  assert.equal(await code(bt.fetchMetainfo(magnet, {}, AbortSignal.timeout(200))), 'METADATA_FAILED')
  assert.equal(asked, 0)
})
