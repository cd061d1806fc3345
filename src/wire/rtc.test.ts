import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { rtcAnswer, rtcOffer } from './rtc.ts'

const sdp = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 2000 })

test('offers and answers of connections are read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), sdp, (infoHash, text) => {
      assert.deepEqual(decode(rtcOffer, encode(rtcOffer, { infoHash, sdp: text })), { infoHash, sdp: text })
      assert.deepEqual(decode(rtcAnswer, encode(rtcAnswer, { sdp: text })), { sdp: text })
    })
  )
  assert.throws(() => encode(rtcAnswer, { sdp: 'x'.repeat(65_536) }), { code: 'WIRE_RANGE' })
})

test('any bytes decode and re-encode identically, or throw a WIRE_ error', () => {
  const body = fc.uint8Array({ maxLength: 60 })
  const framed = fc
    .tuple(fc.uint8Array({ minLength: 20, maxLength: 20 }), body)
    .map(([hash, rest]) => Uint8Array.of(1, ...hash, 0, rest.length, ...rest))
  fc.assert(
    fc.property(fc.oneof(body, framed), bytes => {
      for (const codec of [rtcOffer, rtcAnswer] as const) {
        try {
          const value = decode<never>(codec as never, bytes)
          assert.deepEqual(encode<never>(codec as never, value), Uint8Array.from(bytes))
        } catch (error) {
          assert.ok(error instanceof KithError && error.code.startsWith('WIRE_'), String(error))
        }
      }
    })
  )
})
