import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { hasCode, KithError } from '../base/errors.ts'
import { type Answer, FrameReader, requestFrame, responseFrame } from './rpc-frame.ts'

/** Feeds bytes cut at the given sizes. */
function read(kind: 'request' | 'response', bytes: Uint8Array, cuts: readonly number[], max = 1000): Answer | undefined {
  const reader = new FrameReader(kind, max)
  let result: Answer | undefined
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const n = Math.max(1, cuts[i % cuts.length] ?? bytes.length)
    result = reader.push(bytes.subarray(at, at + n))
    at += n
    if (result && at < bytes.length) reader.push(bytes.subarray(at))
  }
  return result
}
const cuts = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 })

test('vectors', () => {
  assert.deepEqual([...requestFrame(Uint8Array.of(7, 8))], [0, 0, 0, 2, 7, 8])
  assert.deepEqual([...responseFrame({ body: Uint8Array.of(9) })], [0, 0, 0, 0, 1, 9])
  assert.deepEqual([...responseFrame({ code: 'NO' })], [1, 0, 0, 0, 2, 0x4e, 0x4f])
})

test('frames survive a round trip, however they are cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1000 }), cuts, (body, c) => assert.deepEqual(read('request', requestFrame(body), c), { body }))
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1000 }), cuts, (body, c) =>
      assert.deepEqual(read('response', responseFrame({ body }), c), { body })
    )
  )
  fc.assert(
    fc.property(fc.stringMatching(/^[A-Z][A-Z0-9_]{0,63}$/), cuts, (code, c) =>
      assert.deepEqual(read('response', responseFrame({ code }), c), { code })
    )
  )
})

test('any bytes give a frame, ask for more, or throw a code', () => {
  const inputs = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.nat(60), fc.nat(255)).map(([b, at, v]) => responseFrame({ body: b }).fill(v, at, at + 1))
  )
  for (const kind of ['request', 'response'] as const) {
    fc.assert(
      fc.property(inputs, cuts, (bytes, c) => {
        try {
          read(kind, bytes, c, 50)
        } catch (e) {
          assert.ok(e instanceof KithError && ['PEER_PROTOCOL', 'REQUEST_TOO_LARGE'].includes(e.code), String(e))
        }
      }),
      { numRuns: 1000 }
    )
  }
})

test('CO9: an announced length is refused or waited for, not allocated', () => {
  assert.throws(
    () => new FrameReader('request', 10).push(Uint8Array.of(0, 0, 0, 11)),
    (e: unknown) => hasCode(e, 'REQUEST_TOO_LARGE')
  )
  assert.throws(
    () => new FrameReader('request', 10).push(new Uint8Array(5000).fill(255)),
    (e: unknown) => hasCode(e, 'REQUEST_TOO_LARGE')
  )
  assert.throws(
    () => new FrameReader('response', 10).push(Uint8Array.of(1, 0, 0, 0, 65)),
    (e: unknown) => hasCode(e, 'PEER_PROTOCOL')
  )
  assert.throws(
    () => new FrameReader('response', 10).push(Uint8Array.of(2, 0, 0, 0, 1)),
    (e: unknown) => hasCode(e, 'PEER_PROTOCOL')
  )
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 50 }, () => new FrameReader('request', 2 ** 30))
  for (const r of readers) r.push(Uint8Array.of(0x3f, 0xff, 0xff, 0xff, 1, 2, 3))
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 2 ** 20)
})

test('CO11: a message in single bytes costs little memory', () => {
  const reader = new FrameReader('request', 2 ** 20)
  const bytes = requestFrame(new Uint8Array(2 ** 20))
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < bytes.length - 1; i++) reader.push(bytes.subarray(i, i + 1))
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 2 ** 20)
  assert.ok(reader.push(bytes.subarray(-1)))
})
