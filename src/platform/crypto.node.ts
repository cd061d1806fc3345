/** `#crypto` in Node: node:crypto behind the small set of operations that Kith uses. Same signatures as crypto.browser.ts. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  randomBytes as nodeRandomBytes,
  sign as nodeSign,
  timingSafeEqual as nodeTimingSafeEqual,
  verify as nodeVerify
} from 'node:crypto'
import { concatBytes, hexToBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, type Aead, type Signer, type Verifier } from './crypto-types.ts'
import { isLowOrder } from './low-order.ts'

const PKCS8_ED25519 = hexToBytes('302e020100300506032b657004220420')
const SPKI_ED25519 = hexToBytes('302a300506032b6570032100')
const PKCS8_X25519 = hexToBytes('302e020100300506032b656e04220420')
const SPKI_X25519 = hexToBytes('302a300506032b656e032100')

/** Random bytes fetched ahead: a call into the system costs more than a message's nonce should. What was given out is wiped. */
const POOL_BYTES = 8192
const MAX_POOLED_BYTES = 64
let pool = new Uint8Array()
let poolAt = 0

/** `n` bytes from the system's random generator. */
export function randomBytes(n: number): Uint8Array<ArrayBuffer> {
  if (n > MAX_POOLED_BYTES) return new Uint8Array(nodeRandomBytes(n))
  if (poolAt + n > pool.length) {
    pool = new Uint8Array(nodeRandomBytes(POOL_BYTES))
    poolAt = 0
  }
  const bytes = pool.slice(poolAt, poolAt + n)
  pool.fill(0, poolAt, poolAt + n)
  poolAt += n
  return bytes
}

/** Ed25519 public key (32 bytes) of a 32-byte seed. */
export async function ed25519PublicKey(seed: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return rawPublicKey(privateKey(PKCS8_ED25519, seed))
}

/** Ed25519 signature (64 bytes) by a 32-byte seed. */
export async function ed25519Sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return openSigner(seed).sign(message)
}

/** One verification rule everywhere: small-order keys and R are refused first, then the platform decides. Never throws. */
export async function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  return openVerifier(publicKey).verify(message, signature)
}

interface NodeSigner extends Signer {
  sign(message: Uint8Array): Uint8Array<ArrayBuffer>
}

/** Imports an Ed25519 seed (32 bytes) once; it signs as ed25519Sign. */
export function openSigner(seed: Uint8Array): NodeSigner {
  const key = privateKey(PKCS8_ED25519, seed)
  return { sign: message => own(nodeSign(null, message, key)) }
}

interface NodeVerifier extends Verifier {
  verify(message: Uint8Array, signature: Uint8Array): boolean
}

/** Imports an Ed25519 key once; it verifies as ed25519Verify. */
export function openVerifier(publicKey: Uint8Array): NodeVerifier {
  const key = publicKey.length === 32 && !isLowOrder(publicKey) ? importPublicKey(SPKI_ED25519, publicKey) : undefined
  return {
    verify(message, signature) {
      if (!key || signature.length !== 64 || isLowOrder(signature.subarray(0, 32))) return false
      try {
        return nodeVerify(null, message, key, signature)
      } catch {
        return false
      }
    }
  }
}

/** X25519 public key (32 bytes) of any 32 secret bytes (RFC 7748 §5). */
export async function x25519PublicKey(secret: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return rawPublicKey(privateKey(PKCS8_X25519, secret))
}

/**
 * X25519 shared secret (32 bytes). undefined when the other side's key is not 32 bytes, or a point of small order that would make the
 * secret known to everybody (RFC 7748 §6.1, threats HS1).
 */
export async function x25519(secret: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const theirs = publicKey.length === 32 ? importPublicKey(SPKI_X25519, publicKey) : undefined
  if (!theirs) return undefined
  const mine = privateKey(PKCS8_X25519, secret)
  try {
    const shared = own(diffieHellman({ privateKey: mine, publicKey: theirs }))
    return shared.some(b => b !== 0) ? shared : undefined
  } catch {
    return undefined
  }
}

interface NodeAead extends Aead {
  seal(nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array<ArrayBuffer>
  /** As `seal`, into `out`, which has room for the tag too. */
  sealInto(out: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): void
  open(nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array<ArrayBuffer> | undefined
}

/** Imports an AES-256-GCM key (32 bytes) once. @throws BAD_KEY */
export function openAead(rawKey: Uint8Array): NodeAead {
  if (rawKey.length !== AEAD_KEY_BYTES) throw new KithError('BAD_KEY', 'an AES-256 key has 32 bytes', { length: rawKey.length })
  const key = createSecretKey(rawKey)
  return {
    seal(nonce, plaintext, aad) {
      const out = new Uint8Array(plaintext.length + AEAD_TAG_BYTES)
      gcmSeal(key, out, nonce, plaintext, aad)
      return out
    },
    sealInto: (out, nonce, plaintext, aad) => gcmSeal(key, out, nonce, plaintext, aad),
    open: (nonce, sealed, aad) => gcmOpen(key, nonce, sealed, aad)
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

// authTagLength is the point: without it OpenSSL takes a tag of 4 bytes.
const GCM = { authTagLength: AEAD_TAG_BYTES } as const

function gcmSeal(key: KeyObject, out: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): void {
  if (nonce.length !== AEAD_NONCE_BYTES) throw new KithError('BAD_NONCE', 'a nonce has 12 bytes', { length: nonce.length })
  const cipher = createCipheriv('aes-256-gcm', key, nonce, GCM)
  cipher.setAAD(aad)
  out.set(cipher.update(plaintext))
  cipher.final()
  out.set(cipher.getAuthTag(), plaintext.length)
}

function gcmOpen(key: KeyObject, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (nonce.length !== AEAD_NONCE_BYTES || sealed.length < AEAD_TAG_BYTES) return undefined
  const end = sealed.length - AEAD_TAG_BYTES
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, GCM)
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = decipher.update(sealed.subarray(0, end))
  try {
    decipher.final()
  } catch {
    plaintext.fill(0) // not authenticated: nobody may see it
    return undefined
  }
  return own(plaintext)
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

const privateKey = (prefix: Uint8Array, secret: Uint8Array): KeyObject => {
  if (secret.length !== 32) throw new KithError('BAD_KEY', 'a secret key has 32 bytes', { length: secret.length })
  return createPrivateKey({ key: Buffer.from(concatBytes(prefix, secret)), format: 'der', type: 'pkcs8' })
}

function importPublicKey(prefix: Uint8Array, publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(concatBytes(prefix, publicKey)), format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}

/** The last 32 bytes of an SPKI are the key, for Ed25519 and X25519 alike. */
const rawPublicKey = (key: KeyObject): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))

/** A Buffer as the Uint8Array it is, without a copy. */
const own = (buffer: Buffer<ArrayBuffer>): Uint8Array<ArrayBuffer> => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
