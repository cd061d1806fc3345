/** Signing a body with its domain, and checking one over the bytes as they were received (wire/signed.ts). */
import { ed25519PublicKey, ed25519Sign, ed25519Verify } from '#crypto'
import { type Codec, decode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { type Signed, signedBytes } from '../wire/signed.ts'

/** Signs `body` for `domain` with a 32-byte Ed25519 seed. `publicKey` saves deriving it again. */
export async function signBody(seed: Uint8Array, domain: string, body: Uint8Array, publicKey?: Uint8Array): Promise<Signed> {
  const signer = publicKey ?? (await ed25519PublicKey(seed))
  return { body, signer, signature: await ed25519Sign(seed, signedBytes(domain, body)) }
}

/** True when `signed.signer` signed exactly this body for `domain`. Says nothing about who the signer is. */
export const isSigned = (domain: string, signed: Signed): Promise<boolean> =>
  ed25519Verify(signed.signer, signedBytes(domain, signed.body), signed.signature)

/** Checks the signature, then reads the body. @throws WIRE_SIGNATURE, or any WIRE_ code of the layout */
export async function openSigned<T>(codec: Codec<T>, domain: string, signed: Signed): Promise<T> {
  if (!(await isSigned(domain, signed))) throw new KithError('WIRE_SIGNATURE', 'signature does not match', { domain })
  return decode(codec, signed.body)
}
