import assert from 'node:assert/strict'
import test from 'node:test'
import { hexToBytes } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { bytes, choice, layout, list, oneof, optional, text, textElement, timestamp, uint, type Variant } from './protobuf-fields.ts'

interface Inner {
  readonly n: number
}
interface Sample {
  readonly a: number
  readonly b: string
  readonly c: readonly string[]
  readonly d: Variant<{ x: Inner; y: Inner }>
  readonly e: Uint8Array
  readonly f: number | undefined
  readonly g: 'one' | 'two'
}
const inner = layout<Inner>({ n: uint(1) })
const sample = layout<Sample>({
  a: uint(1, 1000),
  b: text(2, 8),
  c: list(3, textElement, 3, 8),
  d: oneof({ x: [4, inner], y: [5, inner] }, 16),
  e: bytes(6, 4),
  f: optional(7, timestamp(7)),
  g: choice<'one' | 'two'>(16, ['one', 'two'])
})
const full: Sample = {
  a: 300,
  b: 'hé',
  c: ['', 'x'],
  d: { kind: 'y', body: { n: 0 } },
  e: Uint8Array.of(9),
  f: 1_700_000_000_123,
  g: 'two'
}
const HEX = '08ac02' + '120368c3a9' + '1a00' + '1a0178' + '2a00' + '320109' + '3a0b0880e2cfaa0610c0a9d33a' + '800102'

test('a message has the bytes that any protobuf library writes', () => {
  assert.deepEqual(encode(sample, full), hexToBytes(HEX))
  assert.deepEqual(decode(sample, hexToBytes(HEX)), full)
})

test('BL1: whatever else protobuf would allow is refused', () => {
  const tail = '2a00' + '800102' // the smallest message
  assert.equal(decode(sample, hexToBytes(tail)).g, 'two')
  const refused: readonly (readonly [string, string, string?])[] = [
    ['a group (wire type 3)', `0b${tail}`],
    ['the end of a group (4)', `0c${tail}`],
    ['wire type 6', `0e${tail}`],
    ['wire type 7', `0f${tail}`],
    ['fixed 64 bit', `090000000000000000${tail}`],
    ['fixed 32 bit', `0d00000000${tail}`],
    ['field number 0', `0001${tail}`],
    ['a varint of eleven bytes', `08ffffffffffffffffffff01${tail}`],
    ['a varint above 2^53', `08ffffffffffffff7f${tail}`],
    ['a varint with a needless byte', `088100${tail}`],
    ['a tag with a needless byte', `88000a${tail}`],
    ['a default that is spelled out', `0800${tail}`],
    ['an empty string that is spelled out', `1200${tail}`],
    ['a field twice', `08010802${tail}`],
    ['fields out of order', `12017808012a00800102`],
    ['two members of a oneof', `22002a00800102`],
    ['the two members the other way round', `2a002200800102`],
    ['one member twice', `2a002a00800102`],
    ['none of them', '800102'],
    ['an unknown field', `${tail}880101`],
    ['an unknown value of an enum', '2a00800103'],
    ['no value of an enum', '2a00'],
    ['a number above the limit', `08e907${tail}`],
    ['a text above the limit', `1209${'78'.repeat(9)}${tail}`],
    ['more elements than the limit', `${'1a00'.repeat(4)}${tail}`],
    ['text that is not UTF-8', `1201ff${tail}`, 'WIRE_TEXT'],
    ['a time that is not in whole milliseconds', '2a003a021001800102'],
    ['a length beyond the end', '1205', 'WIRE_TRUNCATED'],
    ['a huge length', '12ffffffff0f', 'WIRE_RANGE'],
    ['a varint that is cut off', '08ff', 'WIRE_TRUNCATED'],
    ['an element in packed form', `0a0101${tail}`]
  ]
  for (const [why, hex, code] of refused) assert.throws(() => decode(sample, hexToBytes(hex)), { code: code ?? 'WIRE_RANGE' }, why)
  // A million elements end at the limit, not at the end.
  assert.throws(
    () =>
      decode(
        sample,
        Uint8Array.from({ length: 2_000_000 }, (_, i) => (i % 2 === 0 ? 0x1a : 0))
      ),
    {
      code: 'WIRE_RANGE'
    }
  )
})

test('a writer refuses what its reader would', () => {
  const bad: Partial<Sample>[] = [
    { a: 1001 },
    { a: -1 },
    { a: 0.5 },
    { b: 'x'.repeat(9) },
    { c: ['', '', '', ''] },
    { e: new Uint8Array(5) },
    { f: -1 }
  ]
  for (const change of bad) assert.throws(() => encode(sample, { ...full, ...change }), { code: 'WIRE_RANGE' }, JSON.stringify(change))
  assert.throws(() => encode(sample, { ...full, b: '\ud800' }), { code: 'BAD_TEXT' })
})
