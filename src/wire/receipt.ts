/**
 * Receipt: the downloader states which chunks of a file it got from one seeder and what it owes for them; the seeder
 * countersigns. Signed (signed.ts) with RECEIPT_DOMAIN by the payer's instance key; the seeder's countersignature is a Signed
 * over the same body with COUNTERSIGN_DOMAIN. Carries the fields of spec 004's ChunkPayment.
 *
 * | bytes | field       | notes                                              |
 * | ----: | ----------- | -------------------------------------------------- |
 * |     1 | version     | 1                                                  |
 * |    16 | id          | random; makes every receipt unique                 |
 * |    32 | fileId      |                                                    |
 * |    32 | root        |                                                    |
 * |     8 | size        | of the file                                        |
 * |    32 | offerHash   | SHA-256 of the offer's body that set the price     |
 * |    32 | payer       | instance key of the downloader (= signer)          |
 * |    32 | payee       | instance key of the seeder                         |
 * |    20 | from        | payer's wallet                                     |
 * |    20 | to          | payee's wallet                                     |
 * |     8 | chainId     | 0 when the price is 0                              |
 * |   2+n | pricePerMb  | wei, decimal                                       |
 * |     8 | bytes       | verified bytes delivered: the chunks' exact sum    |
 * |   2+n | amount      | wei, decimal: floor(bytes × price / 2^20)          |
 * |     8 | time        | ms since 1970                                      |
 * |     1 | parts       | count 1..8, each: protocol text16, chunks (ranges) |
 *
 * The reader checks that bytes and amount follow from the other fields; a chunk may be in one part only.
 * Spec: docs/wire/payment.md §1
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES, MAX_CHUNKS, MAX_OFFER_PROTOCOLS, MAX_PROTOCOL_NAME_BYTES, MAX_WEI_DIGITS } from './limits.ts'
import { type Range, rangesCodec } from './ranges.ts'
import { amountDue, parseWei } from './wei.ts'

export const RECEIPT_DOMAIN = 'kith/receipt/1'
export const COUNTERSIGN_DOMAIN = 'kith/receipt-countersign/1'

export interface ReceiptPart {
  /** Transfer protocol that carried the chunks, for information only (spec 004). */
  readonly protocol: string
  readonly chunks: readonly Range[]
}

export interface Receipt {
  readonly id: Uint8Array
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly size: number
  readonly offerHash: Uint8Array
  readonly payer: Uint8Array
  readonly payee: Uint8Array
  readonly from: Uint8Array
  readonly to: Uint8Array
  readonly chainId: number
  readonly pricePerMb: bigint
  readonly bytes: number
  readonly amount: bigint
  readonly time: number
  readonly parts: readonly ReceiptPart[]
}

export const receiptCodec: Codec<Receipt> = {
  write(w, m) {
    w.u8(1)
    for (const b of [m.id, m.fileId, m.root]) w.bytes(b)
    w.u64(m.size)
    for (const b of [m.offerHash, m.payer, m.payee, m.from, m.to]) w.bytes(b)
    w.u64(m.chainId)
    w.text16(m.pricePerMb.toString())
    w.u64(m.bytes)
    w.text16(m.amount.toString())
    w.u64(m.time)
    w.u8(m.parts.length)
    for (const p of m.parts) {
      w.text16(p.protocol)
      rangesCodec.write(w, p.chunks)
    }
  },
  read(r) {
    expectVersion(r, 1)
    const head = {
      id: r.bytes(16),
      fileId: r.bytes(32),
      root: r.bytes(32),
      size: r.u64(),
      offerHash: r.bytes(32),
      payer: r.bytes(32),
      payee: r.bytes(32),
      from: r.bytes(20),
      to: r.bytes(20),
      chainId: r.u64(),
      pricePerMb: parseWei(r.text16(MAX_WEI_DIGITS)),
      bytes: r.u64(),
      amount: parseWei(r.text16(MAX_WEI_DIGITS)),
      time: r.u64()
    }
    if (head.size > MAX_CHUNKS * CHUNK_BYTES) throw new KithError('WIRE_RANGE', 'file is too large', { size: head.size })
    const n = r.u8()
    if (n < 1 || n > MAX_OFFER_PROTOCOLS) throw new KithError('WIRE_RANGE', 'receipt without parts or with too many', { count: n })
    const parts: ReceiptPart[] = []
    for (let i = 0; i < n; i++) parts.push({ protocol: r.text16(MAX_PROTOCOL_NAME_BYTES), chunks: rangesCodec.read(r) })
    const receipt = { ...head, parts }
    if (receiptBytes(receipt.size, parts) !== head.bytes) throw new KithError('WIRE_RANGE', 'receipt bytes do not match its chunks')
    if (amountDue(head.bytes, head.pricePerMb) !== head.amount) throw new KithError('WIRE_RANGE', 'receipt amount does not match its price')
    return receipt
  }
}

/** Bytes covered by the parts of a receipt. @throws WIRE_RANGE when a chunk is named twice or lies beyond the file */
export function receiptBytes(size: number, parts: readonly ReceiptPart[]): number {
  const total = Math.ceil(size / CHUNK_BYTES)
  let end = 0
  let chunks = 0
  for (const { first, count } of parts.flatMap(p => p.chunks).sort((a, b) => a.first - b.first)) {
    if (first < end) throw new KithError('WIRE_RANGE', 'receipt names a chunk twice', { chunk: first })
    end = first + count
    chunks += count
  }
  if (end > total) throw new KithError('WIRE_RANGE', 'receipt names chunks beyond the file')
  const short = end === total && total > 0 ? total * CHUNK_BYTES - size : 0
  return chunks * CHUNK_BYTES - short
}
