/** Ed25519 in the threads of libuv's pool: the thread that asks is free meanwhile. It costs a little more in all, and takes a moment longer. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { concatBytes, hexToBytes } from '../base/bytes.ts'
import type { Verifier } from './crypto-types.ts'
import { isLowOrder } from './low-order.ts'

const SPKI = hexToBytes('302a300506032b6570032100')

/** As `openVerifier` of #crypto, with the same verdicts. */
export function openThreadedVerifier(publicKey: Uint8Array): Verifier {
  const key = publicKey.length === 32 && !isLowOrder(publicKey) ? imported(publicKey) : undefined
  return {
    verify(message, signature) {
      if (!key || signature.length !== 64 || isLowOrder(signature.subarray(0, 32))) return false
      return new Promise(resolve => verify(null, message, key, signature, (error, isRight) => resolve(error === null && isRight)))
    }
  }
}

function imported(publicKey: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({ key: Buffer.from(concatBytes(SPKI, publicKey)), format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}
