/** Messages before version 1.1, against the vector of their origin and against Python's own json. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import test from 'node:test'
import fc from 'fast-check'
import { ed25519Verify } from '#crypto'
import { fromUtf8, hexToBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { readLegacyMessage } from './legacy-message.ts'
import { parsePythonJson, plainJson, pythonJson } from './python-json.ts'

/** Made with the origin's program by the key of RFC 8032 test 1. */
const SIGNED = `{"msg_type":"task_delegate","nonce":"${'0'.repeat(32)}","payload":{"a":"\\u65e5\\u672c","b":1.0,"f":1e+21,"g":1e-07,"n":null,"t":true},"sender_id":"entity-a","timestamp":"2026-02-01T00:00:00+00:00","version":"1.0"}`
const SIGNATURE = 'dDtvGqz2hyFkB11bo9utjlJp+pVvYEKHK0jqriWWjAuGAN65Tf+pCc0lHBk5S7kTRkWsqCgSLIO/9vPT8YKJAA=='
const KEY = hexToBytes('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
const GOOD = SIGNED.replace('{', `{"signature":"${SIGNATURE}","recipient_id":"entity-b","session_id":"x","sequence_num":3,`)
const read = (text: string): ReturnType<typeof readLegacyMessage> => readLegacyMessage(utf8(text))
const canonical = (text: string): string => pythonJson(parsePythonJson(utf8(text)))

test('the signature that the origin made is accepted, however the message is spelled', async () => {
  const spellings = [
    GOOD,
    GOOD.replace('\\u65e5\\u672c', '日本'),
    GOOD.replace('1e+21', '1E21').replace('1e-07', '0.0000001'),
    GOOD.replaceAll(',"', ' ,\n "')
  ]
  for (const text of spellings) {
    const m = read(text)
    assert.equal(fromUtf8(m.signedBytes), SIGNED)
    assert.ok(await ed25519Verify(KEY, m.signedBytes, m.signature))
    assert.deepEqual(m.payload, { a: '日本', b: 1, f: 1e21, g: 1e-7, n: null, t: true })
    assert.deepEqual([m.version, m.type, m.senderId, m.sentAt], ['1.0', 'task_delegate', 'entity-a', Date.UTC(2026, 1, 1)])
  }
})

test('1 is not 1.0, and nothing else of what is signed may change', async () => {
  for (const text of [
    GOOD.replace('1.0,', '1,'),
    GOOD.replace('true', 'false'),
    GOOD.replace('entity-a', 'entity-c'),
    GOOD.replace('"1.0"', '"0.3"')
  ]) {
    const m = read(text)
    assert.ok(!(await ed25519Verify(KEY, m.signedBytes, m.signature)), text)
  }
})

test('what has another form is refused with a code', () => {
  for (const [text, code] of [
    ['[]', 'MALFORMED_JSON'],
    ['1.0', 'MALFORMED_JSON'],
    [GOOD.replace('"t":true', '"t":true,"t":false'), 'MALFORMED_JSON'],
    [GOOD.replace('1e+21', '1e400'), 'MALFORMED_JSON'],
    [GOOD.replace('1e+21', 'NaN'), 'MALFORMED_JSON'],
    [GOOD.replace('1e+21', '9007199254740993'), 'MALFORMED_JSON'],
    [GOOD.replace('\\u65e5', '\\ud800'), 'MALFORMED_JSON'],
    [GOOD.replace('"version":"1.0"', '"version":"1.1"'), 'INVALID_VERSION'],
    [GOOD.replace('"version":"1.0"', '"version":1.0'), 'INVALID_VERSION'],
    [GOOD.replace('"entity-a"', '""'), 'UNKNOWN_SENDER'],
    [GOOD.replace('"entity-a"', '1'), 'UNKNOWN_SENDER'],
    [GOOD.replace('0'.repeat(32), '0'.repeat(31)), 'MALFORMED'],
    [GOOD.replace('+00:00', '+09:00'), 'MALFORMED'],
    [GOOD.replace('+00:00', ''), 'MALFORMED'],
    [GOOD.replace('2026-02-01', '2026-02-30'), 'MALFORMED'],
    [GOOD.replace('"task_delegate"', '"a b"'), 'MALFORMED'],
    [GOOD.replace(/"payload":\{.*?\}/, '"payload":[1]'), 'MALFORMED'],
    [GOOD.replace(/"payload":\{.*?\}/, '"payload":1.5'), 'MALFORMED'],
    [GOOD.replace('AA==', 'AB=='), 'INVALID_SIGNATURE'],
    [GOOD.replace(SIGNATURE, 'ab'.repeat(64)), 'INVALID_SIGNATURE'],
    [GOOD.replace('"signature"', '"signaturf"'), 'INVALID_SIGNATURE']
  ] as const)
    assert.throws(() => read(text), { code }, text)
  assert.equal(read(GOOD.replace('+00:00', '.123456+00:00')).sentAt, Date.UTC(2026, 1, 1, 0, 0, 0, 123))
  assert.equal(read(GOOD.replace('+00:00', 'Z')).sentAt, Date.UTC(2026, 1, 1))
})

test('any change of a message is read or refused with a code of this folder', () => {
  const codes = ['MALFORMED_JSON', 'TOO_DEEP', 'MALFORMED', 'INVALID_VERSION', 'UNKNOWN_SENDER', 'INVALID_SIGNATURE']
  fc.assert(
    fc.property(fc.nat(), fc.nat(255), fc.boolean(), (at, value, cut) => {
      const bytes = utf8(GOOD)
      bytes[at % bytes.length] = value
      try {
        const m = readLegacyMessage(cut ? bytes.subarray(0, at % bytes.length) : bytes)
        assert.equal(canonical(fromUtf8(m.signedBytes)), fromUtf8(m.signedBytes))
      } catch (e) {
        assert.ok(e instanceof KithError && codes.includes(e.code), String(e))
      }
    }),
    { numRuns: 500 }
  )
})

test('numbers are written as Python does', () => {
  for (const [json, python] of [
    ['-0', '0'],
    ['-0.0', '-0.0'],
    ['0e5', '0.0'],
    ['1e16', '1e+16'],
    ['1e15', '1000000000000000.0'],
    ['123456789012345680.0', '1.2345678901234568e+17'],
    ['0.0001', '0.0001'],
    ['0.00001', '1e-05'],
    ['1.5E-300', '1.5e-300'],
    ['12.50', '12.5'],
    ['-9007199254740991', '-9007199254740991']
  ])
    assert.equal(canonical(json!), python)
})

test('names are ordered as Python does', () => {
  assert.equal(
    canonical('{"\u{1f600}":1,"\uffff":2,"a":3,"":4,"ab":5,"\u007f":6}'),
    '{"":4,"a":3,"ab":5,"\\u007f":6,"\\uffff":2,"\\ud83d\\ude00":1}'
  )
})

const hasPython = spawnSync('/usr/bin/python3', ['-c', '']).status === 0
if (!hasPython && process.env['KITH_REQUIRE_INTEROP'] === '1') throw new Error('python3 is needed')

test('values are written as Python itself writes them', { skip: hasPython ? false : 'install the Debian package python3' }, () => {
  const double = fc.double({ noDefaultInfinity: true, noNaN: true }).map(n => n.toExponential())
  const numeral = fc.oneof(
    double,
    fc.maxSafeInteger().map(String),
    fc.double({ min: -1e18, max: 1e18, noNaN: true }).map(n => n.toFixed(3).slice(0, 25))
  )
  const string = fc.string({
    unit: fc.oneof(
      fc.constantFrom('"', '\\', '\n', '\u0000', '\u007f', '\u2028', '/', '\b', '\uffff', '\u{1f600}'),
      fc.constantFrom(...'aAé')
    )
  })
  const { value } = fc.letrec<{ value: string }>(tie => ({
    value: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      numeral,
      string.map(t => JSON.stringify(t)),
      fc.constantFrom('null', 'true', 'false'),
      fc.array(tie('value'), { maxLength: 4 }).map(v => `[${v.join(', ')}]`),
      fc
        .uniqueArray(
          fc.tuple(
            string.filter(n => n !== '__proto__'),
            tie('value')
          ),
          { maxLength: 5, selector: ([n]) => n }
        )
        .map(m => `{${m.map(([n, v]) => `${JSON.stringify(n)}: ${v}`).join(' ,')}}`)
    )
  }))
  const seed = Date.now() % 2 ** 31
  const texts = fc.sample(value, { numRuns: 3000, seed })
  const program =
    'import json,sys\nfor line in sys.stdin.buffer:\n  print(json.dumps(json.loads(json.loads(line)),sort_keys=True,separators=(",",":")))'
  const input = texts.map(t => JSON.stringify(t)).join('\n')
  const written = execFileSync('/usr/bin/python3', ['-c', program], { input, encoding: 'utf8' }).split('\n')
  assert.equal(written.length, texts.length + 1)
  for (const [i, text] of texts.entries()) {
    assert.equal(canonical(text), written[i], `${text} (seed ${seed})`)
    assert.deepEqual(plainJson(parsePythonJson(utf8(text))), JSON.parse(text.replace(/^-0$/, '0')), text)
  }
})
