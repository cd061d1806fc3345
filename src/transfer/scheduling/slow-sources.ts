/** Which sources bring little although they have work and room: another way to the same seeder may be better. */
import { SLOW_AFTER_MS, SLOW_BYTES_PER_SECOND, SLOW_SHARE } from '../limits.ts'
import { type Entry, waitsForUs } from '../source-entry.ts'

/** Those that were in use for ten seconds and bring less than an eighth of the best, or than 32 KiB/s; none that was named before. */
export function findSlow(entries: readonly Entry[], now: number): Entry[] {
  const active = entries.filter(e => e.state === 'active')
  const rates = new Map(active.map(e => [e, e.meter.rate(now)]))
  const least = Math.max(SLOW_BYTES_PER_SECOND, SLOW_SHARE * Math.max(0, ...rates.values()))
  const isJudged = (e: Entry): boolean => !e.toldSlow && !e.retiring && now - (e.usedMs ?? now) > SLOW_AFTER_MS
  return active.filter(e => isJudged(e) && rates.get(e)! < least && ![...e.lanes].every(waitsForUs))
}
