import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { hasCode } from '../../base/errors.ts'
import { checkChunkPath, checkPage, chunkPath, makePage, merkleRoot } from './merkle.ts'

const sha = (...parts: Uint8Array[]): Uint8Array => createHash('sha256').update(Buffer.concat(parts)).digest()
const hashes = (n: number): Uint8Array => Buffer.concat(Array.from({ length: n }, (_, i) => sha(Buffer.from(`chunk ${i}`))))

/** RFC 6962 §2.1 as written there: recursive, split at the largest power of two below n. */
function mth(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha()
  if (leaves.length === 1) return sha(Uint8Array.of(0), leaves[0]!)
  let k = 1
  while (2 * k < leaves.length) k *= 2
  return sha(Uint8Array.of(1), mth(leaves.slice(0, k)), mth(leaves.slice(k)))
}

test('the tree is the one of RFC 6962 for every count up to 70', () => {
  for (let n = 0; n <= 70; n++) {
    const all = hashes(n)
    const size = Buffer.alloc(8)
    size.writeBigUInt64BE(BigInt(n * 1000))
    const expected = sha(Uint8Array.of(2), size, mth(Array.from({ length: n }, (_, i) => all.subarray(32 * i, 32 * i + 32))))
    assert.deepEqual(Buffer.from(merkleRoot(n * 1000, all)), Buffer.from(expected))
  }
})

test('every chunk of every count is proven by its path, and by no other position, size or hash', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(), (count, a, b) => {
      const all = hashes(count)
      const root = merkleRoot(count, all)
      const index = a % count
      const path = chunkPath(all, index)
      const hash = all.subarray(32 * index, 32 * index + 32)
      assert.ok(checkChunkPath(root, count, count, index, hash, path))
      const other = b % count
      if (other !== index) assert.ok(!checkChunkPath(root, count, count, other, hash, path))
      for (const beyond of [count, index + 2 ** 31, index + count]) assert.ok(!checkChunkPath(root, count, count, beyond, hash, path))
      assert.ok(!checkChunkPath(root, count + 1, count, index, hash, path))
      assert.ok(!checkChunkPath(root, count, count, index, sha(hash), path))
      assert.ok(!checkChunkPath(root, count, count, index, hash, [...path, hash]))
      if (path.length > 0) assert.ok(!checkChunkPath(root, count, count, index, hash, path.slice(1)))
    })
  )
})

test('an inner node does not pass as a leaf, and a doubled last leaf makes another root', () => {
  const four = hashes(4)
  const inner = sha(Uint8Array.of(1), sha(Uint8Array.of(0), four.subarray(0, 32)), sha(Uint8Array.of(0), four.subarray(32, 64)))
  const right = sha(Uint8Array.of(1), sha(Uint8Array.of(0), four.subarray(64, 96)), sha(Uint8Array.of(0), four.subarray(96)))
  const root = merkleRoot(4, four)
  assert.ok(!checkChunkPath(root, 4, 2, 0, inner, [right]))
  const three = hashes(3)
  assert.notDeepEqual(merkleRoot(4, three), merkleRoot(4, Buffer.concat([three, three.subarray(64)])))
})

test('pages are proven across the page limit', () => {
  const count = 8192 * 2 + 5
  const all = new Uint8Array(count * 32)
  for (let i = 0; i < count; i++) new DataView(all.buffer).setUint32(32 * i, i)
  const root = merkleRoot(count, all)
  for (const page of [0, 1, 2]) {
    const { hashes: list, path } = makePage(all, page)
    checkPage(root, count, count, page, list, path)
    assert.throws(
      () => checkPage(root, count, count, (page + 1) % 3, list, path),
      e => hasCode(e, 'INVALID_PROOF')
    )
    const wrong = Uint8Array.from(list)
    wrong[5]! ^= 1
    assert.throws(
      () => checkPage(root, count, count, page, wrong, path),
      e => hasCode(e, 'INVALID_PROOF')
    )
  }
  assert.throws(
    () => makePage(all, 3),
    e => hasCode(e, 'INVALID_PROOF')
  )
})
