/**
 * RSA as eMule's secure identification has it: 384 bits, e = 17, PKCS#1 v1.5 with SHA-1. Far too short to prove anything to anybody who
 * cares; it keeps credits apart. By hand because OpenSSL 3 makes no key below 512 bits. Spec: docs/wire/ed2k.md §7
 */
import { sha1 } from '#hash'
import { bytesToHex, concatBytes, equalBytes, hexToBytes } from '../../base/bytes.ts'
import { LeReader, wireError } from './bytes.ts'

export interface RsaKey {
  readonly n: bigint
  readonly d: bigint
}
interface RsaPublic {
  readonly n: bigint
  readonly e: bigint
}

const E = 17n
const BITS = 384
/** DER of the algorithm: rsaEncryption, NULL. */
const RSA_OID = hexToBytes('06092a864886f70d0101010500')
/** DER in front of a SHA-1 in PKCS#1. */
const SHA1_INFO = hexToBytes('3021300906052b0e03021a05000414')
/** Longest key that is looked at, in DER bytes and in bits: more would only cost time. */
export const MAX_KEY_BYTES = 100

/** @param prime a random prime of so many bits */
export function makeRsaKey(prime: (bits: number) => bigint): RsaKey {
  for (;;) {
    const p = prime(BITS / 2)
    const q = prime(BITS / 2)
    const n = p * q
    const phi = (p - 1n) * (q - 1n)
    if (p !== q && n.toString(2).length === BITS && phi % E !== 0n) return { n, d: inverse(E, phi) }
  }
}

/** SubjectPublicKeyInfo: 76 bytes. */
export const publicKeyOf = ({ n }: RsaKey): Uint8Array =>
  der(0x30, der(0x30, RSA_OID), der(0x03, new Uint8Array(1), der(0x30, derInteger(n), derInteger(E))))

export const rsaSign = (key: RsaKey, message: Uint8Array): Uint8Array =>
  toBytes(power(fromBytes(padded(message, BITS / 8)), key.d, key.n), BITS / 8)

/** False for anything that is not a signature by this key, also for a key that cannot be read. */
export function rsaVerify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const { n, e } = readPublicKey(publicKey)
    const length = Math.ceil(n.toString(2).length / 8)
    const s = fromBytes(signature)
    if (signature.length !== length || s >= n || length < SHA1_INFO.length + 20 + 11) return false
    return equalBytes(toBytes(power(s, e, n), length), padded(message, length))
  } catch {
    return false
  }
}

function readPublicKey(bytes: Uint8Array): RsaPublic {
  if (bytes.length > MAX_KEY_BYTES) throw wireError('a key that is too long')
  const outer = new LeReader(derValue(new LeReader(bytes), 0x30))
  const algorithm = derValue(outer, 0x30)
  if (!equalBytes(algorithm, RSA_OID)) throw wireError('not an RSA key')
  const bits = derValue(outer, 0x03)
  if (bits[0] !== 0) throw wireError('not an RSA key')
  const pair = new LeReader(derValue(new LeReader(bits.subarray(1)), 0x30))
  const n = fromBytes(derValue(pair, 0x02))
  const e = fromBytes(derValue(pair, 0x02))
  if (e < 3n || e > 0xffffffffn || (n & 1n) === 0n) throw wireError('not an RSA key')
  return { n, e }
}

function derValue(r: LeReader, tag: number): Uint8Array {
  if (r.u8() !== tag) throw wireError('not DER')
  const first = r.u8()
  if (first > 0x81) throw wireError('not DER of this size')
  return r.view(first === 0x81 ? r.u8() : first)
}

function der(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const head = content.length < 128 ? [tag, content.length] : [tag, 0x81, content.length]
  return concatBytes(new Uint8Array(head), content)
}

function derInteger(n: bigint): Uint8Array {
  const bytes = toBytes(n, Math.ceil(n.toString(16).length / 2))
  return der(0x02, bytes[0]! & 0x80 ? concatBytes(new Uint8Array(1), bytes) : bytes)
}

function padded(message: Uint8Array, length: number): Uint8Array {
  const info = concatBytes(SHA1_INFO, sha1(message))
  const out = new Uint8Array(length).fill(0xff)
  out[0] = 0
  out[1] = 1
  out[length - info.length - 1] = 0
  out.set(info, length - info.length)
  return out
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  let b = base % modulus
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * b) % modulus
    b = (b * b) % modulus
  }
  return result
}

function inverse(a: bigint, modulus: bigint): bigint {
  let [x, y, u, v] = [0n, 1n, modulus, a % modulus]
  while (v !== 0n) {
    const q = u / v
    ;[u, v] = [v, u - q * v]
    ;[x, y] = [y, x - q * y]
  }
  return ((x % modulus) + modulus) % modulus
}

const fromBytes = (b: Uint8Array): bigint => BigInt(`0x${bytesToHex(b) || '0'}`)
const toBytes = (n: bigint, length: number): Uint8Array => hexToBytes(n.toString(16).padStart(2 * length, '0'))
