import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { base32ToBytes, bytesToHex, concatBytes, hexToBytes } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { aichRoot, blockHashesOf, partLength, partTop } from './aich.ts'
import { checkHashSet, dataParts, fileHashOf, hashSetCount, hashSetFor, makeHashSet, oldFileHash, PART_BYTES } from './ed2k-hash.ts'
import { md4 } from './md4.ts'
import { FastMd4 } from './md4-fast.ts'

interface Vector {
  readonly name: string
  readonly size: number
  readonly ed2k: string
  readonly ed2kOld?: string | null
  readonly aich: string | null
  readonly aichRhash: string
  readonly partHashes: readonly string[]
}
const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`../../../test/vectors/ed2k/${file}`, import.meta.url), 'utf8'))
const { vectors } = read('amule.json') as { readonly vectors: readonly Vector[] }
const rhash = read('ed2k.json') as {
  readonly ed2k: readonly { readonly size: number; readonly ed2k: string }[]
  readonly aich: readonly { readonly size: number; readonly aich: string }[]
}

/** Bytes of the vector files: zeros, `i % 251`, or the letter a. */
function contentOf(name: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  if (name.startsWith('ascii')) return bytes.fill(0x61)
  if (!name.startsWith('mod251')) return bytes
  const period = Uint8Array.from({ length: 251 }, (_, i) => i)
  for (let at = 0; at < Math.min(251, size); at++) bytes[at] = period[at]!
  for (let done = 251; done < size; done *= 2) bytes.copyWithin(done, 0, done)
  return bytes
}

const fast = await FastMd4.open()
function digest(bytes: Uint8Array): { readonly hashSet: Uint8Array; readonly aich: Uint8Array } {
  const size = bytes.length
  const parts = Array.from({ length: dataParts(size) }, (_, p) => bytes.subarray(p * PART_BYTES, p * PART_BYTES + partLength(size, p)))
  const tops = parts.map((part, p) => partTop(size, p, blockHashesOf(part)))
  return { hashSet: makeHashSet(size, concatBytes(...parts.map(p => fast.hash(p)))), aich: aichRoot(size, concatBytes(...tops)) }
}

test('31 files have the hashes that aMule, rhash and the original ed2k give them', () => {
  assert.equal(vectors.length, 31)
  for (const v of vectors) {
    const { hashSet, aich } = digest(contentOf(v.name, v.size))
    assert.equal(bytesToHex(fileHashOf(hashSet)), v.ed2k, v.name)
    if (v.ed2kOld) assert.equal(bytesToHex(oldFileHash(v.size, hashSet) ?? fileHashOf(hashSet)), v.ed2kOld, v.name)
    if (v.partHashes.length > 0) assert.equal(bytesToHex(hashSet), v.partHashes.join(''), v.name)
    for (const root of [v.aich, v.aichRhash]) if (root) assert.equal(bytesToHex(aich), bytesToHex(base32ToBytes(root)), v.name)
  }
})

test("files of rhash's own tests, five full parts among them", () => {
  for (const v of rhash.ed2k) assert.equal(bytesToHex(fileHashOf(digest(new Uint8Array(v.size)).hashSet)), v.ed2k)
  for (const v of rhash.aich) assert.equal(bytesToHex(digest(new Uint8Array(v.size)).aich), bytesToHex(base32ToBytes(v.aich)))
})

const setOf = (n: number): Uint8Array => concatBytes(...Array.from({ length: n }, (_, i) => md4(Uint8Array.of(i))))

test('a file of exactly n parts is known by both conventions, and the hash set comes back as eMule has it', () => {
  for (const parts of [1, 2, 7]) {
    const size = parts * PART_BYTES
    const full = makeHashSet(size, setOf(parts))
    assert.equal(full.length, 16 * (parts + 1))
    assert.equal(hashSetCount(size), parts + 1)
    const names = [fileHashOf(full), oldFileHash(size, full)!]
    assert.notDeepEqual(names[0], names[1])
    for (const name of names) for (const sent of [full, setOf(parts)]) assert.deepEqual(checkHashSet(name, size, sent), full)
    for (const name of names) assert.deepEqual(fileHashOf(hashSetFor(name, size, full)), name, 'others can check it, too')
  }
  const size = 2 * PART_BYTES + 1
  assert.equal(oldFileHash(size, setOf(3)), undefined)
  assert.deepEqual(checkHashSet(fileHashOf(setOf(3)), size, setOf(3)), setOf(3))
  assert.deepEqual(checkHashSet(md4(Uint8Array.of(0)), 5, setOf(1)), setOf(1))
})

test('threats ED3: a hash set of the wrong count, or that does not hash to the file, is refused', () => {
  const refuses = (name: Uint8Array, size: number, sent: Uint8Array): void =>
    assert.throws(
      () => checkHashSet(name, size, sent),
      e => hasCode(e, 'INVALID_PROOF')
    )
  const size = 3 * PART_BYTES
  const full = makeHashSet(size, setOf(3))
  const name = fileHashOf(full)
  for (const count of [0, 1, 2, 5, 1000]) refuses(fileHashOf(setOf(count)), size, setOf(count))
  for (let i = 0; i < full.length; i++) {
    const wrong = Uint8Array.from(full)
    wrong[i]! ^= 1
    refuses(name, size, wrong)
    // Another last part that hashes to the name it came with: but the last part is empty.
    if (i >= 48) refuses(fileHashOf(wrong), size, wrong)
  }
  refuses(name, size, full.subarray(0, -1))
  refuses(name, size + 1, full.subarray(0, 48))
  refuses(hexToBytes('00'.repeat(16)), size, full)
})
