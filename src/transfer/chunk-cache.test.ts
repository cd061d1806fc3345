import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { eventually, seededBytes } from '../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import { type CachedFile, ChunkCache } from './chunk-cache.ts'
import { DiskCache } from './chunk-cache-disk.node.ts'
import { FileReader } from './disk/file-reader.node.ts'
import { chunkLength, chunkOffset, makeGrid } from './grid.ts'
import { stampOf } from './hash-file.node.ts'

const CHUNK = 262_144
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest()

/** A file in memory that counts what is read of it. */
let ms = 0
const clock = { monotonic: (): number => ms }
class Content implements CachedFile {
  readonly bytes: Uint8Array
  readonly grid
  readonly loads: number[] = []
  /** How long one reading takes: slow. */
  readMs = 20
  constructor(chunks: number, seed: number, extra = 0) {
    this.bytes = seededBytes(chunks * CHUNK + extra, seed)
    this.grid = makeGrid(this.bytes.length)
  }
  chunk = (c: number): Uint8Array => this.bytes.subarray(chunkOffset(this.grid, c), chunkOffset(this.grid, c) + chunkLength(this.grid, c))
  hashOf = (c: number): Uint8Array => sha256(this.chunk(c))
  load = async (offset: number, length: number, target: Uint8Array): Promise<void> => {
    await new Promise(resolve => setImmediate(resolve))
    ms += this.readMs
    this.loads.push(Math.floor(offset / CHUNK))
    target.set(this.bytes.subarray(offset, offset + length))
  }
  async read(cache: ChunkCache, offset: number, length: number): Promise<void> {
    const target = new Uint8Array(length)
    await cache.read(this, offset, length, target, this.load)
    assert.equal(Buffer.compare(target, this.bytes.subarray(offset, offset + length)), 0, `${offset}+${length}`)
  }
  readChunk = (cache: ChunkCache, c: number): Promise<void> => this.read(cache, c * CHUNK, chunkLength(this.grid, c))
}

test('a chunk that is read for the second time is kept, and the third reading does not touch the file', async () => {
  const cache = new ChunkCache({ clock })
  const file = new Content(3, 1, 5)
  for (let i = 0; i < 3; i++) for (const c of [0, 3]) await file.readChunk(cache, c)
  assert.deepEqual(file.loads, [0, 3, 0, 3])
  const { memoryHits, misses, kept, bytes } = cache.stats
  assert.deepEqual([memoryHits, misses, kept, bytes], [2, 4, 2, CHUNK + 5])
  await file.read(cache, 100, 1000)
  assert.equal(file.loads.length, 4, 'parts of it as well')
  cache.drop(file)
  assert.equal(cache.stats.bytes, 0)
  await file.readChunk(cache, 0)
  assert.equal(file.loads.length, 5)
})
test('what the page cache gives at once is not copied a second time', async () => {
  const cache = new ChunkCache({ clock })
  const file = new Content(3, 1)
  file.readMs = 1
  for (let i = 0; i < 5; i++) for (const c of [0, 1, 2]) await file.readChunk(cache, c)
  assert.deepEqual([cache.stats.kept, cache.stats.misses], [0, 15])
})
test('who reads a large file from one end to the other, even again and again, copies nothing and pushes nothing out', async () => {
  const cache = new ChunkCache({ clock }, { maxBytes: 4 * CHUNK })
  const hot = new Content(2, 1)
  for (let i = 0; i < 2; i++) for (const c of [0, 1]) await hot.readChunk(cache, c)
  const large = new Content(20, 2)
  for (let i = 0; i < 3; i++) for (let c = 0; c < 20; c += 2) await large.read(cache, c * CHUNK, 2 * CHUNK)
  assert.deepEqual([cache.stats.kept, cache.stats.evicted], [2, 0])
  for (const c of [0, 1]) await hot.readChunk(cache, c)
  assert.equal(hot.loads.length, 4)
})
test('two readers, one behind the other, in blocks of 16 KiB: the second time a chunk is read whole, once', async () => {
  const cache = new ChunkCache({ clock })
  const file = new Content(4, 3)
  for (let reader = 0; reader < 3; reader++) for (let at = 0; at < file.bytes.length; at += 16_384) await file.read(cache, at, 16_384)
  assert.equal(file.loads.length, 4 * 16 + 8)
  assert.deepEqual([cache.stats.misses, cache.stats.memoryHits], [8, 4])
})
test('any reads of several files give the right bytes within the limit, whatever is kept and dropped', async () => {
  const files = [new Content(6, 4, 17), new Content(5, 5, 1)]
  const step = fc.record({
    file: fc.nat(1),
    at: fc.nat(5 * CHUNK),
    length: fc.integer({ min: 1, max: 2 * CHUNK }),
    whole: fc.boolean(),
    drop: fc.nat(30)
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
      const cache = new ChunkCache({ clock }, { maxBytes: 3 * CHUNK })
      await Promise.all(
        steps.map(async ({ file, at, length, whole, drop }) => {
          const f = files[file]!
          const offset = whole ? Math.floor(at / CHUNK) * CHUNK : at
          await f.read(cache, offset, Math.min(whole ? CHUNK : length, f.bytes.length - offset))
          if (drop === 0) cache.drop(f)
          assert.ok(cache.stats.bytes <= 3 * CHUNK)
        })
      )
    }),
    { numRuns: 25 }
  )
})
test('what fails to be read is not kept, and with 0 bytes nothing is', async () => {
  const cache = new ChunkCache({ clock })
  const file = new Content(1, 6)
  const broken = (): Promise<void> => cache.read(file, 0, CHUNK, new Uint8Array(CHUNK), () => Promise.reject(new Error('disk')))
  await file.readChunk(cache, 0)
  await assert.rejects(broken(), /disk/)
  assert.equal(cache.stats.kept, 0)
  const none = new ChunkCache({ clock }, { maxBytes: 0 })
  for (let i = 0; i < 3; i++) await file.readChunk(none, 0)
  assert.deepEqual([none.stats.memoryHits, none.stats.kept], [0, 0])
})

