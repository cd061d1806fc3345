/** Bytes to text and back. Every reader is strict: what it accepts has exactly one spelling. */
import { KithError } from './errors.ts'

const HEX_CODES = Uint8Array.from('0123456789abcdef', c => c.charCodeAt(0))
const ascii = new TextDecoder()

/** Lower-case hex. Through codes, because putting a text together digit by digit leaves a text behind for each. */
export function bytesToHex(bytes: Uint8Array): string {
  const codes = new Uint8Array(2 * bytes.length)
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = HEX_CODES[bytes[i]! >> 4]!
    codes[2 * i + 1] = HEX_CODES[bytes[i]! & 15]!
  }
  return ascii.decode(codes)
}

/** Hex (either case, even length, no prefix) to bytes. @throws BAD_HEX */
export function hexToBytes(hex: string): Uint8Array<ArrayBuffer> {
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) throw new KithError('BAD_HEX', 'not a hex string', { length: hex.length })
  const out = new Uint8Array(hex.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16)
  return out
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    out.set(p, at)
    at += p.length
  }
  return out
}

/** Same length and content. Not constant time: for secrets use `timingSafeEqual` of `#crypto`. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8. @throws BAD_TEXT for a lone surrogate, which has no UTF-8 form and would let two strings share one signature. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  if (!text.isWellFormed()) throw new KithError('BAD_TEXT', 'text holds a lone surrogate')
  return encoder.encode(text)
}

/** Strict UTF-8 decoding: overlong forms, surrogates and truncated sequences are refused. @throws BAD_TEXT */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new KithError('BAD_TEXT', 'not valid UTF-8', { length: bytes.length }, { cause })
  }
}

const B32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** RFC 4648 base32, lower case, no padding. */
export function bytesToBase32(bytes: Uint8Array): string {
  let out = ''
  let bits = 0
  let value = 0
  for (const b of bytes) {
    value = (value << 8) | b
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += B32[(value >>> bits) & 31]
    }
    value &= (1 << bits) - 1
  }
  return bits > 0 ? out + B32[(value << (5 - bits)) & 31] : out
}

/** RFC 4648 base32 without padding, either case; spare bits must be zero. @throws BAD_BASE32 */
export function base32ToBytes(text: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.floor((text.length * 5) / 8))
  let bits = 0
  let value = 0
  let at = 0
  for (const c of text.toLowerCase()) {
    const v = B32.indexOf(c)
    if (v < 0) throw new KithError('BAD_BASE32', 'not base32')
    value = (value << 5) | v
    bits += 5
    if (bits >= 8) {
      bits -= 8
      out[at++] = value >>> bits
      value &= (1 << bits) - 1
    }
  }
  if (value !== 0 || bits >= 5) throw new KithError('BAD_BASE32', 'base32 has spare bits')
  return out
}

/** base64url without padding. */
export function bytesToBase64Url(bytes: Uint8Array): string {
  let binary = ''
  for (const b of bytes) binary += String.fromCharCode(b)
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** base64url without padding; only the canonical spelling is accepted. @throws BAD_BASE64 */
export function base64UrlToBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) throw new KithError('BAD_BASE64', 'not base64url')
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
  const out = Uint8Array.from(binary, c => c.charCodeAt(0))
  if (bytesToBase64Url(out) !== text) throw new KithError('BAD_BASE64', 'base64url has spare bits')
  return out
}
