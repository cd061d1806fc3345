import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { seededBytes } from '../../test/kits/transfer-doubles.ts'
import { concatBytes } from '../base/bytes.ts'
import type { DigestWants, ExtraDigests } from './digests.ts'
import { type CoreDigest, type HashOptions, type HashProgress, hashFile } from './hash-file.node.ts'
import { aichRoot, blockHashesOf, partTop } from './hashing/aich.ts'
import { leavesOf, pieceRoot, treeTop } from './hashing/bep52-tree.ts'
import { dataParts, fileHashOf, makeHashSet, PART_BYTES } from './hashing/ed2k-hash.ts'
import { FastMd4 } from './hashing/md4-fast.ts'
import { merkleRoot } from './hashing/merkle.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-hash-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const CHUNK = 256 * 1024
const MIB = 1024 * 1024
const NOTHING: DigestWants = { sha1: false, v2: false, ed2k: false }
const ALL: DigestWants = { sha1: true, v2: true, ed2k: true }

function fileOf(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}
/** A file of zeros that takes no space. */
function sparse(name: string, size: number): string {
  const path = fileOf(name, new Uint8Array())
  truncateSync(path, size)
  return path
}

const cut = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
const digestsOf = (algorithm: string, parts: readonly Uint8Array[]): Uint8Array =>
  concatBytes(...parts.map(p => createHash(algorithm).update(p).digest()))
const md4 = await FastMd4.open()

/** The same digests in the plainest way. */
function expected(bytes: Uint8Array): Omit<CoreDigest, 'stamp'> & ExtraDigests {
  const [chunks, parts, size] = [cut(bytes, CHUNK), cut(bytes, PART_BYTES), bytes.length]
  const chunkHashes = digestsOf('sha256', chunks)
  const hashSet = makeHashSet(size, concatBytes(...parts.map(p => md4.hash(p))))
  const aichParts = concatBytes(...parts.map((p, i) => partTop(size, i, blockHashesOf(p))))
  return {
    size,
    fileId: digestsOf('sha256', [bytes]),
    root: merkleRoot(size, chunkHashes),
    chunkHashes,
    pieces: digestsOf('sha1', chunks),
    v2: { root: treeTop(leavesOf(bytes)), layer: concatBytes(...chunks.map(c => pieceRoot(c, CHUNK, size))) },
    ed2k: { hash: fileHashOf(hashSet), parts: hashSet, aich: aichRoot(size, aichParts), aichParts }
  }
}

const random = seededBytes(5 * PART_BYTES + 5)

for (const size of [1, 16_385, CHUNK, CHUNK + 1, 4 * MIB, 5 * MIB + 7, PART_BYTES, 4 * PART_BYTES, random.length]) {
  test(`all digests of ${size} bytes are right, and SHA-256 is told first`, async () => {
    const bytes = random.subarray(0, size)
    const path = fileOf(`all-${size}`, bytes)
    const cores: CoreDigest[] = []
    const { stamp, ...digest } = await hashFile(path, ALL, { onCore: core => cores.push(core) })
    const { pieces, v2, ed2k, ...core } = expected(bytes)
    assert.deepEqual(digest, { ...core, pieces, v2, ed2k })
    assert.deepEqual(cores, [{ ...core, stamp }])
    assert.equal(dataParts(size) * 20, digest.ed2k?.aichParts?.length)
  })
}

