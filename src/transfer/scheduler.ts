/**
 * One scheduler over all sources of one file, whatever their protocol. It assigns runs of chunks by measured rate, lets only `verify`
 * decide what is good, remembers who delivered which chunk, takes work away from the slow and races the last chunks, and drops
 * who lies. It knows nothing about protocols, money or files on disk.
 *
 * States of a chunk: missing → assigned (to one source; raced at the end by others) → verifying → done. A chunk that fails
 * goes back to missing and counts against its source.
 */
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { chunkLength, type Grid } from './grid.ts'
import {
  MAX_BAD_CHUNKS,
  MAX_CHANGES_BURST,
  MAX_CHANGES_PER_SECOND,
  MAX_IDLE_SOURCES_KEPT,
  MAX_SOURCE_FAILURES,
  RACE_AFTER_MS,
  RETRY_MS,
  RUN_MS,
  STALL_MS
} from './limits.ts'
import type { Delivery, Source } from './protocol.ts'
import { RateMeter } from './rate-meter.ts'
import type { PoolSlot, SlotPool } from './slot-pool.ts'

export interface SchedulerDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly grid: Grid
  readonly pool: SlotPool
  /** 1 for chunks that are there already. The scheduler writes to its own copy. */
  readonly done: Uint8Array
  /** @see ChunkVerifier.verify */
  readonly verify: (slot: PoolSlot, chunk: number) => Promise<boolean>
  /** A chunk is verified and written. */
  readonly onVerified: (chunk: number, source: Source, bytes: number) => void
  /** A source answered PAYMENT_REQUIRED. Resolves true when it may go on, false to leave it. */
  readonly onUnpaid: (source: Source, error: KithError) => Promise<boolean>
  /** A source is gone for good (lost too often, lied, unpaid). */
  readonly onDropped: (source: Source, code: string) => void
  /** The disk is full: nothing is fetched for a while, then it is tried again. */
  readonly onDiskFull?: () => void
}

export type SourceState = 'active' | 'idle' | 'unpaid' | 'waiting' | 'dropped'

/** What is known of one source, for the screen and for tests. */
export interface SourceStats {
  readonly source: Source
  readonly state: SourceState
  readonly chunks: number
  readonly bytes: number
  readonly rate: number
  readonly badChunks: number
  readonly wastedBytes: number
  readonly note: string | undefined
}

interface Lane {
  readonly abort: AbortController
  readonly first: number
  /** One past the last chunk; shrinks when another source takes the tail. */
  end: number
  /** The next chunk this lane has not completed. */
  at: number
  readonly slots: Map<number, PoolSlot>
  lastByteMs: number
  readonly race: boolean
}

interface Entry {
  readonly source: Source
  readonly meter: RateMeter
  readonly lanes: Set<Lane>
  readonly gone: AbortController
  state: SourceState
  /** Chunks of it that are being verified. */
  checking: number
  onQuiet: () => void
  /** No chunk below it is both missing and to be had from this source. */
  cursor: number
  readonly changes: TokenBucket
  /** It may have more than when the cursor was set. */
  changed: boolean
  chunks: number
  bytes: number
  wasted: number
  bad: number
  failures: number
  readyMs: number
  note: string | undefined
}

const MISSING = 0
const ASSIGNED = 1
const VERIFYING = 2
const DONE = 3

export class Scheduler implements AsyncDisposable {
  readonly #deps: SchedulerDeps
  readonly #state: Uint8Array
  readonly #entries = new Map<Source, Entry>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  #left: number
  #lowest = 0
  #verifying = 0
  #pausedUntilMs = 0

