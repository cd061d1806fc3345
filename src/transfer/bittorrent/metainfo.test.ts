import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../../base/bytes.ts'
import { type BValue, bdict, encodeBencode } from './bencode.ts'
import { isTorrentError, makeTorrent, parseInfo, parseTorrent } from './metainfo.ts'

const FOLDER = join(import.meta.dirname, '../../../test/vectors/bittorrent/libtorrent-test_torrents')

/** What libtorrent 2.0.8 refuses (python3-libtorrent, `torrent_info(path)`); it takes the other 65. */
const LIBTORRENT_REFUSES = new Set(
  `bad_name invalid_file_size invalid_info invalid_name invalid_path_list invalid_piece_len invalid_pieces invalid_symlink many_pieces
  missing_path_list missing_piece_len negative_file_size negative_piece_len negative_size no_files no_name string unaligned_pieces
  v2_deep_recursion v2_empty_filename v2_invalid_file v2_invalid_pad_file v2_invalid_piece_layer v2_invalid_piece_layer_size v2_large_file
  v2_large_offset v2_mismatching_metadata v2_no_power2_piece v2_non_multiple_piece_layer v2_overlong_integer
  v2_piece_layer_invalid_file_hash v2_piece_size v2_unordered_files v2_zero_root v2_zero_root_small zero zero2`.split(/\s+/)
)
const ONLY_V2 = 'it has no v1 part, and v2 is not supported yet'
const V1_PART = 'its v2 part is wrong and not looked at; its v1 part is sound'
/** Where our verdict differs, and why. */
const DIFFERENT: Record<string, string> = {
  large_piece_size: 'a piece of 512 MiB does not fit a chunk slot (64 MiB at most)',
  v2_invalid_filename: ONLY_V2,
  v2_invalid_filename2: ONLY_V2,
  v2_invalid_piece_layer_root: ONLY_V2,
  v2_invalid_root_hash: ONLY_V2,
  v2_no_piece_layers: ONLY_V2,
  v2_only: ONLY_V2,
  v2_symlinks: ONLY_V2,
  v2_unknown_piece_layer_entry: ONLY_V2,
  v2_invalid_file: V1_PART,
  v2_mismatching_metadata: V1_PART
}

const files = readdirSync(FOLDER).filter(f => f.endsWith('.torrent'))

test('the table speaks of all 101 torrents', () => {
  assert.equal(files.length, 101)
  const names = new Set(files.map(f => f.replace('.torrent', '')))
  for (const n of [...LIBTORRENT_REFUSES, ...Object.keys(DIFFERENT)]) assert.ok(names.has(n), n)
})
for (const file of files) {
  const name = file.replace('.torrent', '')
  const taken = LIBTORRENT_REFUSES.has(name) === name in DIFFERENT
  test(`${name}: ${taken ? 'taken' : 'refused'}, ${name in DIFFERENT ? `unlike libtorrent: ${DIFFERENT[name]}` : 'like libtorrent'}`, () => {
    const bytes = readFileSync(join(FOLDER, file))
    if (!taken) {
      assert.throws(() => parseTorrent(bytes), isTorrentError)
      return
    }
    const m = parseTorrent(bytes)
    assert.deepEqual(Buffer.from(m.infoHash), createHash('sha1').update(m.info).digest())
    assert.equal(m.pieces.length, 20 * Math.ceil(m.size / m.pieceLength))
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
  ['only v2', { pieces: undefined, 'meta version': 2 }],
  ['a path of 101 parts', { length: undefined, files: [bdict({ length: content.size, path: Array(101).fill(utf8('a')) })] }],
  ['a name of 1,025 bytes', { name: new Uint8Array(1025).fill(97) }]
] as const) {
  test(`refuses ${why}`, () => assert.throws(() => parseInfo(infoWith(fields)), isTorrentError))
}
test('any info dictionary is read or refused with a code of ours', () => {
  const any = fc.oneof(fc.constant(undefined), fc.maxSafeInteger(), fc.uint8Array(), fc.array(fc.uint8Array()))
  const fields = fc.record(
    { name: any, length: any, pieces: any, 'piece length': any, files: any, private: any, 'name.utf-8': any },
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
