import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import { RawPeer, rawSeeder } from '../../../test/interop/bt-raw-peer.ts'
import { v2DigestOf, v2Torrent } from '../../../test/interop/bt-v2.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { makeGrid } from '../grid.ts'
import type { Share, Source } from '../protocol.ts'
import { foreignTorrent } from '../torrent-content.node.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import { decodeExtendedHandshake, encodeExtendedHandshake, encodeMetadata, extensionIds } from './extensions.ts'
import { type HashRequest, provesHashes, treeHeight } from './hashes.ts'
import { HashServer } from './hashes-server.node.ts'
import type { Magnet } from './magnet.ts'
import { decodeHandshake, encodeHandshake, type Message } from './messages.ts'
import { infoHashesOf, infoOfShare, makeInfo, parseTorrent } from './metainfo.ts'

const CHUNK = 256 * 1024
const content = seededBytes(5 * CHUNK + 9)
const share = new MemoryShare(content, { v2: v2DigestOf(content) })
const { info, infoHash, infoHashV2 } = infoOfShare(share)!
const cut = infoHashV2!.subarray(0, 20)
const plain = makeInfo({ name: share.name, size: content.length, pieceLength: CHUNK, pieces: share.pieces })

function open(...shares: readonly Share[]): Promise<BitTorrent> {
  const byHash = new Map(shares.flatMap(s => infoHashesOf(s).map(h => [bytesToHex(h), s] as const)))
  const index = { byFileId: () => undefined, byInfoHash: (hex: string) => byHash.get(hex) }
  const deps = { clock: systemClock, log: silentLogger, gate: new TestGate(), shares: index, checkAddress: async (host: string) => host }
  return openBitTorrent(deps, { listen: { host: '127.0.0.1', port: 0 } })
}
async function greet(port: number, hash: Uint8Array, v2: boolean): Promise<RawPeer> {
  const peer = await RawPeer.dial(port)
  peer.raw(encodeHandshake({ infoHash: hash, peerId: new Uint8Array(20).fill(9), fast: true, extended: true, v2 }))
  return peer
}

for (const [why, hash, v2, answer, bit] of [
  ['the v1 hash of a hybrid is answered with it', infoHash, false, infoHash, true],
  ['the v1 hash of a hybrid, by a peer that speaks v2, is answered with the v2 hash', infoHash, true, cut, true],
  ['the v2 hash is answered with it', cut, false, cut, true],
  ['the hash of the plain v1 torrent is answered with it, and nothing is said of v2', plain.infoHash, true, plain.infoHash, false]
] as const) {
  test(`${why}; the metadata is that of the torrent that was named`, async () => {
    await using bt = await open(share)
    await using peer = await greet(bt.port, hash, v2)
    await peer.until('a handshake', () => peer.handshake !== undefined)
    const got = decodeHandshake(peer.handshake!)
    assert.deepEqual([got.infoHash, got.v2], [Uint8Array.from(answer), bit])
    const ids = { ut_metadata: 7 }
    const none = { version: undefined, requestQueue: undefined, listenPort: undefined, uploadOnly: false, nonce: undefined }
    const payload = encodeExtendedHandshake({ ids, metadataSize: undefined, maxBlock: undefined, ...none })
    const ask = encodeMetadata({ kind: 'request', piece: 0 })
    peer.send({ kind: 'extended', id: 0, payload }, { kind: 'extended', id: extensionIds.ut_metadata, payload: ask })
    await peer.until('metadata', () => peer.received.some(m => m.kind === 'extended' && m.id === 7))
    const data = peer.received.find(m => m.kind === 'extended' && m.id === 7) as Extract<Message, { kind: 'extended' }>
    assert.deepEqual(data.payload.subarray(-(bit ? info : plain.info).length), bit ? info : plain.info)
  })
}
test('a share without v2 digests has one hash, and its handshake says nothing of v2', async () => {
  const old = new MemoryShare(content)
  assert.deepEqual(infoHashesOf(old), [plain.infoHash])
  assert.deepEqual(infoHashesOf(share), [infoHash, cut, plain.infoHash])
  await using bt = await open(old)
  await using peer = await greet(bt.port, plain.infoHash, true)
  await peer.until('a handshake', () => peer.handshake !== undefined)
  assert.equal(decodeHandshake(peer.handshake!).v2, false)
  await using other = await greet(bt.port, cut, true)
  await other.closed()
})
// threats BT4
test('a node that dials itself closes the connection', async () => {
  await using bt = await open(share)
  const endpoint = { host: '127.0.0.1', port: bt.port, extra: infoHash, fileId: share.fileId, grid: share.grid }
  const opened = bt.openSource({ ...endpoint, seeder: undefined, ticket: undefined }, AbortSignal.timeout(5000))
  assert.equal(codeOf(await opened.catch(e => e as unknown)), 'SOURCE_LIED')
})

