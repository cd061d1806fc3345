/** SecureMessage: one meaning for each text, every field checked, and signed as a whole. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, fromUtf8, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { didOfKey } from './did-key.ts'
import {
  MESSAGE_DOMAIN,
  messageHeaderBytes,
  messageTime,
  readSecureMessage,
  type SecureMessage,
  sealSecureMessage,
  writeSecureMessage
} from './secure-message.ts'
import { canonicalJson, type Json, type JsonObject } from './strict-json.ts'
import { bytesToBase64 } from './text-bytes.ts'

const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
const json = fc.json({ depthSize: 'small', stringUnit: 'grapheme', noUnicodeString: false }).map(t => JSON.parse(t) as Json)
const sendable = json.filter(v => {
  try {
    return canonicalJson(v) !== ''
  } catch {
    return false
  }
})
const name = fc.oneof(fc.string(), fc.constantFrom('a', 'zz', 'toString', 'signaturf')).filter(n => n !== '__proto__' && n !== 'critical')
const extra = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 2 },
  fc.dictionary(name, sendable, { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  fc.constant({ critical: [] })
)
const message: fc.Arbitrary<SecureMessage> = fc
  .record({
    version: fc.constantFrom('1.0' as const, '1.1' as const),
    msgType: fc.oneof(fc.constantFrom('ping', 'task', '__proto__', 'toString'), fc.stringMatching(/^[A-Za-z0-9_.-]{1,64}$/)),
    senderId: key.map(didOfKey),
    recipientId: key.map(didOfKey),
    sessionId: fc.uuid({ version: 4 }),
    sequenceNum: fc.maxSafeNat().filter(n => n < Number.MAX_SAFE_INTEGER),
    timestamp: fc.nat(4e12).map(messageTime),
    nonce: key.map(bytesToHex),
    encrypted: fc.boolean(),
    data: fc.uint8Array({ maxLength: 100 }).map(d => Uint8Array.from(d))
  })
  .chain(m => extra.map(e => (e ? { ...m, extra: e } : m)))

/** Stands for a signature: these tests are about what is signed. */
const SIGNATURE = new Uint8Array(64).map((_, i) => i)
const sign = async (): Promise<Uint8Array> => SIGNATURE

const DID = didOfKey(new Uint8Array(32).fill(7))
const OTHER = didOfKey(new Uint8Array(32).fill(8))
const GOOD: JsonObject = {
  msg_type: 'task_delegate',
  nonce: 'ab'.repeat(32),
  payload: { data: bytesToBase64(utf8('{"message_id":"x"}')), encrypted: false },
  recipient_id: OTHER,
  sender_id: DID,
  sequence_num: 7,
  session_id: '0b2f2c0e-5b0c-4b8e-9f0e-3d9a1c1f0a11',
  signature: 'cd'.repeat(64),
  timestamp: '2026-02-01T00:00:00.123Z',
  version: '1.1'
}
const bytesOf = (change: { readonly [key: string]: unknown }): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ ...GOOD, ...change }))
const refuses = (change: { readonly [key: string]: unknown }, code: string): void => {
  assert.throws(() => readSecureMessage(bytesOf(change)), { code }, JSON.stringify(change).slice(0, 100))
}

