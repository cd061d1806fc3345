import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { BDict, type BValue, bdict, decodeBencode, decodeBencodePrefix, encodeBencode } from './bencode.ts'

const key = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(c => String.fromCharCode(c)), maxLength: 8 })
const value: fc.Arbitrary<BValue> = fc.letrec<{ v: BValue }>(tie => ({
  v: fc.oneof(
    { maxDepth: 5 },
    fc.maxSafeInteger(),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('v'), { maxLength: 5 }),
    fc.uniqueArray(fc.tuple(key, tie('v')), { selector: e => e[0], maxLength: 5 }).map(e => new BDict(e))
  )
})).v

const plain = (v: BValue): unknown => {
  if (v instanceof BDict) return new Map([...v.entries].map(([k, x]) => [k, plain(x)]))
  if (v instanceof Uint8Array) return Uint8Array.from(v)
  return Array.isArray(v) ? v.map(plain) : v === 0 ? 0 : v
}

test('generated values survive writing and reading', () => {
  fc.assert(fc.property(value, v => assert.deepEqual(plain(decodeBencode(encodeBencode(v))), plain(v))))
})
test('any bytes are read and written back identically, or refused with BENCODE_ERROR', () => {
  const soup = fc.array(fc.constantFrom('i', 'e', 'd', 'l', '0', '1', '-', ':', '1:a', '1:b', 'i3e', 'de', 'le'), { maxLength: 30 })
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        soup.map(s => utf8(s.join('')))
      ),
      bytes => {
        try {
          assert.deepEqual(encodeBencode(decodeBencode(bytes)), Uint8Array.from(bytes))
        } catch (e) {
          assert.ok(hasCode(e, 'BENCODE_ERROR'), String(e))
        }
      }
    ),
    { numRuns: 2000 }
  )
})
// threats BT1
for (const text of [
  '',
  'i-0e',
  'i03e',
  'i e',
  'ie',
  'i-e',
  'i1',
  'i1.5e',
  'i+1e',
  '-1:a',
  '01:a',
  '2:a',
  '1',
  '1000000000000000000:a',
  'l',
  'd',
  'di1ei2ee',
  'd1:ai1e',
  'd1:a',
  'd1:bi1e1:ai2ee',
  'd1:ai1e1:ai2ee',
  'i1ei2e',
  '3:abcx',
  'x',
  `i${'9'.repeat(1_000_000)}e`,
  'i9007199254740992e',
  'l'.repeat(101) + 'e'.repeat(101)
]) {
  test(`refuses ${text.slice(0, 30)} (${text.length} bytes)`, () => {
    assert.throws(
      () => decodeBencode(utf8(text)),
      (e: unknown) => hasCode(e, 'BENCODE_ERROR')
    )
  })
}
test('takes nesting of 100 and, when asked, keys in any order but never twice', () => {
  decodeBencode(utf8('l'.repeat(100) + 'e'.repeat(100)))
  assert.ok(decodeBencode(utf8('d1:bi1e1:ai2ee'), { anyOrder: true }) instanceof BDict)
  assert.throws(() => decodeBencode(utf8('d1:bi1e1:ai2e1:bi3ee'), { anyOrder: true }), KithError)
})
test('more than 3,000,000 values, or 10 MiB, are refused quickly', () => {
  const started = performance.now()
  assert.throws(() => decodeBencode(utf8(`l${'le'.repeat(3_000_000)}e`)), KithError)
  assert.throws(() => decodeBencode(new Uint8Array(10 * 1024 * 1024 + 1)), KithError)
  assert.ok(performance.now() - started < 5000)
})
test('a dictionary gives the bytes it was read from, and a prefix says where it ends', () => {
  const outer = decodeBencode(utf8('d4:infod1:ai1eee')) as BDict
  assert.deepEqual(Uint8Array.from(outer.dict('info')!.raw), utf8('d1:ai1ee'))
  assert.equal(decodeBencodePrefix(utf8('d1:ai1eerest')).used, 8)
  assert.deepEqual(encodeBencode(bdict({ b: 1, a: utf8('x'), c: undefined })), utf8('d1:a1:x1:bi1ee'))
})
