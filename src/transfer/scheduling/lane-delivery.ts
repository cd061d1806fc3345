/** The `Delivery` of one lane: hands out slots when there is memory and the download limit allows it, and measures what comes. */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { chunkLength, type Grid } from '../grid.ts'
import type { Delivery, Slot } from '../protocol.ts'
import { type Lane, smooth, waitsForUs } from '../source-entry.ts'
import type { Throttle } from '../throttle.ts'
import type { ChunkMap } from './chunk-map.ts'
import type { PoolSlot, SlotPool } from './slot-pool.ts'

export interface LaneDeps {
  readonly clock: Clock
  readonly grid: Grid
  readonly pool: SlotPool
  readonly map: ChunkMap
  readonly throttles: readonly Throttle[]
  /** A slot is full; it belongs to the receiver now. */
  readonly onComplete: (lane: Lane, chunk: number, slot: PoolSlot) => void
}

export function makeDelivery(deps: LaneDeps, lane: Lane, signal: AbortSignal): Delivery {
  const { clock, grid, map } = deps
  return {
    grid,
    run: { first: lane.first, count: lane.end - lane.first },
    wants: chunk => chunk < lane.end && chunk >= lane.first && map.isWanted(chunk) && !lane.abort.signal.aborted,
    slot: chunk => {
      if (chunk < lane.first || chunk >= lane.end || lane.slots.has(chunk) || lane.pending.has(chunk))
        throw new KithError('SOURCE_LIED', 'a chunk that was not asked for', { chunk })
      return slotFor(deps, lane, chunk, signal)
    },
    received: n => {
      const now = clock.monotonic()
      lane.lastByteMs = now
      lane.received += n
      if (!lane.answered) {
        lane.answered = true
        lane.entry.latencyMs = smooth(lane.entry.latencyMs, now - lane.beganMs)
      }
      lane.entry.meter.add(now, n)
    },
    complete: chunk => {
      const slot = lane.slots.get(chunk)
      if (!slot) throw new KithError('SOURCE_LIED', 'a chunk completed without a slot', { chunk })
      lane.slots.delete(chunk)
      deps.onComplete(lane, chunk, slot)
      while (lane.at < lane.end && !map.isWanted(lane.at)) lane.at++
    }
  }
}

/** The run has ended: what it holds goes back, and what it paid for and did not get. */
export function endDelivery({ pool, throttles }: LaneDeps, lane: Lane): void {
  for (const slot of lane.slots.values()) pool.release(slot)
  lane.slots.clear()
  const unused = lane.charged - lane.received
  if (unused > 0) for (const t of throttles) t.giveBack(unused)
}

const hasEnded = (lane: Lane): boolean => !lane.entry.lanes.has(lane)

/** The promise is the back-pressure; it never rejects. A slot that comes after the end of the run goes back at once. */
function slotFor(deps: LaneDeps, lane: Lane, chunk: number, signal: AbortSignal): Slot | Promise<Slot> {
  const { clock, pool, grid } = deps
  const paid = pay(deps, lane, chunkLength(grid, chunk), signal)
  const got = paid ? paid.then(() => pool.acquire()) : pool.acquire()
  const keep = (slot: PoolSlot): PoolSlot => {
    lane.lastByteMs = clock.monotonic()
    if (hasEnded(lane)) pool.release(slot)
    else lane.slots.set(chunk, slot)
    return slot
  }
  if (!(got instanceof Promise)) return keep(got)
  const sinceMs = clock.monotonic()
  lane.pending.add(chunk)
  return got.then(slot => {
    if (waitsForUs(lane)) lane.beganMs += clock.monotonic() - sinceMs
    lane.pending.delete(chunk)
    return keep(slot)
  })
}

/** Pays the bytes of a chunk to every limit in turn. A run that ended meanwhile gets its money back. */
function pay({ throttles }: LaneDeps, lane: Lane, bytes: number, signal: AbortSignal): Promise<void> | undefined {
  if (throttles.length === 0) return undefined
  const paid: Throttle[] = []
  const next = (): Promise<void> | undefined => {
    for (let t = throttles[paid.length]; t; t = throttles[paid.length]) {
      const wait = t.take(bytes, signal)
      paid.push(t)
      if (wait) return wait.then(next)
    }
    if (hasEnded(lane)) for (const t of paid) t.giveBack(bytes)
    else lane.charged += bytes
    return undefined
  }
  return next()?.catch(() => {
    paid.pop() // the one that was waited for took nothing
    for (const t of paid) t.giveBack(bytes)
  })
}
