import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { Tag } from '../ed2k/tags.ts'
import { compareDistance, sharedBits } from '../kademlia/distance.ts'
import { idOfClient, isNear, swapWords } from './kad-id.ts'
import { decodeKad, encodeKad, hostToNumber, type KadMessage, kindOf, numberToHost } from './messages.ts'
import { keptSource, peerOf, resultOf, tagsOfOwn } from './sources.ts'

const wire = (e: unknown): boolean => hasCode(e, 'KAD_WIRE')
const decode = (bytes: Uint8Array): KadMessage => decodeKad(kindOf(bytes[1]!)!, bytes.subarray(2))
const rec = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const id = fc.uint8Array({ minLength: 16, maxLength: 16 })
const u8 = fc.integer({ min: 0, max: 255 })
const u16 = fc.integer({ min: 0, max: 65_535 })
const host = fc.ipV4()
const contact = rec({ id, host, port: u16, tcpPort: u16, version: u8 })
const contacts = fc.array(contact, { maxLength: 31 })
const tag: fc.Arbitrary<Tag> = fc.oneof(
  rec({ name: u8, type: fc.constant('u8' as const), value: u8 }),
  rec({ name: u8, type: fc.constant('text' as const), value: fc.string({ maxLength: 20, unit: 'grapheme' }) })
)
const tags = fc.array(tag, { maxLength: 5 })
const kind = <K extends KadMessage['kind']>(k: K): fc.Arbitrary<K> => fc.constant(k)
const message: fc.Arbitrary<KadMessage> = fc.oneof(
  rec({ kind: kind('first') }),
  rec({ kind: kind('firstAnswer'), id, tcpPort: u16, version: u8, contacts }),
  rec({ kind: kind('hello'), id, tcpPort: u16, version: u8, flags: u8 }),
  rec({ kind: kind('helloAnswer'), id, tcpPort: u16, version: u8, flags: u8 }),
  rec({ kind: kind('helloHeard'), id }),
  rec({ kind: kind('find'), most: fc.integer({ min: 0, max: 31 }), target: id, asked: id }),
  rec({ kind: kind('found'), target: id, contacts }),
  rec({ kind: kind('search'), target: id, from: u16, size: fc.maxSafeNat() }),
  rec({ kind: kind('results'), id, target: id, results: fc.array(rec({ id, tags }), { maxLength: 5 }) }),
  rec({ kind: kind('publish'), target: id, client: id, tags }),
  rec({ kind: kind('published'), target: id, load: u8 }),
  rec({ kind: kind('check'), tcpPort: u16, client: id, crypt: u8 }),
  rec({ kind: kind('yourAddress'), host }),
  rec({ kind: kind('reached') }),
  rec({ kind: kind('ping') }),
  rec({ kind: kind('pong'), port: u16 })
)

test('messages are read back', () => {
  fc.assert(
    fc.property(message, m => {
      assert.deepEqual(decode(encodeKad(m)), m)
    })
  )
})
test('ED1, ED2: any bytes give a message or KAD_WIRE', () => {
  const opcodes = [0x01, 0x09, 0x11, 0x19, 0x21, 0x22, 0x29, 0x34, 0x3b, 0x44, 0x4b, 0x53, 0x58, 0x59, 0x60, 0x61]
  fc.assert(
    fc.property(fc.constantFrom(...opcodes), fc.uint8Array({ maxLength: 120 }), (opcode, payload) => {
      try {
        decodeKad(kindOf(opcode)!, payload)
      } catch (error) {
        assert.ok(error instanceof KithError && error.code === 'KAD_WIRE', String(error))
      }
    })
  )
  // Every real message, cut or lengthened.
  fc.assert(
    fc.property(message, fc.nat(300), (m, at) => {
      const bytes = encodeKad(m)
      if (at < bytes.length - 2) assert.throws(() => decode(bytes.subarray(0, at + 2)), wire)
      assert.throws(() => decode(new Uint8Array([...bytes, 0, 0])), wire)
    })
  )
  assert.equal(kindOf(0x33), undefined)
})

