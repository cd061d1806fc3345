/** The few DER encodings (ITU-T X.690) that a certificate needs. Writing only; lengths up to 64 KiB. Pure. */
import { concatBytes, utf8 } from '../base/bytes.ts'

/** Tag, definite length, content. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const n = content.length
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff]
  return concatBytes(Uint8Array.of(tag, ...length), content)
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => der(0x30, ...parts)
export const octets = (content: Uint8Array): Uint8Array => der(0x04, content)
export const TRUE: Uint8Array = Uint8Array.of(0x01, 0x01, 0xff)

/** A positive INTEGER from big-endian bytes. */
export const positive = (bytes: Uint8Array): Uint8Array => {
  const from = bytes.findIndex(b => b !== 0)
  const short = from < 0 ? Uint8Array.of(0) : bytes.subarray(from)
  return der(0x02, short[0]! >= 0x80 ? concatBytes(Uint8Array.of(0), short) : short)
}

/** BIT STRING; the last `unused` bits do not count. */
export const bits = (content: Uint8Array, unused = 0): Uint8Array => der(0x03, Uint8Array.of(unused), content)

/** OBJECT IDENTIFIER from dotted text. */
export function oid(dotted: string): Uint8Array {
  const [a = 0, b = 0, ...rest] = dotted.split('.').map(Number)
  const out = [40 * a + b]
  for (const n of rest) {
    const groups = [n & 0x7f]
    for (let left = n >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80)
    out.push(...groups)
  }
  return der(0x06, Uint8Array.from(out))
}

export const utf8String = (text: string): Uint8Array => der(0x0c, utf8(text))
/** `YYMMDDHHMMSSZ`: for years to 2049 (RFC 5280 §4.1.2.5). */
export const utcTime = (text: string): Uint8Array => der(0x17, utf8(text))
/** `YYYYMMDDHHMMSSZ`: for years from 2050. */
export const generalizedTime = (text: string): Uint8Array => der(0x18, utf8(text))
