/** Waiting longer after each failure, by chance a little less, so that those who failed together do not return together. */
export interface BackoffOptions {
  /** After the first failure. */
  readonly firstMs: number
  readonly maxMs: number
  /** By how much each wait is longer than the one before. */
  readonly factor?: number
  /** Up to this part of a wait is taken off by chance. */
  readonly jitter?: number
}
export const backoffDefaults = { factor: 2, jitter: 0.25 } as const

/**
 * How long to wait before the next attempt.
 * @param failures how many there were before this one: 0 for the first wait
 * @param random 0 up to 1
 */
export function backoffMs(failures: number, options: BackoffOptions, random: () => number): number {
  const { firstMs, maxMs, factor, jitter } = { ...backoffDefaults, ...options }
  const whole = Math.min(maxMs, firstMs * factor ** Math.min(failures, 1000))
  return whole * (1 - jitter * random())
}
