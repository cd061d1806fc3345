import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { DATA_HEAD_BYTES, dataHead, fileRequest, fileResponse, MAX_FILE_MESSAGE_BYTES, readDataHead } from './file-stream.ts'
import { CHUNK_BYTES } from './limits.ts'

const hash = fc.stringMatching(/^[0-9a-f]{64}$/)
const uint = fc.oneof(fc.nat(300), fc.maxSafeNat())
const request = fc.record({ fileHash: hash, offset: uint, length: uint.filter(n => n > 0) })
const data = fc.record({
  data: fc.uint8Array({ maxLength: 400 }),
  isLastChunk: fc.boolean(),
  nextChunkHash: fc.oneof(fc.constant(''), hash),
  refusal: fc.constant(''),
  reason: fc.constant('')
})
const refusal = fc.record({
  data: fc.constant(new Uint8Array()),
  isLastChunk: fc.boolean(),
  nextChunkHash: fc.constant(''),
  refusal: fc.stringMatching(/^[A-Z][A-Z0-9_]{0,63}$/),
  reason: fc.string({ maxLength: 64, unit: 'grapheme' }).filter(s => new TextEncoder().encode(s).length <= 256)
})

test('what is written is read back', () => {
  fc.assert(fc.property(request, m => assert.deepEqual(decode(fileRequest, encode(fileRequest, m)), { ...m })))
  fc.assert(
    fc.property(fc.oneof(data, refusal), m => {
      const bytes = encode(fileResponse, m)
      assert.ok(bytes.length - m.data.length <= MAX_FILE_MESSAGE_BYTES)
      assert.deepEqual(decode(fileResponse, bytes), { ...m })
    })
  )
})

test('any bytes decode and re-encode identically, or throw a WIRE_ error', () => {
  /** A valid message, changed: random bytes rarely come far. */
  const changed = fc
    .tuple(
      fc.oneof(
        request.map(m => encode(fileRequest, m)),
        data.map(m => encode(fileResponse, m))
      ),
      fc.nat(),
      fc.nat(255),
      fc.nat(80)
    )
    .map(([bytes, at, value, cut]) => {
      bytes[at % Math.max(1, bytes.length)] = value
      return cut > 70 ? bytes.subarray(0, cut) : bytes
    })
  for (const codec of [fileRequest, fileResponse]) {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), changed), b => {
        try {
          assert.deepEqual(encode(codec as typeof fileRequest, decode(codec as typeof fileRequest, b)), Uint8Array.from(b))
        } catch (e) {
          assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
        }
      }),
      { numRuns: 2000 }
    )
  }
})

test('the head of data is read as it is written, in its shortest form only', () => {
  for (const length of [1, 127, 128, 16_383, 16_384, CHUNK_BYTES]) {
    const head = dataHead(length)
    const bytes = new Uint8Array(DATA_HEAD_BYTES)
    bytes.set(head)
    assert.deepEqual(readDataHead(bytes), { length, start: head.length })
  }
  for (const bad of [
    [0x12, 5, 0, 0],
    [0x0a, 0x81, 0x80, 0],
    [0x0a, 0x80, 0x80, 0x80],
    [0x0a, 0x81, 0x80, 0x10]
  ])
    assert.throws(() => readDataHead(Uint8Array.from(bad)), { code: 'WIRE_RANGE' }, String(bad))
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), b => {
      try {
        const { length, start } = readDataHead(b)
        assert.deepEqual(dataHead(length), Uint8Array.from(b.subarray(0, start)))
      } catch (e) {
        assert.ok(e instanceof KithError && e.code === 'WIRE_RANGE', String(e))
      }
    })
  )
})
