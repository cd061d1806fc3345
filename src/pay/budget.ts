/**
 * How much downloads may cost: a limit per download and one per day, both checked before the first paid byte. An admitted price is
 * counted as if it applied to everything that is still missing, so no later chunk can break a limit.
 */
import { KithError } from '../base/errors.ts'
import { amountDue, formatCoin } from '../wire/wei.ts'

export interface BillState {
  /** The user's own limit for this download. */
  readonly maxCostWei: bigint | undefined
  /** wei already in invoices of this download. */
  readonly invoicedWei: bigint
  /** wei delivered for and not yet in an invoice. */
  readonly unbilledWei: bigint
  /** Dearest price admitted so far. */
  readonly dearest: bigint
}

/** The most this download can still add to what was invoiced, when `price` is admitted too. The +1 covers rounding per seeder. */
export const worstCase = (s: BillState, price: bigint, remainingBytes: number): bigint =>
  s.unbilledWei + amountDue(remainingBytes, price > s.dearest ? price : s.dearest) + 1n

/**
 * @param day undefined when no daily budget is set; then only what the user allowed for this download may be spent
 * @throws OVER_BUDGET
 */
export function checkBudget(
  s: BillState,
  price: bigint,
  remainingBytes: number,
  day: { readonly limitWei: bigint; readonly committedWei: bigint } | undefined
): void {
  const worst = worstCase(s, price, remainingBytes)
  const limit = s.maxCostWei ?? day?.limitWei ?? 0n
  if (s.invoicedWei + worst > limit) {
    throw new KithError(
      'OVER_BUDGET',
      `this seeder could cost ${formatCoin(s.invoicedWei + worst)} coin in all; allowed are ${formatCoin(limit)}`,
      { neededWei: (s.invoicedWei + worst).toString(), allowedWei: limit.toString() },
      { hint: 'allow more with --max-cost, or take free sources only' }
    )
  }
  if (day && day.committedWei + worst > day.limitWei) {
    throw new KithError(
      'OVER_BUDGET',
      `the budget of a day, ${formatCoin(day.limitWei)} coin, would be exceeded`,
      { neededWei: (day.committedWei + worst).toString(), allowedWei: day.limitWei.toString() },
      { hint: 'wait until earlier payments are a day old, or raise pay.budgetPerDay' }
    )
  }
}
