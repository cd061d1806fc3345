import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha1 } from '#hash'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { AICH_BLOCK_BYTES, type AichEntry, aichRoot, checkRecovery, makeRecovery, partLength, partTop } from './aich.ts'
import { dataParts, PART_BYTES } from './ed2k-hash.ts'

/** A file of which only the block hashes exist. */
function fakeFile(size: number): { readonly blocks: Uint8Array[]; readonly tops: Uint8Array; readonly root: Uint8Array } {
  const parts = Array.from({ length: dataParts(size) }, (_, p) => p)
  const blocks = parts.map(p =>
    concatBytes(...Array.from({ length: Math.ceil(partLength(size, p) / AICH_BLOCK_BYTES) }, (_, b) => sha1(Uint8Array.of(p, p >> 8, b))))
  )
  const tops = concatBytes(...parts.map(p => partTop(size, p, blocks[p]!)))
  return { blocks, tops, root: aichRoot(size, tops) }
}

const size = fc.oneof(
  fc.integer({ min: 1, max: 40 * PART_BYTES }),
  fc.integer({ min: 1, max: 40 }).map(n => n * PART_BYTES),
  fc.integer({ min: 1, max: 60 }).map(n => n * AICH_BLOCK_BYTES)
)

test('recovery data of any part of any file prove its block hashes', () => {
  fc.assert(
    fc.property(size, fc.nat(), (bytes, n) => {
      const file = fakeFile(bytes)
      const part = n % dataParts(bytes)
      const entries = makeRecovery(bytes, part, file.blocks[part]!, file.tops)
      assert.deepEqual(checkRecovery(file.root, bytes, part, entries), file.blocks[part])
    })
  )
})

test('identifiers are paths: the third part of 30,000,000 bytes is the left of the right half', () => {
  const { blocks, tops } = fakeFile(30_000_000)
  const ids = (part: number): string[] => makeRecovery(30_000_000, part, blocks[part]!, tops).map(e => e.id.toString(2))
  assert.deepEqual(ids(2).slice(0, 2), ['11', '100']) // the left half, and the other part of the right half
  assert.ok(
    ids(2)
      .slice(2)
      .every(id => id.startsWith('101'))
  )
  assert.equal(ids(2).length, 2 + 53)
  assert.ok(ids(0).every(id => Number.parseInt(id, 2) < 2 ** 16))
})

test('threats ED3: recovery data for another part, with a wrong, missing, doubled or foreign hash, are refused', () => {
  fc.assert(
    fc.property(size, fc.nat(), fc.nat(), fc.constantFrom('flip', 'drop', 'double', 'rename', 'longer', 'part'), (bytes, a, b, how) => {
      const file = fakeFile(bytes)
      const part = a % dataParts(bytes)
      const good = makeRecovery(bytes, part, file.blocks[part]!, file.tops)
      const at = b % good.length
      const { id, hash } = good[at]!
      const changed: Record<string, AichEntry[]> = {
        flip: good.with(at, { id, hash: sha1(hash) }),
        drop: good.toSpliced(at, 1),
        double: good.length > 1 ? good.with(at, good[(at + 1) % good.length]!) : [],
        rename: good.with(at, { id: id + 2 ** 17, hash }),
        longer: good.with(at, { id, hash: concatBytes(hash, hash) })
      }
      const asPart = how === 'part' ? (part + 1) % (dataParts(bytes) + 1) : part
      const found = checkRecovery(file.root, bytes, asPart, changed[how] ?? good)
      assert.equal(found, undefined)
    })
  )
  const { blocks, tops, root } = fakeFile(PART_BYTES)
  const entries = makeRecovery(PART_BYTES, 0, blocks[0]!, tops)
  for (const part of [-1, 1, 0.5, Number.NaN, 2 ** 40]) assert.equal(checkRecovery(root, PART_BYTES, part, entries), undefined)
  assert.ok(equalBytes(root, tops))
})
