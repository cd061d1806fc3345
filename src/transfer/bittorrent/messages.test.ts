import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { makeGrid } from '../grid.ts'
import { uncleCount } from './hashes.ts'
import { checkLength, decodeHandshake, decodeMessage, encodeHandshake, encodeMessage, type Message, readU32 } from './messages.ts'

const grid = makeGrid(1_000_000, 256 * 1024) // 4 pieces
const isWire = (e: unknown): boolean => hasCode(e, 'PEER_WIRE')
const be = (...v: number[]): Uint8Array => concatBytes(...v.map(x => Uint8Array.of(x >>> 24, x >>> 16, x >>> 8, x)))
const raw = (id: number, ...body: Uint8Array[]): Uint8Array => concatBytes(Uint8Array.of(id), ...body)

const piece = fc.nat(2)
const block = fc.record({ piece, begin: fc.nat(100_000), length: fc.integer({ min: 1, max: 131072 }) }, { noNullPrototype: true })
const u32 = fc.oneof(fc.nat(64), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
const hashRequest = fc.record(
  {
    root: fc.uint8Array({ minLength: 32, maxLength: 32 }).map(b => Uint8Array.from(b)),
    baseLayer: u32,
    index: u32,
    length: u32,
    proofLayers: u32
  },
  { noNullPrototype: true }
)
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.constantFrom<Message>(
    ...(['keepAlive', 'choke', 'unchoke', 'interested', 'notInterested', 'haveAll', 'haveNone'] as const).map(kind => ({ kind }))
  ),
  fc.tuple(fc.constantFrom('have', 'suggest', 'allowedFast'), piece).map(([kind, piece]) => ({ kind, piece })),
  fc.tuple(fc.constantFrom('request', 'cancel', 'reject'), block).map(([kind, b]) => ({ kind, ...b })),
  fc.nat(15).map((n): Message => ({ kind: 'bitfield', bits: Uint8Array.of(n << 4) })),
  fc
    .tuple(piece, fc.nat(1000), fc.uint8Array({ minLength: 1, maxLength: 99 }))
    .map(([piece, begin, b]): Message => ({ kind: 'piece', piece, begin, block: Uint8Array.from(b) })),
  fc.nat(65535).map((port): Message => ({ kind: 'port', port })),
  fc
    .tuple(fc.nat(255), fc.uint8Array({ maxLength: 50 }))
    .map(([id, p]): Message => ({ kind: 'extended', id, payload: Uint8Array.from(p) })),
  fc.tuple(fc.constantFrom('hashRequest', 'hashReject'), hashRequest).map(([kind, r]) => ({ kind, ...r })),
  fc.tuple(hashRequest, fc.nat(5), fc.nat(12)).map(([r, log, proofLayers]): Message => {
    const request = { ...r, length: 2 ** log, proofLayers }
    return { kind: 'hashes', ...request, hashes: new Uint8Array(32 * (request.length + uncleCount(request))).fill(log) }
  }),
  fc.constantFrom<Message>({ kind: 'unknown', id: 10 }, { kind: 'unknown', id: 99 })
)

test('generated messages survive writing and reading', () => {
  fc.assert(
    fc.property(message, m => {
      const bytes = encodeMessage(m)
      assert.equal(readU32(bytes, 0), bytes.length - 4)
      assert.deepEqual(decodeMessage(bytes.subarray(4), grid), m)
    })
  )
})
/** A hashes message whose fields are small, so that some fit. */
const hashesBody = fc
  .tuple(fc.array(fc.nat(4), { minLength: 4, maxLength: 4 }), fc.nat(8))
  .map(([fields, n]) => concatBytes(new Uint8Array(32), be(...fields), new Uint8Array(32 * n)))

