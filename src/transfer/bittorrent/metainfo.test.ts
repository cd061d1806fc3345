import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { v2DigestOf } from '../../../test/interop/bt-v2.ts'
import { MemoryShare, seededBytes } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { BDict, type BValue, bdict, decodeBencode, encodeBencode } from './bencode.ts'
import { infosOfShare, isTorrentError, makeInfo, makeTorrent, parseInfo, parseTorrent } from './metainfo.ts'

const VECTORS = join(import.meta.dirname, '../../../test/vectors/bittorrent')
const FOLDER = join(VECTORS, 'libtorrent-test_torrents')

/** See `source` in the file. */
interface Verdict {
  /** "take", "refuse" and why, or null. */
  readonly table: string | null
  readonly error?: string
  readonly files?: readonly number[]
  readonly pieceLength?: number
  readonly v1?: string
  readonly v2?: string
}
const { torrents } = JSON.parse(readFileSync(join(VECTORS, 'libtorrent-verdicts.json'), 'utf8')) as {
  readonly torrents: Readonly<Record<string, Verdict>>
}
/** Where our verdict differs from libtorrent's table (of what is not in it, from libtorrent 2.0.8), and why. */
const DIFFERENT: Readonly<Record<string, string>> = {
  large_piece_size: 'a piece of 512 MiB does not fit a chunk slot (64 MiB at most)'
}

test('the table speaks of all 101 torrents', () => {
  const files = readdirSync(FOLDER).filter(f => f.endsWith('.torrent'))
  assert.equal(files.length, 101)
  assert.deepEqual(files.map(f => f.replace('.torrent', '')).sort(), Object.keys(torrents).sort())
})
// threats BT2
for (const [name, verdict] of Object.entries(torrents)) {
  const theirs = verdict.table === null ? verdict.error === undefined : verdict.table === 'take'
  const taken = theirs !== name in DIFFERENT
  test(`${name}: ${taken ? 'taken' : 'refused'}, ${name in DIFFERENT ? `unlike libtorrent: ${DIFFERENT[name]}` : 'like libtorrent'}`, () => {
    const bytes = readFileSync(join(FOLDER, `${name}.torrent`))
    if (!taken) {
      assert.throws(() => parseTorrent(bytes), isTorrentError)
      return
    }
    const m = parseTorrent(bytes)
    assert.deepEqual(
      m.files.filter(f => !f.pad).map(f => f.length),
      verdict.files
    )
    assert.equal(m.pieceLength, verdict.pieceLength)
    assert.equal(m.pieces && bytesToHex(m.infoHash), verdict.v1)
    assert.equal(m.v2 && bytesToHex(m.v2.infoHash), verdict.v2)
    assert.equal(
      m.files.reduce((n, f) => n + f.length, 0),
      m.size
    )
    if (m.pieces) assert.equal(m.pieces.length, 20 * Math.ceil(m.size / m.pieceLength))
    for (const f of m.files) for (const p of f.path) assert.match(p, /^(?!\.{1,2}$)[^/\\\0]+$/)
  })
}

const content = { name: 'a.bin', size: 300_000, pieceLength: 262_144, pieces: new Uint8Array(40).fill(7) }
const infoWith = (fields: Record<string, BValue | undefined>): Uint8Array =>
  encodeBencode(
    bdict({ length: content.size, name: utf8(content.name), 'piece length': content.pieceLength, pieces: content.pieces, ...fields })
  )

