/**
 * aMule repeats ranges that it still waits for in each of its requests: those are not sent again. A range that its last request did not name
 * has arrived there, so that it is wanted anew, because it was wrong. Pure.
 */
import type { Clock } from '../../base/clock.ts'
import { REPEAT_MS, SENT_RANGES_KEPT } from './limits.ts'
import type { ByteRange } from './parts.ts'

export class Repeats {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** When ranges were sent, by key; the oldest first. */
  readonly #sentMs = new Map<string, number>()
  #before: ReadonlySet<string> = new Set()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** A request came. @returns those of its ranges that are to be sent */
  fresh(ranges: readonly ByteRange[]): ByteRange[] {
    const now = this.#clock.monotonic()
    const before = this.#before
    this.#before = new Set(ranges.map(keyOf))
    return ranges.filter(r => !before.has(keyOf(r)) || now - (this.#sentMs.get(keyOf(r)) ?? Number.NEGATIVE_INFINITY) > REPEAT_MS)
  }
  sent(range: ByteRange): void {
    this.#sentMs.delete(keyOf(range))
    this.#sentMs.set(keyOf(range), this.#clock.monotonic())
    if (this.#sentMs.size > SENT_RANGES_KEPT) this.#sentMs.delete(this.#sentMs.keys().next().value!)
  }
  /** Whatever is asked for from now on is wanted. */
  clear(): void {
    this.#sentMs.clear()
  }
}

const keyOf = (r: ByteRange): string => `${r.start}-${r.end}`
