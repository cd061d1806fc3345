/**
 * Requests for ranges of a file, and the packets that carry them.
 *
 *     E3 47 hash | u32 start ×3 | u32 end ×3             C5 A3: u64; ends are exclusive, unused pairs are 0, 0
 *     E3 46 hash | u32 start | u32 end | data            C5 A2: u64
 *     C5 40 hash | u32 start | u32 compressed | piece    C5 A1: u64 start; one zlib stream for each range, cut into pieces
 *
 * Spec: docs/wire/ed2k.md §6
 */
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { COMPRESSION_SLACK_BYTES, MAX_RANGE_BYTES, RANGES_PER_REQUEST } from './limits.ts'
import { edonkey, emule } from './opcodes.ts'
import { encodePacket, PACKET_HEADER_BYTES, protocols, writePacketHead } from './packet.ts'

/** Bytes of a file, `end` not included. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Offsets from here on need 64 bits. */
const LIMIT_32: number = 2 ** 32
const HASH_BYTES = 16

/** One packet that asks for one to three ranges. */
export function encodePartRequest(hash: Uint8Array, ranges: readonly ByteRange[]): Uint8Array<ArrayBuffer> {
  const isLong = ranges.some(r => r.end >= LIMIT_32)
  const w = new LeWriter().bytes(hash)
  const put = (n: number): LeWriter => (isLong ? w.u64(n) : w.u32(n))
  for (let i = 0; i < RANGES_PER_REQUEST; i++) put(ranges[i]?.start ?? 0)
  for (let i = 0; i < RANGES_PER_REQUEST; i++) put(ranges[i]?.end ?? 0)
  return isLong
    ? encodePacket(protocols.emule, emule.requestParts64, w.done())
    : encodePacket(protocols.edonkey, edonkey.requestParts, w.done())
}

/**
 * The ranges of a request. The same range twice counts once.
 * @throws ED2K_WIRE empty or backwards, longer than three blocks, overlapping (threats ED5)
 */
export function decodePartRequest(payload: Uint8Array, is64: boolean): { readonly hash: Uint8Array; readonly ranges: ByteRange[] } {
  const r = new LeReader(payload)
  const hash = r.hash()
  const numbers = Array.from({ length: 2 * RANGES_PER_REQUEST }, () => (is64 ? r.u64() : r.u32()))
  r.end()
  const ranges: ByteRange[] = []
  for (let i = 0; i < RANGES_PER_REQUEST; i++) {
    const start = numbers[i]!
    const end = numbers[i + RANGES_PER_REQUEST]!
    if (start === 0 && end === 0) continue
    if (start >= end || end - start > MAX_RANGE_BYTES) throw wireError('a range that nobody may ask for', { start, end })
    if (ranges.some(x => x.start === start && x.end === end)) continue
    if (ranges.some(x => start < x.end && x.start < end)) throw wireError('ranges that overlap', { start, end })
    ranges.push({ start, end })
  }
  return { hash, ranges }
}

/** Bytes in front of the data of a part, head of the packet included. */
export const partHeadBytes = (is64: boolean): number => PACKET_HEADER_BYTES + HASH_BYTES + (is64 ? 16 : 8)
export const needs64 = (end: number): boolean => end >= LIMIT_32

/** Writes what stands before the data of one range of a file. @returns its length */
export function writePartHead(target: Uint8Array, at: number, hash: Uint8Array, { start, end }: ByteRange, is64: boolean): number {
  const length = partHeadBytes(is64)
  const payloadBytes = length - PACKET_HEADER_BYTES + (end - start)
  const protocol = is64 ? protocols.emule : protocols.edonkey
  writePacketHead(target, at, { protocol, opcode: is64 ? emule.sendingPart64 : edonkey.sendingPart, payloadBytes })
  target.set(hash, at + PACKET_HEADER_BYTES)
  let to = at + PACKET_HEADER_BYTES + HASH_BYTES
  for (const n of [start, end]) {
    writeU32(target, to, n % LIMIT_32)
    if (is64) writeU32(target, to + 4, Math.floor(n / LIMIT_32))
    to += is64 ? 8 : 4
  }
  return length
}

export interface PartHead extends ByteRange {
  readonly hash: Uint8Array
}

/** Reads hash and range behind the head of a packet with data of a part; `dataBytes` is how much follows. @throws ED2K_WIRE */
export function readPartHead(b: Uint8Array, at: number, is64: boolean, payloadBytes: number): PartHead {
  const r = new LeReader(b.subarray(at + PACKET_HEADER_BYTES, at + partHeadBytes(is64)))
  const hash = r.hash()
  const start = is64 ? r.u64() : r.u32()
  const end = is64 ? r.u64() : r.u32()
  const dataBytes = payloadBytes - (partHeadBytes(is64) - PACKET_HEADER_BYTES)
  if (dataBytes <= 0 || end - start !== dataBytes) throw wireError('a part of another length than it says', { start, end })
  return { hash, start, end }
}

/** A compressed range as the packets that carry it, pieces of `pieceBytes`. */
export function encodeCompressed(hash: Uint8Array, range: ByteRange, zlib: Uint8Array, pieceBytes: number): Uint8Array<ArrayBuffer>[] {
  const is64 = needs64(range.end)
  const packets: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at < zlib.length; at += pieceBytes) {
    const w = new LeWriter(32 + pieceBytes).bytes(hash)
    if (is64) w.u64(range.start)
    else w.u32(range.start)
    w.u32(zlib.length).bytes(zlib.subarray(at, at + pieceBytes))
    packets.push(encodePacket(protocols.emule, is64 ? emule.compressedPart64 : emule.compressedPart, w.done()))
  }
  return packets
}

export interface CompressedPiece {
  readonly hash: Uint8Array
  /** Where the range begins. */
  readonly start: number
  /** Length of the zlib stream of the whole range. */
  readonly total: number
  /** A copy. */
  readonly piece: Uint8Array
}

/** @throws ED2K_WIRE a stream that is longer than any range can need (threats ED4), or nothing in it */
export function decodeCompressed(payload: Uint8Array, is64: boolean): CompressedPiece {
  const r = new LeReader(payload)
  const hash = r.hash()
  const start = is64 ? r.u64() : r.u32()
  const total = r.u32()
  const piece = r.bytes(r.left)
  if (total > MAX_RANGE_BYTES + COMPRESSION_SLACK_BYTES || piece.length === 0 || piece.length > total)
    throw wireError('a compressed range of an impossible length', { total })
  return { hash, start, total, piece }
}

function writeU32(target: Uint8Array, at: number, n: number): void {
  target[at] = n & 255
  target[at + 1] = (n >>> 8) & 255
  target[at + 2] = (n >>> 16) & 255
  target[at + 3] = n >>> 24
}
