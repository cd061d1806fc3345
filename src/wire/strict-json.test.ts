/** Strict JSON against JSONTestSuite, the vectors of RFC 8785, and what JSON.parse would let through. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { canonicalJson, type Json, parseJson, parseJsonObject } from './strict-json.ts'

const VECTORS = join(import.meta.dirname, '../../test/vectors')
const read = (text: string): Json => parseJson(utf8(text))
const refuses = (text: string, code = 'MALFORMED_JSON'): void => assert.throws(() => read(text), { code }, text.slice(0, 80))

interface SuiteCase {
  readonly name: string
  readonly expect: 'accept' | 'reject' | 'either'
  readonly base64?: string
  readonly repeat?: { readonly unit: string; readonly count: number }
}
const SUITE = (JSON.parse(readFileSync(join(VECTORS, 'json/JSONTestSuite.json'), 'utf8')) as { cases: SuiteCase[] }).cases
const bytesOf = (c: SuiteCase): Uint8Array =>
  c.repeat ? utf8(c.repeat.unit.repeat(c.repeat.count)) : Uint8Array.from(Buffer.from(c.base64 ?? '', 'base64'))

/** Files of the suite that are JSON, but say something in another way than the one way that is read here. */
const OTHER_SPELLINGS = [
  'y_number.json', // 123e65
  'y_number_0e+1.json',
  'y_number_0e1.json',
  'y_number_double_close_to_zero.json', // -0.000… with 79 digits
  'y_number_int_with_exp.json',
  'y_number_minus_zero.json',
  'y_number_negative_zero.json',
  'y_number_real_capital_e.json',
  'y_number_real_capital_e_neg_exp.json',
  'y_number_real_capital_e_pos_exp.json',
  'y_number_real_exponent.json',
  'y_number_real_fraction_exponent.json',
  'y_number_real_neg_exp.json',
  'y_number_real_pos_exponent.json',
  'y_object_duplicated_key.json',
  'y_object_duplicated_key_and_value.json',
  'y_object_extreme_numbers.json' // -1.0e+28
]

test('SM7: all 188 wrong files of JSONTestSuite are refused; the 95 right ones are read as JSON.parse does, or say it in a second way', () => {
  const counts = { accept: 0, reject: 0, either: 0 }
  const refused: string[] = []
  for (const c of SUITE) {
    counts[c.expect]++
    const bytes = bytesOf(c)
    try {
      const value = parseJson(bytes)
      assert.notEqual(c.expect, 'reject', c.name)
      assert.deepEqual(value, JSON.parse(new TextDecoder().decode(bytes)), c.name)
      assert.deepEqual(read(canonicalJson(value)), value)
    } catch (e) {
      assert.ok(e instanceof KithError && ['MALFORMED_JSON', 'TOO_DEEP'].includes(e.code), c.name)
      if (c.expect === 'accept') refused.push(c.name)
    }
  }
  assert.deepEqual(counts, { accept: 95, reject: 188, either: 35 })
  assert.deepEqual(refused.sort(), OTHER_SPELLINGS)
})

test('the six vectors of RFC 8785 are written as they must be, and read back', () => {
  const names = readdirSync(join(VECTORS, 'jcs/input'))
  assert.equal(names.length, 6)
  for (const name of names) {
    const value = JSON.parse(readFileSync(join(VECTORS, 'jcs/input', name), 'utf8')) as Json
    const output = readFileSync(join(VECTORS, 'jcs/output', name), 'utf8').trimEnd()
    assert.equal(canonicalJson(value), output)
    assert.equal(canonicalJson(read(output)), output)
  }
})

test('SM1: a member twice is refused, however it is spelled', () => {
  refuses('{"sender_id":"a","sender_id":"b"}')
  refuses('{"a":1,"b":2,"a":1}')
  refuses('{"a":1,"\\u0061":1}')
  refuses('{"":1,"":1}')
  refuses('[{"x":{"a":1,"a":2}}]')
  assert.deepEqual(read('{"a":{"a":{"a":1}},"A":2}'), { a: { a: { a: 1 } }, A: 2 })
  // NFC and NFD are two names.
  assert.equal(Object.keys(parseJsonObject(utf8('{"\u00e9":1,"e\u0301":2}'))).length, 2)
})