  constructor(deps: SchedulerDeps) {
    this.#deps = deps
    this.#state = Uint8Array.from(deps.done, d => (d === 1 ? DONE : MISSING))
    this.#left = this.#state.reduce((n, s) => n + (s === DONE ? 0 : 1), 0)
    this.#finished.promise.catch(() => {})
    if (this.#left === 0) this.#finished.resolve()
    else this.#track(this.#watch())
  }

  /** Resolves when every chunk is verified; rejects when `abort` was called or writing failed for good. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }
  get chunksLeft(): number {
    return this.#left
  }
  /** Sources that are not dropped. */
  get sourceCount(): number {
    return [...this.#entries.values()].filter(e => e.state !== 'dropped').length
  }

  stats(): SourceStats[] {
    const now = this.#deps.clock.monotonic()
    return [...this.#entries.values()].map(e => ({
      source: e.source,
      state: e.state,
      chunks: e.chunks,
      bytes: e.bytes,
      rate: e.meter.rate(now),
      badChunks: e.bad,
      wastedBytes: e.wasted,
      note: e.note
    }))
  }

  /** Takes ownership of a source and starts using it. */
  add(source: Source): void {
    if (this.#stop.signal.aborted || this.#left === 0) {
      this.#track(source[Symbol.asyncDispose]())
      return
    }
    const now = this.#deps.clock.monotonic()
    const entry: Entry = {
      source,
      meter: new RateMeter(now),
      lanes: new Set(),
      gone: new AbortController(),
      state: 'idle',
      checking: 0,
      onQuiet: () => {},
      cursor: 0,
      changes: new TokenBucket(this.#deps.clock, MAX_CHANGES_PER_SECOND, MAX_CHANGES_BURST),
      changed: false,
      chunks: 0,
      bytes: 0,
      wasted: 0,
      bad: 0,
      failures: 0,
      readyMs: now,
      note: undefined
    }
    this.#entries.set(source, entry)
    source.onChange(() => {
      entry.changed = true
      if (!this.#dropEnded(entry) && entry.changes.tryTake()) this.#lookAgain(entry)
    }, entry.gone.signal)
    this.#assign(entry)
  }

  /** Ends everything; `finished` rejects with `reason` unless it is settled. */
  abort(reason: unknown): void {
    this.#finished.reject(reason)
    this.#stop.abort(reason)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort(new KithError('CANCELLED', 'the download has ended'))
    for (const e of this.#entries.values()) {
      e.gone.abort()
      for (const lane of e.lanes) lane.abort.abort()
    }
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks)
    await Promise.allSettled([...this.#entries.keys()].map(s => s[Symbol.asyncDispose]()))
  }

  #track(task: PromiseLike<unknown>): void {
    const p = Promise.resolve(task).then(
      () => {},
      error => this.#deps.log.debug('task of a download failed', { error })
    )
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }

  /** Looking through all chunks is dear, and a peer may tell of changes thousands of times a second. */
  #lookAgain(entry: Entry): void {
    if (entry.changed) entry.cursor = 0
    entry.changed = false
    this.#assign(entry)
  }

  #assignAll(): void {
    for (const e of this.#entries.values()) this.#assign(e)
  }

  #assign(entry: Entry): void {
    const now = this.#deps.clock.monotonic()
    while (this.#canWork(entry, now)) {
      const lane = this.#nextRun(entry) ?? this.#steal(entry, now)
      if (!lane) break
      entry.lanes.add(lane)
      entry.state = 'active'
      this.#track(this.#runLane(entry, lane))
    }
    if (entry.lanes.size === 0 && entry.state === 'active') entry.state = 'idle'
  }

  #canWork(e: Entry, now: number): boolean {
    if (this.#left === 0 || this.#stop.signal.aborted || now < this.#pausedUntilMs || now < e.readyMs) return false
    return e.state !== 'dropped' && e.state !== 'unpaid' && e.lanes.size < e.source.parallel
  }