test('only what is wanted is made, and what is known is not made again', async () => {
  const bytes = random.subarray(0, 6 * MIB)
  const path = fileOf('known', bytes)
  const totals: number[] = []
  const hash = async (wants: DigestWants, options: HashOptions = {}): ReturnType<typeof hashFile> => {
    totals.push(0)
    return hashFile(path, wants, { ...options, onProgress: p => void totals.splice(-1, 1, p.total) })
  }
  const core = await hash(NOTHING)
  assert.deepEqual([core.pieces, core.v2, core.ed2k], [undefined, undefined, undefined])
  const withV2 = await hash({ ...NOTHING, v2: true }, { known: core })
  assert.deepEqual([withV2.pieces, withV2.ed2k], [undefined, undefined])
  let told = 0
  const all = await hash(ALL, { known: withV2, onCore: () => told++ })
  assert.deepEqual(all, { ...expected(bytes), stamp: core.stamp })
  assert.equal(told, 1)
  assert.equal(await hash({ ...NOTHING, sha1: true }, { known: all }), all, 'nothing is read')
  assert.deepEqual(
    totals,
    [2, 1, 1 + 2, 0].map(n => n * bytes.length)
  )
  utimesSync(path, 1, 1)
  const other = { ...all, fileId: new Uint8Array(32) }
  assert.deepEqual((await hash(NOTHING, { known: other })).fileId, all.fileId, 'the file was touched: it is hashed again')
  assert.equal(totals.at(-1), 2 * bytes.length)
})

test('progress never falls and ends when all work is done', async () => {
  const path = sparse('progress', 60 * MIB)
  const seen: HashProgress[] = []
  await hashFile(path, ALL, { onProgress: p => seen.push(p) })
  assert.ok(seen.every((p, i) => p.done <= p.total && p.total === 6 * 60 * MIB && p.done >= (seen[i - 1]?.done ?? 0)))
  assert.equal(seen.at(-1)?.done, 6 * 60 * MIB)
  assert.ok(seen.at(-1)!.rate > 0)
})

/** Worker threads of this process that run. */
const workersNow = (): number => (process.report.getReport() as { readonly workers: readonly unknown[] }).workers.length

test('cancelling ends the workers at once, before the link, after it, and before the start', async () => {
  const path = sparse('cancelled', 64 * 1024 * MIB)
  const before = workersNow()
  for (const wants of [NOTHING, ALL]) {
    const stop = new AbortController()
    let running = 0
    const onProgress = (): void => {
      running = workersNow()
      stop.abort()
    }
    await assert.rejects(hashFile(path, wants, { signal: stop.signal, onProgress }), { code: 'CANCELLED' })
    assert.ok(running > before)
    assert.equal(workersNow(), before)
  }
  const small = sparse('cancelled-late', 20 * MIB)
  const late = new AbortController()
  const told: CoreDigest[] = []
  const onCore = (core: CoreDigest): void => {
    told.push(core)
    late.abort()
  }
  await assert.rejects(hashFile(small, ALL, { signal: late.signal, onCore }), { code: 'CANCELLED' })
  assert.equal(told.length, 1)
  await assert.rejects(hashFile(small, ALL, { signal: late.signal, onCore }), { code: 'CANCELLED' })
  assert.equal(told.length, 1)
})

test('a file that changes while it is hashed has no digest', async () => {
  const changes: ((path: string) => void)[] = [path => truncateSync(path, 1000), path => utimesSync(path, 1, 1), path => rmSync(path)]
  for (const [i, change] of changes.entries()) {
    const path = sparse(`changes-${i}`, 40 * MIB)
    let changed = false
    const onProgress = (): void => {
      if (!changed) change(path)
      changed = true
    }
    await assert.rejects(
      hashFile(path, ALL, { onProgress }),
      (e: { code?: string }) => e.code === (i === 2 ? 'FILE_NOT_FOUND' : 'FILE_CHANGED')
    )
  }
  const path = sparse('changes-late', 40 * MIB)
  await assert.rejects(hashFile(path, ALL, { onCore: () => truncateSync(path, 40 * MIB + 1) }), { code: 'FILE_CHANGED' })
})

test('what cannot be hashed is said, and what a listener throws ends the work', async () => {
  await assert.rejects(hashFile(join(folder, 'nowhere'), ALL), { code: 'FILE_NOT_FOUND' })
  await assert.rejects(hashFile(folder, ALL), { code: 'NOT_A_FILE' })
  await assert.rejects(hashFile(fileOf('empty', new Uint8Array()), ALL), { code: 'FILE_EMPTY' })
  const onCore = (): void => {
    throw new RangeError('no space')
  }
  await assert.rejects(hashFile(sparse('thrown', 20 * MIB), ALL, { onCore }), RangeError)
})
