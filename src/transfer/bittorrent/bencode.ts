/**
 * Bencoding (BEP 3): one strict reader and one writer. Integers are safe integers without a leading zero or "-0"; a dictionary
 * keeps the bytes it was read from, because an info-hash is taken over what was received, never over a re-encoding.
 */
import { KithError } from '../../base/errors.ts'
import { MAX_BENCODE_BYTES, MAX_BENCODE_DEPTH, MAX_BENCODE_TOKENS } from './limits.ts'

export type BValue = number | Uint8Array | readonly BValue[] | BDict

/** Keys are byte strings, one character (U+0000 to U+00FF) per byte, so that they sort as the protocol wants. */
export class BDict {
  readonly entries: ReadonlyMap<string, BValue>
  /** The received bytes of the whole dictionary; empty when it was made here. */
  readonly raw: Uint8Array
  constructor(entries: Iterable<readonly [string, BValue]>, raw: Uint8Array = new Uint8Array()) {
    this.entries = new Map(entries)
    this.raw = raw
  }
  get(key: string): BValue | undefined {
    return this.entries.get(key)
  }
  int(key: string): number | undefined {
    const v = this.entries.get(key)
    return typeof v === 'number' ? v : undefined
  }
  bytes(key: string): Uint8Array | undefined {
    const v = this.entries.get(key)
    return v instanceof Uint8Array ? v : undefined
  }
  dict(key: string): BDict | undefined {
    const v = this.entries.get(key)
    return v instanceof BDict ? v : undefined
  }
  list(key: string): readonly BValue[] | undefined {
    const v = this.entries.get(key)
    return Array.isArray(v) ? v : undefined
  }
}

export interface BencodeReadOptions {
  /** Take dictionaries whose keys are out of order, as every client does with .torrent files. Duplicate keys are never taken. */
  readonly anyOrder?: boolean
  readonly maxBytes?: number
}

/** Reads exactly one value. @throws BENCODE_ERROR */
export function decodeBencode(bytes: Uint8Array, options: BencodeReadOptions = {}): BValue {
  const { value, used } = decodeBencodePrefix(bytes, options)
  if (used !== bytes.length) throw bad('bytes are left after the value', used)
  return value
}

/** Reads one value at the start of `bytes` and says how many bytes it took (BEP 9 puts raw data behind a dictionary). @throws BENCODE_ERROR */
export function decodeBencodePrefix(
  bytes: Uint8Array,
  options: BencodeReadOptions = {}
): { readonly value: BValue; readonly used: number } {
  if (bytes.length > (options.maxBytes ?? MAX_BENCODE_BYTES)) throw bad('too large', bytes.length)
  const parser = new Parser(bytes, options.anyOrder ?? false)
  const value = parser.value(0)
  return { value, used: parser.at }
}

/** Writes a value; dictionaries are sorted. @throws BENCODE_ERROR for an unsafe integer or a key beyond U+00FF */
export function encodeBencode(value: BValue): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  write(value, parts)
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    out.set(p, at)
    at += p.length
  }
  return out
}

/** A dictionary from plain names; undefined values are left out. */
export const bdict = (fields: Readonly<Record<string, BValue | undefined>>): BDict =>
  new BDict(Object.entries(fields).filter((e): e is [string, BValue] => e[1] !== undefined))

const bad = (why: string, at: number): KithError => new KithError('BENCODE_ERROR', `bad bencoding: ${why}`, { at })

const MINUS = 0x2d
const ZERO = 0x30
const COLON = 0x3a
const DICT = 0x64
const END = 0x65
const INT = 0x69
const LIST = 0x6c
const isDigit = (c: number | undefined): boolean => c !== undefined && c >= ZERO && c <= ZERO + 9

class Parser {
  at = 0
  readonly #b: Uint8Array
  readonly #anyOrder: boolean
  #tokens = 0

  constructor(bytes: Uint8Array, anyOrder: boolean) {
    this.#b = bytes
    this.#anyOrder = anyOrder
  }

  value(depth: number): BValue {
    if (++this.#tokens > MAX_BENCODE_TOKENS) throw bad('too many values', this.at)
    const c = this.#b[this.at]
    if (c === INT) return this.#integer()
    if (isDigit(c)) return this.#string()
    if (c !== LIST && c !== DICT) throw bad('no value starts here', this.at)
    if (depth >= MAX_BENCODE_DEPTH) throw bad('nested too deeply', this.at)
    return c === LIST ? this.#list(depth) : this.#dict(depth)
  }

  #list(depth: number): BValue[] {
    const items: BValue[] = []
    this.at++
    while (this.#b[this.at] !== END) items.push(this.value(depth + 1))
    this.at++
    return items
  }

  #dict(depth: number): BDict {
    const start = this.at++
    const entries = new Map<string, BValue>()
    let last: string | undefined
    while (this.#b[this.at] !== END) {
      if (!isDigit(this.#b[this.at])) throw bad('a key is not a string', this.at)
      if (++this.#tokens > MAX_BENCODE_TOKENS) throw bad('too many values', this.at)
      const key = latin1(this.#string())
      if (entries.has(key)) throw bad('a key occurs twice', this.at)
      if (last !== undefined && key < last && !this.#anyOrder) throw bad('keys are out of order', this.at)
      last = key
      entries.set(key, this.value(depth + 1))
    }
    this.at++
    return new BDict(entries, this.#b.subarray(start, this.at))
  }

  #integer(): number {
    const start = ++this.at
    const negative = this.#b[this.at] === MINUS
    if (negative) this.at++
    const value = this.#digits(END, start)
    if (negative && value === 0) throw bad('negative zero', start)
    return negative ? -value : value
  }

  #string(): Uint8Array {
    const start = this.at
    const length = this.#digits(COLON, start)
    if (length > this.#b.length - this.at) throw bad('a string is longer than the data', start)
    this.at += length
    return this.#b.subarray(this.at - length, this.at)
  }

  /** Digits up to `end`, which is consumed: no sign, no leading zero, at most 2^53 - 1. */
  #digits(end: number, start: number): number {
    const first = this.at
    let value = 0
    for (let c = this.#b[this.at]; c !== end; c = this.#b[++this.at]) {
      if (c === undefined || !isDigit(c)) throw bad('not a number', start)
      value = value * 10 + (c - ZERO)
      if (value > Number.MAX_SAFE_INTEGER) throw bad('a number is too large', start)
    }
    const count = this.at - first
    if (count === 0 || (count > 1 && this.#b[first] === ZERO)) throw bad('a number has no digits or a leading zero', start)
    this.at++
    return value
  }
}

function write(value: BValue, parts: Uint8Array[]): void {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw bad('not a safe integer', 0)
    parts.push(ascii(`i${value === 0 ? 0 : value}e`))
  } else if (value instanceof Uint8Array) {
    parts.push(ascii(`${value.length}:`), value)
  } else if (value instanceof BDict) {
    parts.push(ascii('d'))
    for (const [key, v] of [...value.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
      write(fromLatin1(key), parts)
      write(v, parts)
    }
    parts.push(ascii('e'))
  } else {
    parts.push(ascii('l'))
    for (const v of value) write(v, parts)
    parts.push(ascii('e'))
  }
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, c => c.charCodeAt(0))

function latin1(bytes: Uint8Array): string {
  let out = ''
  for (const b of bytes) out += String.fromCharCode(b)
  return out
}

function fromLatin1(key: string): Uint8Array {
  if (/[^\u0000-\u00ff]/.test(key)) throw bad('a key is not a byte string', 0)
  return ascii(key)
}