test('any bytes are one message and written back identically, or refused with PEER_WIRE', () => {
  const ids = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 20, 21, 22, 23)
  const bytes = fc
    .tuple(ids, fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 48, maxLength: 48 }), hashesBody))
    .map(([id, b]) => raw(id, b))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 30 }), bytes), fc.boolean(), (b, known) => {
      try {
        const m = decodeMessage(b, known ? grid : undefined)
        if (m.kind !== 'unknown') assert.deepEqual(encodeMessage(m).subarray(4), Uint8Array.from(b))
      } catch (e) {
        assert.ok(e instanceof KithError && isWire(e), String(e))
      }
    }),
    { numRuns: 3000 }
  )
})
for (const [why, bytes] of [
  ['a request that begins behind its piece', raw(6, be(0, 262144, 1))],
  ['a request that ends behind its piece', raw(6, be(0, 262143, 2))],
  ['a request that ends behind the last, shorter piece', raw(6, be(3, 200_000, 16384 + 20_000))],
  ['a request of 128 KiB + 1', raw(6, be(0, 0, 131073))],
  ['a request of nothing', raw(6, be(0, 0, 0))],
  ['a request of 2^32 - 1 bytes', raw(6, be(0, 4096, 0xffffffff))],
  ['a request for piece n', raw(6, be(4, 0, 1))],
  ['have n', raw(4, be(4))],
  ['a bitfield with spare bits', raw(5, Uint8Array.of(0xf1))],
  ['a bitfield that is too long', raw(5, Uint8Array.of(0xf0, 0))],
  ['a bitfield that is too short', raw(5)],
  ['a block without bytes', raw(7, be(0, 0))],
  ['a choke with a body', raw(0, Uint8Array.of(1))],
  ['a hash request of 47 bytes', raw(21, new Uint8Array(47))],
  ['hashes without a hash', raw(22, new Uint8Array(48))],
  ['a hash too few', raw(22, new Uint8Array(32), be(0, 0, 4, 2), new Uint8Array(32 * 4))],
  ['hashes for no length', raw(22, new Uint8Array(32), be(0, 0, 0, 0), new Uint8Array(32))],
  ['hashes for a length of 2^32 - 1', raw(22, new Uint8Array(32), be(0, 0, 0xffffffff, 0), new Uint8Array(32))]
] as const) {
  test(`refuses ${why}`, () => assert.throws(() => decodeMessage(bytes, grid), isWire))
}
test('a length is refused before its body is there', () => {
  for (const [length, id] of [
    [2 ** 31, 7],
    [2 ** 31, 99],
    [9 + 131073, 7],
    [2 ** 20, 20],
    [2 ** 20, 5],
    [14, 6],
    [1 + 48 + 32 * 561, 22],
    [50, 23]
  ] as const)
    assert.throws(() => checkLength(length, id, undefined), isWire, `${length} ${id}`)
})

const handshake = {
  infoHash: new Uint8Array(20).fill(1),
  peerId: new Uint8Array(20).fill(2),
  fast: true,
  extended: true,
  dht: true,
  v2: true
}
test('a handshake survives; wrong protocol, wrong length and impossible flags are refused', () => {
  assert.deepEqual(decodeHandshake(encodeHandshake(handshake)), handshake)
  assert.deepEqual(decodeHandshake(encodeHandshake({ ...handshake, fast: false })), { ...handshake, fast: false })
  assert.deepEqual(decodeHandshake(encodeHandshake({ ...handshake, v2: false })), { ...handshake, v2: false })
  const broken = (at: number, v: number): Uint8Array => encodeHandshake(handshake).map((b, i) => (i === at ? v : b))
  assert.throws(() => decodeHandshake(broken(0, 255)), isWire)
  assert.throws(() => decodeHandshake(broken(5, 0)), isWire)
  assert.throws(() => decodeHandshake(encodeHandshake(handshake).subarray(1)), isWire)
  assert.throws(() => decodeHandshake(encodeHandshake(handshake).map((b, i) => (i >= 20 && i < 28 ? 255 : b))), isWire)
})
