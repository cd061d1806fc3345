/**
 * A circuit breaker: after several failures in a row nothing is tried for a while (open), then one attempt at a time (half open), and
 * everything again once one has succeeded (closed). Each time it opens anew it stays open twice as long.
 */
import type { Clock } from './clock.ts'
import { backoffMs } from './retry.ts'

export type CircuitState = 'closed' | 'open' | 'half-open'

export interface CircuitBreakerOptions {
  /** Failures in a row that open it. */
  readonly failures?: number
  /** How long it is open the first time, and at most. A random part of it is taken off, so that many do not try at once. */
  readonly openMs?: number
  readonly maxOpenMs?: number
}
export const circuitBreakerDefaults: Required<CircuitBreakerOptions> = { failures: 5, openMs: 5_000, maxOpenMs: 10 * 60_000 }

/** One attempt that was let through; exactly one of these is to be called, later calls do nothing. */
export interface Attempt {
  succeeded(): void
  failed(): void
  /** Neither: it was given up for a reason of our own. */
  abandoned(): void
}

export class CircuitBreaker {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #random: () => number
  readonly #options: Required<CircuitBreakerOptions>
  #failures = 0
  /** Times it has opened since the last success. */
  #openings = 0
  #openUntil = 0
  #trying = false

  constructor(deps: { readonly clock: Pick<Clock, 'monotonic'>; readonly random: () => number }, options: CircuitBreakerOptions = {}) {
    this.#clock = deps.clock
    this.#random = deps.random
    this.#options = { ...circuitBreakerDefaults, ...options }
  }

  get state(): CircuitState {
    if (this.#openings === 0) return 'closed'
    return this.#clock.monotonic() < this.#openUntil ? 'open' : 'half-open'
  }

  /** Milliseconds until an attempt may be let through; 0 when it is not open. */
  get retryAfterMs(): number {
    return this.state === 'open' ? this.#openUntil - this.#clock.monotonic() : 0
  }

  /** Lets an attempt through, or undefined. */
  attempt(): Attempt | undefined {
    const { state } = this
    if (state === 'open' || (state === 'half-open' && this.#trying)) return undefined
    const isTrial = state === 'half-open'
    if (isTrial) this.#trying = true
    let over = false
    const end = (then: () => void): void => {
      if (over) return
      over = true
      if (isTrial) this.#trying = false
      then()
    }
    return {
      succeeded: () => end(() => this.#close()),
      failed: () => end(() => this.#fail(isTrial)),
      abandoned: () => end(() => {})
    }
  }

  #close(): void {
    this.#failures = 0
    this.#openings = 0
  }
  #fail(isTrial: boolean): void {
    this.#failures++
    // Attempts that began while it was closed may fail when it is open already: they are the same outage.
    if (!isTrial && (this.#openings > 0 || this.#failures < this.#options.failures)) return
    const { openMs: firstMs, maxOpenMs: maxMs } = this.#options
    this.#openUntil = this.#clock.monotonic() + backoffMs(this.#openings, { firstMs, maxMs }, this.#random)
    this.#openings++
  }
}