  /** The lowest missing chunks the source has: the file grows from the front, so its hash can follow and the disk sees few seeks. */
  #nextRun(entry: Entry): Lane | undefined {
    const state = this.#state
    while (this.#lowest < state.length && state[this.#lowest]! >= VERIFYING) this.#lowest++
    let first = Math.max(this.#lowest, entry.cursor)
    while (first < state.length && (state[first] !== MISSING || !entry.source.has(first))) first++
    entry.cursor = first
    if (first >= state.length) return undefined
    const most = this.#runLength(entry)
    let end = first
    while (end < state.length && end - first < most && state[end] === MISSING && entry.source.has(end)) state[end++] = ASSIGNED
    return this.#lane(first, end, false)
  }

  /** About half a second of the source's own rate, a small first run to measure with, and never more than a fair share of the rest. */
  #runLength(entry: Entry): number {
    const { clock, grid, pool } = this.#deps
    const rate = entry.meter.rate(clock.monotonic())
    const byRate = entry.chunks === 0 ? 4 : Math.ceil((rate * RUN_MS) / 1000 / grid.chunkBytes / entry.source.parallel)
    const workers = [...this.#entries.values()].reduce((n, e) => n + (e.state === 'dropped' ? 0 : e.source.parallel), 0)
    const fair = Math.ceil(this.#left / (2 * Math.max(1, workers)))
    return Math.max(1, Math.min(byRate, entry.source.maxRun, fair, pool.count))
  }

  #lane(first: number, end: number, race: boolean): Lane {
    return { abort: new AbortController(), first, end, at: first, slots: new Map(), lastByteMs: this.#deps.clock.monotonic(), race }
  }

  /** Nothing is unassigned: take the tail of the run that would end last, or race a chunk whose source has fallen silent or is much slower. */
  #steal(thief: Entry, now: number): Lane | undefined {
    const mine = Math.max(thief.meter.rate(now), thief.chunks === 0 ? 64 * 1024 : 1)
    const candidates: { lane: Lane; seconds: number }[] = []
    for (const entry of this.#entries.values()) {
      if (entry === thief) continue
      for (const lane of entry.lanes) {
        while (lane.at < lane.end && this.#state[lane.at]! >= VERIFYING) lane.at++ // somebody else brought it
        if (lane.race || lane.at >= lane.end) continue
        const silent = now - lane.lastByteMs > RACE_AFTER_MS
        const rate = silent ? 1 : Math.max(1, entry.meter.rate(now) / entry.lanes.size)
        candidates.push({ lane, seconds: ((lane.end - lane.at) * this.#deps.grid.chunkBytes) / rate })
      }
    }
    const chunkSeconds = this.#deps.grid.chunkBytes / mine
    for (const { lane, seconds } of candidates.sort((a, b) => b.seconds - a.seconds)) {
      const untouched = Math.max(lane.at + 1, ...lane.slots.keys().map(c => c + 1))
      const taken = lane.end > untouched ? this.#takeTail(thief, lane, untouched) : undefined
      if (taken) return taken
      const isSlow = seconds > 2 * chunkSeconds + 0.25
      const canRace = this.#state[lane.at] === ASSIGNED && thief.source.has(lane.at) && !this.#isRaced(lane.at, thief, now)
      if (isSlow && canRace) return this.#lane(lane.at, lane.at + 1, true)
    }
    return undefined
  }

  #takeTail(thief: Entry, lane: Lane, untouched: number): Lane | undefined {
    let first = lane.end - Math.ceil((lane.end - untouched) / 2)
    const end = lane.end
    while (first < end && !(thief.source.has(first) && this.#state[first] === ASSIGNED)) first++
    let stop = first
    while (stop < end && thief.source.has(stop) && this.#state[stop] === ASSIGNED) stop++
    if (first >= end || stop < end) return undefined
    lane.end = first
    return this.#lane(first, end, false)
  }

  /** Whether somebody who is still sending races this chunk already, or this source itself does. */
  #isRaced(chunk: number, thief: Entry, now: number): boolean {
    for (const e of this.#entries.values()) {
      for (const l of e.lanes) if (l.race && l.first === chunk && (e === thief || now - l.lastByteMs < RACE_AFTER_MS)) return true
    }
    return false
  }

  async #runLane(entry: Entry, lane: Lane): Promise<void> {
    const signal = AbortSignal.any([lane.abort.signal, entry.gone.signal, this.#stop.signal])
    let failure: { readonly error: unknown } | undefined
    try {
      await entry.source.fetch(this.#delivery(entry, lane), signal)
      entry.failures = 0
    } catch (error) {
      failure = { error }
    } finally {
      entry.lanes.delete(lane)
      for (const slot of lane.slots.values()) this.#deps.pool.release(slot)
      lane.slots.clear()
      for (let c = lane.first; c < lane.end; c++) if (this.#state[c] === ASSIGNED) this.#putBack(c)
      entry.onQuiet()
    }
    if (failure && !this.#stop.signal.aborted && !entry.gone.signal.aborted) await this.#onFailure(entry, lane, failure.error)
    if (this.#left > 0) this.#assignAll()
  }

  #delivery(entry: Entry, lane: Lane): Delivery {
    const { clock, grid, pool } = this.#deps
    return {
      grid,
      run: { first: lane.first, count: lane.end - lane.first },
      wants: chunk => chunk < lane.end && chunk >= lane.first && this.#state[chunk]! < VERIFYING && !lane.abort.signal.aborted,
      slot: chunk => {
        if (chunk < lane.first || chunk >= lane.end || lane.slots.has(chunk))
          throw new KithError('SOURCE_LIED', 'a chunk that was not asked for', { chunk })
        const got = pool.acquire()
        const keep = (slot: PoolSlot): PoolSlot => {
          lane.lastByteMs = clock.monotonic()
          if (entry.lanes.has(lane)) lane.slots.set(chunk, slot)
          else pool.release(slot) // the run ended while it waited
          return slot
        }
        return got instanceof Promise ? got.then(keep) : keep(got)
      },
      received: n => {
        lane.lastByteMs = clock.monotonic()
        entry.meter.add(lane.lastByteMs, n)
      },
      complete: chunk => {
        const slot = lane.slots.get(chunk)
        if (!slot) throw new KithError('SOURCE_LIED', 'a chunk completed without a slot', { chunk })
        lane.slots.delete(chunk)
        this.#track(this.#check(entry, chunk, slot))
        while (lane.at < lane.end && this.#state[lane.at]! >= VERIFYING) lane.at++
      }
    }
  }

  async #check(entry: Entry, chunk: number, slot: PoolSlot): Promise<void> {
    const { grid, verify, pool, onVerified } = this.#deps
    const bytes = chunkLength(grid, chunk)
    if (this.#state[chunk]! >= VERIFYING) {
      entry.wasted += bytes
      pool.release(slot)
      return
    }
    this.#state[chunk] = VERIFYING
    this.#verifying++
    entry.checking++
    let good = false
    try {
      good = await verify(slot, chunk)
      if (good) onVerified(chunk, entry.source, bytes)
    } catch (error) {
      this.#state[chunk] = ASSIGNED
      this.#putBack(chunk)
      this.#onWriteFailure(error)
      return
    } finally {
      this.#verifying--
      entry.checking--
      entry.onQuiet()
      pool.release(slot)
    }
    if (good) this.#markDone(entry, chunk, bytes)
    else this.#blame(entry, chunk)
  }

  #markDone(entry: Entry, chunk: number, bytes: number): void {
    this.#state[chunk] = DONE
    entry.chunks++
    entry.bytes += bytes
    if (--this.#left === 0) {
      this.#finished.resolve()
      for (const e of this.#entries.values()) for (const lane of e.lanes) lane.abort.abort()
    }
  }

  #blame(entry: Entry, chunk: number): void {
    this.#state[chunk] = ASSIGNED
    this.#putBack(chunk)
    entry.bad++
    this.#deps.log.debug('chunk with wrong hash', { source: entry.source.key, chunk, bad: entry.bad })
    if (entry.bad >= MAX_BAD_CHUNKS) this.#drop(entry, 'SOURCE_LIED', `sent ${entry.bad} wrong chunks`)
    this.#assignAll()
  }

  /** A chunk nobody works on any more is missing again; one that a racer or a later run holds stays assigned. */
  #putBack(chunk: number): void {
    for (const e of this.#entries.values()) for (const l of e.lanes) if (chunk >= l.at && chunk < l.end) return
    this.#state[chunk] = MISSING
    if (chunk < this.#lowest) this.#lowest = chunk
    for (const e of this.#entries.values()) if (chunk < e.cursor && e.source.has(chunk)) e.cursor = chunk
  }

  #onWriteFailure(error: unknown): void {
    if (codeOf(error) !== 'DISK_FULL') {
      this.abort(error)
      return
    }
    this.#pausedUntilMs = this.#deps.clock.monotonic() + 5 * RETRY_MS
    this.#deps.onDiskFull?.()
  }

  async #onFailure(entry: Entry, lane: Lane, error: unknown): Promise<void> {
    const code = lane.abort.signal.aborted && lane.abort.signal.reason instanceof KithError ? lane.abort.signal.reason.code : codeOf(error)
    if (lane.abort.signal.aborted && code === 'INTERNAL') return // the download is done
    entry.note = textOf(lane.abort.signal.aborted ? lane.abort.signal.reason : error)
    this.#deps.log.debug('run of a source failed', { source: entry.source.key, code, error })
    if (code === 'PAYMENT_REQUIRED') return this.#onUnpaid(entry, error as KithError)
    if (code === 'SOURCE_LIED' || code === 'ENCODING_FORBIDDEN') return this.#drop(entry, code, entry.note)
    if (entry.source.ended || ++entry.failures >= MAX_SOURCE_FAILURES) return this.#drop(entry, code, entry.note)
    entry.state = 'waiting'
    entry.readyMs = this.#deps.clock.monotonic() + RETRY_MS * 2 ** (entry.failures - 1)
  }

  async #onUnpaid(entry: Entry, error: KithError): Promise<void> {
    if (entry.state === 'unpaid' || entry.state === 'dropped') return
    entry.state = 'unpaid'
    await this.#quiet(entry)
    if (this.#left === 0 || this.#stop.signal.aborted || entry.gone.signal.aborted) return
    const goOn = await this.#deps.onUnpaid(entry.source, error).catch(() => false)
    if (!goOn) return this.#drop(entry, 'PAYMENT_REQUIRED', entry.note ?? 'wants to be paid')
    entry.state = 'idle'
    entry.note = undefined
  }

  /** Resolves when nothing of a source is under way: what it served, and charged for, has arrived and counts as delivered. */
  async #quiet(entry: Entry): Promise<void> {
    while (entry.lanes.size > 0 || entry.checking > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      entry.onQuiet = resolve
      await promise
    }
  }

  #drop(entry: Entry, code: string, note: string): void {
    if (entry.state === 'dropped') return
    entry.state = 'dropped'
    entry.note = note
    entry.gone.abort()
    this.#track(entry.source[Symbol.asyncDispose]())
    this.#forgetIdle()
    this.#deps.onDropped(entry.source, code)
  }

  /** A connection that ended without being asked for anything would keep its place for ever. @returns whether it was dropped */
  #dropEnded(entry: Entry): boolean {
    const quiet = entry.lanes.size === 0 && entry.checking === 0 && entry.state !== 'unpaid' // else the end of those decides
    if (!entry.source.ended || !quiet) return false
    this.#drop(entry, 'SOURCE_LOST', 'the connection ended')
    return true
  }

  /** Peers may come and go without end: of those that brought nothing, only the latest are still shown. */
  #forgetIdle(): void {
    const idle = [...this.#entries.values()].filter(e => e.state === 'dropped' && e.chunks === 0 && e.lanes.size === 0 && e.checking === 0)
    for (const e of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_SOURCES_KEPT))) this.#entries.delete(e.source)
  }

  /** Twice a second: ends runs that stall, lets idle sources race, tries those again whose pause is over. */
  async #watch(): Promise<void> {
    const { clock } = this.#deps
    while (!this.#stop.signal.aborted && this.#left > 0) {
      try {
        await clock.sleep(500, this.#stop.signal)
      } catch {
        return
      }
      const now = clock.monotonic()
      for (const e of this.#entries.values()) {
        for (const lane of e.lanes) {
          const waitsForUs = this.#deps.pool.free === 0 && this.#verifying > 0
          if (!waitsForUs && now - lane.lastByteMs > STALL_MS) lane.abort.abort(new KithError('SOURCE_STALLED', 'sent nothing for 15 s'))
        }
        if (e.state === 'waiting' && now >= e.readyMs) e.state = 'idle'
        if (!this.#dropEnded(e) && e.changed) this.#lookAgain(e)
      }
      this.#assignAll()
    }
  }
}
