/** Signing of transactions: always with the chain id (EIP-155 or EIP-1559), so that no signature is worth anything elsewhere. */
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import type { Fees } from './session.ts'

export interface UnsignedTransaction {
  readonly chainId: number
  readonly nonce: number
  /** undefined: creates a contract. */
  readonly to: Uint8Array | undefined
  readonly value: bigint
  readonly data: Uint8Array
  readonly gas: bigint
  readonly fees: Fees
}

export interface SignedTransaction {
  /** What goes to the chain, and nothing else for this nonce ever does. */
  readonly raw: Uint8Array
  /** "0x…" */
  readonly hash: string
}

/** Signs with a 32-byte secp256k1 key, low s. viem is loaded at the first signature, not with the program. */
export async function signTransaction(tx: UnsignedTransaction, key: Uint8Array): Promise<SignedTransaction> {
  const { serializeTransaction } = await import('viem')
  const common = {
    chainId: tx.chainId,
    nonce: tx.nonce,
    gas: tx.gas,
    value: tx.value,
    data: `0x${bytesToHex(tx.data)}` as const,
    ...(tx.to ? { to: `0x${bytesToHex(tx.to)}` as const } : {})
  }
  const { maxPerGas, tip } = tx.fees
  const fields =
    tip === undefined
      ? { ...common, type: 'legacy' as const, gasPrice: maxPerGas }
      : { ...common, type: 'eip1559' as const, maxFeePerGas: maxPerGas, maxPriorityFeePerGas: tip }
  const digest = keccak_256(hexToBytes(serializeTransaction(fields).slice(2)))
  const [parity = 0, ...rs] = secp256k1.sign(digest, key, { prehash: false, format: 'recovered' })
  const r = `0x${bytesToHex(Uint8Array.from(rs.slice(0, 32)))}` as const
  const s = `0x${bytesToHex(Uint8Array.from(rs.slice(32)))}` as const
  const signature = tip === undefined ? { r, s, v: BigInt(tx.chainId * 2 + 35 + parity) } : { r, s, yParity: parity }
  const raw = hexToBytes(serializeTransaction(fields, signature).slice(2))
  return { raw, hash: `0x${bytesToHex(keccak_256(raw))}` }
}

/** 20-byte address of a secp256k1 key. */
export function addressOfKey(key: Uint8Array): Uint8Array<ArrayBuffer> {
  const point = secp256k1.getPublicKey(key, false)
  return Uint8Array.from(keccak_256(point.subarray(1)).subarray(12))
}