test('SM2: names of Object.prototype are members like others, __proto__ is refused', () => {
  refuses('{"__proto__":{"x":1}}')
  refuses('{"a":[{"\\u005f_proto__":null}]}')
  const value = parseJsonObject(utf8('{"constructor":{"prototype":{"x":1}},"toString":2,"hasOwnProperty":3}'))
  assert.deepEqual(Object.keys(value), ['constructor', 'toString', 'hasOwnProperty'])
  assert.equal(Object.getPrototypeOf(value), Object.prototype)
  assert.equal(({} as Record<string, unknown>)['x'], undefined)
  assert.equal(canonicalJson(value), '{"constructor":{"prototype":{"x":1}},"hasOwnProperty":3,"toString":2}')
  assert.throws(() => canonicalJson(JSON.parse('{"__proto__":1}') as Json), { code: 'MALFORMED_JSON' })
})

test('SM3: lone surrogates are refused in names and texts, read or written', () => {
  for (const lone of ['\\ud800', '\\udfff', '\\ud800x', '\\udc00\\ud800', '\\uD83D\\u0041', 'x\\\\\\ud800']) {
    refuses(`"${lone}"`)
    refuses(`{"${lone}":1}`)
  }
  assert.equal(read('"\\ud83d\\ude00"'), '\u{1f600}')
  assert.equal(read('"\\ufffd"'), '\ufffd')
  for (const v of ['\ud800', '\udfff!', { '\ud800': 1 }, ['\udc00\ud800']])
    assert.throws(() => canonicalJson(v), { code: 'MALFORMED_JSON' })
  // CESU-8: a surrogate as three bytes.
  assert.throws(() => parseJson(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)), { code: 'MALFORMED_JSON' })
})

test('SM4: depth 64 is read, 65 is refused, and a megabyte of brackets costs no more than that', () => {
  const nest = (open: string, close: string, n: number): string => open.repeat(n) + '1' + close.repeat(n)
  assert.equal(canonicalJson(read(nest('[', ']', 64))), nest('[', ']', 64))
  assert.equal(canonicalJson(read(nest('{"a":', '}', 64))), nest('{"a":', '}', 64))
  for (const text of [nest('[', ']', 65), nest('{"a":', '}', 65), nest('[{"a":', '}]', 33), '['.repeat(2 ** 20), '{"":['.repeat(200_000)])
    refuses(text, 'TOO_DEEP')
  assert.throws(() => parseJson(utf8('[[]]'), { maxDepth: 1 }), { code: 'TOO_DEEP' })
  let deep: Json = 1
  for (let i = 0; i < 65; i++) deep = [deep]
  assert.throws(() => canonicalJson(deep), { code: 'TOO_DEEP' })
  // Other texts that make a careless reader quadratic.
  for (const unit of ['"\\"', '\\', '"', '1', '[1,', ' ', '"\\u0061",']) {
    const text = `[${unit.repeat(Math.floor((2 ** 20 - 2) / unit.length))}`
    assert.throws(() => read(text), KithError)
  }
  const members = Array.from({ length: 60_000 }, (_, i) => `"${i}k":${i}`).join(',')
  assert.equal(Object.keys(parseJsonObject(utf8(`{${members}}`))).length, 60_000)
})

test('SM5: a mebibyte and a byte is refused unread', () => {
  const limit = 2 ** 20
  assert.equal(parseJson(utf8(`"${'x'.repeat(limit - 2)}"`)), 'x'.repeat(limit - 2))
  assert.throws(() => parseJson(new Uint8Array(limit + 1)), { code: 'TOO_LARGE' })
  assert.throws(() => parseJson(utf8('[1]'), { maxBytes: 2 }), { code: 'TOO_LARGE' })
})

test('SM6: a number is exactly what its one spelling says', () => {
  for (const n of ['0', '-1', '1.5', '0.1', '9007199254740991', '-9007199254740991', '1e+21', '1e-7', '5e-324', '1.7976931348623157e+308'])
    assert.equal(canonicalJson(read(n)), n)
  const others =
    '9007199254740992 9007199254740993 100000000000000000000 -0 -0.0 0.0 1.0 1e400 -1e400 1E2 1e2 1e21 1E+21 1e-07 0.10000000000000000555'
  for (const n of `${others} 01 +1 .5 1. 0x1 1e NaN Infinity -Infinity ١ 1_000 ${'9'.repeat(400)} 0.${'3'.repeat(400)}`.split(' '))
    refuses(n)
  for (const n of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e20]) assert.throws(() => canonicalJson(n), { code: 'MALFORMED_JSON' })
  assert.equal(canonicalJson(-0), '0')
})

