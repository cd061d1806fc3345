/** `#crypto` in the browser: WebCrypto, and @noble where it has no synchronous form. Same signatures as crypto.node.ts. */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { base64UrlToBytes, concatBytes, hexToBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, type Aead, type Signer, type Verifier } from './crypto-types.ts'
import { isLowOrder } from './low-order.ts'

const PKCS8_ED25519 = hexToBytes('302e020100300506032b657004220420')
const PKCS8_X25519 = hexToBytes('302e020100300506032b656e04220420')

/** `n` bytes from the browser's random generator. */
export function randomBytes(n: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(n))
}

/** Ed25519 public key (32 bytes) of a 32-byte seed. */
export async function ed25519PublicKey(seed: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return publicKeyOf(await ed25519Key(seed, true))
}

/** Ed25519 signature (64 bytes) by a 32-byte seed. */
export async function ed25519Sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return openSigner(seed).sign(message)
}

/** One verification rule everywhere: small-order keys and R are refused first, then the platform decides. Never throws. */
export async function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  return openVerifier(publicKey).verify(message, signature)
}

/** Imports an Ed25519 seed (32 bytes) once; it signs as ed25519Sign. */
export function openSigner(seed: Uint8Array): Signer {
  const key = lazy(() => ed25519Key(seed, false))
  return { sign: async message => new Uint8Array(await crypto.subtle.sign('Ed25519', await key(), Uint8Array.from(message))) }
}

/** Imports an Ed25519 key once; it verifies as ed25519Verify. */
export function openVerifier(publicKey: Uint8Array): Verifier {
  const isUsable = publicKey.length === 32 && !isLowOrder(publicKey)
  const key = lazy(() => crypto.subtle.importKey('raw', Uint8Array.from(publicKey), 'Ed25519', false, ['verify']))
  return {
    async verify(message, signature) {
      if (!isUsable || signature.length !== 64 || isLowOrder(signature.subarray(0, 32))) return false
      try {
        return await crypto.subtle.verify('Ed25519', await key(), Uint8Array.from(signature), Uint8Array.from(message))
      } catch {
        return false
      }
    }
  }
}

/** X25519 public key (32 bytes) of any 32 secret bytes (RFC 7748 §5). */
export async function x25519PublicKey(secret: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return publicKeyOf(await x25519Key(secret, true))
}

/**
 * X25519 shared secret (32 bytes). undefined when the other side's key is not 32 bytes, or a point of small order that would make the
 * secret known to everybody (RFC 7748 §6.1, threats HS1): not every browser refuses that by itself.
 */
export async function x25519(secret: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (publicKey.length !== 32) return undefined
  const mine = await x25519Key(secret, false)
  try {
    const theirs = await crypto.subtle.importKey('raw', Uint8Array.from(publicKey), 'X25519', false, [])
    const shared = new Uint8Array(await crypto.subtle.deriveBits({ name: 'X25519', public: theirs }, mine, 256))
    return shared.some(b => b !== 0) ? shared : undefined
  } catch {
    return undefined
  }
}

/** Imports an AES-256-GCM key (32 bytes) once. @throws BAD_KEY */
export function openAead(rawKey: Uint8Array): Aead {
  if (rawKey.length !== AEAD_KEY_BYTES) throw new KithError('BAD_KEY', 'an AES-256 key has 32 bytes', { length: rawKey.length })
  const raw = Uint8Array.from(rawKey)
  const key = lazy(() => crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']))
  return {
    async seal(nonce, plaintext, aad) {
      if (nonce.length !== AEAD_NONCE_BYTES) throw new KithError('BAD_NONCE', 'a nonce has 12 bytes', { length: nonce.length })
      return new Uint8Array(await crypto.subtle.encrypt(gcm(nonce, aad), await key(), Uint8Array.from(plaintext)))
    },
    async open(nonce, sealed, aad) {
      if (nonce.length !== AEAD_NONCE_BYTES || sealed.length < AEAD_TAG_BYTES) return undefined
      try {
        return new Uint8Array(await crypto.subtle.decrypt(gcm(nonce, aad), await key(), Uint8Array.from(sealed)))
      } catch {
        return undefined
      }
    }
  }
}

/** AES-256-GCM: ciphertext ‖ tag (16 bytes). @throws BAD_KEY, BAD_NONCE */
export async function aesGcmSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array
): Promise<Uint8Array<ArrayBuffer>> {
  return openAead(key).seal(nonce, plaintext, aad)
}

/** The plaintext of aesGcmSeal; undefined when anything does not fit. @throws BAD_KEY */
export async function aesGcmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return openAead(key).open(nonce, sealed, aad)
}

const gcm = (nonce: Uint8Array, aad: Uint8Array): AesGcmParams => ({
  name: 'AES-GCM',
  iv: Uint8Array.from(nonce),
  additionalData: Uint8Array.from(aad),
  tagLength: AEAD_TAG_BYTES * 8
})

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

const ed25519Key = (seed: Uint8Array, extractable: boolean): Promise<CryptoKey> =>
  crypto.subtle.importKey('pkcs8', concatBytes(PKCS8_ED25519, secretKey(seed)), 'Ed25519', extractable, ['sign'])

const x25519Key = (secret: Uint8Array, extractable: boolean): Promise<CryptoKey> =>
  crypto.subtle.importKey('pkcs8', concatBytes(PKCS8_X25519, secretKey(secret)), 'X25519', extractable, ['deriveBits'])

function secretKey(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 32) throw new KithError('BAD_KEY', 'a secret key has 32 bytes', { length: bytes.length })
  return bytes
}

/** A secret key has no other way to its public half. */
async function publicKeyOf(secret: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  const jwk = await crypto.subtle.exportKey('jwk', secret)
  return base64UrlToBytes(jwk.x ?? '')
}

/** Made when it is first needed, then kept. */
function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}