test('SM18: what is written is canonical, is read back, and its signature covers a domain and every member but itself', async () => {
  await fc.assert(
    fc.asyncProperty(message, async m => {
      let signed: Uint8Array = new Uint8Array()
      const frame = await writeSecureMessage(m, async bytes => {
        signed = Uint8Array.from(bytes)
        return SIGNATURE
      })
      const text = fromUtf8(frame)
      const { signature, ...rest } = JSON.parse(text) as { signature: string; payload: Json }
      assert.equal(canonicalJson({ ...rest, signature } as JsonObject), text)
      assert.equal(signature, bytesToHex(SIGNATURE))
      assert.equal(fromUtf8(signed), `${MESSAGE_DOMAIN}\0${canonicalJson(rest)}`)
      const { payload, ...header } = rest
      assert.ok(payload)
      assert.equal(fromUtf8(messageHeaderBytes(m)), canonicalJson(header))
      const read = readSecureMessage(frame)
      assert.deepEqual(read, {
        ...m,
        type: read.type,
        sentAt: Date.parse(m.timestamp),
        senderKey: read.senderKey,
        signature: SIGNATURE,
        signedBytes: Uint8Array.from(signed),
        header: messageHeaderBytes(m)
      })
      assert.equal(didOfKey(read.senderKey), m.senderId)
      const sealed = await sealSecureMessage(
        m,
        m.data.length,
        aad => {
          assert.equal(fromUtf8(aad), canonicalJson(header))
          return m.data
        },
        async () => SIGNATURE
      )
      assert.deepEqual(sealed, await writeSecureMessage({ ...m, encrypted: true }, async () => SIGNATURE))
    })
  )
})

test('any bytes are a message or are refused with a code of this folder', async () => {
  const CODES =
    'MALFORMED_JSON TOO_DEEP TOO_LARGE MALFORMED INVALID_VERSION UNKNOWN_SENDER INVALID_SIGNATURE SEQUENCE_ERROR UNSUPPORTED'.split(' ')
  const changed = fc
    .tuple(fc.constantFrom(...Object.keys(GOOD), 'critical', 'x'), fc.oneof(sendable, fc.constantFrom('', 0, -1, 1.5, '1', null, [], {})))
    .map(([name, value]) => bytesOf({ [name]: value }))
  const flipped = fc.tuple(fc.nat(), fc.nat(255)).map(([at, value]) => {
    const bytes = bytesOf({})
    bytes[at % bytes.length] = value
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(changed, flipped, fc.uint8Array()), bytes => {
      try {
        const m = readSecureMessage(bytes)
        assert.equal(m.senderKey.length, 32)
        // Read from whatever spelling, the signed bytes are those of the members.
        const { signature: _, ...rest } = JSON.parse(fromUtf8(bytes)) as JsonObject
        assert.equal(fromUtf8(m.signedBytes), `${MESSAGE_DOMAIN}\0${canonicalJson(rest)}`)
      } catch (e) {
        assert.ok(e instanceof KithError && CODES.includes(e.code), String(e))
      }
    }),
    { numRuns: 1000 }
  )
})

test('blanks and the order of members mean nothing', () => {
  const signed = bytesToHex(readSecureMessage(bytesOf({})).signedBytes)
  const turned = Object.fromEntries(Object.entries(GOOD).reverse())
  assert.equal(bytesToHex(readSecureMessage(utf8(JSON.stringify(turned, null, 2))).signedBytes), signed)
})

test('every member of spec 001 must be there', () => {
  for (const name of Object.keys(GOOD)) assert.throws(() => readSecureMessage(bytesOf({ [name]: undefined })), KithError, name)
  refuses({ payload: null }, 'MALFORMED')
  refuses({ payload: [] }, 'MALFORMED')
  refuses({ payload: { data: '' } }, 'MALFORMED')
  refuses({ payload: { data: '', encrypted: 'no' } }, 'MALFORMED')
  refuses({ payload: { data: '', encrypted: false, iv: '' } }, 'MALFORMED')
  for (const version of ['0.3', '1.2', '1', 1.1, 1, null, '']) refuses({ version }, 'INVALID_VERSION')
})

test('SM1-SM3: what strict JSON refuses is no message', () => {
  const text = JSON.stringify(GOOD)
  for (const bad of [
    text.replace('{', `{"sender_id":"${OTHER}",`),
    text.replace('{', '{"__proto__":{},'),
    text.replace('{', '{"x":"\\ud800",')
  ])
    assert.throws(() => readSecureMessage(utf8(bad)), { code: 'MALFORMED_JSON' })
})

