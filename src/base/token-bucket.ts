/** A token bucket: `rate` units a second, at most `burst` saved up. Used for upload limits and for what strangers may cost us. */
import type { Clock } from './clock.ts'

export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  #rate: number
  #burst: number
  #level: number
  #at: number
  /** Callers wait in the order they came: without this chain a large request could starve behind small ones. */
  #queue: Promise<void> = Promise.resolve()

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, ratePerSecond: number, burst: number = ratePerSecond) {
    this.#clock = clock
    this.#rate = ratePerSecond
    this.#burst = burst
    this.#level = burst
    this.#at = clock.monotonic()
  }

  /** Takes `n` if they are there. */
  tryTake(n = 1): boolean {
    this.#refill()
    if (this.#level < n) return false
    this.#level -= n
    return true
  }

  /** Waits until `n` may be taken. More than `burst` is allowed: the debt is waited for. */
  take(n: number, signal?: AbortSignal): Promise<void> {
    const turn = this.#queue.then(() => this.#wait(n, signal))
    this.#queue = turn.catch(() => {})
    return turn
  }

  async #wait(n: number, signal?: AbortSignal): Promise<void> {
    this.#refill()
    this.#level -= n
    if (this.#level < 0) await this.#clock.sleep((-this.#level / this.#rate) * 1000, signal)
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) / 1000) * this.#rate)
    this.#at = now
  }
}