const fine: HashRequest = { root: share.v2!.root, baseLayer: 4, index: 0, length: 8, proofLayers: 2 }
// threats BT5
test('hash requests are answered in order, those that make no sense are rejected, and too many at once close', async () => {
  await using bt = await open(share)
  await using peer = await greet(bt.port, cut, true)
  const wrong = { ...fine, index: 8 }
  peer.send({ kind: 'hashRequest', ...fine }, { kind: 'hashRequest', ...wrong }, { kind: 'hashRequest', ...fine, baseLayer: 0 })
  const answers = (): Message[] => peer.received.filter(m => m.kind === 'hashes' || m.kind === 'hashReject')
  await peer.until('three answers', () => answers().length === 3)
  assert.deepEqual(answers()[1], { kind: 'hashReject', ...wrong })
  assert.deepEqual(
    answers().map(m => m.kind),
    ['hashes', 'hashReject', 'hashes']
  )
  peer.send(...Array.from({ length: 2000 }, (): Message => ({ kind: 'hashRequest', ...fine, baseLayer: 0, length: 64 })))
  await peer.closed()
})
test('a peer that sends hashes nobody asked for is closed', async () => {
  await using bt = await open(share)
  await using peer = await greet(bt.port, cut, true)
  peer.send({ kind: 'hashReject', ...fine })
  await peer.closed()
})

/** A seeder of a v2 torrent: metadata, and hashes as `answer` makes them of the right ones. */
const v2Seeder = (torrentInfo: Uint8Array, hash: Uint8Array, answer: (request: HashRequest, right: Uint8Array) => Message | undefined) =>
  rawSeeder(async p => {
    await p.until('handshake', () => p.handshake !== undefined)
    p.shake(hash)
    const none = { version: undefined, requestQueue: undefined, listenPort: undefined, uploadOnly: true, nonce: undefined }
    const hello = encodeExtendedHandshake({ ids: { ut_metadata: 5 }, metadataSize: torrentInfo.length, maxBlock: undefined, ...none })
    p.send({ kind: 'haveAll' }, { kind: 'extended', id: 0, payload: hello })
    await p.until('a request', () => p.received.some(m => m.kind === 'extended' && m.id === 5))
    const data = encodeMetadata({ kind: 'data', piece: 0, totalSize: torrentInfo.length, data: torrentInfo })
    p.send({ kind: 'extended', id: extensionIds.ut_metadata, payload: data })
    const { root, baseLayer, index, length, proofLayers } = await p.message('hashRequest')
    const request = { root, baseLayer, index, length, proofLayers }
    const reply = answer(request, (await new HashServer(systemClock).answer(share, request))!)
    if (reply) p.send(reply)
  })
const honestly = (request: HashRequest, hashes: Uint8Array): Message => ({ kind: 'hashes', ...request, hashes })
const only = v2Torrent('file.bin', { 'file.bin': content }, CHUNK)
const onlyCut = only.infoHashV2.subarray(0, 20)
const onlyMagnet: Magnet = { infoHash: onlyCut, infoHashV2: only.infoHashV2, name: undefined, trackers: [], webSeeds: [], peers: [] }