test('SM6, SM24 and SM25: sequence numbers are integers from 0 to 2^53 - 2', () => {
  for (const sequence_num of [1.5, '1', -1, null, true, [1], undefined]) refuses({ sequence_num }, 'MALFORMED')
  refuses({ sequence_num: 2 ** 53 }, 'MALFORMED_JSON')
  refuses({ sequence_num: 2 ** 53 - 1 }, 'SEQUENCE_ERROR')
  assert.equal(readSecureMessage(bytesOf({ sequence_num: 2 ** 53 - 2 })).sequenceNum, 2 ** 53 - 2)
  assert.equal(readSecureMessage(bytesOf({ sequence_num: 0 })).sequenceNum, 0)
})

test('SM8: an unknown member is signed and kept; one that is critical is refused', () => {
  const plain = readSecureMessage(bytesOf({}))
  assert.equal(plain.extra, undefined)
  const m = readSecureMessage(bytesOf({ trace: { a: ['\u00e9'] } }))
  assert.deepEqual(m.extra, { trace: { a: ['\u00e9'] } })
  assert.ok(fromUtf8(m.signedBytes).includes('"timestamp":"2026-02-01T00:00:00.123Z","trace":{"a":["\u00e9"]},"version":"1.1"'))
  assert.notEqual(bytesToHex(m.header), bytesToHex(plain.header))
  refuses({ critical: ['trace'], trace: 1 }, 'UNSUPPORTED')
  for (const critical of ['trace', {}, [1], null, true]) refuses({ critical }, 'MALFORMED')
  assert.deepEqual(readSecureMessage(bytesOf({ critical: [] })).extra, { critical: [] })
})

test('SM9: a time is a day that exists, in UTC, in one of two forms', () => {
  const bad = `2026-02-30T00:00:00Z 2026-13-01T00:00:00Z 2025-02-29T00:00:00Z 2026-02-01T24:00:00Z 2026-02-01T23:59:60Z 2026-02-01T00:60:00Z 1
    2026-02-01 2026-02-01T00:00:00 2026-02-01T00:00:00+09:00 2026-02-01T00:00:00+00:00 2026-02-01t00:00:00Z 2026-02-01T00:00:00z
    +275760-09-13T00:00:00Z 275760-09-13T00:00:00Z 2026-02-01T00:00:00.1Z 2026-02-01T00:00:00.123456Z 2026-02-01T00:00:00,123Z
    1969-12-31T23:59:59Z 0000-01-01T00:00:00Z 2026-2-1T00:00:00Z`
  for (const timestamp of bad.split(/\s+/)) refuses({ timestamp }, 'MALFORMED')
  for (const timestamp of [1, null, '2026-02-01 00:00:00Z', '2026-02-01T00:00:00Z ', '２026-02-01T00:00:00Z'])
    refuses({ timestamp }, 'MALFORMED')
  assert.equal(readSecureMessage(bytesOf({ timestamp: '2024-02-29T23:59:59Z' })).sentAt, Date.UTC(2024, 1, 29, 23, 59, 59))
  assert.equal(readSecureMessage(bytesOf({ timestamp: '2026-02-01T00:00:00.123Z' })).sentAt, Date.UTC(2026, 1, 1, 0, 0, 0, 123))
  assert.equal(messageTime(0), '1970-01-01T00:00:00.000Z')
  for (const ms of [-1, Number.NaN, 1e300, 253_402_300_800_000]) assert.throws(() => messageTime(ms), { code: 'MALFORMED' })
})

test('SM11: a nonce is 32 bytes in lower-case hex', () => {
  for (const nonce of ['ab'.repeat(31), 'ab'.repeat(33), 'AB'.repeat(32), 'zz'.repeat(32), `${'ab'.repeat(31)}a`, '', 1, null])
    refuses({ nonce }, 'MALFORMED')
})

test('SM15: a signature is 64 bytes in lower-case hex', () => {
  const hex = 'cd'.repeat(64)
  for (const signature of [
    hex.toUpperCase(),
    hex.slice(1),
    hex.slice(2),
    `${hex}00`,
    `${hex} `,
    `zz${hex.slice(2)}`,
    '',
    null,
    5,
    undefined
  ])
    refuses({ signature }, 'INVALID_SIGNATURE')
})

