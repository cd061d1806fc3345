/** `#crypto` in Node: node:crypto behind the small set of operations that Kith uses. Same signatures as crypto.browser.ts. */
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  randomBytes as nodeRandomBytes,
  sign as nodeSign,
  timingSafeEqual as nodeTimingSafeEqual,
  verify as nodeVerify
} from 'node:crypto'
import { concatBytes, hexToBytes } from '../base/bytes.ts'
import { isLowOrder } from './low-order.ts'

const PKCS8_ED25519 = hexToBytes('302e020100300506032b657004220420')
const SPKI_ED25519 = hexToBytes('302a300506032b6570032100')

/** `n` bytes from the system's random generator. */
export function randomBytes(n: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(nodeRandomBytes(n))
}

/** Ed25519 public key (32 bytes) of a 32-byte seed. */
export async function ed25519PublicKey(seed: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const spki = createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(SPKI_ED25519.length))
}

/** Ed25519 signature (64 bytes) by a 32-byte seed. */
export async function ed25519Sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(nodeSign(null, message, privateKey(seed)))
}

/** One verification rule everywhere: small-order keys and R are refused first, then the platform decides. Never throws. */
export async function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  if (isLowOrder(publicKey) || isLowOrder(signature.subarray(0, 32))) return false
  try {
    const key = createPublicKey({ key: Buffer.from(concatBytes(SPKI_ED25519, publicKey)), format: 'der', type: 'spki' })
    return nodeVerify(null, message, key, signature)
  } catch {
    return false
  }
}

/** HMAC-SHA256: 32 bytes. */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHmac('sha256', key).update(message).digest())
}

/** HKDF-SHA256 (RFC 5869) with an empty salt unless given. */
export async function hkdfSha256(
  ikm: Uint8Array,
  info: Uint8Array,
  length: number,
  salt: Uint8Array = new Uint8Array()
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(hkdfSync('sha256', ikm, salt, info, length))
}

/** Compares in constant time; unequal lengths are unequal. */
export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && nodeTimingSafeEqual(a, b)
}

const privateKey = (seed: Uint8Array): ReturnType<typeof createPrivateKey> =>
  createPrivateKey({ key: Buffer.from(concatBytes(PKCS8_ED25519, seed)), format: 'der', type: 'pkcs8' })
