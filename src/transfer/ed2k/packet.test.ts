import assert from 'node:assert/strict'
import test from 'node:test'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { hexToBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { ipToNumber, LeReader, LeWriter, numberToIp } from './bytes.ts'
import { MAX_PACKET_BYTES } from './limits.ts'
import { encodePacket, type Packet, PacketSplitter, readPacketHead } from './packet.ts'
import { numberTag, readTags, type Tag, textTag, writeTags } from './tags.ts'
import { encodePacked, unpack } from './unpack.node.ts'

const wire = (e: unknown): boolean => hasCode(e, 'ED2K_WIRE')
const onlyKithErrors = (work: () => unknown): void => {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof KithError && error.code === 'ED2K_WIRE', String(error))
  }
}
const packets = fc.record(
  {
    protocol: fc.constantFrom(0xe3, 0xc5, 0xd4),
    opcode: fc.integer({ min: 0, max: 255 }),
    payload: fc.uint8Array({ maxLength: 300 })
  },
  { noNullPrototype: true }
)

test('packets are read back from any cuts of the stream', () => {
  fc.assert(
    fc.property(fc.array(packets, { maxLength: 5 }), fc.array(fc.nat(50), { minLength: 1 }), (list, cuts) => {
      const bytes = Buffer.concat(list.map(p => encodePacket(p.protocol, p.opcode, p.payload)))
      const splitter = new PacketSplitter()
      const got: Packet[] = []
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const n = cuts[i % cuts.length]! + 1
        got.push(...splitter.push(bytes.subarray(at, at + n)))
        at += n
      }
      assert.deepEqual(got, list)
    })
  )
})
test('ED1: length 0, beyond 2,000,000, or an unknown protocol byte is refused before anything is kept', () => {
  for (const hex of ['e300000000', 'e3ffffffff01', 'e381841e0001', '00', 'e4', '47455420'])
    assert.throws(() => [...new PacketSplitter().push(hexToBytes(hex))], wire, hex)
  assert.equal(readPacketHead(hexToBytes('e380841e0001'))?.payloadBytes, MAX_PACKET_BYTES - 1)
  assert.throws(() => [...new PacketSplitter(100).push(hexToBytes('e36500000001'))], wire)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), b => onlyKithErrors(() => [...new PacketSplitter().push(b)])))
})
test('ED1: a packed packet inflates to at most 250,000 bytes, whole, and nothing follows it', () => {
  const packed = (n: number, extra = 0): Packet => ({
    protocol: 0xd4,
    opcode: 1,
    payload: Buffer.concat([deflateSync(Buffer.alloc(n)), Buffer.alloc(extra)])
  })
  assert.equal(unpack(packed(250_000)).payload.length, 250_000)
  assert.equal(unpack(packed(1)).protocol, 0xc5)
  for (const bad of [packed(250_001), packed(10_000_000), packed(10, 1), { ...packed(10), payload: new Uint8Array(3) }])
    assert.throws(() => unpack(bad), wire)
  assert.throws(() => unpack({ ...packed(1000), payload: packed(1000).payload.subarray(0, 12) }), wire)
  fc.assert(fc.property(fc.uint8Array(), payload => onlyKithErrors(() => unpack({ protocol: 0xd4, opcode: 1, payload }))))
  const bytes = encodePacked(0xe3, 0x15, new Uint8Array(5000))
  assert.ok(bytes.length < 100)
  assert.deepEqual(unpack([...new PacketSplitter().push(bytes)][0]!, 0xe3).payload.length, 5000)
})

const name = fc.oneof(
  fc.nat(255),
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(c => String.fromCharCode(c)), maxLength: 9 }).filter(s => s.length !== 1)
)
const value = fc.oneof(
  fc.record({ type: fc.constant('u8' as const), value: fc.nat(255) }),
  fc.record({ type: fc.constant('u16' as const), value: fc.nat(65_535) }),
  fc.record({ type: fc.constant('u32' as const), value: fc.nat(2 ** 32 - 1) }),
  fc.record({ type: fc.constant('u64' as const), value: fc.maxSafeNat() }),
  fc.record({ type: fc.constant('float' as const), value: fc.float({ noNaN: true }) }),
  fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
  fc.record({ type: fc.constant('text' as const), value: fc.string({ unit: 'grapheme' }) }),
  fc.record({ type: fc.constant('hash' as const), value: fc.uint8Array({ minLength: 16, maxLength: 16 }) }),
  fc.record({ type: fc.constantFrom('blob' as const, 'bsob' as const), value: fc.uint8Array({ maxLength: 40 }) })
)
const tag: fc.Arbitrary<Tag> = fc.tuple(name, value).map(([n, v]) => ({ name: n, ...v }) as Tag)

test('tags are read back, in the old and the new form, with counts of 8 and 32 bits', () => {
  fc.assert(
    fc.property(fc.array(tag), fc.boolean(), fc.constantFrom(8 as const, 32 as const), (tags, newTags, countWidth) => {
      const w = new LeWriter()
      writeTags(w, tags, { newTags, countWidth })
      const r = new LeReader(w.done())
      assert.deepEqual(readTags(r, countWidth), tags)
      r.end()
    })
  )
})
test('ED2: unknown types, texts beyond the end, 65,535 tags and names that are too long are refused', () => {
  for (const hex of [
    '01000000' + '0c010001' + '00',
    '01000000' + '020100010500' + '61',
    'ffff0000',
    '01000000' + '02ffff',
    '01000000' + '0701000100000010',
    '01000000' + '0b01000100000000000020ff'
  ])
    assert.throws(() => readTags(new LeReader(hexToBytes(hex))), wire, hex)
  fc.assert(fc.property(fc.uint8Array(), b => onlyKithErrors(() => readTags(new LeReader(b)))))
  fc.assert(fc.property(fc.uint8Array(), b => onlyKithErrors(() => readTags(new LeReader(b), 8))))
})
test('tags of a captured hello of amuled', () => {
  const tags = readTags(
    new LeReader(
      hexToBytes(
        '070000000201000105006b69746832030100113c000000030100f940124012030100fb800d0403030100fa12321334030100feb8040000030100ef01000000'
      )
    )
  )
  assert.equal(textTag(tags, 1), 'kith2')
  assert.deepEqual(
    [0x11, 0xf9, 0xfb, 0xfa, 0xfe, 0xef, 0x55].map(id => numberTag(tags, id)),
    [60, 0x12401240, 0x03040d80, 0x34133212, 0x4b8, 1, undefined]
  )
})
test('addresses are numbers with the first part in the low byte', () => {
  assert.equal(ipToNumber('203.0.113.1'), 0x017100cb)
  assert.equal(numberToIp(0x017100cb), '203.0.113.1')
  for (const bad of ['1.2.3', '1.2.3.256', '::1', '1.2.3.4.5', ' 1.2.3.4']) assert.throws(() => ipToNumber(bad), wire)
})
