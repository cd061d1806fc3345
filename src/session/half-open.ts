/**
 * Handshakes that are not finished, for ten seconds at most and so many at a time. When there are too many the oldest of the network that
 * has most makes room, so that who has many addresses takes no places from others (threats HS3).
 */
import type { Clock } from '../base/clock.ts'
import { mostCrowded } from '../base/crowding.ts'
import { HANDSHAKE_TIMEOUT_MS } from './limits.ts'

interface Entry<T> {
  readonly value: T
  readonly group: string
  readonly network: string
  readonly endsAt: number
}

export class HalfOpen<T> {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #max: number
  readonly #maxPerGroup: number
  /** Oldest first: all live equally long. */
  readonly #byId = new Map<string, Entry<T>>()

  constructor(clock: Pick<Clock, 'monotonic'>, max: number, maxPerGroup: number) {
    this.#clock = clock
    this.#max = max
    this.#maxPerGroup = maxPerGroup
  }

  get size(): number {
    this.#prune()
    return this.#byId.size
  }

  has(id: string): boolean {
    this.#prune()
    return this.#byId.has(id)
  }

  get(id: string): T | undefined {
    this.#prune()
    return this.#byId.get(id)?.value
  }

  values(): T[] {
    this.#prune()
    return [...this.#byId.values()].map(e => e.value)
  }

  /**
   * @param group what may have only some of the places
   * @param network what makes room first when it has most of them
   * @returns whether there was room
   */
  add(id: string, group: string, network: string, value: T): boolean {
    this.#prune()
    let inGroup = 0
    for (const e of this.#byId.values()) if (e.group === group) inGroup++
    if (inGroup >= this.#maxPerGroup) return false
    if (this.#byId.size >= this.#max) {
      const crowd = mostCrowded(this.#byId, ([, e]) => e.network)
      if (!crowd) return false
      this.#byId.delete(crowd.oldest[0])
    }
    this.#byId.set(id, { value, group, network, endsAt: this.#clock.monotonic() + HANDSHAKE_TIMEOUT_MS })
    return true
  }

  /** Removes it. @returns whether it was there: only one caller finishes a handshake */
  take(id: string): boolean {
    this.#prune()
    return this.#byId.delete(id)
  }

  #prune(): void {
    const now = this.#clock.monotonic()
    for (const [id, entry] of this.#byId) {
      if (entry.endsAt > now) return
      this.#byId.delete(id)
    }
  }
}