test('SM7: other encodings, marks before the text and anything behind it are refused', () => {
  const bom = Uint8Array.of(0xef, 0xbb, 0xbf)
  const utf16 = Uint8Array.from(Buffer.from('{"a":1}', 'utf16le'))
  for (const bytes of [
    concatBytes(bom, utf8('{}')),
    utf16,
    concatBytes(Uint8Array.of(0xff, 0xfe), utf16),
    Uint8Array.of(0x22, 0xff, 0x22),
    Uint8Array.of(0x22, 0xc0, 0xaf, 0x22), // overlong
    Uint8Array.of(0x22, 0xf4, 0x90, 0x80, 0x80, 0x22), // above U+10FFFF
    Uint8Array.of(0x22, 0xe2, 0x82, 0x22),
    new Uint8Array()
  ])
    assert.throws(() => parseJson(bytes), { code: 'MALFORMED_JSON' })
  for (const text of [
    '{}{}',
    '{} 1',
    '1 2',
    '{},',
    '[1]]',
    '{}\u0000',
    '{} // x',
    '{}\u00a0',
    '\u000b1',
    "{'a':1}",
    '{a:1}',
    '[1,]',
    '{"a":1,}'
  ])
    refuses(text)
  for (const text of ['"\n"', '"\\x41"', '"\\u12g4"', '"\\', '"', '"\\u"', 'tru', 'nul', 'True', ' ']) refuses(text)
  assert.deepEqual(read(' \r\n\t{ "a" : [ 1 , "\\"\\\\" , null ] } \n'), { a: [1, '"\\', null] })
  assert.throws(() => parseJsonObject(utf8('[]')), { code: 'MALFORMED_JSON' })
  assert.throws(() => canonicalJson({ a: undefined } as unknown as Json), { code: 'MALFORMED_JSON' })
})

/** Any, halves of surrogate pairs included. */
const codePoint = fc.oneof(fc.nat(0x7f), fc.nat(0x10ffff)).map(c => String.fromCodePoint(c))
const json = fc
  .jsonValue({ depthSize: 'small', stringUnit: 'grapheme' })
  .map(v => JSON.parse(JSON.stringify(v)) as Json)
  .filter(v => {
    try {
      canonicalJson(v)
      return true
    } catch {
      return false
    }
  })

test('what is written is read back, by us and by JSON.parse, whatever the blanks', () => {
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, '\t', '\n\r '), (value, indent) => {
      const text = canonicalJson(value)
      assert.deepEqual(read(text), value)
      assert.deepEqual(JSON.parse(text), value)
      assert.equal(canonicalJson(read(JSON.stringify(value, null, indent))), text)
    })
  )
})

test('any text is read as JSON.parse reads it, or refused with one of three codes', () => {
  const near = fc.tuple(json, fc.nat(), fc.constantFrom(...'{}[]",:\\ue0-1.+ \n\u0000'), fc.boolean()).map(([v, at, c, insert]) => {
    const text = JSON.stringify(v)
    const i = at % (text.length + 1)
    return text.slice(0, i) + c + text.slice(insert ? i : i + 1)
  })
  const tokens = fc
    .array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '"b"', '1', '-', '0', 'true', 'null', ' ', '"\\'))
    .map(t => t.join(''))
  fc.assert(
    fc.property(fc.oneof(near, tokens, fc.string({ unit: codePoint })), text => {
      const bytes = new TextEncoder().encode(text)
      try {
        assert.deepEqual(parseJson(bytes), JSON.parse(new TextDecoder().decode(bytes)))
      } catch (e) {
        assert.ok(e instanceof KithError && ['MALFORMED_JSON', 'TOO_DEEP', 'TOO_LARGE'].includes(e.code), String(e))
      }
    }),
    { numRuns: 2000 }
  )
})