test('a torrent made here is read back, and its hash depends on name, size and pieces only', () => {
  const made = makeTorrent({ ...content, trackers: ['http://t.example/announce', 'udp://u.example:1'] })
  const read = parseTorrent(made.bytes)
  assert.deepEqual(read.infoHash, made.infoHash)
  assert.deepEqual([read.name, read.size, read.pieceLength, read.private, read.multiFile], ['a.bin', 300_000, 262_144, false, false])
  assert.deepEqual(read.trackers, ['http://t.example/announce', 'udp://u.example:1'])
  const bare = makeTorrent(content)
  assert.deepEqual(bare.infoHash, made.infoHash)
  assert.deepEqual(parseTorrent(bare.bytes).trackers, [])
  assert.ok(!Buffer.from(bare.bytes).includes('announce'), 'no tracker is named unless given')
  assert.notDeepEqual(makeTorrent({ ...content, private: true }).infoHash, made.infoHash)
})
for (const [why, fields] of [
  ['piece length 0', { 'piece length': 0 }],
  ['piece length -1', { 'piece length': -1 }],
  ['piece length 3', { 'piece length': 3 }],
  ['piece length 2^31', { 'piece length': 2 ** 31 }],
  ['pieces not 20 × n', { pieces: new Uint8Array(41) }],
  ['a piece too few', { pieces: new Uint8Array(20) }],
  ['2^21 + 1 pieces', { 'piece length': 1024, length: 1024 * (2 ** 21 + 1), pieces: new Uint8Array(20 * (2 ** 21 + 1)) }],
  ['no bytes', { length: 0, pieces: new Uint8Array(0) }],
  ['v2 without a file tree', { pieces: undefined, length: undefined, 'meta version': 2 }],
  ['a newer version', { 'meta version': 3 }],
  ['101 files of one name', { length: undefined, files: Array(102).fill(bdict({ length: 2942, path: [utf8('a')] })) }],
  ['a path of 101 parts', { length: undefined, files: [bdict({ length: content.size, path: Array(101).fill(utf8('a')) })] }],
  ['a name of 1,025 bytes', { name: new Uint8Array(1025).fill(97) }]
] as const) {
  test(`refuses ${why}`, () => assert.throws(() => parseInfo(infoWith(fields)), isTorrentError))
}
test('any info dictionary is read or refused with a code of ours', () => {
  const any = fc.oneof(fc.constant(undefined), fc.maxSafeInteger(), fc.uint8Array(), fc.array(fc.uint8Array()))
  const leaf = fc.record({
    length: fc.oneof(any, fc.nat(400_000)),
    'pieces root': fc.oneof(any, fc.uint8Array({ minLength: 32, maxLength: 32 }))
  })
  const tree = fc.letrec<{ tree: BDict }>(tie => ({
    tree: fc
      .dictionary(fc.constantFrom('', 'a', 'b', '..', '/'), fc.oneof(leaf.map(bdict), tie('tree'), fc.constant(new Uint8Array(1))), {
        maxKeys: 3
      })
      .map(d => new BDict(Object.entries(d)))
  })).tree
  const version = fc.constantFrom(undefined, 1, 2, 2, 2, 3)
  const fields = fc.record(
    {
      name: any,
      length: fc.oneof(any, fc.constant(undefined)),
      pieces: any,
      'piece length': fc.oneof(any, fc.constantFrom(16_384, 65_536)),
      files: any,
      private: any,
      'name.utf-8': any,
      'meta version': version,
      'file tree': fc.oneof(any, tree, tree)
    },
    { requiredKeys: [] }
  )
  fc.assert(
    fc.property(fields, f => {
      try {
        parseInfo(infoWith(f))
      } catch (e) {
        assert.ok(isTorrentError(e), String(e))
      }
    })
  )
})

const file = seededBytes(700_000)
const v2 = v2DigestOf(file)
const hybrid = { name: 'ä.bin', size: 700_000, pieceLength: 262_144, pieces: new Uint8Array(60).fill(7), v2 }
/** The .torrent of `hybrid` with other fields in its info dictionary (undefined leaves one out) and other piece layers. */
function changed(fields: Record<string, BValue | undefined>, layers?: BValue): Uint8Array {
  const root = decodeBencode(makeTorrent(hybrid).bytes) as BDict
  const info = new Map<string, BValue | undefined>([...root.dict('info')!.entries, ...Object.entries(fields)])
  return encodeBencode(
    new BDict([
      ['info', bdict(Object.fromEntries(info))],
      ['piece layers', layers ?? root.get('piece layers')!]
    ])
  )
}
const V2_ONLY = { pieces: undefined, length: undefined }
const rootKey = Array.from(v2.root, b => String.fromCharCode(b)).join('')

