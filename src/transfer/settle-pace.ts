/**
 * How often seeders may have a running download settle. Every settlement costs gas, and an honest seeder's credit grows with each, so
 * each must cover more than the one before; who asks for less waits for the end of the download, when all are paid at once.
 */
import { MAX_SETTLE_STEP_BYTES, MAX_SMALL_SETTLEMENTS, MIN_SETTLE_BYTES, SETTLE_GRACE_MS } from './limits.ts'

interface Seeder {
  /** Verified since the last settlement. */
  bytes: number
  settlements: number
  settledMs: number
}

export class SettlePace {
  /** By hex instance key; bounded by the providers of a download. */
  readonly #seeders = new Map<string, Seeder>()
  #small = 0

  /** A chunk of a paid seeder was verified. */
  delivered(seeder: string, bytes: number): void {
    this.#of(seeder).bytes += bytes
  }

  /** What to do about a seeder that asks to be paid. `wait`: it was paid a moment ago and may not have seen that yet. */
  decide(seeder: string, nowMs: number): 'settle' | 'wait' | 'leave' {
    const s = this.#of(seeder)
    const least = Math.min(MAX_SETTLE_STEP_BYTES, MIN_SETTLE_BYTES * 2 ** Math.max(0, s.settlements - 1))
    if (s.bytes >= least || (s.settlements === 0 && this.#small < MAX_SMALL_SETTLEMENTS)) return 'settle'
    return nowMs - s.settledMs < SETTLE_GRACE_MS ? 'wait' : 'leave'
  }

  /** A settlement with this seeder was made. */
  settled(seeder: string, nowMs: number): void {
    const s = this.#of(seeder)
    if (s.bytes < MIN_SETTLE_BYTES) this.#small++
    this.#seeders.set(seeder, { bytes: 0, settlements: s.settlements + 1, settledMs: nowMs })
  }

  #of(seeder: string): Seeder {
    const known = this.#seeders.get(seeder)
    if (known) return known
    const made = { bytes: 0, settlements: 0, settledMs: Number.NEGATIVE_INFINITY }
    this.#seeders.set(seeder, made)
    return made
  }
}
