/**
 * Amounts of money: bigint wei in programs, decimal strings on the wire and in JSON. Never floats.
 *
 * A wei string has digits only, no sign, no leading zero (except "0" itself), and is below 2^256.
 */
import { KithError } from '../base/errors.ts'
import { MAX_WEI_DIGITS } from './limits.ts'

export const MB: bigint = 2n ** 20n
const WEI_PER_COIN: bigint = 10n ** 18n

/** Decimal string to wei. @throws BAD_PRICE */
export function parseWei(text: string): bigint {
  if (text.length > MAX_WEI_DIGITS || !/^(0|[1-9][0-9]*)$/.test(text))
    throw new KithError('BAD_PRICE', 'not an amount in wei', { length: text.length })
  const wei = BigInt(text)
  if (wei >= 2n ** 256n) throw new KithError('BAD_PRICE', 'amount is above 2^256')
  return wei
}

/** What a person writes, in coin ("0.001", at most 18 decimals), to wei. @throws BAD_PRICE */
export function parseCoin(text: string): bigint {
  const m = /^([0-9]{1,30})(?:\.([0-9]{1,18}))?$/.exec(text)
  if (!m)
    throw new KithError('BAD_PRICE', 'not an amount of coin', {}, { hint: 'write digits with at most 18 decimals, for example 0.001' })
  return BigInt(m[1]!) * WEI_PER_COIN + BigInt((m[2] ?? '').padEnd(18, '0'))
}

/** Wei to coin with as many decimals as needed: 1500000000000000n is "0.0015". */
export function formatCoin(wei: bigint): string {
  const fraction = (wei % WEI_PER_COIN).toString().padStart(18, '0').replace(/0+$/, '')
  return `${wei / WEI_PER_COIN}${fraction ? `.${fraction}` : ''}`
}

/** The amount due for verified bytes at a price per MB (2^20 bytes): floor(bytes × price / 2^20), DESIGN §7. */
export function amountDue(bytes: number, pricePerMb: bigint): bigint {
  return (BigInt(bytes) * pricePerMb) / MB
}
