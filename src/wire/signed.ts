/**
 * Signed: any body with one Ed25519 signature over the bytes as received.
 *
 * | bytes | field     | notes                                          |
 * | ----: | --------- | ---------------------------------------------- |
 * |  4+n  | body      | u32 length ≤ MAX_SIGNED_BYTES, then the layout  |
 * |    32 | signer    | Ed25519 public key                             |
 * |    64 | signature | over utf8(domain) ‖ 0x00 ‖ body                 |
 *
 * The domain names the layout and its version ("kith/offer/1"), so that no signature fits another kind of message.
 * Spec: docs/wire/transfer.md §1
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import type { Codec } from '../base/codec.ts'
import { MAX_SIGNED_BYTES } from './limits.ts'

export interface Signed {
  readonly body: Uint8Array
  readonly signer: Uint8Array
  readonly signature: Uint8Array
}

export const signedCodec: Codec<Signed> = {
  write(w, m) {
    w.bytes32(m.body)
    w.bytes(m.signer)
    w.bytes(m.signature)
  },
  read: r => ({ body: r.bytes32(MAX_SIGNED_BYTES), signer: r.bytes(32), signature: r.bytes(64) })
}

/** The bytes that are signed. */
export const signedBytes = (domain: string, body: Uint8Array): Uint8Array<ArrayBuffer> => concatBytes(utf8(domain), Uint8Array.of(0), body)
