/**
 * HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Anybody who knows a public key encrypts to it; each
 * message has an ephemeral key of its own, which travels in front of it (`enc`).
 */
import { hmacSha256, openAead, x25519, x25519PublicKey } from '#crypto'
import { concatBytes, utf8 } from '../base/bytes.ts'
import type { Aead } from '../platform/crypto-types.ts'

export const ENC_BYTES = 32
/** "KEM" ‖ 0x0020, and "HPKE" ‖ KEM ‖ KDF 0x0001 ‖ AEAD 0x0002 (§4.1, §5.1). */
const KEM_SUITE = concatBytes(utf8('KEM'), Uint8Array.of(0, 0x20))
const SUITE = concatBytes(utf8('HPKE'), Uint8Array.of(0, 0x20, 0, 1, 0, 2))
const BASE_MODE = Uint8Array.of(0)
const EMPTY = new Uint8Array()

/** Key and first nonce of one direction (§5.1). The nonce of message i is `baseNonce` XOR i (§5.2). */
export interface HpkeContext {
  readonly aead: Aead
  readonly baseNonce: Uint8Array
}

/** Sender's half, SetupBaseS. undefined when the recipient's key is not usable. @param ephemeral 32 fresh random bytes */
export async function setupSender(
  recipient: Uint8Array,
  info: Uint8Array,
  ephemeral: Uint8Array
): Promise<{ readonly enc: Uint8Array; readonly context: HpkeContext } | undefined> {
  const enc = await x25519PublicKey(ephemeral)
  const dh = await x25519(ephemeral, recipient)
  return dh && { enc, context: keySchedule(decapsulated(dh, enc, recipient), info) }
}

/** Recipient's half, SetupBaseR. undefined when `enc` is not usable. */
export async function setupRecipient(enc: Uint8Array, secret: Uint8Array, info: Uint8Array): Promise<HpkeContext | undefined> {
  const dh = await x25519(secret, enc)
  return dh && keySchedule(decapsulated(dh, enc, await x25519PublicKey(secret)), info)
}

/** ExtractAndExpand of the KEM (§4.1). */
function decapsulated(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array): Uint8Array {
  const eaePrk = labeledExtract(KEM_SUITE, EMPTY, 'eae_prk', dh)
  return labeledExpand(KEM_SUITE, eaePrk, 'shared_secret', concatBytes(enc, recipient), 32)
}

/** §5.1, with empty psk and psk_id. */
function keySchedule(sharedSecret: Uint8Array, info: Uint8Array): HpkeContext {
  const pskIdHash = labeledExtract(SUITE, EMPTY, 'psk_id_hash', EMPTY)
  const infoHash = labeledExtract(SUITE, EMPTY, 'info_hash', info)
  const context = concatBytes(BASE_MODE, pskIdHash, infoHash)
  const secret = labeledExtract(SUITE, sharedSecret, 'secret', EMPTY)
  return {
    aead: openAead(labeledExpand(SUITE, secret, 'key', context, 32)),
    baseNonce: labeledExpand(SUITE, secret, 'base_nonce', context, 12)
  }
}

function labeledExtract(suite: Uint8Array, salt: Uint8Array, label: string, ikm: Uint8Array): Uint8Array {
  // HMAC pads its key with zeros, so an empty salt is RFC 5869's default.
  return hmacSha256(salt, concatBytes(utf8('HPKE-v1'), suite, utf8(label), ikm))
}

/** HKDF-Expand of at most one block. */
function labeledExpand(suite: Uint8Array, prk: Uint8Array, label: string, info: Uint8Array, length: number): Uint8Array {
  const labeledInfo = concatBytes(Uint8Array.of(0, length), utf8('HPKE-v1'), suite, utf8(label), info)
  return hmacSha256(prk, concatBytes(labeledInfo, Uint8Array.of(1))).subarray(0, length)
}
