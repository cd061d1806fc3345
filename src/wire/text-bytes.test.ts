import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { base64ToBytes, bytesToBase64, hexToBytesOf } from './text-bytes.ts'

test('base64 is what others write, and is read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      const text = bytesToBase64(bytes)
      assert.equal(text, Buffer.from(bytes).toString('base64'))
      assert.deepEqual(base64ToBytes(text), Uint8Array.from(bytes))
    })
  )
})

test('SM22: base64 in a second spelling is refused', () => {
  for (const text of [
    'YR==',
    'YQ',
    'YQ=',
    'YQ===',
    'YQ==\n',
    ' YQ==',
    'Y Q=',
    'YQ==@@x',
    '_-8=',
    'YWI',
    'YWJ=',
    '====',
    '=',
    'Y===',
    'YQ==YQ==',
    'YQé=',
    'YQ\u0000='
  ])
    assert.equal(base64ToBytes(text), undefined, text)
  const near = fc.array(fc.constantFrom('A', 'Q', 'g', '/', '+', '=', '-', 'é', '\u0000', '\n'), { maxLength: 12 }).map(c => c.join(''))
  fc.assert(
    fc.property(near, text => {
      const bytes = base64ToBytes(text)
      const same = Buffer.from(Buffer.from(text, 'base64')).toString('base64') === text
      assert.equal(bytes !== undefined, same, text)
      if (bytes) assert.equal(bytesToBase64(bytes), text)
    })
  )
})

test('hex is of the length that was asked for, and lower case', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), b =>
      assert.deepEqual(hexToBytesOf(b.length, Buffer.from(b).toString('hex')), Uint8Array.from(b))
    )
  )
  for (const text of ['', 'a', 'abc', 'AB', 'zz', 'a\u0130', '0x', ' a', '\u0661\u0661'])
    assert.equal(hexToBytesOf(1, text), undefined, text)
})
