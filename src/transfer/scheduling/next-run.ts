/** Which chunks a source fetches next, while some are missing: where to begin, and how many in one go. */

import type { Grid } from '../grid.ts'
import { RUN_MS, SEQUENTIAL_RUN, SEQUENTIAL_WINDOW } from '../limits.ts'
import { type Entry, type Lane, makeLane } from '../source-entry.ts'
import type { ChunkMap } from './chunk-map.ts'
import { Rarity } from './rarity.ts'

export interface RunPickerOptions {
  /** Strictly from the front, a few chunks ahead. */
  readonly sequential?: boolean
  /** In [0, 1): @see Rarity */
  readonly spread?: number
}

export class RunPicker {
  readonly #map: ChunkMap
  readonly #grid: Grid
  readonly #sequential: boolean
  /** Longest run, in chunks. */
  readonly #maxRun: number
  readonly #maxLanes: number
  readonly #rarity: Rarity

  constructor(map: ChunkMap, grid: Grid, bounds: { readonly slots: number; readonly lanes: number }, options: RunPickerOptions) {
    this.#map = map
    this.#grid = grid
    this.#sequential = options.sequential === true
    this.#maxRun = this.#sequential ? SEQUENTIAL_RUN : bounds.slots
    this.#maxLanes = bounds.lanes
    this.#rarity = new Rarity(map, options.spread ?? 0)
  }

  /** A lane with chunks that are assigned now; undefined when nothing is both missing and to be had from this source. */
  next(entry: Entry, entries: ReadonlyMap<unknown, Entry>, now: number): Lane | undefined {
    const map = this.#map
    const first = this.#sequential ? this.#inWindow(entry) : (this.#rarest(entry, entries, now) ?? this.#scan(entry))
    if (first === undefined) return undefined
    const window = this.#sequential ? map.lowest + SEQUENTIAL_WINDOW : map.count
    const stop = Math.min(map.count, window, first + this.#runLength(entry, entries, now))
    let end = first
    while (end < stop && map.isMissing(end) && entry.source.has(end)) map.assign(end++)
    return makeLane(entry, first, end, now, false)
  }

  /** A source came or went. */
  joined(): void {
    this.#rarity.joined()
  }
  /** A source may have more than it had. */
  changed(entry: Entry): void {
    entry.cursor = 0
    this.#rarity.changed(entry.source)
  }

  #inWindow(entry: Entry): number | undefined {
    const end = Math.min(this.#map.count, this.#map.lowest + SEQUENTIAL_WINDOW)
    for (let c = this.#map.lowest; c < end; c++) if (this.#map.isMissing(c) && entry.source.has(c)) return c
    return undefined
  }

  #rarest(entry: Entry, entries: ReadonlyMap<unknown, Entry>, now: number): number | undefined {
    if (entries.size < 2) return undefined
    const inUse = (e: Entry): boolean => e.state !== 'dropped' && e.state !== 'unpaid'
    this.#rarity.refresh(now, () => [...entries.values()].filter(inUse).map(e => e.source))
    return this.#rarity.pick(entry.source)
  }

  /** The lowest missing chunk it has. A source that lacks many is looked through in steps, so that many such do not hold up the rest. */
  #scan(entry: Entry): number | undefined {
    const map = this.#map
    let c = Math.max(map.lowest, entry.cursor)
    let found = false
    for (; c < map.count && entry.looks > 0; c++) {
      if (!map.isMissing(c)) continue
      found = entry.source.has(c)
      if (found) break
      entry.looks--
    }
    entry.cursor = c
    return found ? c : undefined
  }

  /** About half a second of the source's own rate, a small first run to measure with, and never more than a fair share of the rest. */
  #runLength(entry: Entry, entries: ReadonlyMap<unknown, Entry>, now: number): number {
    const { chunkBytes } = this.#grid
    const rate = entry.meter.rate(now)
    const byRate = entry.chunks === 0 ? 4 : Math.ceil((rate * RUN_MS) / 1000 / chunkBytes / entry.source.parallel)
    let workers = 0
    for (const e of entries.values()) if (e.state !== 'dropped') workers += e.source.parallel
    const fair = Math.ceil(this.#map.left / (2 * Math.max(1, Math.min(workers, this.#maxLanes))))
    const most = entry.bad > 0 ? 1 : this.#maxRun
    return Math.max(1, Math.min(byRate, entry.source.maxRun, fair, most))
  }
}
