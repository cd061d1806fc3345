/**
 * Reader, writer and codec for binary layouts (big endian). A codec is pure; the reader checks lengths before it allocates
 * and refuses trailing bytes. Layouts themselves live in `wire/`, one file each.
 */
import { fromUtf8, utf8 } from './bytes.ts'
import { KithError } from './errors.ts'

export class Writer {
  #buf: Uint8Array<ArrayBuffer> = new Uint8Array(256)
  #len = 0

  u8(v: number): void {
    this.#uint(v, 1)
  }
  u16(v: number): void {
    this.#uint(v, 2)
  }
  u32(v: number): void {
    this.#uint(v, 4)
  }
  /** Unsigned 64 bit from a safe integer. @throws WIRE_RANGE */
  u64(v: number): void {
    if (!Number.isSafeInteger(v) || v < 0) throw new KithError('WIRE_RANGE', 'not a safe unsigned integer', { value: String(v) })
    this.u32(Math.floor(v / 2 ** 32))
    this.u32(v % 2 ** 32)
  }
  /** Raw bytes without a length. */
  bytes(b: Uint8Array): void {
    this.#grow(b.length)
    this.#buf.set(b, this.#len)
    this.#len += b.length
  }
  /** u16 length, then the bytes. @throws WIRE_RANGE */
  bytes16(b: Uint8Array): void {
    this.u16(b.length)
    this.bytes(b)
  }
  /** u32 length, then the bytes. @throws WIRE_RANGE */
  bytes32(b: Uint8Array): void {
    this.u32(b.length)
    this.bytes(b)
  }
  /** u16 length, then well-formed UTF-8. @throws WIRE_RANGE, BAD_TEXT */
  text16(s: string): void {
    this.bytes16(utf8(s))
  }
  done(): Uint8Array<ArrayBuffer> {
    return this.#buf.slice(0, this.#len)
  }

  #uint(v: number, size: 1 | 2 | 4): void {
    if (!Number.isInteger(v) || v < 0 || v >= 2 ** (8 * size))
      throw new KithError('WIRE_RANGE', 'number does not fit', { value: String(v), size })
    this.#grow(size)
    for (let i = size - 1; i >= 0; i--) this.#buf[this.#len++] = Math.floor(v / 2 ** (8 * i)) & 0xff
  }
  #grow(n: number): void {
    if (this.#len + n <= this.#buf.length) return
    const next = new Uint8Array(Math.max(this.#buf.length * 2, this.#len + n))
    next.set(this.#buf)
    this.#buf = next
  }
}

export class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  u8(): number {
    return this.#uint(1)
  }
  u16(): number {
    return this.#uint(2)
  }
  u32(): number {
    return this.#uint(4)
  }
  /** Unsigned 64 bit that must be a safe integer. @throws WIRE_RANGE, WIRE_TRUNCATED */
  u64(): number {
    const v = this.#uint(4) * 2 ** 32 + this.#uint(4)
    if (!Number.isSafeInteger(v)) throw new KithError('WIRE_RANGE', 'number is above 2^53')
    return v
  }
  /** A copy of the next `n` bytes. @throws WIRE_TRUNCATED */
  bytes(n: number): Uint8Array<ArrayBuffer> {
    this.#need(n)
    return Uint8Array.from(this.#bytes.subarray(this.#at, (this.#at += n)))
  }
  /** u16 length ≤ `max`, then the bytes. @throws WIRE_RANGE, WIRE_TRUNCATED */
  bytes16(max = 0xffff): Uint8Array<ArrayBuffer> {
    return this.bytes(atMost(this.u16(), max))
  }
  /** u32 length ≤ `max`, then the bytes. @throws WIRE_RANGE, WIRE_TRUNCATED */
  bytes32(max: number): Uint8Array<ArrayBuffer> {
    return this.bytes(atMost(this.u32(), max))
  }
  /** u16 length ≤ `max` bytes, then strict UTF-8. @throws WIRE_RANGE, WIRE_TRUNCATED, WIRE_TEXT */
  text16(max = 0xffff): string {
    const bytes = this.bytes16(max)
    try {
      return fromUtf8(bytes)
    } catch (cause) {
      throw new KithError('WIRE_TEXT', 'text is not UTF-8', {}, { cause })
    }
  }
  /** @throws WIRE_TRAILING when bytes are left. */
  end(): void {
    if (this.left !== 0) throw new KithError('WIRE_TRAILING', 'bytes left after message', { left: this.left })
  }

  #uint(size: 1 | 2 | 4): number {
    this.#need(size)
    let v = 0
    for (let i = 0; i < size; i++) v = v * 256 + this.#bytes[this.#at++]!
    return v
  }
  #need(n: number): void {
    if (n > this.left) throw new KithError('WIRE_TRUNCATED', 'message ends early', { need: n, left: this.left })
  }
}

const atMost = (n: number, max: number): number => {
  if (n > max) throw new KithError('WIRE_RANGE', 'length above the limit', { length: n, max })
  return n
}

export interface Codec<T> {
  write(w: Writer, value: T): void
  read(r: Reader): T
}

/** @throws WIRE_RANGE when a value does not fit its field */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array<ArrayBuffer> {
  const w = new Writer()
  codec.write(w, value)
  return w.done()
}

/** @throws any WIRE_ code; BAD_PRICE when an amount in wei is not one. Nothing else */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const r = new Reader(bytes)
  const value = codec.read(r)
  r.end()
  return value
}

/** Reads the version byte and refuses others. @throws WIRE_VERSION */
export function expectVersion(r: Reader, version: number): void {
  const v = r.u8()
  if (v !== version) throw new KithError('WIRE_VERSION', 'unknown version of a message', { version: v, expected: version })
}
