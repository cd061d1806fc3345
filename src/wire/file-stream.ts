/**
 * FileRequest and FileResponse of spec 004 ("Message Types"), as protobuf. The bytes are those of any protobuf library that writes
 * fields in order; the reader takes these bytes alone: fields in order, each once, none unknown, no default spelled out, shortest
 * varints. So there is one spelling of each message, and a new field needs a new protocol name.
 *
 * FileRequest:
 *
 * | tag | type   | field     | notes                          |
 * | --: | ------ | --------- | ------------------------------ |
 * |   1 | string | file_hash | 64 lower-case hex digits       |
 * |   2 | uint64 | offset    | ≤ 2^53 - 1                     |
 * |   3 | uint64 | length    | ≤ 2^53 - 1, not 0              |
 *
 * FileResponse:
 *
 * | tag | type   | field           | notes                                           |
 * | --: | ------ | --------------- | ----------------------------------------------- |
 * |   1 | bytes  | data            | ≤ 256 KiB                                       |
 * |   2 | bool   | is_last_chunk   | the last answer to this request                 |
 * |   3 | string | next_chunk_hash | empty or 64 hex digits; never used              |
 * |   4 | string | refusal         | an error code as in rpc.md; then no data        |
 * |   5 | string | reason          | ≤ 256 bytes of UTF-8                            |
 *
 * Spec: docs/wire/stream.md §2, proto/file_stream.proto
 */
import { fromUtf8, utf8 } from '../base/bytes.ts'
import type { Codec, Reader, Writer } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES } from './limits.ts'

export interface FileRequest {
  /** 64 lower-case hex digits. */
  readonly fileHash: string
  readonly offset: number
  readonly length: number
}

export interface FileResponse {
  readonly data: Uint8Array
  readonly isLastChunk: boolean
  readonly nextChunkHash: string
  /** An error code; '' when there is data. */
  readonly refusal: string
  readonly reason: string
}

/** Words that explain a refusal, in bytes. */
export const MAX_REASON_BYTES = 256
/** Bytes of the longest message without data. */
export const MAX_FILE_MESSAGE_BYTES = 512
/** Bytes before the data of a response that carries a whole chunk: the tag and the longest length. */
export const DATA_HEAD_BYTES = 4

const HASH = /^[0-9a-f]{64}$/
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/

export const fileRequest: Codec<FileRequest> = {
  write(w, m) {
    writeText(w, 1, checked(m.fileHash, HASH))
    writeUint(w, 2, m.offset)
    writeUint(w, 3, checkedLength(m.length))
  },
  read(r) {
    const fields = new Fields(r)
    const fileHash = checked(fields.text(1, 64), HASH)
    const offset = fields.uint(2)
    const length = checkedLength(fields.uint(3))
    fields.end()
    return { fileHash, offset, length }
  }
}

export const fileResponse: Codec<FileResponse> = {
  write(w, m) {
    if (m.data.length > 0) {
      w.bytes(dataHead(m.data.length))
      w.bytes(m.data)
    }
    writeUint(w, 2, m.isLastChunk ? 1 : 0)
    writeText(w, 3, m.nextChunkHash)
    writeText(w, 4, m.refusal)
    writeText(w, 5, m.reason)
  },
  read(r) {
    const fields = new Fields(r)
    const data = fields.bytes(1, CHUNK_BYTES)
    const last = fields.uint(2)
    const nextChunkHash = fields.text(3, 64)
    const refusal = fields.text(4, 64)
    const reason = fields.text(5, MAX_REASON_BYTES)
    fields.end()
    if (last > 1) throw new KithError('WIRE_RANGE', 'a bool is neither 0 nor 1')
    if (nextChunkHash !== '') checked(nextChunkHash, HASH)
    if (refusal !== '') checked(refusal, CODE)
    if (refusal === '' ? reason !== '' : data.length > 0) throw new KithError('WIRE_RANGE', 'a refusal with data, or a reason without one')
    return { data, isLastChunk: last === 1, nextChunkHash, refusal, reason }
  }
}