async function folder(t: { after(fn: () => Promise<void>): void }): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kith-cache-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}
const chunkOf = (seed: number): { bytes: Uint8Array; id: Uint8Array } => {
  const bytes = seededBytes(CHUNK, 1000 + seed)
  return { bytes, id: sha256(bytes) }
}
test('a chunk pushed out of memory comes back from the disk tier, not from the file', async t => {
  const path = await folder(t)
  await using disk = await DiskCache.open(path, { maxBytes: 8 * CHUNK })
  const cache = new ChunkCache({ clock, cold: disk }, { maxBytes: 2 * CHUNK })
  const file = new Content(3, 7)
  for (const c of [0, 1, 2]) for (let i = 0; i < 2; i++) await file.readChunk(cache, c)
  await eventually('it is on disk', () => disk.stats.chunks === 1)
  await file.readChunk(cache, 0)
  assert.equal(file.loads.length, 6)
  assert.deepEqual([cache.stats.coldHits, disk.stats.hits], [1, 1])
})
test('the disk tier keeps to its size, drops the least recently used, and still has the rest after a restart', async t => {
  const path = await folder(t)
  const chunks = [0, 1, 2, 3].map(chunkOf)
  const target = new Uint8Array(CHUNK)
  {
    await using disk = await DiskCache.open(path, { maxBytes: 3 * CHUNK })
    for (const { id, bytes } of chunks.slice(0, 3)) await disk.put(id, bytes)
    assert.ok(await disk.get(chunks[0]!.id, target))
    await disk.put(chunks[3]!.id, chunks[3]!.bytes)
    assert.deepEqual(
      chunks.map(c => disk.has(c.id)),
      [true, false, true, true]
    )
    assert.deepEqual([disk.stats.bytes, disk.stats.evicted], [3 * CHUNK, 1])
  }
  const { id } = chunks[2]!
  await utimes(join(path, bytesToHex(id).slice(0, 2), bytesToHex(id)), 1, 1) // the oldest
  await writeFile(join(path, 'tmp-9'), 'left by a crash')
  await using disk = await DiskCache.open(path, { maxBytes: 2 * CHUNK })
  assert.deepEqual(
    chunks.map(c => disk.has(c.id)),
    [true, false, false, true]
  )
  assert.ok(await disk.get(chunks[3]!.id, target))
  assert.equal(Buffer.compare(target, chunks[3]!.bytes), 0)
  assert.ok(!(await readdir(path)).includes('tmp-9'))
})
test('a chunk that a crash cut short or a bad disk changed is dropped, never served; what is not a chunk is left alone', async t => {
  const path = await folder(t)
  const precious = join(path, 'precious.txt')
  await writeFile(precious, 'of the user')
  const chunks = [0, 1, 2].map(chunkOf)
  const pathOf = (id: Uint8Array): string => join(path, bytesToHex(id).slice(0, 2), bytesToHex(id))
  {
    await using disk = await DiskCache.open(path, { maxBytes: 9 * CHUNK })
    for (const { id, bytes } of chunks) await disk.put(id, bytes)
  }
  await truncate(pathOf(chunks[0]!.id), 1000)
  await writeFile(pathOf(chunks[1]!.id), seededBytes(CHUNK, 9))
  await rm(pathOf(chunks[2]!.id))
  await symlink(precious, pathOf(chunks[2]!.id))
  await using disk = await DiskCache.open(path, { maxBytes: 9 * CHUNK })
  for (const { id } of chunks) assert.equal(await disk.get(id, new Uint8Array(CHUNK)), false)
  assert.deepEqual([disk.stats.chunks, disk.stats.bytes], [0, 0])
  await using small = await DiskCache.open(path, { maxBytes: 0 })
  assert.equal(small.stats.chunks, 0)
  assert.equal(await readFile(precious, 'utf8'), 'of the user')
})
test('CH16: a cached file that changes on disk is not served from the cache', async t => {
  const path = join(await folder(t), 'file')
  const content = new Content(2, 8)
  await writeFile(path, content.bytes)
  const cache = new ChunkCache({ clock }, { slowMs: 0 })
  let gone: string | undefined
  const stamp = stampOf(path)
  await using reader = new FileReader(path, content.grid, stamp, content.hashOf, reason => (gone = reason), cache)
  const target = new Uint8Array(CHUNK)
  for (let i = 0; i < 3; i++) await reader.read(0, CHUNK, target)
  assert.deepEqual([cache.stats.memoryHits, cache.stats.bytes], [1, CHUNK])
  await writeFile(path, content.bytes.toReversed())
  await eventually('the reader looks at the file again', () =>
    reader.read(0, CHUNK, target).then(
      () => false,
      error => hasCode(error, 'FILE_CHANGED')
    )
  )
  assert.deepEqual([gone, cache.stats.bytes], ['changed', 0])
})
