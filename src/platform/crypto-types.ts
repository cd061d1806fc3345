/**
 * Keys that are imported once and used for many messages. In Node every call answers at once, in the browser with a promise: a caller that
 * must be fast looks for a promise before it waits (`isPromise`).
 */
export type Eventual<T> = T | Promise<T>

/** Ed25519, one public key. */
export interface Verifier {
  /** By the one rule of ed25519Verify. Never throws: a key that is none accepts nothing. */
  verify(message: Uint8Array, signature: Uint8Array): Eventual<boolean>
}

/** Ed25519, one seed. */
export interface Signer {
  sign(message: Uint8Array): Eventual<Uint8Array<ArrayBuffer>>
}

/** AES-256-GCM, one key. The nonce has 12 bytes, the tag 16, at the end: nothing else is made or accepted (threats SM27). */
export interface Aead {
  /** @returns ciphertext ‖ tag @throws BAD_NONCE */
  seal(nonce: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Eventual<Uint8Array<ArrayBuffer>>
  /** undefined when anything does not fit; why is not said. */
  open(nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Eventual<Uint8Array<ArrayBuffer> | undefined>
}

export const AEAD_KEY_BYTES = 32
export const AEAD_NONCE_BYTES = 12
export const AEAD_TAG_BYTES = 16

export const isPromise = <T>(value: Eventual<T>): value is Promise<T> => value instanceof Promise
