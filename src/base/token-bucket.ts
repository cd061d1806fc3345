/**
 * A token bucket: `rate` units a second, at most `burst` saved up. Used for bandwidth and for what strangers may cost us. Time that a late
 * timer or a busy process lost is made up for as long as it fits the burst, so that a rate holds on average.
 */
import type { Clock } from './clock.ts'

interface Waiter {
  readonly n: number
  readonly grant: () => void
}

export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  #rate: number
  #burst: number
  #level: number
  #at: number
  /** In the order they came: else a large request could starve behind small ones. The first has been charged. */
  readonly #queue: Waiter[] = []
  #serving = false
  /** Ends the sleep of the first waiter. */
  #wake: AbortController | undefined

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, ratePerSecond: number, burst: number = ratePerSecond) {
    this.#clock = clock
    this.#rate = ratePerSecond
    this.#burst = burst
    this.#level = burst
    this.#at = clock.monotonic()
  }

  /** Callers of `take` that wait. */
  get waiting(): number {
    return this.#queue.length
  }

  /** Takes `n` if they are there and nobody waits. */
  tryTake(n = 1): boolean {
    if (this.#queue.length > 0) return false
    this.#refill()
    if (this.#level < n) return false
    this.#level -= n
    return true
  }

  /** Waits until `n` may be taken, in turn. More than `burst` is allowed: the debt is waited for. An aborted wait takes nothing. */
  take(n: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.tryTake(n)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#leave(waiter)
        reject(signal?.reason)
      }
      const waiter: Waiter = {
        n,
        grant: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        }
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#queue.push(waiter)
      if (!this.#serving) void this.#serve()
    })
  }

  /** Another rate from now on, also for those who wait. */
  setRate(ratePerSecond: number, burst: number = ratePerSecond): void {
    this.#refill()
    this.#rate = ratePerSecond
    this.#burst = burst
    this.#level = Math.min(this.#level, burst)
    this.#wake?.abort()
  }

  /** Lets the waiters through, one after the other; ends when there is none. */
  async #serve(): Promise<void> {
    this.#serving = true
    for (let first = this.#queue[0]; first; first = this.#queue[0]) {
      this.#refill()
      this.#level -= first.n // a debt, so that time that a late timer loses is saved up for the next
      for (let woken = true; woken && this.#level < 0 && this.#queue[0] === first; ) {
        const wake = new AbortController()
        this.#wake = wake
        await this.#clock.sleep((-this.#level / this.#rate) * 1000, wake.signal).catch(() => {})
        woken = wake.signal.aborted // early: another rate, or the first has left
        this.#refill()
      }
      this.#wake = undefined
      if (this.#queue[0] !== first) this.#level += first.n
      else {
        this.#queue.shift()
        first.grant()
      }
    }
    this.#serving = false
  }

  #leave(waiter: Waiter): void {
    const at = this.#queue.indexOf(waiter)
    if (at < 0) return
    this.#queue.splice(at, 1)
    if (at === 0) this.#wake?.abort()
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) / 1000) * this.#rate)
    this.#at = now
  }
}

/** Seconds of a rate that may be saved up: little, so that a limit shows within 5 % even over short times, but more than timers are late. */
const SAVED_SECONDS = 0.1
/** Takers that share a rate should each see something every second, down to MIN_PIECE_BYTES at a time. */
const PIECES_PER_SECOND = 16
const MIN_PIECE_BYTES = 4096

/** A bandwidth limit that may be changed, or be absent. */
export class RateLimiter {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  #bucket: TokenBucket | undefined
  #rate: number | undefined

  /** @param bytesPerSecond undefined: no limit */
  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, bytesPerSecond?: number) {
    this.#clock = clock
    this.rate = bytesPerSecond
  }

  get rate(): number | undefined {
    return this.#rate
  }
  /** Holds at once, also for those who wait. */
  set rate(bytesPerSecond: number | undefined) {
    this.#rate = bytesPerSecond
    if (bytesPerSecond === undefined) {
      this.#bucket?.setRate(UNLIMITED)
      this.#bucket = undefined
    } else if (this.#bucket) this.#bucket.setRate(bytesPerSecond, bytesPerSecond * SAVED_SECONDS)
    else this.#bucket = new TokenBucket(this.#clock, bytesPerSecond, bytesPerSecond * SAVED_SECONDS)
  }

  /** Waits until `bytes` may flow, first come, first served. undefined: at once. An aborted wait rejects with the reason and takes nothing. */
  take(bytes: number, signal?: AbortSignal): Promise<void> | undefined {
    if (!this.#bucket || (!signal?.aborted && this.#bucket.tryTake(bytes))) return undefined
    return this.#bucket.take(bytes, signal)
  }

  /** How many bytes to take at a time, at most `most`: with large pieces at a low rate, most takers would see nothing for a long time. */
  pieceBytes(most: number): number {
    if (!this.#bucket || this.#rate === undefined) return most
    const piece = this.#rate / Math.max(PIECES_PER_SECOND, this.#bucket.waiting)
    return Math.min(most, Math.max(MIN_PIECE_BYTES, Math.floor(piece / MIN_PIECE_BYTES) * MIN_PIECE_BYTES))
  }
}

/** Bytes per second that let everybody pass who still waits. */
const UNLIMITED = 1e15
