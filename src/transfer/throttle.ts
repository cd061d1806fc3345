/**
 * A download limit: bytes are paid for before they are fetched, and who cannot pay yet waits in line. Slots are handed out at that
 * pace (scheduler.ts), a source without a slot does not read from its socket, and so every protocol keeps to it without knowing.
 * Over any time t at most `bytesPerSecond` × t bytes and a quarter of a second's worth are let through, and what a late timer missed
 * within that quarter is made up for.
 */
import type { Clock } from '../base/clock.ts'

export interface Throttle {
  readonly bytesPerSecond: number
  /** Whether somebody waits: what is measured now is the limit, not the sources. */
  readonly isBusy: boolean
  /**
   * Takes `bytes`: undefined when they may flow at once, else a promise that resolves when they may. First come, first served.
   * @returns a promise that rejects, and has taken nothing, when `signal` aborts
   */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined
  /** Gives back what was taken and did not arrive. */
  giveBack(bytes: number): void
}

interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

/** What may be saved up while nothing is fetched. */
const SAVED_SECONDS = 0.25

export function createThrottle(clock: Pick<Clock, 'monotonic' | 'sleep'>, bytesPerSecond: number): Throttle {
  return new Bucket(clock, bytesPerSecond)
}

class Bucket implements Throttle {
  readonly bytesPerSecond: number
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #queue: Waiter[] = []
  #level = 0
  #at: number
  #timer: AbortController | undefined

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, bytesPerSecond: number) {
    this.#clock = clock
    this.bytesPerSecond = bytesPerSecond
    this.#at = clock.monotonic()
  }

  get isBusy(): boolean {
    return this.#queue.length > 0
  }

  take(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    this.#refill()
    if (this.#queue.length === 0 && this.#level >= bytes) {
      this.#level -= bytes
      return undefined
    }
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = (): void => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1)
        if (this.#queue.length === 0) this.#timer?.abort() // no timer outlives those who wait
        reject(signal.reason)
      }
      const waiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        }
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#queue.push(waiter)
      if (!this.#timer) void this.#serve()
    })
  }

  giveBack(bytes: number): void {
    this.#level += bytes
  }

  /** Runs while somebody waits; never rejects. */
  async #serve(): Promise<void> {
    const timer = new AbortController()
    this.#timer = timer
    while (this.#queue.length > 0 && !timer.signal.aborted) {
      this.#refill()
      const next = this.#queue[0]!
      if (this.#level >= next.bytes) {
        this.#level -= next.bytes
        this.#queue.shift()
        next.grant()
      } else {
        const ms = ((next.bytes - this.#level) * 1000) / this.bytesPerSecond
        await this.#clock.sleep(Math.max(1, ms), timer.signal).catch(() => {})
      }
    }
    this.#timer = undefined
    if (this.#queue.length > 0) void this.#serve() // somebody came after the last had gone
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    const most = Math.max(this.bytesPerSecond * SAVED_SECONDS + (this.#queue[0]?.bytes ?? 0), this.#level)
    this.#level = Math.min(most, this.#level + ((now - this.#at) * this.bytesPerSecond) / 1000)
    this.#at = now
  }
}
