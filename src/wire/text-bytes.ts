/** Bytes inside JSON: base64 (RFC 4648 §4, padded) and lower-case hex, each with exactly one spelling, and fast: every message has them. */
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const CODES = Uint8Array.from(BASE64, c => c.charCodeAt(0))
/** 64 and above: no digit. */
const NONE = 0x80
const VALUES: Uint8Array = new Uint8Array(256).fill(NONE)
for (let i = 0; i < 64; i++) VALUES[CODES[i]!] = i
const PAD = 0x3d
const decoder = new TextDecoder()
const encoder = new TextEncoder()

export const base64Length = (bytes: number): number => Math.ceil(bytes / 3) * 4

export function bytesToBase64(bytes: Uint8Array): string {
  const out = new Uint8Array(base64Length(bytes.length))
  writeBase64(bytes, out)
  return decoder.decode(out)
}

/** Writes the base64 of `bytes` as ASCII to the start of `out`. */
export function writeBase64(bytes: Uint8Array, out: Uint8Array): void {
  let at = 0
  let i = 0
  for (; i + 2 < bytes.length; i += 3) {
    const v = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!
    out[at] = CODES[v >> 18]!
    out[at + 1] = CODES[(v >> 12) & 63]!
    out[at + 2] = CODES[(v >> 6) & 63]!
    out[at + 3] = CODES[v & 63]!
    at += 4
  }
  if (i === bytes.length) return
  const v = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8)
  out[at] = CODES[v >> 18]!
  out[at + 1] = CODES[(v >> 12) & 63]!
  out[at + 2] = i + 1 < bytes.length ? CODES[(v >> 6) & 63]! : PAD
  out[at + 3] = PAD
}

/** Undefined unless the text is what bytesToBase64 writes: blanks, missing padding, the url alphabet and spare bits are refused. */
export function base64ToBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  const codes = new Uint8Array(text.length)
  return writeAscii(text, codes) ? readBase64(codes) : undefined
}

/** As base64ToBytes, of ASCII codes. */
export function readBase64(codes: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const { length } = codes
  if (length % 4 !== 0) return undefined
  const padding = length === 0 || codes[length - 1] !== PAD ? 0 : codes[length - 2] === PAD ? 2 : 1
  const out = new Uint8Array((length / 4) * 3 - padding)
  const whole = length - (padding > 0 ? 4 : 0)
  /** The bits of all values: the high one shows whether one was no digit. */
  let seen = 0
  let at = 0
  let i = 0
  for (; i < whole; i += 4) {
    const a = VALUES[codes[i]!]!
    const b = VALUES[codes[i + 1]!]!
    const c = VALUES[codes[i + 2]!]!
    const d = VALUES[codes[i + 3]!]!
    seen |= a | b | c | d
    const v = (a << 18) | (b << 12) | (c << 6) | d
    out[at] = v >> 16
    out[at + 1] = v >> 8
    out[at + 2] = v
    at += 3
  }
  if (padding > 0) {
    const a = VALUES[codes[i]!]!
    const b = VALUES[codes[i + 1]!]!
    const c = padding === 1 ? VALUES[codes[i + 2]!]! : 0
    seen |= a | b | c
    const v = (a << 18) | (b << 12) | (c << 6)
    out[at] = v >> 16
    if (padding === 1) out[at + 1] = v >> 8
    // What the last digit holds beyond the last byte must be zero, or two texts would be the same bytes.
    if ((v & (padding === 1 ? 0xff : 0xffff)) !== 0) return undefined
  }
  return seen < NONE ? out : undefined
}

/** Writes one byte for each character to the start of `out`. @returns false if there is another than ASCII, or no room */
export function writeAscii(text: string, out: Uint8Array): boolean {
  const { read, written } = encoder.encodeInto(text, out)
  return read === text.length && written === text.length
}

const HEX_VALUES: Uint8Array = new Uint8Array(128).fill(NONE)
for (let i = 0; i < 16; i++) HEX_VALUES[i.toString(16).charCodeAt(0)] = i

/** `length` bytes of lower-case hex; undefined for anything else. */
export function hexToBytesOf(length: number, text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length !== length * 2) return undefined
  const out = new Uint8Array(length)
  let seen = 0
  for (let i = 0; i < length; i++) {
    const high = HEX_VALUES[text.charCodeAt(2 * i)] ?? NONE
    const low = HEX_VALUES[text.charCodeAt(2 * i + 1)] ?? NONE
    seen |= high | low
    out[i] = (high << 4) | low
  }
  return seen < NONE ? out : undefined
}
