/** What was delivered, as receipts and invoices. Pure: no clock, no keys. */
import { sha256 } from '#hash'
import { bytesToHex } from '../base/bytes.ts'
import { CHUNK_BYTES, MAX_OFFER_PROTOCOLS } from '../wire/limits.ts'
import { invoiceBytes } from '../wire/paid.ts'
import type { Range } from '../wire/ranges.ts'
import type { ReceiptPart } from '../wire/receipt.ts'
import { MAX_RECEIPT_CHUNKS, MAX_RECEIPT_RANGES } from './limits.ts'

export interface Delivered {
  readonly chunk: number
  readonly protocol: string
}

export interface ReceiptShape {
  readonly parts: readonly ReceiptPart[]
  readonly bytes: number
  readonly chunks: readonly number[]
}

/** Bytes of one chunk of a file of `size` bytes; 0 beyond its end. */
export const chunkBytes = (size: number, chunk: number): number => Math.max(0, Math.min(CHUNK_BYTES, size - chunk * CHUNK_BYTES))

/**
 * Cuts one seeder's chunks (ascending, each once) into receipts: one as a rule; more when the chunks are so scattered or so many that
 * one would exceed the limits of its layout or of its proof.
 */
export function shapeReceipts(size: number, deliveries: readonly Delivered[]): ReceiptShape[] {
  const shapes: ReceiptShape[] = []
  let parts = new Map<string, { first: number; count: number }[]>()
  let chunks: number[] = []
  let bytes = 0
  const close = (): void => {
    if (chunks.length === 0) return
    shapes.push({ parts: [...parts].map(([protocol, ranges]) => ({ protocol, chunks: ranges as readonly Range[] })), bytes, chunks })
    parts = new Map()
    chunks = []
    bytes = 0
  }
  for (const { chunk, protocol } of deliveries) {
    const known = parts.get(protocol)
    const adjacent = known?.at(-1)?.first !== undefined && known.at(-1)!.first + known.at(-1)!.count === chunk
    const full =
      chunks.length >= MAX_RECEIPT_CHUNKS ||
      (!known && parts.size >= MAX_OFFER_PROTOCOLS) ||
      (!adjacent && (known?.length ?? 0) >= MAX_RECEIPT_RANGES)
    if (full) close()
    const ranges = parts.get(protocol) ?? []
    parts.set(protocol, ranges)
    const last = ranges.at(-1)
    if (last && last.first + last.count === chunk) last.count++
    else ranges.push({ first: chunk, count: 1 })
    chunks.push(chunk)
    bytes += chunkBytes(size, chunk)
  }
  close()
  return shapes
}

/** The id under which a settlement stands on the chain: commits to exactly these receipts (their body hashes, in any order). */
export function invoiceIdOf(salt: Uint8Array, receiptHashes: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return sha256(invoiceBytes(salt, sortHashes(receiptHashes)))
}

/** Ascending by bytes: the order an invoice id and the `paid` message use. */
export const sortHashes = (hashes: readonly Uint8Array[]): Uint8Array[] =>
  [...hashes].sort((a, b) => (bytesToHex(a) < bytesToHex(b) ? -1 : 1))