/** What comes before `length` bytes of data: so that a chunk can be sent from where it was read to. */
export function dataHead(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([0x0a, ...varint(length)])
}

/**
 * Reads the beginning of a response that is longer than MAX_FILE_MESSAGE_BYTES: `bytes` are its first DATA_HEAD_BYTES.
 * @returns how many bytes of data there are, and where they begin @throws WIRE_RANGE when it does not begin with data
 */
export function readDataHead(bytes: Uint8Array): { readonly length: number; readonly start: number } {
  let length = 0
  for (let i = 1; i < DATA_HEAD_BYTES && bytes[0] === 0x0a; i++) {
    length += (bytes[i]! & 0x7f) * 2 ** (7 * (i - 1))
    if (bytes[i]! < 0x80) {
      if ((bytes[i] === 0 && i > 1) || length > CHUNK_BYTES) break
      return { length, start: i + 1 }
    }
  }
  throw new KithError('WIRE_RANGE', 'a long response that does not begin with data')
}

const varint = (value: number): number[] => {
  const out: number[] = []
  let left = value
  for (; left > 0x7f; left = Math.floor(left / 128)) out.push((left % 128) | 0x80)
  return [...out, left]
}

function writeUint(w: Writer, field: number, value: number): void {
  if (value === 0) return
  if (!Number.isSafeInteger(value) || value < 0) throw new KithError('WIRE_RANGE', 'not a safe unsigned integer', { value: String(value) })
  for (const byte of [field * 8, ...varint(value)]) w.u8(byte)
}

function writeText(w: Writer, field: number, text: string): void {
  if (text === '') return
  const bytes = utf8(text)
  for (const byte of [field * 8 + 2, ...varint(bytes.length)]) w.u8(byte)
  w.bytes(bytes)
}

function checked(text: string, pattern: RegExp): string {
  if (!pattern.test(text)) throw new KithError('WIRE_TEXT', 'a text of another form than this field has')
  return text
}

function checkedLength(length: number): number {
  if (length === 0) throw new KithError('WIRE_RANGE', 'a request for nothing')
  return length
}

/** The fields of one message in order; one that is absent has its default. */
class Fields {
  readonly #r: Reader
  #tag: number | undefined

  constructor(r: Reader) {
    this.#r = r
    this.#next()
  }

  uint(field: number): number {
    if (this.#tag !== field * 8) return 0
    const value = this.#varint()
    if (value === 0) throw new KithError('WIRE_RANGE', 'a default value is spelled out', { field })
    this.#next()
    return value
  }
  bytes(field: number, max: number): Uint8Array<ArrayBuffer> {
    if (this.#tag !== field * 8 + 2) return new Uint8Array()
    const length = this.#varint()
    if (length === 0 || length > max) throw new KithError('WIRE_RANGE', 'length above the limit', { field, length, max })
    const bytes = this.#r.bytes(length)
    this.#next()
    return bytes
  }
  text(field: number, max: number): string {
    const bytes = this.bytes(field, max)
    try {
      return fromUtf8(bytes)
    } catch (cause) {
      throw new KithError('WIRE_TEXT', 'text is not UTF-8', {}, { cause })
    }
  }
  /** @throws WIRE_RANGE when a field is left: unknown, out of order, or a second time */
  end(): void {
    if (this.#tag !== undefined) throw new KithError('WIRE_RANGE', 'a field that is unknown or out of order', { tag: this.#tag })
  }

  #next(): void {
    this.#tag = this.#r.left === 0 ? undefined : this.#r.u8()
  }
  #varint(): number {
    let value = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = this.#r.u8()
      value += (byte & 0x7f) * shift
      if (value > Number.MAX_SAFE_INTEGER) throw new KithError('WIRE_RANGE', 'number is above 2^53')
      if (byte >= 0x80) {
        if (shift >= 2 ** 49) throw new KithError('WIRE_RANGE', 'number is above 2^53')
        continue
      }
      if (byte === 0 && shift > 1) throw new KithError('WIRE_RANGE', 'a varint with a needless byte')
      return value
    }
  }
}
