/**
 * Work for a source when nothing is unassigned: the tail of the run that would end last, or a race for a chunk whose source has
 * fallen silent or is much slower. One pass over the runs under way.
 */

import { RACE_AFTER_MS } from '../limits.ts'
import { type Entry, type Lane, makeLane, waitsForUs } from '../source-entry.ts'
import type { ChunkMap } from './chunk-map.ts'

/** Who races for a chunk, by chunk. */
export type Races = ReadonlyMap<number, ReadonlySet<Lane>>

interface Find {
  readonly lane: Lane
  readonly tail: Tail | undefined
}
interface Tail {
  readonly first: number
  readonly end: number
}

/** A source that was never measured is taken to bring this much per second. */
const UNMEASURED_RATE = 64 * 1024

/** @returns a lane for `thief`, whose chunks no other lane will begin; undefined when everybody does well */
export function findSteal(
  thief: Entry,
  entries: Iterable<Entry>,
  map: ChunkMap,
  races: Races,
  chunkBytes: number,
  now: number
): Lane | undefined {
  const mine = Math.max(thief.meter.rate(now), thief.chunks === 0 ? UNMEASURED_RATE : 1)
  const raceAfterSeconds = (2 * chunkBytes) / mine + 0.25
  let best: Find | undefined
  let longest = 0
  for (const entry of entries) {
    if (entry === thief || entry.lanes.size === 0) continue
    const rate = Math.max(1, entry.meter.rate(now) / entry.lanes.size)
    for (const lane of entry.lanes) {
      while (lane.at < lane.end && !map.isWanted(lane.at)) lane.at++ // somebody else brought it
      if (lane.race || lane.at >= lane.end) continue
      const silent = now - lane.lastByteMs > RACE_AFTER_MS && !waitsForUs(lane)
      const seconds = ((lane.end - lane.at) * chunkBytes) / (silent ? 1 : rate)
      if (seconds <= longest) continue
      const tail = tailOf(thief, lane, map)
      if (!tail && !(seconds > raceAfterSeconds && mayRace(thief, lane, map, races, now))) continue
      best = { lane, tail }
      longest = seconds
    }
  }
  if (!best) return undefined
  const { lane, tail } = best
  if (!tail) return makeLane(thief, lane.at, lane.at + 1, now, true)
  lane.end = tail.first
  return makeLane(thief, tail.first, tail.end, now, false)
}

/** The later half of what a lane has not begun, as far as the thief has it. */
function tailOf(thief: Entry, lane: Lane, map: ChunkMap): Tail | undefined {
  let untouched = lane.at + 1
  for (const c of lane.slots.keys()) untouched = Math.max(untouched, c + 1)
  for (const c of lane.pending) untouched = Math.max(untouched, c + 1)
  const { end } = lane
  if (end <= untouched) return undefined
  let first = end - Math.ceil((end - untouched) / 2)
  const can = (c: number): boolean => map.isAssigned(c) && thief.source.has(c)
  while (first < end && !can(first)) first++
  let stop = first
  while (stop < end && can(stop)) stop++
  return first < end && stop === end ? { first, end } : undefined
}

function mayRace(thief: Entry, lane: Lane, map: ChunkMap, races: Races, now: number): boolean {
  if (waitsForUs(lane) || !map.isAssigned(lane.at) || !thief.source.has(lane.at)) return false
  for (const racer of races.get(lane.at) ?? []) {
    if (racer.entry === thief || now - racer.lastByteMs < RACE_AFTER_MS || waitsForUs(racer)) return false
  }
  return true
}
