/**
 * The head of an encrypted file (DESIGN §6): what seeders store is this head, then AES-256-GCM segments. Who has the secret can open it;
 * who has not learns the size and nothing else, the name included.
 *
 * | bytes | field        | notes                                                                  |
 * | ----: | ------------ | ---------------------------------------------------------------------- |
 * |     8 | magic        | "KITHENC1"                                                             |
 * |     1 | version      | 1                                                                      |
 * |     1 | kdf          | 0: the secret is 32 random bytes; 1: PBKDF2-SHA256 of a passphrase      |
 * |     4 | iterations   | 0 for kdf 0; 600,000 to 10,000,000 for kdf 1                           |
 * |    16 | salt         | random, not all zeros                                                  |
 * |     4 | segmentBytes | bytes of plaintext in each segment but the last: 262,144               |
 * |   2+n | sealed       | AES-256-GCM of the layout below, 16 bytes of tag at its end            |
 *
 * Sealed: SHA-256 of the plaintext (32), size (8), name (2+n), mime (2+n).
 *
 * Spec: docs/wire/encryption.md
 */
import { type Codec, expectVersion, Reader } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import {
  CHUNK_BYTES,
  ENCRYPTED_SEGMENT_BYTES,
  MAX_CHUNKS,
  MAX_KDF_ITERATIONS,
  MAX_MIME_BYTES,
  MAX_NAME_BYTES,
  MIN_KDF_ITERATIONS
} from './limits.ts'

export const ENCRYPTED_MAGIC: Uint8Array = new Uint8Array([0x4b, 0x49, 0x54, 0x48, 0x45, 0x4e, 0x43, 0x31])
/** Bytes of the head before the sealed part: the associated data of everything that is sealed. */
export const CLEAR_HEAD_BYTES = 36
/** Bytes that sealing adds. */
export const TAG_BYTES = 16

export interface ClearHead {
  readonly kdf: 'key' | 'passphrase'
  /** 0 for a random key. */
  readonly iterations: number
  /** 16 bytes. */
  readonly salt: Uint8Array
  readonly segmentBytes: number
  /** Length of the sealed part, tag included. */
  readonly sealedBytes: number
}

export const clearHeadCodec: Codec<ClearHead> = {
  write(w, h) {
    w.bytes(ENCRYPTED_MAGIC)
    w.u8(1)
    w.u8(h.kdf === 'key' ? 0 : 1)
    w.u32(h.iterations)
    w.bytes(h.salt)
    w.u32(h.segmentBytes)
    w.u16(h.sealedBytes)
  },
  read(r) {
    const magic = r.bytes(8)
    if (!magic.every((b, i) => b === ENCRYPTED_MAGIC[i])) throw new KithError('NOT_ENCRYPTED', 'this is not a file encrypted by Kith')
    expectVersion(r, 1)
    const kdf = r.u8()
    const iterations = r.u32()
    const salt = r.bytes(16)
    const usable = (kdf === 0 && iterations === 0) || (kdf === 1 && iterations >= MIN_KDF_ITERATIONS && iterations <= MAX_KDF_ITERATIONS)
    // Threats CH15: a head that asks for no work, or for a day of it.
    if (!usable || salt.every(b => b === 0))
      throw new KithError('BAD_KDF', 'the head names key parameters that are not used', { kdf, iterations })
    const segmentBytes = r.u32()
    if (segmentBytes !== ENCRYPTED_SEGMENT_BYTES) throw new KithError('WIRE_RANGE', 'segments of another size', { segmentBytes })
    const sealedBytes = r.u16()
    if (sealedBytes < TAG_BYTES + 45 || sealedBytes > TAG_BYTES + 44 + MAX_NAME_BYTES + MAX_MIME_BYTES)
      throw new KithError('WIRE_RANGE', 'the sealed part of the head has an impossible length', { sealedBytes })
    return { kdf: kdf === 0 ? 'key' : 'passphrase', iterations, salt, segmentBytes, sealedBytes }
  }
}

export interface SealedHead {
  /** SHA-256 of the plaintext. */
  readonly sha256: Uint8Array
  readonly size: number
  /** Display text. */
  readonly name: string
  readonly mime: string
}

export const sealedHeadCodec: Codec<SealedHead> = {
  write(w, h) {
    w.bytes(h.sha256)
    w.u64(h.size)
    w.text16(h.name)
    w.text16(h.mime)
  },
  read(r) {
    const head = { sha256: r.bytes(32), size: r.u64(), name: r.text16(MAX_NAME_BYTES), mime: r.text16(MAX_MIME_BYTES) }
    if (head.size === 0 || head.size > MAX_CHUNKS * CHUNK_BYTES || head.name === '')
      throw new KithError('WIRE_RANGE', 'the head describes an impossible file')
    return head
  }
}

/** Reads the clear head at the front of a file. @throws NOT_ENCRYPTED, BAD_KDF, WIRE_* */
export const readClearHead = (bytes: Uint8Array): ClearHead => clearHeadCodec.read(new Reader(bytes.subarray(0, CLEAR_HEAD_BYTES)))

/** What a nonce is for: each is used once per file key. */
export type NonceKind = 'segment' | 'last' | 'head'

/** 12 bytes: kind (0 segment, 1 last segment, 2 head), three zeros, the segment's number as u64. */
export function segmentNonce(kind: NonceKind, index: number): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(12)
  const view = new DataView(nonce.buffer)
  nonce[0] = kind === 'segment' ? 0 : kind === 'last' ? 1 : 2
  view.setUint32(4, Math.floor(index / 2 ** 32))
  view.setUint32(8, index % 2 ** 32)
  return nonce
}

/** Size of the encrypted file. */
export const encryptedSize = (plainBytes: number, sealedBytes: number): number =>
  CLEAR_HEAD_BYTES + sealedBytes + plainBytes + TAG_BYTES * Math.ceil(plainBytes / ENCRYPTED_SEGMENT_BYTES)

/** Size of the plaintext in an encrypted file; undefined when no plaintext has this size. */
export function plainSize(encryptedBytes: number, sealedBytes: number): number | undefined {
  const body = encryptedBytes - CLEAR_HEAD_BYTES - sealedBytes
  const plain = body - TAG_BYTES * Math.ceil(body / (ENCRYPTED_SEGMENT_BYTES + TAG_BYTES))
  return plain > 0 && encryptedSize(plain, sealedBytes) === encryptedBytes ? plain : undefined
}
