import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { seededBytes } from '../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../base/bytes.ts'
import { openSqlite } from '../store/sqlite.node.ts'
import { makeGrid } from './grid.ts'
import { hashFile, stampOf } from './hash-file.node.ts'
import { HAVE_AGE_MS } from './limits.ts'
import type { Signer } from './offers.ts'
import type { Share } from './protocol.ts'
import { ShareBook } from './share-book.node.ts'
import { SHARE_MIGRATIONS, type ShareRecord } from './share-store.node.ts'

test('a flood of questions about a running download is answered from one look at its chunks', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-book-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const clock = new FakeClock(0)
  const signer = {} as Signer // partial shares have no manifest to sign
  const book = stack.use(await ShareBook.open({ clock, signer, endpoints: () => [], onStopped: () => {} }, join(folder, 'shares.db')))
  const fileId = new Uint8Array(32).fill(5)
  const done = new Set([0, 1, 2, 70, 99])
  let looks = 0
  const share: Share = {
    fileId,
    root: fileId,
    grid: makeGrid(100 * 256 * 1024),
    name: '',
    mime: '',
    pricePerMb: 0n,
    pieces: undefined,
    has: c => {
      looks++
      return done.has(c)
    },
    read: async () => {},
    onChunk: () => {}
  }
  book.addPartial(share, () => undefined)
  const offered = book.offered(bytesToHex(fileId))!
  for (let i = 0; i < 50; i++) {
    assert.deepEqual((await offered.terms()).chunks, [
      { first: 0, count: 3 },
      { first: 70, count: 1 },
      { first: 99, count: 1 }
    ])
  }
  assert.equal(looks, 100)
  done.add(3)
  await clock.advance(HAVE_AGE_MS)
  assert.deepEqual((await offered.terms()).chunks?.[0], { first: 0, count: 4 }, 'and soon told what is new')
})

const ALL = { sha1: true, v2: true, ed2k: true }
const NOTHING = { sha1: false, v2: false, ed2k: false }
const EVERY_PROTOCOL = ['http', 'bittorrent', 'webtorrent', 'ed2k', 'kith']

interface Fixture extends AsyncDisposable {
  readonly path: string
  readonly bytes: Uint8Array
  readonly database: string
  open(): Promise<ShareBook>
  record(wants: typeof ALL, more?: Partial<ShareRecord>): Promise<ShareRecord>
}