test('a hybrid made here has both halves, both hashes and a piece layer that leads to the root', () => {
  const made = makeTorrent(hybrid)
  const read = parseTorrent(made.bytes)
  assert.deepEqual(read.infoHash, made.infoHash)
  assert.deepEqual(Buffer.from(read.v2!.infoHash), createHash('sha256').update(made.info).digest())
  assert.deepEqual(read.v2!.infoHash, made.infoHashV2)
  assert.deepEqual(read.v2!.layers, new Map([[bytesToHex(v2.root), v2.layer]]))
  assert.deepEqual(read.v2!.files, [{ path: ['ä.bin'], length: 700_000, root: v2.root }])
  assert.deepEqual([read.pieces, read.multiFile, read.size], [hybrid.pieces, false, 700_000])
  assert.deepEqual(parseInfo(made.info).v2!.layers.size, 0)
  assert.equal(makeInfo({ ...hybrid, v2: undefined }).infoHashV2, undefined)
  assert.equal(makeInfo({ ...hybrid, pieceLength: 262_145 }).infoHashV2, undefined, 'v2 cannot say that')
})
test('the vector of docs/wire/bittorrent.md §5, which libtorrent 2.0.8 computes too', () => {
  const zeros = new MemoryShare(new Uint8Array(300_000), { name: 'kith.bin', v2: v2DigestOf(new Uint8Array(300_000)) })
  const hashes = infosOfShare(zeros).map(m => [bytesToHex(m.infoHash), m.infoHashV2 && bytesToHex(m.infoHashV2)])
  assert.deepEqual(hashes, [
    ['e42bc69b46d453adfd02bbca7ff584606b500eef', '94879aa248b54fbc4c043e390c26edc34a4535de5ee0669291b18a6f76d58774'],
    ['da75cce3385742ff6dcfca908c0ec4e3c0b105df', undefined]
  ])
})
test('a file of one piece is a hybrid without a piece layer', () => {
  const small = file.subarray(0, 100_000)
  const digest = v2DigestOf(small)
  assert.deepEqual(digest.layer, digest.root)
  const read = parseTorrent(makeTorrent({ ...hybrid, size: 100_000, pieces: new Uint8Array(20), v2: digest }).bytes)
  assert.equal(read.v2!.layers.size, 0)
  assert.deepEqual(read.v2!.files[0]!.root, digest.root)
})
test('a torrent that only has v2 goes by its cut info-hash, and its files begin at pieces', () => {
  const single = parseTorrent(changed(V2_ONLY))
  assert.deepEqual([single.pieces, single.multiFile, single.size], [undefined, false, 700_000])
  assert.deepEqual(single.infoHash, single.v2!.infoHash.slice(0, 20))
  const leaf = (length: number, root?: Uint8Array): BDict => new BDict([['', bdict({ length, 'pieces root': root })]])
  const tree = new BDict([
    ['a', new BDict([['x', leaf(100_000, new Uint8Array(32).fill(1))]])],
    ['b', leaf(0)],
    ['c', leaf(700_000, v2.root)]
  ])
  const many = parseTorrent(changed({ ...V2_ONLY, 'file tree': tree }))
  assert.deepEqual(
    many.files.map(f => [f.path.join('/'), f.length, f.pad]),
    [
      ['a/x', 100_000, false],
      ['b', 0, false],
      ['.pad', 162_144, true],
      ['c', 700_000, false]
    ]
  )
  assert.ok(many.multiFile)
})
// threats BT3
for (const [why, bytes] of [
  ['its v1 half is longer', changed({ length: 700_001 })],
  ['its v1 half has another name', changed({ name: utf8('b.bin') })],
  ['its v1 half has two files', changed({ length: undefined, files: [1, 699_999].map(n => bdict({ length: n, path: [utf8(`${n}`)] })) })],
  ['its pieces are no power of two', changed({ 'piece length': 300_000 })],
  ['its pieces are 8 KiB', changed({ ...V2_ONLY, 'piece length': 8192 })],
  ['a piece layer is of the root of another file', changed({}, new BDict([['x'.repeat(32), v2.layer]]))],
  ['a piece layer is wrong in one bit', changed({}, new BDict([[rootKey, v2.layer.map((b, i) => (i === 5 ? b ^ 1 : b))]]))],
  ['a piece layer is too short', changed({}, new BDict([[rootKey, v2.layer.subarray(32)]]))],
  ['a piece layer is a number', changed({}, new BDict([[rootKey, 1]]))],
  ['the piece layers are a list', changed({}, [])],
  ['the file tree is empty', changed({ 'file tree': new BDict([]) })],
  [
    'a file has others inside it',
    changed({
      'file tree': new BDict([
        [
          'a',
          new BDict([
            ['', bdict({ length: 0 })],
            ['b', new BDict([])]
          ])
        ]
      ])
    })
  ],
  ['the root of the tree is a file', changed({ 'file tree': new BDict([['', bdict({ length: 700_000, 'pieces root': v2.root })]]) })],
  ['2^21 + 1 pieces through alignment', changed({ ...V2_ONLY, 'file tree': manyTiny(7), 'piece length': 2 ** 26 }, new BDict([]))]
] as const) {
  test(`refuses a hybrid or v2 torrent when ${why}`, () => assert.throws(() => parseTorrent(bytes), isTorrentError))
}
function manyTiny(count: number): BDict {
  const root = new Uint8Array(32).fill(1)
  const leaf = (length: number): BDict => new BDict([['', bdict({ length, 'pieces root': root })]])
  return new BDict(
    Array.from({ length: count }, (_, i) => [`${i}`.padStart(5, '0'), leaf(i === 0 ? 2 ** 46 : i === 1 ? 2 ** 46 - 2 ** 27 : 1)])
  )
}
test('any piece layers are read and right, or refused with a code of ours', () => {
  const flipped = fc.tuple(fc.nat(95), fc.nat(255)).map(([at, x]) => v2.layer.with(at, v2.layer[at]! ^ x))
  const layer = fc.oneof(fc.constant(v2.layer), flipped, fc.uint8Array({ maxLength: 128 }), fc.nat())
  const key = fc.oneof(fc.constant(rootKey), fc.string({ maxLength: 40, unit: 'binary-ascii' }))
  const layers = fc.dictionary(key, layer, { maxKeys: 2 }).map(d => new BDict(Object.entries(d)))
  fc.assert(
    fc.property(fc.oneof(layers, layer), fc.boolean(), (value, hybridToo) => {
      try {
        const read = parseTorrent(changed(hybridToo ? {} : V2_ONLY, value)).v2!.layers
        for (const found of read.values()) assert.deepEqual(Buffer.from(found), Buffer.from(v2.layer))
      } catch (e) {
        assert.ok(isTorrentError(e), String(e))
      }
    })
  )
})
test('missing piece layers and unordered keys: the first are asked of peers, the second are refused', () => {
  assert.equal(parseTorrent(changed({}, new BDict([]))).v2!.layers.size, 0)
  const { info } = makeInfo(hybrid)
  const text = Buffer.from(info).toString('latin1')
  const unordered = Buffer.from(text.replace('12:meta versioni2e', '').replace(/e$/, '12:meta versioni2ee'), 'latin1')
  assert.equal(unordered.length, info.length)
  assert.throws(() => parseInfo(unordered), isTorrentError)
})
