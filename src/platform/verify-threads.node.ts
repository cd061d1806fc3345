/**
 * Ed25519 in the threads of libuv's pool: the thread that asks is free meanwhile. To wake a thread costs about as much as to check a
 * signature, so one that comes alone is checked where it is.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { concatBytes, hexToBytes } from '../base/bytes.ts'
import type { Verifier } from './crypto-types.ts'
import { isLowOrder } from './low-order.ts'

const SPKI = hexToBytes('302a300506032b6570032100')

/** Signatures with a longer pause between them come alone. */
const ALONE_MS = 0.4
let lastAt = Number.NEGATIVE_INFINITY

/** As `openVerifier` of #crypto, with the same verdicts. */
export function openThreadedVerifier(publicKey: Uint8Array): Verifier {
  const key = publicKey.length === 32 && !isLowOrder(publicKey) ? imported(publicKey) : undefined
  return {
    verify(message, signature) {
      if (!key || signature.length !== 64 || isLowOrder(signature.subarray(0, 32))) return false
      const now = performance.now()
      const isAlone = now - lastAt > ALONE_MS
      lastAt = now
      if (isAlone) return verifyHere(message, key, signature)
      return new Promise(resolve => verify(null, message, key, signature, (error, isRight) => resolve(error === null && isRight)))
    }
  }
}

function verifyHere(message: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  try {
    return verify(null, message, key, signature)
  } finally {
    lastAt = performance.now()
  }
}

function imported(publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(concatBytes(SPKI, publicKey)), format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}
