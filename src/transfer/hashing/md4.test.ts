import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { md4 } from './md4.ts'
import { FastMd4 } from './md4-fast.ts'
import { Md4Lanes } from './md4-lanes.ts'

const { md4: vectors } = JSON.parse(readFileSync(new URL('../../../test/vectors/ed2k/ed2k.json', import.meta.url), 'utf8')) as {
  readonly md4: readonly { readonly text: string; readonly md4: string }[]
}

test('the seven values of RFC 1320', async () => {
  const fast = await FastMd4.open()
  assert.equal(vectors.length, 7)
  for (const v of vectors) {
    assert.equal(bytesToHex(md4(utf8(v.text))), v.md4)
    assert.equal(bytesToHex(fast.hash(utf8(v.text))), v.md4)
  }
})

test('the small and the fast one agree on any bytes, shared memory and steps included', async () => {
  const fast = await FastMd4.open()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1000 }), fc.nat(1000), (bytes, cut) => {
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
      shared.set(bytes)
      const expected = bytesToHex(md4(bytes))
      assert.equal(bytesToHex(fast.hash(shared)), expected)
      fast.begin()
      fast.update(bytes.subarray(0, cut))
      fast.update(bytes.subarray(cut))
      assert.equal(bytesToHex(fast.digest()), expected)
    })
  )
  const long = new Uint8Array(new SharedArrayBuffer(700_000)).fill(7)
  assert.equal(bytesToHex(fast.hash(long)), bytesToHex(md4(long)))
})

test('four lanes agree with one for any four messages of whole blocks, in any steps', () => {
  const lanes = new Md4Lanes()
  const four = fc
    .integer({ min: 0, max: 600 })
    .chain(blocks => fc.array(fc.uint8Array({ minLength: 64 * blocks, maxLength: 64 * blocks }), { minLength: 4, maxLength: 4 }))
  fc.assert(
    fc.property(four, fc.nat(600), (messages, cut) => {
      lanes.begin()
      lanes.update(messages.map(m => m.subarray(0, 64 * cut)))
      lanes.update(messages.map(m => m.subarray(64 * cut)))
      assert.deepEqual(lanes.digest(), messages.map(md4))
    }),
    { numRuns: 60 }
  )
  assert.throws(() => lanes.update([1, 2, 3, 4].map(() => new Uint8Array(65))), RangeError)
  assert.throws(() => lanes.update([64, 64, 64, 128].map(n => new Uint8Array(n))), RangeError)
})
