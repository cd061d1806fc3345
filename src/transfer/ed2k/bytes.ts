/** Little-endian reader and writer: eDonkey's order. The reader checks lengths before it allocates; all it throws is ED2K_WIRE. */
import { utf8 } from '../../base/bytes.ts'
import { type ErrorData, KithError } from '../../base/errors.ts'

/** The other side broke the rules of the wire. */
export const wireError = (why: string, data: ErrorData = {}): KithError<'ED2K_WIRE'> => new KithError('ED2K_WIRE', why, data)

/** Grows as needed; every method returns the writer. @throws ED2K_WIRE when a number does not fit its field */
export class LeWriter {
  #buf: Uint8Array<ArrayBuffer>
  #view: DataView
  #len = 0

  constructor(capacity = 128) {
    this.#buf = new Uint8Array(capacity)
    this.#view = new DataView(this.#buf.buffer)
  }

  u8(v: number): this {
    const at = this.#room(1, v)
    this.#view.setUint8(at, v)
    return this
  }
  u16(v: number): this {
    const at = this.#room(2, v)
    this.#view.setUint16(at, v, true)
    return this
  }
  u32(v: number): this {
    const at = this.#room(4, v)
    this.#view.setUint32(at, v, true)
    return this
  }
  /** From a safe integer. */
  u64(v: number): this {
    if (!Number.isSafeInteger(v) || v < 0) throw wireError('number does not fit', { value: String(v) })
    return this.u32(v % 2 ** 32).u32(Math.floor(v / 2 ** 32))
  }
  f32(v: number): this {
    const at = this.#room(4, 0)
    this.#view.setFloat32(at, v, true)
    return this
  }
  bytes(b: Uint8Array): this {
    const at = this.#room(b.length, 0)
    this.#buf.set(b, at)
    return this
  }
  /** u16 length, then UTF-8. */
  text16(s: string): this {
    const b = utf8(s)
    return this.u16(b.length).bytes(b)
  }
  done(): Uint8Array<ArrayBuffer> {
    return this.#buf.slice(0, this.#len)
  }

  #room(size: number, value: number): number {
    if (!Number.isInteger(value) || value < 0 || (size <= 4 && value >= 2 ** (8 * size)))
      throw wireError('number does not fit', { value: String(value), size })
    if (this.#len + size > this.#buf.length) {
      const next = new Uint8Array(Math.max(2 * this.#buf.length, this.#len + size))
      next.set(this.#buf)
      this.#buf = next
      this.#view = new DataView(next.buffer)
    }
    this.#len += size
    return this.#len - size
  }
}

const lenient = new TextDecoder('utf-8', { ignoreBOM: true })

export class LeReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  u8(): number {
    return this.#bytes[this.#take(1)]!
  }
  u16(): number {
    const at = this.#take(2)
    return this.#bytes[at]! | (this.#bytes[at + 1]! << 8)
  }
  u32(): number {
    const at = this.#take(4)
    const b = this.#bytes
    return (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> 0
  }
  /** A number above 2^53 is refused: nothing that eDonkey counts is so large. */
  u64(): number {
    const low = this.u32()
    const high = this.u32()
    if (high >= 2 ** 21) throw wireError('number is above 2^53')
    return high * 2 ** 32 + low
  }
  f32(): number {
    const at = this.#take(4)
    return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, 4).getFloat32(0, true)
  }
  /** A copy of the next `n` bytes. */
  bytes(n: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.view(n))
  }
  /** The next `n` bytes without a copy: only until the buffer is used again. */
  view(n: number): Uint8Array {
    const at = this.#take(n)
    return this.#bytes.subarray(at, at + n)
  }
  /** 16 bytes: an eDonkey hash or user hash. */
  hash(): Uint8Array<ArrayBuffer> {
    return this.bytes(16)
  }
  /** u16 length ≤ `max`, then text. Old programs send Latin-1: what is no UTF-8 becomes U+FFFD. */
  text16(max = 0xffff): string {
    const n = this.u16()
    if (n > max) throw wireError('text is too long', { length: n, max })
    return this.text(n)
  }
  text(n: number): string {
    return lenient.decode(this.bytes(n))
  }
  /** Refuses what is left over. */
  end(): void {
    if (this.left !== 0) throw wireError('bytes left after a packet', { left: this.left })
  }

  #take(n: number): number {
    if (n > this.left) throw wireError('a packet ends early', { need: n, left: this.left })
    this.#at += n
    return this.#at - n
  }
}

/** IPv4 text to the number whose little-endian bytes are its four parts: how ids and addresses travel between clients and servers. @throws ED2K_WIRE */
export function ipToNumber(ip: string): number {
  const parts = ip.split('.').map(Number)
  if (parts.length !== 4 || !/^(?:\d{1,3}\.){3}\d{1,3}$/.test(ip) || parts.some(p => p > 255)) throw wireError('not an IPv4 address')
  return parts.reduceRight((n, p) => n * 256 + p, 0)
}

/** @see ipToNumber */
export const numberToIp = (n: number): string => [n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24].join('.')
