/** The transcript between two amuled 2.3.3, byte by byte, and properties of every message. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, concatBytes, hexToBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { checkHashSet, hashSetCount, PART_BYTES } from '../hashing/ed2k-hash.ts'
import { LeReader } from './bytes.ts'
import {
  decodeFileAnswer,
  decodeFileRequest,
  decodeHashSet,
  encodeFileAnswer,
  encodeFileRequest,
  encodeHashSet,
  hasPart,
  readStatus,
  statusOf
} from './file-request.ts'
import { asUserHash, decodeHello, encodeHello, type Hello } from './hello.ts'
import { decodeKithPacket, encodeKithPacket, isTicketMac, ticketMac } from './kith-packet.ts'
import { MAX_RANGE_BYTES } from './limits.ts'
import { PacketSplitter } from './packet.ts'
import {
  decodeCompressed,
  decodePartRequest,
  encodeCompressed,
  encodePartRequest,
  partHeadBytes,
  readPartHead,
  writePartHead
} from './parts.ts'
import { decodeSources, encodeSources } from './peers.ts'
import { decodeRecoveryAnswer, decodeRecoveryRequest, encodeRecoveryAnswer, encodeRecoveryRequest } from './recovery.ts'

const wire = (e: unknown): boolean => hasCode(e, 'ED2K_WIRE')
const payloadOf = (hex: string): Uint8Array => [...new PacketSplitter().push(hexToBytes(hex))][0]!.payload
const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n })
const HASH = hexToBytes('e2a9531fe3aaeb44b121aecd92f57730')
const SIZE = 20 * 2 ** 20

test('a hello of amuled', () => {
  const hello = decodeHello(
    payloadOf(
      'e35d000000011075657772470e33bf0c2b433870466f54010000003612070000000201000105006b69746832030100113c000000030100f940124012030100fb800d0403030100fa12321334030100feb8040000030100ef01000000000000000000'
    ),
    false
  )
  assert.equal(bytesToHex(hello.userHash), '75657772470e33bf0c2b433870466f54')
  assert.deepEqual([hello.id, hello.port, hello.udpPort, hello.kadPort, hello.name], [1, 0x1236, 0x1240, 0x1240, 'kith2'])
  assert.deepEqual(hello.abilities, {
    aich: true,
    compression: true,
    secIdent: 3,
    extendedRequests: 2,
    multiPacket: true,
    multiPacketExt: true,
    largeFiles: true,
    sourceExchange2: true,
    crypt: { supported: true, requested: false, required: false },
    kadVersion: 8
  })
  const answer = payloadOf(
    'e35c0000004c8a440be7f30ee15914eb88347e5d6f1e010000003612070000000201000105006b69746831030100113c000000030100f940124012030100fb800d0403030100fa12321334030100feb8040000030100ef01000000000000000000'
  )
  assert.equal(decodeHello(answer, true).name, 'kith1')
  const options = bytesToHex(encodeHello(hello, false)).match(/030100fa(........)/)![1]!
  assert.equal(hexToBytes(options)[1]! >> 4, 3, 'who says less is sent addresses the wrong way round')
})
test('a question about a file, its answer and its hash set, as amuled writes them', () => {
  const question = payloadOf('c525000000a4e2a9531fe3aaeb44b121aecd92f5773000004001000000005803000000004f830400009e')
  const q = decodeFileRequest(question, true, 2)
  assert.deepEqual(q, {
    hash: HASH,
    size: SIZE,
    status: { complete: false, count: 3, bits: new Uint8Array(1) },
    wantsName: true,
    wantsStatus: true,
    wantsAich: true,
    wantsSources: 4
  })
  assert.deepEqual(encodeFileRequest(q, 2), question)
  const answer = payloadOf(
    'c53600000093e2a9531fe3aaeb44b121aecd92f57730590a0072616e6432302e62696e5000009d2fbcd750c4c756ec0d60a2957878558e9fab9564'
  )
  const a = decodeFileAnswer(answer, SIZE)
  assert.deepEqual([a.name, a.status], ['rand20.bin', { complete: true }])
  assert.equal(bytesToHex(a.aich!), '2fbcd750c4c756ec0d60a2957878558e9fab9564')
  assert.deepEqual(decodeFileAnswer(encodeFileAnswer(a), SIZE), a)
  const set = payloadOf(
    'e34300000052e2a9531fe3aaeb44b121aecd92f577300300be416a8ef3881ef78fcad7fbd894fa5b3c63e85ebe4005c722f795a2b146a0ed2e795f41193d02b786d23e5156d7c00d'
  )
  const { hash, hashes } = decodeHashSet(set)
  assert.deepEqual(encodeHashSet(hash, hashes), set)
  assert.deepEqual(checkHashSet(HASH, SIZE, hashes), hashes)
})
test('requests for parts and parts, as amuled writes them', () => {
  const request = hexToBytes('e32900000047e2a9531fe3aaeb44b121aecd92f5773000e0280100b02b0100802e0100b02b0100802e0100503101')
  const { ranges } = decodePartRequest(payloadOf(bytesToHex(request)), false)
  const first = 0x128e000
  assert.deepEqual(
    ranges,
    [0, 1, 2].map(i => ({ start: first + i * 184_320, end: first + (i + 1) * 184_320 }))
  )
  assert.deepEqual(encodePartRequest(HASH, ranges), request)
  const head = hexToBytes('e31928000046e2a9531fe3aaeb44b121aecd92f5773000e0280100082901')
  assert.deepEqual(readPartHead(head, 0, false, 10_264), { hash: HASH, start: first, end: first + 10_240 })
  const out = new Uint8Array(30)
  assert.equal(writePartHead(out, 0, HASH, { start: first, end: first + 10_240 }, false), 30)
  assert.deepEqual(out, head)
})

test('hellos are read back', () => {
  const bits = fc.boolean()
  const abilities = fc.record(
    {
      aich: bits,
      compression: bits,
      secIdent: fc.nat(3),
      extendedRequests: fc.nat(2),
      multiPacket: bits,
      multiPacketExt: bits,
      largeFiles: bits,
      sourceExchange2: bits,
      crypt: fc.record({ supported: bits, requested: bits, required: bits }, { noNullPrototype: true }),
      kadVersion: fc.nat(15)
    },
    { noNullPrototype: true }
  )
  const hello: fc.Arbitrary<Hello> = fc.record(
    {
      userHash: bytes(16).map(asUserHash),
      id: fc.nat(2 ** 32 - 1),
      port: fc.nat(65_535),
      udpPort: fc.nat(65_535),
      kadPort: fc.nat(65_535),
      name: fc.string({ unit: 'grapheme', maxLength: 20 }),
      serverIp: fc.nat(2 ** 32 - 1),
      serverPort: fc.nat(65_535),
      abilities,
      kithNonce: fc.option(bytes(16), { nil: undefined })
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(hello, bits, (h, isAnswer) => assert.deepEqual(decodeHello(encodeHello(h, isAnswer), isAnswer), h)))
})
test('status has one bit for each part, one more for exact multiples, and none when complete', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 * PART_BYTES }), fc.func(fc.boolean()), (size, has) => {
      const status = statusOf(size, has)
      const parts = Math.ceil(size / PART_BYTES)
      for (let p = 0; p < parts; p++) assert.equal(hasPart(status, p), has(p))
      if (!status.complete) assert.equal(status.count, hashSetCount(size))
    })
  )
  assert.deepEqual(
    statusOf(2 * PART_BYTES, p => p === 1),
    { complete: false, count: 3, bits: new Uint8Array([2]) }
  )
  assert.throws(() => readStatus(new LeReader(new Uint8Array([4, 0, 0])), 2 * PART_BYTES), wire, 'a status for another size')
})
test('ED5: ranges that are empty, backwards, too long or overlap are refused; the same twice counts once', () => {
  const request = (ranges: [number, number][], is64 = false): ReturnType<typeof decodePartRequest> => {
    const words = [...ranges.map(r => r[0]), ...ranges.map(r => r[1])]
    const view = new DataView(new ArrayBuffer(16 + words.length * (is64 ? 8 : 4)))
    for (const [i, n] of words.entries()) {
      view.setUint32(16 + i * (is64 ? 8 : 4), n % 2 ** 32, true)
      if (is64) view.setUint32(20 + i * 8, Math.floor(n / 2 ** 32), true)
    }
    return decodePartRequest(new Uint8Array(view.buffer), is64)
  }
  const none: [number, number] = [0, 0]
  assert.equal(request([[5, 9], [5, 9], none]).ranges.length, 1)
  for (const bad of [
    [9, 5],
    [5, 5],
    [0, MAX_RANGE_BYTES + 1]
  ] as [number, number][])
    assert.throws(() => request([bad, none, none]), wire)
  assert.throws(() => request([[0, 100], [50, 150], none]), wire)
  const far = 2 ** 33 + 5
  assert.deepEqual(request([[far, far + 10], none, none], true).ranges, [{ start: far, end: far + 10 }])
  assert.throws(() => decodePartRequest(new Uint8Array(41), false), wire)
})
test('ranges are asked for and sent with 32 or 64 bits and read back', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 40), fc.integer({ min: 1, max: MAX_RANGE_BYTES }), bytes(16), (start, length, hash) => {
      const range = { start, end: start + length }
      const is64 = range.end >= 2 ** 32
      const packet = [...new PacketSplitter().push(encodePartRequest(hash, [range]))][0]!
      assert.equal(packet.opcode, is64 ? 0xa3 : 0x47)
      assert.deepEqual(decodePartRequest(packet.payload, is64), { hash, ranges: [range] })
      const head = new Uint8Array(38)
      const n = writePartHead(head, 0, hash, range, is64)
      assert.equal(n, partHeadBytes(is64))
      assert.deepEqual(readPartHead(head, 0, is64, n - 6 + length), { hash, ...range })
      assert.throws(() => readPartHead(head, 0, is64, n - 6 + length + 1), wire)
    })
  )
})
test('ED4: a compressed range is cut into pieces; one that claims more than any range needs is refused', () => {
  const range = { start: 5, end: 100_005 }
  const zlib = new Uint8Array(25_000).fill(7)
  const pieces = encodeCompressed(HASH, range, zlib, 10_240).map(p =>
    decodeCompressed([...new PacketSplitter().push(p)][0]!.payload, false)
  )
  assert.deepEqual(
    pieces.map(p => [p.start, p.total, p.piece.length]),
    [
      [5, 25_000, 10_240],
      [5, 25_000, 10_240],
      [5, 25_000, 4520]
    ]
  )
  const [huge] = encodeCompressed(HASH, range, zlib.subarray(0, 10), 10)
  huge!.set([0xff, 0xff, 0xff, 0x7f], 6 + 20)
  assert.throws(() => decodeCompressed(huge!.subarray(6), false), wire)
})
test('source exchange is read back; clients that cannot be reached are left out', () => {
  const peers = [
    {
      host: '203.0.113.7',
      port: 4662,
      userHash: asUserHash(new Uint8Array(16).fill(9)),
      crypt: { supported: true, requested: true, required: false }
    },
    { host: '198.51.100.2', port: 5000, userHash: undefined, crypt: { supported: false, requested: false, required: false } }
  ]
  assert.deepEqual(decodeSources(encodeSources(HASH, peers, 4)), { hash: HASH, peers })
  for (const version of [1, 2, 3])
    assert.deepEqual(
      decodeSources(encodeSources(HASH, peers, version)).peers.map(p => p.host),
      peers.map(p => p.host)
    )
  const low = encodeSources(
    HASH,
    [
      { host: '0.0.0.5', port: 1 },
      { host: '203.0.113.7', port: 0 }
    ],
    4
  )
  assert.deepEqual(decodeSources(low).peers, [])
  assert.throws(() => decodeSources(new Uint8Array(19)), wire)
})
test('recovery data and what Kith peers say are read back', () => {
  const node = (max: number): fc.Arbitrary<{ id: number; hash: Uint8Array }> =>
    fc.record({ id: fc.integer({ min: 1, max }), hash: bytes(20) }, { noNullPrototype: true })
  const nodes = fc.oneof(
    fc.array(node(0xffff), { minLength: 1, maxLength: 60 }),
    fc.array(node(2 ** 32 - 1), { minLength: 1, maxLength: 60 })
  )
  fc.assert(
    fc.property(bytes(16), fc.nat(65_535), bytes(20), fc.option(nodes, { nil: undefined }), (hash, part, root, list) => {
      assert.deepEqual(decodeRecoveryRequest(encodeRecoveryRequest({ hash, part, root })), { hash, part, root })
      const answer = { hash, data: list && { part, root, nodes: list } }
      assert.deepEqual(decodeRecoveryAnswer(encodeRecoveryAnswer(answer)), answer)
    })
  )
  const refusal = {
    kind: 'refusal',
    hash: HASH,
    cause: 'unpaid',
    reason: 'the credit is used up',
    ranges: [{ start: 2 ** 40, end: 2 ** 40 + 9 }]
  } as const
  assert.deepEqual(decodeKithPacket(encodeKithPacket(refusal)), refusal)
  const ticket = { id: new Uint8Array(16), key: new Uint8Array(32).fill(1), expiresAt: 0 }
  const scope = { hash: HASH, seederHash: HASH, ownHash: HASH, nonce: HASH }
  const mac = ticketMac(ticket.key, scope)
  const shown = { kind: 'ticket', hash: HASH, id: ticket.id, mac } as const
  assert.deepEqual(decodeKithPacket(encodeKithPacket(shown)), shown)
  assert.ok(isTicketMac(ticket, scope, mac))
  assert.ok(!isTicketMac(ticket, { ...scope, nonce: new Uint8Array(16) }, mac))
  assert.equal(decodeKithPacket(new Uint8Array([9])), undefined)
})
test('ED3: any bytes are a message or ED2K_WIRE, never anything else', () => {
  const readers: ((b: Uint8Array) => unknown)[] = [
    b => decodeHello(b, false),
    b => decodeHello(b, true),
    b => decodeFileRequest(b, true, 2),
    b => decodeFileRequest(b, false, 0),
    b => decodeFileAnswer(b, SIZE),
    b => decodeHashSet(b),
    b => decodePartRequest(b, false),
    b => decodePartRequest(b, true),
    b => decodeCompressed(b, true),
    b => decodeSources(b),
    b => decodeRecoveryRequest(b),
    b => decodeRecoveryAnswer(b),
    b => decodeKithPacket(b)
  ]
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.uint8Array({ maxLength: 100 }).map(b => concatBytes(HASH, b))
  )
  fc.assert(
    fc.property(fc.constantFrom(...readers), hostile, (read, b) => {
      try {
        read(b)
      } catch (error) {
        assert.ok(error instanceof KithError && error.code === 'ED2K_WIRE', String(error))
      }
    }),
    { numRuns: 2000 }
  )
  assert.throws(() => checkHashSet(HASH, SIZE, new Uint8Array(48)), { code: 'INVALID_PROOF' })
})
