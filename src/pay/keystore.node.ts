/**
 * Wallet file: Web3 Secret Storage version 3 (scrypt or PBKDF2, AES-128-CTR, Keccak MAC), which every Ethereum wallet reads. What a
 * file may make us compute is bounded before anything is computed.
 */
import { createCipheriv, createDecipheriv, pbkdf2 as nodePbkdf2, scrypt as nodeScrypt, randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { randomBytes, timingSafeEqual } from '#crypto'
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { parseJson } from './chain/quantity.ts'
import { MAX_KEYSTORE_BYTES, MAX_PBKDF2_ROUNDS, MAX_SCRYPT_BYTES, MAX_SCRYPT_N } from './limits.ts'

const scrypt = promisify<Uint8Array, Uint8Array, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(nodeScrypt)
const pbkdf2 = promisify(nodePbkdf2)

/** scrypt's cost for a passphrase that a person chose. */
export const PASSPHRASE_N: number = 2 ** 17
/** For a random 256-bit secret, which needs no stretching: 8 MiB instead of 128 MiB each time a payment is signed. */
export const SECRET_N: number = 2 ** 13

const bad = (why: string): KithError =>
  new KithError('BAD_KEYSTORE', `the wallet file cannot be used: ${why}`, {}, { hint: 'restore it from the recovery phrase or a backup' })

/** Encrypts a 32-byte key. `address` (20 bytes) is stored in clear, so that the wallet can be paid while it is locked. */
export async function encryptKey(key: Uint8Array, address: Uint8Array, passphrase: string, n: number): Promise<string> {
  const salt = randomBytes(32)
  const iv = randomBytes(16)
  const derived = await scrypt(utf8(passphrase), salt, 32, { N: n, r: 8, p: 1, maxmem: MAX_SCRYPT_BYTES })
  const ciphertext = createCipheriv('aes-128-ctr', derived.subarray(0, 16), iv).update(key)
  return JSON.stringify({
    version: 3,
    id: randomUUID(),
    address: bytesToHex(address),
    crypto: {
      cipher: 'aes-128-ctr',
      cipherparams: { iv: bytesToHex(iv) },
      ciphertext: bytesToHex(ciphertext),
      kdf: 'scrypt',
      kdfparams: { dklen: 32, n, r: 8, p: 1, salt: bytesToHex(salt) },
      mac: bytesToHex(keccak_256(concatBytes(derived.subarray(16, 32), ciphertext)))
    }
  })
}

/** The key in a keystore. @throws BAD_KEYSTORE also when the passphrase is wrong: the two cannot be told apart */
export async function decryptKey(json: string, passphrase: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = parseFile(json)
  const derived = await derive(file, passphrase)
  if (!timingSafeEqual(keccak_256(concatBytes(derived.subarray(16, 32), file.ciphertext)), file.mac))
    throw new KithError('BAD_KEYSTORE', 'wrong passphrase, or the wallet file is damaged', {}, { hint: 'try the passphrase again' })
  const key = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), file.iv).update(file.ciphertext)
  return Uint8Array.from(key)
}

/** The address a keystore says it is for; undefined when it says none. It proves nothing. @throws BAD_KEYSTORE */
export const keystoreAddress = (json: string): Uint8Array | undefined => parseFile(json).address

interface KeystoreFile {
  readonly address: Uint8Array | undefined
  readonly iv: Uint8Array
  readonly ciphertext: Uint8Array
  readonly mac: Uint8Array
  readonly kdf: string
  readonly params: Record<string, unknown>
  readonly salt: Uint8Array
}

function parseFile(json: string): KeystoreFile {
  if (json.length > MAX_KEYSTORE_BYTES) throw bad('it is too large')
  const file = objectOf(parseJson(json, () => bad('it is not JSON')))
  if (file['version'] !== 3) throw bad('it is not version 3')
  const c = objectOf(file['crypto'] ?? file['Crypto'])
  if (c['cipher'] !== 'aes-128-ctr') throw bad('its cipher is unknown')
  const params = objectOf(c['kdfparams'])
  const ciphertext = bytesOf(c['ciphertext'])
  const iv = bytesOf(objectOf(c['cipherparams'])['iv'])
  const mac = bytesOf(c['mac'])
  if (ciphertext.length !== 32 || iv.length !== 16 || mac.length !== 32) throw bad('a field has the wrong length')
  const address = file['address'] === undefined ? undefined : bytesOf(String(file['address']).replace(/^0x/, ''))
  if (address && address.length !== 20) throw bad('its address has the wrong length')
  return { address, iv, ciphertext, mac, kdf: String(c['kdf']), params, salt: bytesOf(params['salt']) }
}

async function derive({ kdf, params, salt }: KeystoreFile, passphrase: string): Promise<Uint8Array> {
  if (params['dklen'] !== 32) throw bad('its key length is not 32')
  const password = utf8(passphrase)
  if (kdf === 'scrypt') {
    const N = intOf(params['n'], MAX_SCRYPT_N)
    const r = intOf(params['r'], 64)
    const p = intOf(params['p'], 16)
    if ((N & (N - 1)) !== 0 || N < 2) throw bad('its scrypt cost is not a power of two')
    if (128 * r * (N + p + 2) > MAX_SCRYPT_BYTES) throw bad('it asks for too much memory')
    // OpenSSL keeps to RFC 7914's N < 2^(16 r), which older wallets did not
    if (N < 2 ** (16 * r)) return scrypt(password, salt, 32, { N, r, p, maxmem: MAX_SCRYPT_BYTES + 1024 })
    const { scryptAsync } = await import('@noble/hashes/scrypt.js')
    return scryptAsync(password, salt, { N, r, p, dkLen: 32, maxmem: MAX_SCRYPT_BYTES + 1024 })
  }
  if (kdf === 'pbkdf2' && params['prf'] === 'hmac-sha256')
    return pbkdf2(password, salt, intOf(params['c'], MAX_PBKDF2_ROUNDS), 32, 'sha256')
  throw bad('its key derivation is unknown')
}

function objectOf(v: unknown): Record<string, unknown> {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) throw bad('a field is missing')
  return v as Record<string, unknown>
}
function bytesOf(v: unknown): Uint8Array {
  if (typeof v !== 'string' || v.length > 256 || !/^([0-9a-fA-F]{2})*$/.test(v)) throw bad('a field is not hex')
  return hexToBytes(v)
}
function intOf(v: unknown, max: number): number {
  if (typeof v !== 'number' || !Number.isInteger(v) || v < 1 || v > max) throw bad('a cost is outside its limits')
  return v
}
