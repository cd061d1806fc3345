/** Wallet addresses: 20 bytes in programs, EIP-55 text for people. */
import { keccak_256 } from '@noble/hashes/sha3.js'
import { bytesToHex, hexToBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'

export const NO_WALLET: Uint8Array = new Uint8Array(20)

/** True for the 20 zero bytes that stand for "no wallet". */
export const isNoWallet = (wallet: Uint8Array): boolean => wallet.every(b => b === 0)

/** "0x" and 40 digits whose letter case is a checksum (EIP-55). */
export function formatAddress(address: Uint8Array): string {
  const hex = bytesToHex(address)
  const hash = bytesToHex(keccak_256(utf8(hex)))
  return '0x' + [...hex].map((c, i) => (Number.parseInt(hash[i]!, 16) >= 8 ? c.toUpperCase() : c)).join('')
}

/**
 * Reads an address. Digits in one case carry no checksum and are taken as they are; mixed case must match it.
 * @throws INVALID_ADDRESS also for the zero address, whose money nobody can ever take out
 */
export function parseAddress(text: string): Uint8Array<ArrayBuffer> {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text))
    throw new KithError('INVALID_ADDRESS', 'not a wallet address', {}, { hint: 'an address is 0x and 40 hexadecimal digits' })
  const digits = text.slice(2)
  const address = hexToBytes(digits)
  const oneCase = digits === digits.toLowerCase() || digits === digits.toUpperCase()
  if (!oneCase && formatAddress(address) !== text)
    throw new KithError('INVALID_ADDRESS', 'the address has a typing mistake: its checksum is wrong', {}, { hint: 'copy it again' })
  if (isNoWallet(address)) throw new KithError('INVALID_ADDRESS', 'the zero address belongs to nobody')
  return address
}