// threats BT6
for (const [why, answer] of [
  ['gives a wrong hash', (r, h) => honestly(r, h.with(40, h[40]! ^ 1))],
  ['gives a wrong uncle or filler', (r, h) => honestly(r, h.with(-1, h.at(-1)! ^ 1))],
  ['answers for another file', (r, h) => honestly({ ...r, root: new Uint8Array(32) }, h)],
  ['answers another question', (r, h) => honestly({ ...r, baseLayer: r.baseLayer + 1 }, h)],
  ['has no hashes', r => ({ kind: 'hashReject', ...r })],
  ['sends a block instead', () => ({ kind: 'piece', piece: 0, begin: 0, block: new Uint8Array(9) })],
  ['says nothing', () => undefined]
] as readonly (readonly [string, Parameters<typeof v2Seeder>[2]])[]) {
  test(`of a v2 magnet: a peer that ${why} is left, an honest one is used`, async () => {
    await using liar = await v2Seeder(only.info, onlyCut, answer)
    await using honest = await v2Seeder(only.info, onlyCut, honestly)
    await using bt = await open()
    const peers = [liar.port, honest.port].map(port => ({ host: '127.0.0.1', port }))
    const alone = bt.fetchMetainfo(onlyMagnet, { peers: peers.slice(0, 1) }, AbortSignal.timeout(200))
    assert.equal(codeOf(await alone.catch(e => e as unknown)), 'METADATA_FAILED')
    const torrent = await bt.fetchMetainfo(onlyMagnet, { peers }, AbortSignal.timeout(5000))
    assert.deepEqual(torrent.infoHash, onlyCut.slice())
    assert.deepEqual(torrent.v2!.layers, parseTorrent(only.bytes).v2!.layers)
  })
}
test('a v2 link to a hybrid brings both halves; metadata of another version than the link names is refused for good', async () => {
  await using bt = await open(share)
  await using client = await open()
  const peersAt = (port: number) => ({ peers: [{ host: '127.0.0.1', port }] })
  const torrent = await client.fetchMetainfo({ ...onlyMagnet, infoHash: cut, infoHashV2 }, peersAt(bt.port), AbortSignal.timeout(5000))
  assert.deepEqual([torrent.infoHash, torrent.v2!.infoHash], [infoHash, infoHashV2])
  const trees = new Map([[bytesToHex(share.v2!.root), share.v2!.layer]])
  assert.deepEqual(torrent.v2!.layers, trees, 'so that its pieces are checked by SHA-256')
  const byV1 = await client.fetchMetainfo({ ...onlyMagnet, infoHash, infoHashV2: undefined }, peersAt(bt.port), AbortSignal.timeout(5000))
  assert.deepEqual(byV1.v2!.layers, trees, 'also when the link names v1 alone')
  const v1 = { ...onlyMagnet, infoHash: new Uint8Array(createHash('sha1').update(only.info).digest()), infoHashV2: undefined }
  await using server = await v2Seeder(only.info, v1.infoHash, honestly)
  const refused = await client.fetchMetainfo(v1, peersAt(server.port), AbortSignal.timeout(5000)).catch(e => e as unknown)
  assert.equal(codeOf(refused), 'BAD_TORRENT')
})

test('a hybrid whose peers give no trees goes by SHA-1; one that gives them is waited for', async () => {
  const magnet = { ...onlyMagnet, infoHash, infoHashV2 }
  await using without = await v2Seeder(info, infoHash, r => ({ kind: 'hashReject', ...r }))
  await using client = await open()
  const at = (...ports: number[]) => ({ peers: ports.map(port => ({ host: '127.0.0.1', port })) })
  const alone = await client.fetchMetainfo(magnet, at(without.port), AbortSignal.timeout(5000))
  assert.deepEqual([Buffer.from(alone.pieces!), alone.v2!.layers.size], [share.pieces, 0])
  await using bt = await open(share)
  const both = await client.fetchMetainfo(magnet, at(without.port, bt.port), AbortSignal.timeout(5000))
  assert.equal(both.v2!.layers.size, 1)
})

type Requests = Extract<Message, { readonly piece: number; readonly length: number }>
test('of a torrent that only has v2, what lies between files is never asked for and is zero', async () => {
  const files = { a: seededBytes(100_000, 1), b: seededBytes(CHUNK + 5, 2) }
  const torrent = parseTorrent(v2Torrent('folder', files, CHUNK).bytes)
  const asked: Requests[] = []
  await using server = await rawSeeder(async p => {
    await p.until('handshake', () => p.handshake !== undefined)
    p.shake(torrent.infoHash, undefined, { extended: false })
    p.send({ kind: 'haveAll' }, { kind: 'unchoke' })
    for (let n = 0; ; n++) {
      const requests = (): Requests[] => p.received.filter((m): m is Requests => m.kind === 'request')
      await p.until('a request', () => requests().length > n)
      const request = requests()[n]!
      asked.push(request)
      const bytes = request.piece === 0 ? files.a : files.b.subarray((request.piece - 1) * CHUNK)
      p.send({
        kind: 'piece',
        piece: request.piece,
        begin: request.begin,
        block: bytes.subarray(request.begin, request.begin + request.length)
      })
    }
  })
  await using bt = await open()
  const sources: Source[] = []
  const peers = [{ host: '127.0.0.1', port: server.port }]
  await using _swarm = bt.openSwarm({ torrent, peers, trust: 'given', left: () => 1, onSource: s => void sources.push(s) })
  await eventually('a source', () => sources.some(s => s.has(0)))
  const grid = { size: torrent.size, chunkBytes: CHUNK, count: 3 }
  const delivery = new MemoryDelivery(grid, { first: 0, count: 3 })
  await within(5000, 'three pieces', sources[0]!.fetch(delivery, new AbortController().signal))
  assert.deepEqual(Buffer.from(delivery.chunks.get(0)!), Buffer.concat([files.a, Buffer.alloc(CHUNK - 100_000)]))
  assert.deepEqual(Buffer.concat([delivery.chunks.get(1)!, delivery.chunks.get(2)!]), Buffer.from(files.b))
  assert.equal(
    asked.reduce((n, m) => n + m.length, 0),
    files.a.length + files.b.length
  )
})

