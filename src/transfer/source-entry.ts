/** What the scheduler keeps about one source, and how it ranks sources. Nothing here knows a protocol. */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { MAX_CHANGES_BURST, MAX_CHANGES_PER_SECOND } from './limits.ts'
import type { Source } from './protocol.ts'
import { RateMeter } from './scheduling/rate-meter.ts'
import type { PoolSlot } from './scheduling/slot-pool.ts'

export type SourceState = 'active' | 'idle' | 'unpaid' | 'waiting' | 'dropped'

/** What is known of one source, for the screen and for tests. */
export interface SourceStats {
  readonly source: Source
  readonly state: SourceState
  readonly chunks: number
  readonly bytes: number
  readonly rate: number
  /** From giving it work to its first byte, ms, smoothed; undefined before the first. */
  readonly latencyMs: number | undefined
  readonly badChunks: number
  readonly wastedBytes: number
  readonly note: string | undefined
}

/** One run that a source is fetching. */
export interface Lane {
  readonly entry: Entry
  readonly abort: AbortController
  readonly first: number
  /** One past the last chunk; shrinks when another source takes the tail. */
  end: number
  /** The next chunk this lane has not completed. */
  at: number
  readonly slots: Map<number, PoolSlot>
  /** Chunks whose slot it waits for: our memory or the download limit is in the way, not the source. */
  readonly pending: Set<number>
  lastByteMs: number
  /** Since when it could have sent: moves on while it waits for us. */
  beganMs: number
  answered: boolean
  received: number
  /** Bytes paid to the download limit. */
  charged: number
  readonly race: boolean
}

export interface Entry {
  readonly source: Source
  readonly meter: RateMeter
  readonly lanes: Set<Lane>
  readonly gone: AbortController
  state: SourceState
  /** It gets no more work. */
  retiring: boolean
  /** Chunks of it that are being verified. */
  checking: number
  onQuiet: () => void
  /** No chunk below it is both missing and to be had from this source. */
  cursor: number
  /** Chunks it may still be asked about before the next look at the clock: a grid is large, and so may be what it lacks. */
  looks: number
  readonly changes: TokenBucket
  /** It may have more than when the cursor was set. */
  changed: boolean
  chunks: number
  bytes: number
  wasted: number
  bad: number
  failures: number
  /** It asked to be tried again later. */
  isBusy: boolean
  readyMs: number
  /** Bytes per second of one run, smoothed, without the time it waited for us; undefined before the first. */
  laneRate: number | undefined
  latencyMs: number | undefined
  /** When it got its first work. */
  usedMs: number | undefined
  /** onSlow was told. */
  toldSlow: boolean
  note: string | undefined
}

export function makeEntry(source: Source, clock: Clock, looks: number): Entry {
  const now = clock.monotonic()
  return {
    source,
    meter: new RateMeter(now),
    lanes: new Set(),
    gone: new AbortController(),
    state: 'idle',
    retiring: false,
    checking: 0,
    onQuiet: () => {},
    cursor: 0,
    looks,
    changes: new TokenBucket(clock, MAX_CHANGES_PER_SECOND, MAX_CHANGES_BURST),
    changed: false,
    chunks: 0,
    bytes: 0,
    wasted: 0,
    bad: 0,
    failures: 0,
    isBusy: false,
    readyMs: now,
    laneRate: undefined,
    latencyMs: undefined,
    usedMs: undefined,
    toldSlow: false,
    note: undefined
  }
}

export function makeLane(entry: Entry, first: number, end: number, nowMs: number, race: boolean): Lane {
  return {
    entry,
    abort: new AbortController(),
    first,
    end,
    at: first,
    slots: new Map(),
    pending: new Set(),
    lastByteMs: nowMs,
    beganMs: nowMs,
    answered: false,
    received: 0,
    charged: 0,
    race
  }
}

/** Silence of a lane that has nowhere to put bytes says nothing about its source. */
export const waitsForUs = (lane: Lane): boolean => lane.pending.size > 0 && lane.slots.size === 0

const SMOOTH = 0.3
export const smooth = (old: number | undefined, now: number): number => (old === undefined ? now : old + SMOOTH * (now - old))

/**
 * What one chunk from a source costs, to compare sources by; the lowest is asked first:
 *
 *     seconds × (1 + share) × (1 + 3 × bad + failures)
 *     seconds = latency + chunk bytes / rate of one of its runs
 *
 * `share` is the part of what the user would spend that the whole file from this source alone would take (0: free), so between equally
 * fast sources the cheaper comes first, and one that would take the whole budget must be twice as fast. A source that is not
 * measured yet comes before all, to be measured.
 */
export function costOfChunk(e: Entry, chunkBytes: number, share: number): number {
  const demotion = 1 + 3 * e.bad + e.failures
  if (e.laneRate === undefined) return demotion === 1 ? 0 : Number.MAX_VALUE
  const seconds = (e.latencyMs ?? 0) / 1000 + chunkBytes / Math.max(1, e.laneRate)
  return seconds * (1 + share) * demotion
}

/** A lane ended: what it says about its source. */
export function learn(e: Entry, lane: Lane, nowMs: number): void {
  if (lane.received === 0) return
  e.laneRate = smooth(e.laneRate, (lane.received * 1000) / Math.max(1, nowMs - lane.beganMs))
}

export const statsOf = (e: Entry, nowMs: number): SourceStats => ({
  source: e.source,
  state: e.state,
  chunks: e.chunks,
  bytes: e.bytes,
  rate: e.meter.rate(nowMs),
  latencyMs: e.latencyMs,
  badChunks: e.bad,
  wastedBytes: e.wasted,
  note: e.note
})
