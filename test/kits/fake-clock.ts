/** A clock that stands still until a test moves it. */
import type { Clock } from '../../src/base/clock.ts'

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

export class FakeClock implements Clock {
  #ms = 0
  #sleepers: Sleeper[] = []
  readonly #epoch: number

  /** @param epochMs wall time at the start */
  constructor(epochMs: number = Date.UTC(2026, 0, 1)) {
    this.#epoch = epochMs
  }
  now(): number {
    return this.#epoch + this.#ms
  }
  monotonic(): number {
    return this.#ms
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const sleeper = { at: this.#ms + ms, wake: resolve }
      this.#sleepers.push(sleeper)
      signal?.addEventListener(
        'abort',
        () => {
          this.#sleepers = this.#sleepers.filter(s => s !== sleeper)
          reject(signal.reason)
        },
        { once: true }
      )
    })
  }
  /** Whether somebody sleeps who is due in exactly `ms`. */
  isAwaited(ms: number): boolean {
    return this.#sleepers.some(s => s.at === this.#ms + ms)
  }
  /** Moves time on, wakes who is due, and lets promises run. */
  async advance(ms: number): Promise<void> {
    this.#ms += ms
    const due = this.#sleepers.filter(s => s.at <= this.#ms).sort((a, b) => a.at - b.at)
    this.#sleepers = this.#sleepers.filter(s => s.at > this.#ms)
    for (const s of due) s.wake()
    await new Promise(resolve => setImmediate(resolve))
  }
}