test('a peer that has the file of a download under several info-hashes is used once: by its offer, if it has one', async () => {
  await using bt = await open(share)
  await using client = await open()
  const grid = makeGrid(content.length)
  const sources: Source[] = []
  const address = { host: '127.0.0.1', port: bt.port }
  const join = (hash: Uint8Array): ReturnType<BitTorrent['openSwarm']> =>
    client.openSwarm({
      torrent: { infoHash: hash, size: content.length, pieceLength: CHUNK, info: undefined },
      peers: [address],
      download: grid,
      left: () => 1,
      onSource: s => void sources.push(s)
    })
  await using first = join(plain.infoHash)
  await eventually('found in a swarm', () => first.connected === 1)
  await using second = join(infoHash)
  const offer = { ...address, extra: infoHash, fileId: share.fileId, grid, seeder: 'ab', ticket: undefined }
  await using offered = await client.openSource(offer, AbortSignal.timeout(5000))
  await eventually('the one of the swarm is left', () => first.connected === 0)
  assert.deepEqual([sources.length, sources[0]!.ended, second.connected, offered.ended], [1, true, 0, false])
  await using other = client.openSwarm({
    torrent: { infoHash, size: content.length, pieceLength: CHUNK, info: undefined },
    peers: [address],
    left: () => 1,
    onSource: () => {}
  })
  await eventually('another download uses it, too', () => other.connected === 1)
})

test('a torrent of others is served as it is: hashes of each file, zeros behind the last, peers of a private one not told of each other', async () => {
  const files = { a: seededBytes(100_000, 1), b: seededBytes(3 * 65_536 + 5, 2) }
  const torrent = { ...parseTorrent(v2Torrent('folder', files, 65_536).bytes), private: true }
  const padded = new Uint8Array(7 * 65_536)
  padded.set(files.a)
  padded.set(files.b, 2 * 65_536)
  const theirs: Share = {
    ...{ fileId: new Uint8Array(32), root: new Uint8Array(32), name: torrent.name, mime: '', pricePerMb: 0n, pieces: undefined },
    ...{ grid: makeGrid(torrent.size, torrent.pieceLength), torrent: foreignTorrent(torrent), has: () => true, onChunk: () => {} },
    read: async (offset, length, target) => target.set(padded.subarray(offset, offset + length))
  }
  await using bt = await open(theirs)
  await using peer = await greet(bt.port, torrent.infoHash, true)
  const tree = theirs.torrent!.trees[1]!
  const leaf = { root: tree.root, baseLayer: 0, index: 4, length: 4, proofLayers: 3 }
  peer.send({ kind: 'hashRequest', ...leaf })
  const { hashes } = await peer.message('hashes')
  assert.ok(provesHashes(leaf, hashes, treeHeight(files.b.length)), 'computed from the bytes of the second piece of its own file')
  const last = theirs.grid.count - 1
  peer.send({ kind: 'request', piece: last, begin: 0, length: 16_384 })
  const { block } = await peer.message('piece')
  assert.deepEqual(block, padded.slice(last * 65_536, last * 65_536 + 16_384))
  const hello = peer.received.find(m => m.kind === 'extended' && m.id === 0) as Extract<Message, { kind: 'extended' }>
  assert.equal(decodeExtendedHandshake(hello.payload).ids.ut_pex, undefined)
})
