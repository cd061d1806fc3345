/** `#crypto` in the browser: WebCrypto, and @noble where it has no synchronous form. Same signatures as crypto.node.ts. */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { base64UrlToBytes, concatBytes, hexToBytes } from '../base/bytes.ts'
import { isLowOrder } from './low-order.ts'

const PKCS8_ED25519 = hexToBytes('302e020100300506032b657004220420')

/** `n` bytes from the browser's random generator. */
export function randomBytes(n: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(n))
}

/** Ed25519 public key (32 bytes) of a 32-byte seed. */
export async function ed25519PublicKey(seed: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const jwk = await crypto.subtle.exportKey('jwk', await privateKey(seed, true))
  return base64UrlToBytes(jwk.x ?? '')
}

/** Ed25519 signature (64 bytes) by a 32-byte seed. */
export async function ed25519Sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.sign('Ed25519', await privateKey(seed, false), Uint8Array.from(message)))
}

/** One verification rule everywhere: small-order keys and R are refused first, then the platform decides. Never throws. */
export async function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  if (isLowOrder(publicKey) || isLowOrder(signature.subarray(0, 32))) return false
  try {
    const key = await crypto.subtle.importKey('raw', Uint8Array.from(publicKey), 'Ed25519', false, ['verify'])
    return await crypto.subtle.verify('Ed25519', key, Uint8Array.from(signature), Uint8Array.from(message))
  } catch {
    return false
  }
}

/** HMAC-SHA256: 32 bytes. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hmac(sha256, key, message))
}

/** HKDF-SHA256 (RFC 5869) with an empty salt unless given. */
export async function hkdfSha256(
  ikm: Uint8Array,
  info: Uint8Array,
  length: number,
  salt: Uint8Array = new Uint8Array()
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', Uint8Array.from(ikm), 'HKDF', false, ['deriveBits'])
  const params = { name: 'HKDF', hash: 'SHA-256', salt: Uint8Array.from(salt), info: Uint8Array.from(info) }
  return new Uint8Array(await crypto.subtle.deriveBits(params, key, length * 8))
}

/** Compares in constant time; unequal lengths are unequal. */
export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let diff = 0
  for (let i = 0; i < a.length; i++) diff |= a[i]! ^ b[i]!
  return diff === 0
}

const privateKey = (seed: Uint8Array, extractable: boolean): Promise<CryptoKey> =>
  crypto.subtle.importKey('pkcs8', concatBytes(PKCS8_ED25519, seed), 'Ed25519', extractable, ['sign'])
