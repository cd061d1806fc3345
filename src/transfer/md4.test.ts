import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { md4 } from './md4.ts'
import { FastMd4 } from './md4-fast.ts'

const { md4: vectors } = JSON.parse(readFileSync(new URL('../../test/vectors/ed2k/ed2k.json', import.meta.url), 'utf8')) as {
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
