/**
 * Protobuf with one spelling of each message: fields in the order of their numbers, each once (a repeated one in a row), none unknown, no
 * default spelled out, shortest varints. Any protobuf library that writes fields in order writes these bytes; the reader takes no others, so
 * that what was signed is what is read (threats BL1). Numbers are uint64 of the wire below 2^53.
 *
 * | wire type | here                                                        |
 * | --------: | ----------------------------------------------------------- |
 * |         0 | uint64, uint32, bool, enum                                  |
 * |         2 | string, bytes, message, each element of a repeated of those |
 *
 * The fields themselves are in protobuf-fields.ts. Spec: docs/wire/agent-message.md §1
 */
import { fromUtf8, utf8 } from '../base/bytes.ts'
import type { Reader, Writer } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'

const VARINT = 0
const LENGTH = 2
/** Bytes of a varint below 2^53. */
const MAX_VARINT_BYTES = 8

/** Writes a number in the fewest bytes. @throws WIRE_RANGE */
export function writeVarint(w: Writer, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new KithError('WIRE_RANGE', 'not a safe unsigned integer', { value: String(value) })
  let left = value
  for (; left > 0x7f; left = Math.floor(left / 128)) w.u8((left % 128) | 0x80)
  w.u8(left)
}

/** A number field; 0 is not written. @throws WIRE_RANGE */
export function writeUint(w: Writer, field: number, value: number): void {
  if (value === 0) return
  writeVarint(w, field * 8 + VARINT)
  writeVarint(w, value)
}

/** A field with a length, also when it is empty: for messages and elements, where being there means something. */
export function writeBytes(w: Writer, field: number, bytes: Uint8Array): void {
  writeVarint(w, field * 8 + LENGTH)
  writeVarint(w, bytes.length)
  w.bytes(bytes)
}

/** @throws BAD_TEXT for a lone surrogate, WIRE_RANGE above `max` bytes */
export function textBytes(text: string, max: number): Uint8Array<ArrayBuffer> {
  const bytes = utf8(text)
  if (bytes.length > max) throw new KithError('WIRE_RANGE', 'a text is too long', { length: bytes.length, max })
  return bytes
}

/** Strict UTF-8. @throws WIRE_TEXT */
export function textOf(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw new KithError('WIRE_TEXT', 'text is not UTF-8', {}, { cause })
  }
}

/** The fields of one message, read in order. Each read asks for one field; one that is not next is absent. */
export class ProtoReader {
  readonly #r: Reader
  #tag: number | undefined

  constructor(r: Reader) {
    this.#r = r
    this.#next()
  }

  /** Whether the next field has this number, of whatever type. */
  has(field: number): boolean {
    return this.#tag !== undefined && Math.floor(this.#tag / 8) === field
  }
  /** A number; 0 when absent. @throws WIRE_RANGE for a 0 that is spelled out, WIRE_TRUNCATED */
  uint(field: number): number {
    if (this.#tag !== field * 8 + VARINT) return 0
    const value = this.#varint()
    if (value === 0) throw new KithError('WIRE_RANGE', 'a default value is spelled out', { field })
    this.#next()
    return value
  }
  /** A field with a length, possibly empty; undefined when absent. @throws WIRE_RANGE above `max`, before anything is taken; WIRE_TRUNCATED */
  bytes(field: number, max: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.#tag !== field * 8 + LENGTH) return undefined
    const length = this.#varint()
    if (length > max) throw new KithError('WIRE_RANGE', 'length above the limit', { field, length, max })
    const bytes = this.#r.bytes(length)
    this.#next()
    return bytes
  }
  /** @throws WIRE_RANGE when a field is left: unknown, of another type, out of order, or a second time */
  end(): void {
    if (this.#tag !== undefined) throw new KithError('WIRE_RANGE', 'a field that is unknown or out of order', { tag: this.#tag })
  }

  #next(): void {
    this.#tag = this.#r.left === 0 ? undefined : this.#varint()
  }
  #varint(): number {
    let value = 0
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.#r.u8()
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte >= 0x80) continue
      if (byte === 0 && i > 0) throw new KithError('WIRE_RANGE', 'a varint with a needless byte')
      if (value > Number.MAX_SAFE_INTEGER) break
      return value
    }
    throw new KithError('WIRE_RANGE', 'number is above 2^53')
  }
}
