/**
 * Scores of whoever misbehaves or behaves, in memory: they fade by half every ten minutes, a ban holds for half an hour before it begins
 * to fade. How much an offence costs is a table of four (threats §B).
 */
import type { Clock } from '../base/clock.ts'
import { BAN_HOLD_MS, BAN_SCORE, DISCONNECT_SCORE, MAX_SCORE, MAX_SCORES, MIN_SCORE, SCORE_HALF_LIFE_MS } from './limits.ts'

/** fatal: a ban at once · low, mid, high: how much of it is tolerated. */
export const PENALTIES = { fatal: -200, low: -10, mid: -5, high: -1 } as const
export type Penalty = keyof typeof PENALTIES

export interface ScoreView {
  /** -100 to 100, rounded to tenths. */
  readonly score: number
  /** disconnect: links are closed · banned: and new ones refused. */
  readonly standing: 'good' | 'disconnect' | 'banned'
  /** Milliseconds until it is not banned any more; 0 when it is not. */
  readonly bannedForMs: number
}

/** A score as it was at `at`; it fades from then on. */
export interface ScoreEntry {
  readonly score: number
  /** By the monotonic clock; in the future while a ban holds. */
  readonly at: number
  /** What the last penalty was for. */
  readonly code: string
}

/** What the user decided: it holds until the user says otherwise, whatever else happens, and is never forgotten for others. */
export const USER_BAN = 'BANNED_BY_USER'
/** No clock runs for so long: a hundred years. */
const FOREVER_MS = 100 * 365 * 24 * 3_600_000

/** Below this a score says nothing. */
const NOTHING = 0.05

const fadedTo = (entry: ScoreEntry, now: number): number =>
  now <= entry.at ? entry.score : entry.score * 2 ** (-(now - entry.at) / SCORE_HALF_LIFE_MS)

export class Scores {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #entries = new Map<string, ScoreEntry>()
  readonly #max: number
  readonly #changed: (key: string) => void

  /** @param changed hears the key of each score that is another than before, or gone */
  constructor(deps: { readonly clock: Pick<Clock, 'monotonic'> }, changed: (key: string) => void = () => {}, max: number = MAX_SCORES) {
    this.#clock = deps.clock
    this.#changed = changed
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  /** Adds to a score. What is below the ban holds still for BAN_HOLD_MS from now. */
  add(key: string, points: number, code: string): ScoreView {
    const now = this.#clock.monotonic()
    const old = this.#entries.get(key)
    if (old?.code === USER_BAN) return this.view(key)
    const score = Math.min(MAX_SCORE, Math.max(MIN_SCORE, (old ? fadedTo(old, now) : 0) + points))
    this.set(key, { score, at: score <= BAN_SCORE ? now + BAN_HOLD_MS : now, code: points < 0 ? code : (old?.code ?? code) })
    return this.view(key)
  }

  /** Bans for good: only `remove` ends it. */
  ban(key: string): void {
    this.set(key, { score: MIN_SCORE, at: this.#clock.monotonic() + FOREVER_MS, code: USER_BAN })
  }

  /** Puts an entry as it is, for one that was kept. */
  set(key: string, entry: ScoreEntry): void {
    if (!this.#entries.has(key) && this.#entries.size >= this.#max) this.#forgetOne()
    this.#entries.set(key, entry)
    this.#changed(key)
  }

  remove(key: string): void {
    if (this.#entries.delete(key)) this.#changed(key)
  }

  view(key: string): ScoreView {
    const entry = this.#entries.get(key)
    if (!entry) return { score: 0, standing: 'good', bannedForMs: 0 }
    const now = this.#clock.monotonic()
    const score = fadedTo(entry, now)
    if (Math.abs(score) < NOTHING) this.remove(key)
    const standing = score <= BAN_SCORE ? 'banned' : score <= DISCONNECT_SCORE ? 'disconnect' : 'good'
    return { score: Math.round(score * 10) / 10 || 0, standing, bannedForMs: standing === 'banned' ? endOfBan(entry) - now : 0 }
  }

  entry(key: string): ScoreEntry | undefined {
    return this.#entries.get(key)
  }

  keys(): string[] {
    return [...this.#entries.keys()]
  }

  /** The one that says least: nearest to 0, and of equals the oldest. A flood of new names can so only push out its own like. */
  #forgetOne(): void {
    const now = this.#clock.monotonic()
    let least: string | undefined
    let size = Number.POSITIVE_INFINITY
    for (const [key, entry] of this.#entries) {
      if (entry.code === USER_BAN) continue
      const at = Math.abs(fadedTo(entry, now))
      if (at < size) [least, size] = [key, at]
    }
    if (least !== undefined) this.remove(least)
  }
}

/** When its score has faded to more than the ban, by the same clock. */
const endOfBan = (entry: ScoreEntry): number => entry.at + SCORE_HALF_LIFE_MS * Math.log2(entry.score / BAN_SCORE)
