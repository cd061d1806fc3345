/**
 * Rarest first, where it matters: when some source lacks chunks of the next stretch of the file, those that few have come first, for
 * their owners may go; among equals each download begins somewhere else, so that two that run at once can help each other. When
 * every source has everything this keeps silent and the file grows from the front. The stretch is bounded and begins at the first
 * chunk that nobody brought, so the whole-file hash is never left far behind.
 */

import { RARITY_EVERY_MS, RARITY_WINDOW } from '../limits.ts'
import type { Source } from '../protocol.ts'
import type { ChunkMap } from './chunk-map.ts'

/** How long a count holds when sources have come or gone since. */
const OLD_MS = 100

export class Rarity {
  readonly #map: ChunkMap
  readonly #spread: number
  #order: number[] = []
  /** Sources that had none of these. */
  readonly #without = new Set<Source>()
  #countedMs = Number.NEGATIVE_INFINITY
  #isOld = false

  /** @param spread in [0, 1): where in the stretch this download begins among equally rare chunks */
  constructor(map: ChunkMap, spread: number) {
    this.#map = map
    this.#spread = spread
  }

  /** Counts again when the last count is old. Costs one question per source and chunk of the stretch. */
  refresh(nowMs: number, sourcesNow: () => readonly Source[]): void {
    if (nowMs - this.#countedMs < (this.#isOld ? OLD_MS : RARITY_EVERY_MS)) return
    this.#isOld = false
    const sources = sourcesNow()
    this.#without.clear()
    this.#countedMs = nowMs
    const first = this.#map.lowest
    const end = Math.min(this.#map.count, first + RARITY_WINDOW)
    const owners = new Map<number, number>()
    for (let c = first; c < end; c++) if (this.#map.isMissing(c)) owners.set(c, 0)
    let somebodyLacksSome = false
    for (const s of sources) {
      let has = 0
      for (const [c, n] of owners) {
        if (!s.has(c)) continue
        owners.set(c, n + 1)
        has++
      }
      if (has < owners.size) somebodyLacksSome = true
      if (has === 0) this.#without.add(s)
    }
    this.#order = somebodyLacksSome ? this.#sorted(owners, first, end) : []
  }

  #sorted(owners: ReadonlyMap<number, number>, first: number, end: number): number[] {
    const begin = first + Math.floor(this.#spread * (end - first))
    const place = (c: number): number => (c >= begin ? c : c + (end - first))
    const owned = [...owners.keys()].filter(c => owners.get(c)! > 0)
    return owned.sort((a, b) => owners.get(a)! - owners.get(b)! || place(a) - place(b))
  }

  /** The rarest missing chunk of the stretch that this source has; undefined: nothing speaks against taking them in order. */
  pick(source: Source): number | undefined {
    if (this.#order.length === 0 || this.#without.has(source)) return undefined
    for (const c of this.#order) if (this.#map.isMissing(c) && source.has(c)) return c
    this.#without.add(source)
    return undefined
  }

  /** A source came or went. */
  joined(): void {
    this.#isOld = true
  }
  /** A source may have more than it had. */
  changed(source: Source): void {
    this.#without.delete(source)
  }
}
