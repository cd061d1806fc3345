/**
 * A message without a session: sealed to a prekey of the recipient, to wait or to hop. Whoever carries it sees the prekey and the size. Who
 * sent it, and that nobody else did, is said by the signed message inside.
 *
 * | bytes | field      | notes                                                          |
 * | ----: | ---------- | -------------------------------------------------------------- |
 * |     1 | version    | 1                                                              |
 * |     8 | prekey     | id                                                             |
 * |    32 | enc        | ephemeral X25519 key                                           |
 * |   4+n | ciphertext | HPKE (RFC 9180) base mode, X25519, HKDF-SHA256, AES-256-GCM, its first message |
 *
 * HPKE's info is utf8("kith/sealed/1") ‖ 0x00 ‖ utf8(recipient id): it opens for nobody else.
 * Spec: docs/wire/session.md §6
 */
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../base/bytes.ts'
import { type Codec, decode, encode, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { ENC_BYTES, setupRecipient, setupSender } from './hpke.ts'
import { MAX_SEALED_BYTES } from './limits.ts'
import type { Prekey, PrekeyStore } from './prekeys.ts'

interface Sealed {
  readonly prekeyId: string
  readonly enc: Uint8Array
  readonly ciphertext: Uint8Array
}

const sealedCodec: Codec<Sealed> = {
  write(w, m) {
    w.u8(1)
    w.bytes(hexToBytes(m.prekeyId))
    w.bytes(m.enc)
    w.bytes32(m.ciphertext)
  },
  read(r) {
    expectVersion(r, 1)
    return { prekeyId: bytesToHex(r.bytes(8)), enc: r.bytes(ENC_BYTES), ciphertext: r.bytes32(MAX_SEALED_BYTES) }
  }
}

const infoOf = (recipientId: string): Uint8Array => concatBytes(utf8('kith/sealed/1'), Uint8Array.of(0), utf8(recipientId))
const NOTHING = new Uint8Array()

/**
 * Seals a whole signed message to a prekey that `readPrekey` gave.
 * @param aad what the other side must know as well
 * @throws TOO_LARGE, DECRYPTION_FAILED when the prekey is no usable point
 */
export async function sealTo(
  deps: { readonly random: (n: number) => Uint8Array },
  recipientId: string,
  prekey: Prekey,
  plaintext: Uint8Array,
  aad: Uint8Array = NOTHING
): Promise<Uint8Array<ArrayBuffer>> {
  const sender = await setupSender(prekey.publicKey, infoOf(recipientId), Uint8Array.from(deps.random(32)))
  if (!sender) throw notOpened()
  const ciphertext = await sender.context.aead.seal(sender.context.baseNonce, plaintext, aad)
  if (ciphertext.length > MAX_SEALED_BYTES) throw new KithError('TOO_LARGE', 'the message is too large', { bytes: ciphertext.length })
  return encode(sealedCodec, { prekeyId: prekey.id, enc: sender.enc, ciphertext })
}

/**
 * Opens what was sealed to one of our prekeys. The message inside is still to be read and its signature checked.
 * @throws UNKNOWN_PREKEY (`sealed` is for another, or its prekey was deleted), DECRYPTION_FAILED, or any WIRE_ code
 */
export async function openSealed(
  prekeys: Pick<PrekeyStore, 'get'>,
  selfId: string,
  sealed: Uint8Array,
  aad: Uint8Array = NOTHING
): Promise<Uint8Array<ArrayBuffer>> {
  const { prekeyId, enc, ciphertext } = decode(sealedCodec, sealed)
  const prekey = prekeys.get(prekeyId)
  if (!prekey) throw new KithError('UNKNOWN_PREKEY', 'there is no such prekey (any more)', { prekey: prekeyId })
  const context = await setupRecipient(enc, prekey.secret, infoOf(selfId))
  const plaintext = await context?.aead.open(context.baseNonce, ciphertext, aad)
  if (!plaintext) throw notOpened()
  return plaintext
}

const notOpened = (): KithError => new KithError('DECRYPTION_FAILED', 'the sealed message does not open')