function fixture(): Fixture {
  const stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-book-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const [path, database, bytes] = [join(folder, 'file'), join(folder, 'shares.db'), seededBytes(700_000)]
  writeFileSync(path, bytes)
  const signer = { sign: async () => ({}) } as unknown as Signer
  const terms = { uploadLimit: undefined, creditBytes: undefined, pricePerMb: 0n, trackers: [], addedAt: 1, infoHash: undefined }
  return {
    path,
    bytes,
    database,
    open: () => ShareBook.open({ clock: new FakeClock(0), signer, endpoints: () => [], onStopped: () => {} }, database),
    async record(wants, more = {}) {
      const { size: _, ...digest } = await hashFile(path, wants)
      return { ...terms, ...digest, path, name: 'file', mime: '', protocols: EVERY_PROTOCOL, ...more }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync()
  }
}
const v1 = new Uint8Array(20).fill(1)
const v2 = new Uint8Array(32).fill(2)

test('a share is found by every name it has, only over protocols it is offered over, also after a restart', async () => {
  await using files = fixture()
  const plain1 = new Uint8Array(20).fill(0x31)
  const record = await files.record(ALL, { infoHash: v1, infoHashV2: v2, plainInfoHash: plain1 })
  for (const restart of [false, true]) {
    await using book = await files.open()
    if (!restart) await book.add(record)
    const id = bytesToHex(record.fileId)
    const names = [id, bytesToHex(v1), bytesToHex(v2).slice(0, 40), bytesToHex(record.ed2k!.hash)] as const
    const found = (protocol: string): boolean[] => {
      const shares = book.forProtocol(protocol)
      const all = [shares.byFileId(names[0]), shares.byInfoHash(names[1]), shares.byInfoHash(names[2]), shares.byEd2k?.(names[3])]
      return all.map(s => s !== undefined)
    }
    assert.deepEqual(found('bittorrent'), [true, true, true, false])
    assert.deepEqual(found('webtorrent'), [true, true, true, false])
    assert.deepEqual(found('ed2k'), [true, false, false, true])
    assert.equal(bytesToHex(book.forProtocol('bittorrent').byInfoHash(bytesToHex(plain1))?.fileId ?? v1), id)
    for (const protocol of ['http', 'https', 'kith']) assert.deepEqual(found(protocol), [true, false, false, false])
    assert.deepEqual(found('gopher'), [false, false, false, false])
    const { pieces, v2: tree, ed2k } = book.byFileId(id)!
    assert.deepEqual([pieces, tree, ed2k], [record.pieces, record.v2, record.ed2k])
    assert.deepEqual(book.records()[0]?.record, record)
    if (!restart) continue
    await book.add({ ...record, protocols: ['http'] })
    const plain = book.byFileId(id)!
    assert.deepEqual([plain.pieces, plain.v2, plain.ed2k], [undefined, undefined, undefined])
    for (const protocol of ['bittorrent', 'webtorrent', 'ed2k', 'kith']) assert.deepEqual(found(protocol), [false, false, false, false])
    await book.remove(id)
    assert.deepEqual(found('https'), [false, false, false, false])
  }
})

test('what was hashed once is known while the file is untouched, whatever it is shared over', async () => {
  await using files = fixture()
  await using book = await files.open()
  const stamp = stampOf(files.path)
  await book.add(await files.record(NOTHING))
  assert.equal(book.known(files.path, stamp, { ...NOTHING, v2: true }), undefined)
  assert.equal(book.known(files.path, stamp)?.size, files.bytes.length)
  const all = await hashFile(files.path, ALL, { known: book.known(files.path, stamp) })
  await book.add({ ...(await files.record(NOTHING)), ...all, infoHash: v1, infoHashV2: v2 })
  await book.add(await files.record(NOTHING, { protocols: ['http'] }))
  assert.deepEqual(book.known(files.path, stamp, ALL), all, 'digests stay when the share is stored without them')
  assert.deepEqual(book.records()[0]?.record.infoHash, v1)
  await book.add(await files.record(NOTHING, { name: 'renamed' }))
  const { infoHash, infoHashV2 } = book.records()[0]!.record
  assert.deepEqual([infoHash, infoHashV2], [undefined, undefined], 'info-hashes go with the name')
  utimesSync(files.path, 1, 1)
  assert.equal(book.known(files.path, stampOf(files.path)), undefined)
})

test('storing a share again does not disturb who reads it', async () => {
  await using files = fixture()
  await using book = await files.open()
  const first = await book.add(await files.record(NOTHING))
  const target = new Uint8Array(1000)
  await first.read(0, 1000, target)
  const second = await book.add(await files.record(ALL))
  await Promise.all([first.read(5000, 1000, target), second.read(5000, 1000, new Uint8Array(1000))])
  assert.deepEqual(target, files.bytes.subarray(5000, 6000))
  assert.equal(first.ed2k, undefined)
  assert.ok(second.ed2k)
  await book.remove(bytesToHex(first.fileId))
  await assert.rejects(first.read(0, 1000, target), { code: 'FILE_CHANGED' })
})

test('a book of the first version is read, and what it lacks can be added', async () => {
  await using files = fixture()
  const r = await files.record({ ...NOTHING, sha1: true })
  {
    using old = openSqlite(files.database, { migrations: SHARE_MIGRATIONS.slice(0, 1) })
    const columns =
      'file_id, path, name, mime, size, mtime, inode, root, chunk_hashes, pieces, info_hash, price, protocols, trackers, added_at, state'
    const values = [r.fileId, r.path, r.name, r.mime, r.stamp.size, r.stamp.mtime, r.stamp.inode, r.root, r.chunkHashes, r.pieces!, v1]
    old.run(`INSERT INTO shares (${columns}) VALUES (${'?, '.repeat(15)}?)`, ...values, '0', '["bittorrent"]', '[]', 1, 'seeding')
  }
  await using book = await files.open()
  assert.deepEqual(book.known(files.path, r.stamp, { ...NOTHING, sha1: true })?.pieces, r.pieces)
  assert.equal(book.known(files.path, r.stamp, ALL), undefined)
  assert.deepEqual(book.forProtocol('bittorrent').byInfoHash(bytesToHex(v1))?.fileId, r.fileId)
  await book.add({ ...r, ...(await hashFile(files.path, ALL, { known: book.known(files.path, r.stamp) })) })
  assert.ok(book.known(files.path, r.stamp, ALL))
})
