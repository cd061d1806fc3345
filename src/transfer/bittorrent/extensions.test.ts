import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import {
  decodeExtendedHandshake,
  decodeMetadata,
  decodeNeed,
  decodeTicket,
  type ExtendedHandshake,
  encodeExtendedHandshake,
  encodeMetadata,
  encodeNeed,
  encodeTicket,
  type MetadataMessage
} from './extensions.ts'
import { isTicketMac, ticketMac } from './ticket.ts'

const bytesOf = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n }).map(b => Uint8Array.from(b))
const maybe = <T>(a: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(a, { nil: undefined })

test('generated extended handshakes survive writing and reading', () => {
  const handshake: fc.Arbitrary<ExtendedHandshake> = fc.record(
    {
      ids: fc.constantFrom({}, { ut_metadata: 3 }, { ut_metadata: 1, kith_ticket: 2, kith: 255, ut_pex: 9 }),
      version: maybe(fc.string({ unit: 'grapheme', maxLength: 20 })),
      requestQueue: maybe(fc.integer({ min: 1, max: 9999 })),
      listenPort: maybe(fc.integer({ min: 1, max: 65535 })),
      yourIp: maybe(fc.ipV4()),
      metadataSize: maybe(fc.integer({ min: 1, max: 1e9 })),
      uploadOnly: fc.boolean(),
      nonce: maybe(bytesOf(16)),
      maxBlock: maybe(fc.integer({ min: 1, max: 131072 }))
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(handshake, h => assert.deepEqual(decodeExtendedHandshake(encodeExtendedHandshake(h)), h)))
})
test('generated metadata messages and tickets survive writing and reading', () => {
  const piece = fc.nat(640)
  const metadata: fc.Arbitrary<MetadataMessage> = fc.oneof(
    fc.tuple(fc.constantFrom('request', 'reject'), piece).map(([kind, piece]) => ({ kind, piece })),
    fc
      .tuple(piece, fc.integer({ min: 1, max: 1e7 }), bytesOf(40))
      .map(([piece, totalSize, data]): MetadataMessage => ({ kind: 'data', piece, totalSize, data }))
  )
  fc.assert(fc.property(metadata, m => assert.deepEqual(decodeMetadata(encodeMetadata(m)), m)))
  fc.assert(fc.property(bytesOf(16), bytesOf(32), (id, mac) => assert.deepEqual(decodeTicket(encodeTicket({ id, mac })), { id, mac })))
  assert.equal(decodeNeed(encodeNeed('the credit is used up')), 'the credit is used up')
  assert.ok(decodeNeed(encodeNeed('€'.repeat(5000)))!.startsWith('€€'))
})
test('any payload is read or refused with PEER_WIRE', () => {
  const soup = fc
    .array(fc.constantFrom('d', 'e', '1:m', '4:reqq', 'i5e', 'i-1e', '5:piece', '8:msg_type', 'i0e', '2:kn', '0:', '10:total_size'), {
      maxLength: 12
    })
    .map(s => utf8(s.join('')))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), soup), b => {
      for (const read of [decodeExtendedHandshake, decodeMetadata, decodeTicket, decodeNeed]) {
        try {
          read(b)
        } catch (e) {
          assert.ok(hasCode(e, 'PEER_WIRE'), String(e))
        }
      }
    }),
    { numRuns: 2000 }
  )
})
test('a ticket is bound to the connection: another nonce, peer, torrent or key does not match', () => {
  const fill = (n: number, v: number): Uint8Array => new Uint8Array(n).fill(v)
  const ticket = { id: fill(16, 1), key: fill(32, 2), expiresAt: 0 }
  const scope = { infoHash: fill(20, 3), seederPeerId: fill(20, 4), ownPeerId: fill(20, 5), nonce: fill(16, 6) }
  const mac = ticketMac(ticket.key, scope)
  assert.equal(bytesToHex(mac), '3c8b50b6ed16e1985bdca63630fb5b8d6569cb9ce6bafc618988f8ea31ff96af') // docs/wire/bittorrent.md §3
  assert.ok(isTicketMac(ticket, scope, mac))
  for (const change of [{ infoHash: fill(20, 9) }, { seederPeerId: fill(20, 9) }, { ownPeerId: fill(20, 9) }, { nonce: fill(16, 9) }])
    assert.ok(!isTicketMac(ticket, { ...scope, ...change }, mac))
  assert.ok(!isTicketMac({ ...ticket, key: fill(32, 9) }, scope, mac))
})
