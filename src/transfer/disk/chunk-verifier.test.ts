import assert from 'node:assert/strict'
import { hash, randomFillSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { chunkLength, type Grid, makeGrid } from '../grid.ts'
import { leavesOf, pieceRoot, treeTop } from '../hashing/bep52-tree.ts'
import { md4 } from '../hashing/md4.ts'
import { SlotPool } from '../scheduling/slot-pool.ts'
import { type ChunkHashes, ChunkVerifier } from './chunk-verifier.node.ts'
import type { TreeShape } from './verify-worker.node.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-verifier-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const CHUNK = 64 * 1024
const content = randomFillSync(new Uint8Array(21 * CHUNK + 1000))
const grid = makeGrid(content.length, CHUNK)
const partOf = (c: number): Uint8Array => content.subarray(c * CHUNK, c * CHUNK + chunkLength(grid, c))
const hashes = Buffer.concat(Array.from({ length: grid.count }, (_, c) => hash('sha256', partOf(c), 'buffer')))

function newFile(name: string): string {
  const path = join(folder, name)
  closeSync(openSync(path, 'w'))
  return path
}

test('chunks in any order are written where they belong, wrong ones are not, and the digest is that of the whole', async () => {
  const path = newFile('whole')
  const pool = new SlotPool(CHUNK, 64 * CHUNK)
  await using verifier = ChunkVerifier.open(grid, { algorithm: 'sha256', of: c => hashes.subarray(32 * c, 32 * c + 32) }, path, pool.buffer)
  const verify = async (chunk: number, spoil: boolean): Promise<boolean> => {
    const slot = await pool.acquire()
    slot.bytes.set(partOf(chunk))
    if (spoil) slot.bytes[chunkLength(grid, chunk) - 1]! ^= 1
    return verifier.verify(slot, chunk).finally(() => pool.release(slot))
  }
  const order = Array.from({ length: grid.count }, (_, i) => (i * 5) % grid.count)
  const wrong = new Set([0, 7, 8, grid.count - 1])
  const first = await Promise.all(order.map(c => verify(c, wrong.has(c))))
  assert.deepEqual(
    first,
    order.map(c => !wrong.has(c))
  )
  assert.deepEqual(await Promise.all([...wrong].map(c => verify(c, false))), [true, true, true, true])
  assert.ok(readFileSync(path).equals(content))
  verifier.follow(content.length)
  assert.equal(Buffer.from(await verifier.digest()).toString('hex'), hash('sha256', content))
})

test('a write that fails rejects, and disposal rejects what is still under way', async () => {
  const pool = new SlotPool(CHUNK, 8 * CHUNK)
  const verifier = ChunkVerifier.open(grid, { algorithm: 'none' }, '/dev/full', pool.buffer)
  const slot = await pool.acquire()
  await assert.rejects(verifier.verify(slot, 0), { code: 'DISK_FULL' })
  const pending = verifier.verify(slot, 1)
  const refused = assert.rejects(pending)
  await verifier[Symbol.asyncDispose]()
  await refused
  await assert.rejects(verifier.verify(slot, 2), { code: 'CANCELLED' })
})

/** Verifies every chunk of `content` as it is, and with its last byte changed. */
async function verifyAll(name: string, pieces: Grid, hashes: ChunkHashes): Promise<void> {
  const path = newFile(name)
  const pool = new SlotPool(pieces.chunkBytes, 4 * pieces.chunkBytes)
  await using verifier = ChunkVerifier.open(pieces, hashes, path, pool.buffer)
  const verify = async (chunk: number, spoil: boolean): Promise<boolean> => {
    const slot = await pool.acquire()
    const [length, offset] = [chunkLength(pieces, chunk), chunk * pieces.chunkBytes]
    slot.bytes.set(content.subarray(offset, offset + length))
    if (spoil) slot.bytes[length - 1]! ^= 1
    return verifier.verify(slot, chunk).finally(() => pool.release(slot))
  }
  const all = Array.from({ length: pieces.count }, (_, c) => c)
  for (const spoil of [true, false]) assert.deepEqual(await Promise.all(all.map(c => verify(c, spoil))), Array(pieces.count).fill(!spoil))
  assert.ok(readFileSync(path).equals(content.subarray(0, pieces.size)))
}
const lengths = [content.length, CHUNK, 3 * 16_384 + 1]

test('ed2k parts are checked by their MD4', async () => {
  for (const size of lengths) {
    const parts = makeGrid(size, 10 * CHUNK)
    const of = (c: number): Uint8Array => md4(content.subarray(c * parts.chunkBytes, Math.min(size, (c + 1) * parts.chunkBytes)))
    await verifyAll(`md4-${size}`, parts, { algorithm: 'md4', of })
  }
})

test('BEP 52 pieces are checked by their subtree, the last and an only one included', async () => {
  for (const size of lengths) {
    for (const pieceBytes of [CHUNK / 4, 8 * CHUNK]) {
      const pieces = makeGrid(size, pieceBytes)
      const of = (c: number): Uint8Array =>
        pieceRoot(content.subarray(c * pieceBytes, Math.min(size, (c + 1) * pieceBytes)), pieceBytes, size)
      await verifyAll(`tree-${size}-${pieceBytes}`, pieces, { algorithm: 'sha256-tree', of })
    }
  }
})

test('of a piece that ends one file of several, only the bytes of the file count', async () => {
  const grid = makeGrid(3 * CHUNK, CHUNK)
  const shape = (c: number): TreeShape => ({ bytes: c === 1 ? 20_000 : CHUNK, height: c === 1 ? 1 : 2 })
  const of = (c: number): Uint8Array => treeTop(leavesOf(content.subarray(c * CHUNK, c * CHUNK + shape(c).bytes)), 0, shape(c).height)
  const pool = new SlotPool(CHUNK, 4 * CHUNK)
  await using verifier = ChunkVerifier.open(grid, { algorithm: 'sha256-tree', of, shape }, newFile('several'), pool.buffer)
  for (const [at, good] of [
    [19_999, false],
    [20_000, true]
  ] as const) {
    const slot = await pool.acquire()
    slot.bytes.set(content.subarray(CHUNK, 2 * CHUNK))
    slot.bytes[at]! ^= 1
    assert.equal(await verifier.verify(slot, 1), good)
    pool.release(slot)
  }
})