/** Between two amuled 2.3.3, at 203.0.113.1 (id 8fb64fde 11110101 …, user hash afcc6f9b…), .2 and .3. */
test('bytes between two aMule programs are read, and written the same', () => {
  const same = [
    'e460',
    'e4614012',
    'e4210b675d17abe78cf2562d874e41a4189faede4fb68f010111110101010101010101',
    'e429675d17abe78cf2562d874e41a4189fae00',
    'e434de4fb68f0e8ab47759ca556e2397110300000000400100000000',
    'e411de4fb68f01011111010101010101010136120801090100f202',
    'e419de4fb68f03033333030303030303030336120801090100f202',
    'e45336129b6fccaf0e020ea95fe3237fe56f16a400',
    'e458037100cb',
    'e444de4fb68f0e8ab47759ca556e239711039b6fccaf0e020ea95fe3237fe56f16a404090100ff01080100fd36120301000200004001090100f300',
    'e44bde4fb68f0e8ab47759ca556e2397110301',
    'e43bde4fb68f010111110101010101010101de4fb68f0e8ab47759ca556e2397110301009b6fccaf0e020ea95fe3237fe56f16a4060301000200004001030100fe017100cb090100ff01080100fd3612090100f300080100fc4012'
  ]
  const [, pong, find, , search, hello, , check, yours, publish, , results] = same.map(hex => {
    const m = decode(hexToBytes(hex))
    assert.equal(bytesToHex(encodeKad(m)), hex)
    return m
  })
  assert.deepEqual(pong, { kind: 'pong', port: 4672 })
  assert.ok(find?.kind === 'find' && find.most === 11 && bytesToHex(find.asked).startsWith('8fb64fde11110101'))
  assert.ok(hello?.kind === 'hello' && hello.flags === 2 && hello.tcpPort === 4662 && hello.version === 8)
  assert.ok(search?.kind === 'search' && search.size === 20_971_520)
  assert.ok(bytesToHex(search.target).startsWith('8fb64fde'))
  assert.ok(check?.kind === 'check' && check.tcpPort === 4662)
  assert.equal(bytesToHex(check.client), 'afcc6f9ba90e020e7f23e35fa4166fe5') // 0e and 6f where user hashes have them
  assert.ok(yours?.kind === 'yourAddress' && yours.host === '203.0.113.3')
  assert.ok(publish?.kind === 'publish')
  // What the publication becomes at a node that keeps it, and what a search makes of it.
  const crypt = { supported: false, requested: false, required: false }
  assert.deepEqual(publish.tags, tagsOfOwn(20_971_520, 4662, crypt))
  const kept = keptSource(publish.client, publish.tags, { host: '203.0.113.1', port: 4672 })!
  assert.ok(results?.kind === 'results' && search)
  assert.deepEqual(resultOf(kept), results.results[0])
  assert.deepEqual(peerOf(results.results[0]!, 20_971_520), { host: '203.0.113.1', port: 4662, userHash: check.client, crypt })
  assert.equal(peerOf(results.results[0]!, 20_971_521), undefined)
})
test('ids: order on the wire, distance, tolerance', () => {
  const a = hexToBytes('000102030405060708090a0b0c0d0e0f')
  assert.equal(bytesToHex(swapWords(a)), '03020100070605040b0a09080f0e0d0c')
  fc.assert(
    fc.property(id, id, id, (x, y, z) => {
      assert.deepEqual(swapWords(swapWords(x)), x)
      assert.equal(sharedBits(x, y), sharedBits(y, x))
      if (sharedBits(x, y) > sharedBits(x, z)) assert.ok(compareDistance(x, y, z) < 0)
    })
  )
  assert.equal(sharedBits(a, a), 128)
  assert.ok(isNear(hexToBytes(`00ff${'00'.repeat(14)}`), a))
  assert.ok(!isNear(hexToBytes(`01${'00'.repeat(15)}`), a))
  assert.deepEqual(idOfClient(a), idOfClient(a))
  assert.equal(numberToHost(hostToNumber('203.0.113.1')), '203.0.113.1')
  assert.equal(hostToNumber('203.0.113.1'), 0xcb007101)
})
test('ED6: sources at port 0, of unknown kinds, that cannot be reached, or of another size are left out', () => {
  const from = { host: '203.0.113.1', port: 4672 }
  const client = new Uint8Array(16)
  const tagsWith = (more: Record<number, number>): Tag[] =>
    Object.entries({ 255: 1, 253: 4662, ...more }).map(([name, value]) => ({ name: Number(name), type: 'u32', value }))
  assert.equal(keptSource(client, tagsWith({ 253: 0 }), from), undefined)
  assert.equal(keptSource(client, tagsWith({ 253: 65_536 }), from), undefined)
  assert.equal(keptSource(client, tagsWith({ 255: 2 }), from), undefined)
  assert.equal(keptSource(client, [], from), undefined)
  // An address in a publication does not count: it comes from where it comes from.
  const kept = keptSource(client, tagsWith({ 254: 0x08080808 }), from)!
  assert.equal(kept.host, '203.0.113.1')
  const closed = keptSource(client, [...tagsWith({ 255: 3, 251: 5 }), { name: 0xf8, type: 'text', value: 'x'.repeat(100) }], from)!
  assert.deepEqual([closed.kind, closed.tags.length], [3, 1])
  assert.equal(peerOf(resultOf(closed), 1), undefined)
  const result = (more: Record<number, number>) => ({ id: client, tags: tagsWith({ 254: 0x08080808, ...more }) })
  assert.deepEqual(peerOf(result({}), 1)?.host, '8.8.8.8')
  for (const bad of [{ 253: 0 }, { 253: 70_000 }, { 254: 0 }, { 255: 6 }, { 2: 2 }]) assert.equal(peerOf(result(bad), 1), undefined)
})
