/**
 * Payloads of `chunk`: a large payload in parts, with what is lost sent again. The four forms differ in `kind`:
 *
 * | kind     | from     | members                                                                                       |
 * | -------- | -------- | --------------------------------------------------------------------------------------------- |
 * | init     | sender   | transfer_id, original_msg_type, total_bytes, total_chunks, sha256 of the whole payload        |
 * | part     | sender   | transfer_id, chunk_index, total_chunks, data: base64, checksum: the first 16 bytes of its SHA-256 |
 * | resend   | receiver | transfer_id, missing [[first, last], …]                                                       |
 * | complete | receiver | transfer_id: the whole is durable                                                             |
 *
 * All parts but the last have the same length, which follows from total_bytes and total_chunks.
 * Spec: docs/wire/message.md §4
 */
import { bytesToHex } from '../base/bytes.ts'
import { MAX_CHUNKED_BYTES, MAX_MESSAGE_CHUNK_BYTES, MAX_MESSAGE_CHUNKS, MAX_MISSING_RANGES } from './limits.ts'
import { badPayload, hex, integer, list, text, uuid, word } from './payload-fields.ts'
import type { Json, JsonObject } from './strict-json.ts'
import { base64ToBytes, bytesToBase64, hexToBytesOf } from './text-bytes.ts'

export type ChunkPayload = ChunkInit | ChunkPart | ChunkResend | ChunkComplete

export interface ChunkInit {
  readonly kind: 'init'
  readonly transferId: string
  /** As on the wire: maybe unknown. */
  readonly originalMsgType: string
  readonly totalBytes: number
  readonly totalChunks: number
  /** Of the whole payload. */
  readonly sha256: Uint8Array
}
export interface ChunkPart {
  readonly kind: 'part'
  readonly transferId: string
  readonly chunkIndex: number
  readonly totalChunks: number
  readonly data: Uint8Array
  /** 16 bytes; to be compared by the reader. */
  readonly checksum: Uint8Array
}
export interface ChunkResend {
  readonly kind: 'resend'
  readonly transferId: string
  /** Ascending, disjoint, both ends included. */
  readonly missing: readonly (readonly [number, number])[]
}
export interface ChunkComplete {
  readonly kind: 'complete'
  readonly transferId: string
}

export function chunkBody(c: ChunkPayload): JsonObject {
  const head = { kind: c.kind, transfer_id: c.transferId }
  switch (c.kind) {
    case 'init':
      return {
        ...head,
        original_msg_type: c.originalMsgType,
        total_bytes: c.totalBytes,
        total_chunks: c.totalChunks,
        sha256: bytesToHex(c.sha256)
      }
    case 'part':
      return {
        ...head,
        chunk_index: c.chunkIndex,
        total_chunks: c.totalChunks,
        data: bytesToBase64(c.data),
        checksum: bytesToHex(c.checksum)
      }
    case 'resend':
      return { ...head, missing: c.missing.map(([first, last]) => [first, last]) }
    case 'complete':
      return head
  }
}

/** @throws BAD_PAYLOAD */
export function readChunk(o: JsonObject): ChunkPayload {
  const transferId = uuid(o, 'transfer_id')
  const kind = word(o, 'kind', ['init', 'part', 'resend', 'complete'])
  switch (kind) {
    case 'init':
      return readInit(o, transferId)
    case 'part':
      return readPart(o, transferId)
    case 'resend':
      return { kind, transferId, missing: readMissing(list(o, 'missing', MAX_MISSING_RANGES)) }
    case 'complete':
      return { kind, transferId }
  }
}

function readInit(o: JsonObject, transferId: string): ChunkInit {
  const totalBytes = integer(o, 'total_bytes', 1, MAX_CHUNKED_BYTES)
  const totalChunks = integer(o, 'total_chunks', 1, Math.min(MAX_MESSAGE_CHUNKS, totalBytes))
  // Parts of equal length must be able to fill the whole: the last one is not empty, and none is too long (threats CH2).
  const length = Math.ceil(totalBytes / totalChunks)
  if (length > MAX_MESSAGE_CHUNK_BYTES || Math.ceil(totalBytes / length) !== totalChunks)
    throw badPayload('total_chunks', 'as many as the bytes need')
  const sha256 = hexToBytesOf(32, hex(o, 'sha256', 32))!
  return { kind: 'init', transferId, originalMsgType: text(o, 'original_msg_type', 64), totalBytes, totalChunks, sha256 }
}

function readPart(o: JsonObject, transferId: string): ChunkPart {
  const totalChunks = integer(o, 'total_chunks', 1, MAX_MESSAGE_CHUNKS)
  const data = base64ToBytes(text(o, 'data', Math.ceil(MAX_MESSAGE_CHUNK_BYTES / 3) * 4))
  if (!data || data.length === 0 || data.length > MAX_MESSAGE_CHUNK_BYTES) throw badPayload('data', 'base64')
  return {
    kind: 'part',
    transferId,
    chunkIndex: integer(o, 'chunk_index', 0, totalChunks - 1),
    totalChunks,
    data,
    checksum: hexToBytesOf(16, hex(o, 'checksum', 16))!
  }
}

function readMissing(values: readonly Json[]): readonly (readonly [number, number])[] {
  let next = 0
  return values.map(range => {
    const [first, last] = Array.isArray(range) && range.length === 2 ? (range as readonly Json[]) : []
    const isRange = Number.isSafeInteger(first) && Number.isSafeInteger(last)
    if (!isRange || (first as number) < next || (last as number) < (first as number) || (last as number) >= MAX_MESSAGE_CHUNKS)
      throw badPayload('missing', 'ascending ranges of parts')
    next = (last as number) + 1
    return [first as number, last as number] as const
  })
}
