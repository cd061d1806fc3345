/**
 * What a session authenticates and encrypts with (spec 001, principle 3). There is one of each. Another one gets a version of its own in the
 * handshake, never a flag: what the two sides use is in the transcript that both sign.
 */
import { openAead, openVerifier, x25519, x25519PublicKey } from '#crypto'
import type { Aead, Verifier } from '../platform/crypto-types.ts'
import { directionKey } from './key-schedule.ts'
import type { SessionSelf } from './types.ts'

export interface AuthenticationLayer {
  readonly name: string
  sign(bytes: Uint8Array): Promise<Uint8Array>
  /** For one peer: its key is imported once. */
  verifier(publicKey: Uint8Array): Verifier
}

/** Half of a key agreement: used once, then forgotten. That is the forward secrecy. */
export interface Exchange {
  readonly publicKey: Uint8Array
  /** undefined when the other half is not usable (threats HS1) */
  agree(theirs: Uint8Array, transcript: Uint8Array): Promise<SessionKeys | undefined>
}

/** By who encrypts. */
export interface SessionKeys {
  readonly initiator: Aead
  readonly responder: Aead
}

export interface EncryptionLayer {
  readonly name: string
  newExchange(): Promise<Exchange>
}

export const ed25519Layer = (self: SessionSelf): AuthenticationLayer => ({
  name: 'ed25519',
  sign: bytes => self.signBytes(bytes),
  verifier: openVerifier
})

/** X25519, HKDF-SHA256, AES-256-GCM. */
export const x25519AesGcmLayer = (random: (n: number) => Uint8Array): EncryptionLayer => ({
  name: 'x25519-aes-256-gcm',
  async newExchange() {
    const secret = Uint8Array.from(random(32))
    return {
      publicKey: await x25519PublicKey(secret),
      async agree(theirs, transcript) {
        const shared = await x25519(secret, theirs)
        secret.fill(0)
        if (!shared) return undefined
        const [initiator, responder] = [
          await directionKey(shared, transcript, 'initiator'),
          await directionKey(shared, transcript, 'responder')
        ]
        shared.fill(0)
        return { initiator: openAead(initiator), responder: openAead(responder) }
      }
    }
  }
})
