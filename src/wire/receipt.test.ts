/** Receipts, amounts, signed envelopes and the `paid` messages: vectors, round trips, and what the readers must refuse. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { sha256 } from '../platform/hash.node.ts'
import { CHUNK_BYTES } from './limits.ts'
import { countersignAnswer, invoiceBytes, MAX_PAID_RECEIPTS, paidAnswer, paidCodec } from './paid.ts'
import { eachChunk, toRanges } from './ranges.ts'
import { type Receipt, receiptBytes, receiptCodec } from './receipt.ts'
import { amountDue } from './wei.ts'

const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n })
const fill = (n: number, v: number): Uint8Array => new Uint8Array(n).fill(v)

/** Receipts that follow their own rules. */
const receipts: fc.Arbitrary<Receipt> = fc
  .record({
    chunks: fc.uniqueArray(fc.nat({ max: 60 }), { minLength: 1, maxLength: 20 }),
    cut: fc.nat({ max: 20 }),
    size: fc.integer({ min: 60 * CHUNK_BYTES + 1, max: 61 * CHUNK_BYTES }),
    price: fc.bigInt({ min: 0n, max: 10n ** 24n }),
    ids: fc.tuple(bytes(16), bytes(32), bytes(32), bytes(32), bytes(32), bytes(32), bytes(20), bytes(20)),
    chainId: fc.nat(),
    time: fc.nat()
  })
  .map(({ chunks, cut, size, price, ids: [id, fileId, root, offerHash, payer, payee, from, to], chainId, time }) => {
    const parts = [chunks.slice(0, cut), chunks.slice(cut)]
      .filter(p => p.length > 0)
      .map((p, i) => ({ protocol: ['http', 'bittorrent'][i]!, chunks: toRanges(p) }))
    const n = receiptBytes(size, parts)
    return {
      id,
      fileId,
      root,
      size,
      offerHash,
      payer,
      payee,
      from,
      to,
      chainId,
      pricePerMb: price,
      bytes: n,
      amount: amountDue(n, price),
      time,
      parts
    }
  })

test('the vector of docs/wire/payment.md', () => {
  const parts = [
    { protocol: 'http', chunks: [{ first: 0, count: 3 }] },
    { protocol: 'bittorrent', chunks: [{ first: 4, count: 1 }] }
  ]
  const receipt: Receipt = {
    id: fill(16, 1),
    fileId: fill(32, 2),
    root: fill(32, 3),
    size: 5 * CHUNK_BYTES - 1000,
    offerHash: fill(32, 4),
    payer: fill(32, 5),
    payee: fill(32, 6),
    from: fill(20, 7),
    to: fill(20, 8),
    chainId: 98765,
    pricePerMb: 1_000_000_000_000_000n,
    bytes: 4 * CHUNK_BYTES - 1000,
    amount: amountDue(4 * CHUNK_BYTES - 1000, 1_000_000_000_000_000n),
    time: 1_700_000_000_000,
    parts
  }
  const encoded = encode(receiptCodec, receipt)
  assert.equal(receipt.amount, 999_046_325_683_593n)
  assert.equal(bytesToHex(sha256(encoded)), VECTOR)
  assert.deepEqual(decode(receiptCodec, encoded), receipt)
})
const VECTOR = '16c90367b06234f827ff23724fee4356e5fdbc965de384494ed6cd57a244b1ca'

test('receipts round-trip, and one changed byte never gives the same receipt with other bytes or amount', () => {
  fc.assert(
    fc.property(receipts, fc.nat(), fc.integer({ min: 1, max: 255 }), (receipt, at, flip) => {
      const encoded = encode(receiptCodec, receipt)
      assert.deepEqual(decode(receiptCodec, encoded), receipt)
      encoded[at % encoded.length]! ^= flip
      try {
        const other = decode(receiptCodec, encoded)
        assert.equal(other.bytes, receiptBytes(other.size, other.parts))
        assert.equal(other.amount, amountDue(other.bytes, other.pricePerMb))
        assert.ok(!equalBytes(encode(receiptCodec, other), encode(receiptCodec, receipt)))
      } catch (e) {
        assert.ok(e instanceof KithError && /^WIRE_|^BAD_PRICE$/.test(e.code), String(e))
      }
    })
  )
})

test('any bytes decode and re-encode identically, or throw a code of this folder', () => {
  for (const codec of [receiptCodec, paidCodec, paidAnswer, countersignAnswer]) {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), b => {
        try {
          assert.deepEqual(encode<never>(codec as never, decode(codec as never, b)), b)
        } catch (e) {
          assert.ok(e instanceof KithError && /^WIRE_|^BAD_PRICE$/.test(e.code), String(e))
        }
      })
    )
  }
})

test('a receipt that names a chunk twice, one beyond the file, or none at all is refused', () => {
  const size = 4 * CHUNK_BYTES
  const part = (...chunks: number[]): { protocol: string; chunks: { first: number; count: number }[] } => ({
    protocol: 'http',
    chunks: toRanges(chunks)
  })
  assert.throws(() => receiptBytes(size, [part(1), part(1)]), { code: 'WIRE_RANGE' })
  assert.throws(() => receiptBytes(size, [part(4)]), { code: 'WIRE_RANGE' })
  assert.equal(receiptBytes(size - 1000, [part(0), part(3)]), 2 * CHUNK_BYTES - 1000)
  assert.deepEqual([...eachChunk(toRanges([5, 1, 2, 2]))], [1, 2, 5])
})

test('`paid` lists receipts in one order only, each once, and its invoice id depends on every byte', () => {
  const message = { chainId: 98765, tx: fill(32, 9), salt: fill(32, 1), receipts: [fill(32, 2), fill(32, 3)] }
  assert.deepEqual(decode(paidCodec, encode(paidCodec, message)), message)
  const refused = (list: Uint8Array[]): void =>
    assert.throws(() => decode(paidCodec, encode(paidCodec, { ...message, receipts: list })), { code: 'WIRE_RANGE' })
  refused([])
  refused([fill(32, 3), fill(32, 2)])
  refused([fill(32, 2), fill(32, 2)])
  refused(Array.from({ length: MAX_PAID_RECEIPTS + 1 }, (_, i) => fill(32, i + 1)))
  assert.ok(!equalBytes(invoiceBytes(fill(32, 1), message.receipts), invoiceBytes(fill(32, 2), message.receipts)))
})