test('SM17: the key of the sender comes out of its id, so that no other key can have signed', () => {
  for (const sender_id of ['entity-a', '', `${DID}x`, DID.toLowerCase(), 'did:key:z6Mk' + 'z'.repeat(44)])
    refuses({ sender_id }, 'UNKNOWN_SENDER')
  for (const sender_id of [null, 1, [DID]]) refuses({ sender_id }, 'MALFORMED')
  assert.deepEqual(readSecureMessage(bytesOf({})).senderKey, new Uint8Array(32).fill(7))
})

test('SM19 and SM20: a message names whom it is for, and that is signed', () => {
  for (const recipient_id of [undefined, null, '', 'entity-b', 1]) refuses({ recipient_id }, 'MALFORMED')
  const [a, b] = [readSecureMessage(bytesOf({})), readSecureMessage(bytesOf({ recipient_id: DID }))]
  assert.deepEqual([a.recipientId, b.recipientId], [OTHER, DID])
  assert.notDeepEqual(a.signedBytes, b.signedBytes)
})

test('SM22: payloads in a second spelling of base64 are refused', () => {
  for (const data of ['YR==', 'YQ', 'YQ=', '_-8=', 'YQ ==', 'YQ==@@x', 1, null, ['YQ==']])
    refuses({ payload: { data, encrypted: false } }, 'MALFORMED')
})

test('SM23: a session id is a UUID v4', () => {
  const id = String(GOOD['session_id'])
  for (const session_id of [
    id.toUpperCase(),
    id.replace('-4', '-1'),
    id.replace('-9', '-c'),
    `{${id}}`,
    id.replaceAll('-', ''),
    '',
    null,
    4
  ])
    refuses({ session_id }, 'MALFORMED')
})

test('SM30: an unknown type is read as text', () => {
  for (const msg_type of ['toString', '__proto__', 'constructor', 'nonsense', 'HANDSHAKE', 'a'.repeat(64)]) {
    const m = readSecureMessage(bytesOf({ msg_type }))
    assert.deepEqual([m.msgType, m.type], [msg_type, undefined])
  }
  assert.equal(readSecureMessage(bytesOf({ msg_type: 'task' })).type, 'task_delegate')
  assert.equal(readSecureMessage(bytesOf({ msg_type: 'handshake_confirm' })).type, 'handshake_confirm')
  for (const msg_type of ['', 'a'.repeat(65), 'a b', 'a"', 'é', 1, null]) refuses({ msg_type }, 'MALFORMED')
})

test('what no reader would take is not written', async () => {
  const { header: _, signedBytes: _s, signature: _x, senderKey: _k, sentAt: _t, type: _y, ...good } = readSecureMessage(bytesOf({}))
  for (const [change, code] of [
    [{ msgType: 'x","y":"' }, 'MALFORMED'],
    [{ nonce: 'AB' }, 'MALFORMED'],
    [{ recipientId: `${DID}"` }, 'MALFORMED'],
    [{ senderId: 'x' }, 'UNKNOWN_SENDER'],
    [{ sequenceNum: 2 ** 53 - 1 }, 'SEQUENCE_ERROR'],
    [{ sequenceNum: 0.5 }, 'MALFORMED'],
    [{ version: '2.0' }, 'INVALID_VERSION'],
    [{ timestamp: '2026-02-30T00:00:00Z' }, 'MALFORMED'],
    [{ extra: { nonce: 1 } }, 'MALFORMED'],
    [{ extra: { critical: ['x'] } }, 'UNSUPPORTED'],
    [{ extra: { x: '\ud800' } }, 'MALFORMED_JSON'],
    [{ data: new Uint8Array(800_000) }, 'TOO_LARGE']
  ] as const)
    await assert.rejects(writeSecureMessage({ ...good, ...change } as SecureMessage, sign), { code })
})
