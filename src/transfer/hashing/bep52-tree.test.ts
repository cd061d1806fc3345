import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesToHex } from '../../base/bytes.ts'
import {
  heightOf,
  layerAbove,
  leavesOf,
  padNode,
  pieceHeight,
  pieceRoot,
  rootOfLayer,
  treeTop,
  V2_BLOCK_BYTES,
  v2Blocks
} from './bep52-tree.ts'

const sha = (...parts: Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest()
const KIB = 1024

/** Size in bytes, `pieces root` in hex: of files of zeros. */
const LIBTORRENT = [
  [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
  [16_384, '4fe7b59af6de3b665b67788cc2f99892ab827efae3a467342b3bb4e3bc8e5bfe'],
  [16_385, '477e14ff3453ec4ec3855f8753cb07288aade5618a473ccc2ab1208886e460ec'],
  [262_144, '0ee38dbbe040ef1d6f2435117c70f2579e768215c91a640e7d855a647084869c'],
  [262_145, '6a98ab9a5e06809956df7a33632224de1457c43f1785b4c23b09bd7a1eb8f7fe'],
  [1_000_000, '88b9ffd7e12cdcddd48ad3175a6aa33041ae1dde619b58673d5a2e92643e7e23']
] as const

/** BEP 52 as it is written: all leaves, zeros up to a power of two, then pairs. */
function plainRoot(bytes: Uint8Array, minLeaves = 1): Buffer {
  let level: Buffer[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += V2_BLOCK_BYTES) level.push(sha(bytes.subarray(at, at + V2_BLOCK_BYTES)))
  let width = minLeaves
  while (width < level.length) width *= 2
  while (level.length < width) level.push(Buffer.alloc(32))
  while (level.length > 1) level = Array.from({ length: level.length / 2 }, (_, i) => sha(level[2 * i]!, level[2 * i + 1]!))
  return level[0]!
}

const content = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += 1000) bytes[at] = (at / 1000) % 255
  return bytes
}

test('roots that libtorrent 2.0.8 gives files of zeros, and pad nodes', () => {
  for (const [size, root] of LIBTORRENT) assert.equal(bytesToHex(treeTop(leavesOf(new Uint8Array(size)))), root, `${size}`)
  assert.deepEqual(padNode(0), new Uint8Array(32))
  assert.deepEqual(Buffer.from(padNode(1)), sha(new Uint8Array(64)))
})

test('for any size and piece length, pieces make the layer, and the layer the root', () => {
  const size = fc.oneof(
    fc.integer({ min: 1, max: 2_000_000 }),
    fc.integer({ min: 1, max: 100 }).map(n => n * V2_BLOCK_BYTES)
  )
  fc.assert(
    fc.property(size, fc.constantFrom(16, 32, 64, 256, 1024, 4096), (bytes, kib) => {
      const file = content(bytes)
      const pieceBytes = kib * KIB
      const roots: Uint8Array[] = []
      for (let at = 0; at < bytes; at += pieceBytes) {
        const piece = file.subarray(at, at + pieceBytes)
        roots.push(pieceRoot(piece, pieceBytes, bytes))
        assert.deepEqual(Buffer.from(roots.at(-1)!), plainRoot(piece, bytes > pieceBytes ? pieceBytes / V2_BLOCK_BYTES : 1))
      }
      const root = rootOfLayer(Buffer.concat(roots), pieceHeight(bytes, pieceBytes))
      assert.deepEqual(Buffer.from(root), plainRoot(file))
      assert.deepEqual(root, treeTop(leavesOf(file)))
    }),
    { numRuns: 60 }
  )
})

test('threats CH17: what is filled up is not what is there', () => {
  const three = leavesOf(content(3 * V2_BLOCK_BYTES))
  const doubled = Buffer.concat([three, three.subarray(64)])
  const zeros = Buffer.concat([three, new Uint8Array(32)])
  assert.notDeepEqual(treeTop(three), treeTop(doubled))
  assert.deepEqual(treeTop(three), treeTop(zeros))
  assert.notDeepEqual(
    leavesOf(new Uint8Array(V2_BLOCK_BYTES - 1)),
    leavesOf(new Uint8Array(V2_BLOCK_BYTES)),
    'the last block is not filled up'
  )
})

test('small numbers', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 2 ** 26, 2 ** 26 + 1].map(heightOf), [0, 0, 1, 2, 2, 3, 26, 27])
  assert.deepEqual([0, 1, V2_BLOCK_BYTES, V2_BLOCK_BYTES + 1].map(v2Blocks), [1, 1, 1, 2])
  assert.equal(layerAbove(new Uint8Array(5 * 32), 3).length, 3 * 32)
})
