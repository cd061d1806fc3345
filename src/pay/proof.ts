/**
 * Transfer proof (spec 004): everything a third party needs to check alone that both sides signed for these chunks of this file, as
 * one JSON document. docs/wire/payment.md §4 is the definition; test/interop/verify_proof.py checks one with none of our code.
 *
 * `merkle_proof.nodes` are the tops of the subtrees that hold no delivered chunk, from left to right, largest first: with the hashes
 * of the delivered chunks they give the root again.
 */
import { sha256 } from '#hash'
import { bytesToHex, concatBytes, equalBytes } from '../base/bytes.ts'
import { decode, Writer } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import { eachChunk } from '../wire/ranges.ts'
import { type Receipt, receiptCodec } from '../wire/receipt.ts'
import { formatAddress } from './address.ts'
import { MAX_RECEIPT_CHUNKS } from './limits.ts'

export interface ProofSource {
  readonly body: Uint8Array
  readonly signature: Uint8Array
  readonly countersignature: Uint8Array | undefined
  /** How it was paid; undefined while it is not. */
  readonly payment:
    | { readonly tx: string; readonly invoiceId: Uint8Array; readonly salt: Uint8Array; readonly receipts: readonly Uint8Array[] }
    | undefined
}

/**
 * @param chunkHashes all chunk hashes of the file, 32 bytes each
 * @throws HASHES_MISMATCH, PROOF_TOO_LARGE
 */
export function makeProof(source: ProofSource, chunkHashes: Uint8Array): Record<string, unknown> {
  const receipt = decode(receiptCodec, source.body)
  const count = Math.ceil(receipt.size / CHUNK_BYTES)
  if (chunkHashes.length !== 32 * count || !equalBytes(rootOf(receipt.size, chunkHashes), receipt.root))
    throw new KithError('HASHES_MISMATCH', 'these are not the chunk hashes of the file in the receipt')
  const delivered = receipt.parts.flatMap(p => [...eachChunk(p.chunks)]).sort((a, b) => a - b)
  if (delivered.length > MAX_RECEIPT_CHUNKS)
    throw new KithError('PROOF_TOO_LARGE', 'too many chunks for one proof', { chunks: delivered.length })
  const nodes: string[] = []
  absentTops(chunkHashes, delivered, 0, count, nodes)
  return {
    type: 'kith-transfer-proof/1',
    file_hash: bytesToHex(receipt.fileId),
    file_size: receipt.size,
    chunk_size: CHUNK_BYTES,
    chunks_delivered: delivered,
    chunk_hashes: delivered.map(i => bytesToHex(chunkHashes.subarray(32 * i, 32 * i + 32))),
    merkle_proof: { root: bytesToHex(receipt.root), leaf_count: count, nodes },
    timestamp: receipt.time,
    payment: paymentOf(receipt),
    receipt: bytesToHex(source.body),
    payer: { key: bytesToHex(receipt.payer), signature: bytesToHex(source.signature) },
    payee: { key: bytesToHex(receipt.payee), signature: source.countersignature ? bytesToHex(source.countersignature) : null },
    settlement: source.payment
      ? {
          chain_id: receipt.chainId,
          transaction: source.payment.tx,
          invoice_id: bytesToHex(source.payment.invoiceId),
          salt: bytesToHex(source.payment.salt),
          receipt_hashes: source.payment.receipts.map(bytesToHex)
        }
      : null
  }
}

/** Spec 004's ChunkPayment. */
const paymentOf = (r: Receipt): Record<string, unknown> => ({
  from: formatAddress(r.from),
  to: formatAddress(r.to),
  bytes: r.bytes,
  price_per_mb: r.pricePerMb.toString(),
  amount: r.amount.toString(),
  protocol_used: r.parts.map(p => p.protocol)
})

/** The tops of maximal subtrees of [lo, hi) without delivered chunks. */
function absentTops(hashes: Uint8Array, delivered: readonly number[], lo: number, hi: number, out: string[]): void {
  if (lo === hi) return
  const inside = countBetween(delivered, lo, hi)
  if (inside === 0) out.push(bytesToHex(topOf(hashes, lo, hi)))
  else if (inside < hi - lo) {
    const middle = split(lo, hi)
    absentTops(hashes, delivered, lo, middle, out)
    absentTops(hashes, delivered, middle, hi, out)
  }
}

/** RFC 6962: the left subtree holds the largest power of two of leaves that is smaller than all. */
function split(lo: number, hi: number): number {
  let k = 1
  while (k * 2 < hi - lo) k *= 2
  return lo + k
}

function topOf(hashes: Uint8Array, lo: number, hi: number): Uint8Array {
  if (hi === lo) return sha256(new Uint8Array())
  if (hi - lo === 1) return sha256(concatBytes(Uint8Array.of(0), hashes.subarray(32 * lo, 32 * hi)))
  const middle = split(lo, hi)
  return sha256(concatBytes(Uint8Array.of(1), topOf(hashes, lo, middle), topOf(hashes, middle, hi)))
}

function rootOf(size: number, hashes: Uint8Array): Uint8Array {
  const w = new Writer()
  w.u8(2)
  w.u64(size)
  w.bytes(topOf(hashes, 0, hashes.length / 32))
  return sha256(w.done())
}

/** How many of a sorted list lie in [lo, hi). */
const countBetween = (sorted: readonly number[], lo: number, hi: number): number => lowerBound(sorted, hi) - lowerBound(sorted, lo)

function lowerBound(sorted: readonly number[], value: number): number {
  let a = 0
  let b = sorted.length
  while (a < b) {
    const m = (a + b) >>> 1
    if (sorted[m]! < value) a = m + 1
    else b = m
  }
  return a
}
