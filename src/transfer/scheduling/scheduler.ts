/**
 * One scheduler over all sources of one file, whatever their protocol. It assigns runs of chunks by measured rate, lets only `verify`
 * decide what is good, remembers who delivered which chunk, takes work away from the slow and races the last chunks (racing.ts),
 * and drops who lies. It knows nothing about protocols, money or files on disk.
 *
 * Order: the lowest missing chunk first, so the file grows from the front, its hash can follow and the disk sees few seeks; the rarest
 * first where sources lack some (rarity.ts); strictly from the front within a small window when `sequential`. While there are more
 * sources than runs that fit in memory, or a download limit, the best come first (source-entry.ts says by what).
 */
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { chunkLength, type Grid } from '../grid.ts'
import {
  LOOKS_PER_TICK,
  MAX_BAD_CHUNKS,
  MAX_IDLE_SOURCES_KEPT,
  MAX_SILENT_FAILURES,
  MAX_SOURCE_FAILURES,
  MAX_SOURCES,
  MIN_LANE_BYTES_PER_SECOND,
  RETIRE_MS,
  RETRY_MS,
  STALL_MS
} from '../limits.ts'
import type { Source } from '../protocol.ts'
import { costOfChunk, type Entry, type Lane, learn, makeEntry, type SourceStats, statsOf, waitsForUs } from '../source-entry.ts'
import type { Throttle } from '../throttle.ts'
import { ChunkMap } from './chunk-map.ts'
import { endDelivery, type LaneDeps, makeDelivery } from './lane-delivery.ts'
import { RunPicker, type RunPickerOptions } from './next-run.ts'
import { findSteal } from './racing.ts'
import type { PoolSlot, SlotPool } from './slot-pool.ts'
import { findSlow } from './slow-sources.ts'

export interface SchedulerDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly grid: Grid
  readonly pool: SlotPool
  /** 1 for chunks that are there already. The scheduler writes to its own copy. */
  readonly done: Uint8Array
  /** @see ChunkVerifier.verify. 'mended': what the source brought was wrong; it was put right and written. */
  readonly verify: (slot: PoolSlot, chunk: number, source: Source) => Promise<boolean | 'mended'>
  /** A chunk is verified and written. */
  readonly onVerified: (chunk: number, source: Source, bytes: number) => void
  /** A source answered PAYMENT_REQUIRED. Resolves true when it may go on, false to leave it. */
  readonly onUnpaid: (source: Source, error: KithError) => Promise<boolean>
  /** A source is gone for good (lost too often, lied, unpaid). */
  readonly onDropped: (source: Source, code: string) => void
  /** The disk is full: nothing is fetched for a while, then it is tried again. */
  readonly onDiskFull?: () => void
  /** A source brings little although it could; told once for each. */
  readonly onSlow?: (source: Source) => void
  /** The part of what the user would spend that the whole file from this source would take; 0: free. */
  readonly shareOfBudget?: (source: Source) => number
  /** Download limits; every byte is paid to each of them. */
  readonly throttles?: readonly Throttle[]
}

/** How long a ranking of the sources holds. */
const RANK_MS = 250

export class Scheduler implements AsyncDisposable {
  readonly #deps: SchedulerDeps
  readonly #sequential: boolean
  readonly #map: ChunkMap
  readonly #picker: RunPicker
  readonly #laneDeps: LaneDeps
  readonly #entries = new Map<Source, Entry>()
  readonly #races = new Map<number, Set<Lane>>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  /** Runs under way, and how many there may be: each needs a slot. */
  #lanes = 0
  readonly #maxLanes: number
  /** Somebody got no work because of that. */
  #capped = false
  #ranked: Entry[] = []
  #rankedMs = Number.NEGATIVE_INFINITY
  #verifying = 0
  #pausedUntilMs = 0

  constructor(deps: SchedulerDeps, options: RunPickerOptions = {}) {
    this.#deps = deps
    this.#sequential = options.sequential === true
    this.#map = new ChunkMap(deps.done)
    const { throttles = [], grid, pool } = deps
    const limits = throttles.map(t => Math.floor(t.bytesPerSecond / MIN_LANE_BYTES_PER_SECOND))
    this.#maxLanes = Math.max(1, Math.min(Math.max(4, pool.count >> 1), ...limits))
    this.#picker = new RunPicker(this.#map, grid, { slots: pool.count, lanes: this.#maxLanes }, options)
    const onComplete = (lane: Lane, chunk: number, slot: PoolSlot): void => this.#track(this.#check(lane.entry, chunk, slot))
    this.#laneDeps = { ...deps, map: this.#map, throttles, onComplete }
    this.#finished.promise.catch(() => {})
    if (this.#map.left === 0) this.#finished.resolve()
    else this.#track(this.#watch())
  }

  /** Resolves when every chunk is verified; rejects when `abort` was called or writing failed for good. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }
  get chunksLeft(): number {
    return this.#map.left
  }
  /** Sources that are not dropped. */
  get sourceCount(): number {
    let n = 0
    for (const e of this.#entries.values()) if (e.state !== 'dropped') n++
    return n
  }

  /** Whether some source brings bytes, waits in good standing, or waits for us: one that only connects and hangs up does not count. */
  isHopeful(): boolean {
    const now = this.#deps.clock.monotonic()
    if (now < this.#pausedUntilMs || this.#verifying > 0) return true
    for (const e of this.#entries.values()) {
      if (e.state === 'unpaid' || (e.state === 'idle' && e.failures === 0) || (e.state === 'waiting' && e.isBusy)) return true
      for (const lane of e.lanes) if (waitsForUs(lane) || (lane.received > 0 && now - lane.lastByteMs < STALL_MS)) return true
    }
    return false
  }

  stats(): SourceStats[] {
    const now = this.#deps.clock.monotonic()
    return [...this.#entries.values()].map(e => statsOf(e, now))
  }
  /** undefined when it was never added, or forgotten. */
  statsOf(source: Source): SourceStats | undefined {
    const entry = this.#entries.get(source)
    return entry && statsOf(entry, this.#deps.clock.monotonic())
  }

  /** Takes ownership of a source and starts using it. */
  add(source: Source): void {
    if (this.#stop.signal.aborted || this.#map.left === 0) {
      this.#track(source[Symbol.asyncDispose]())
      return
    }
    const entry = makeEntry(source, this.#deps.clock, LOOKS_PER_TICK / MAX_SOURCES)
    this.#entries.set(source, entry)
    this.#rankedMs = Number.NEGATIVE_INFINITY
    this.#picker.joined()
    source.onChange(() => {
      entry.changed = true
      if (!this.#dropEnded(entry) && entry.changes.tryTake()) this.#lookAgain(entry)
    }, entry.gone.signal)
    this.#assign(entry)
  }

  /**
   * Takes a source out without blame: it gets no more work, and is closed when what it has under way has arrived, or after 15 s.
   * `onDropped` is not told.
   */
  async retire(source: Source, note: string): Promise<void> {
    const entry = this.#entries.get(source)
    if (!entry || entry.state === 'dropped') return
    entry.retiring = true
    const waited = new AbortController()
    const patience = this.#deps.clock.sleep(RETIRE_MS, AbortSignal.any([waited.signal, this.#stop.signal])).catch(() => {})
    await Promise.race([this.#quiet(entry), patience])
    waited.abort()
    this.#close(entry, note)
    this.#assignAll()
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
    if (entry.changed) this.#picker.changed(entry)
    entry.changed = false
    this.#assign(entry)
  }

  /** One more run for each source that can take one, the best first, until nobody can. */
  #assignAll(): void {
    const now = this.#deps.clock.monotonic()
    this.#capped = false
    let able = this.#byRank(now)
    for (let n = 1; able.length > 0; n++)
      able = able.filter(e => e.lanes.size >= n || this.#assignOne(e, now)).filter(e => this.#canWork(e, now))
  }

  #assign(entry: Entry): void {
    const now = this.#deps.clock.monotonic()
    while (this.#assignOne(entry, now));
    if (entry.lanes.size === 0 && entry.state === 'active') entry.state = 'idle'
  }

  #assignOne(entry: Entry, now: number): boolean {
    if (!this.#canWork(entry, now)) return false
    const lane =
      this.#picker.next(entry, this.#entries, now) ??
      findSteal(entry, this.#entries.values(), this.#map, this.#races, this.#deps.grid.chunkBytes, now)
    if (!lane) return false
    entry.lanes.add(lane)
    entry.state = 'active'
    entry.usedMs ??= now
    this.#lanes++
    if (lane.race) this.#races.set(lane.first, (this.#races.get(lane.first) ?? new Set()).add(lane))
    this.#track(this.#runLane(entry, lane))
    return true
  }

  #canWork(e: Entry, now: number): boolean {
    if (this.#map.left === 0 || this.#stop.signal.aborted || now < this.#pausedUntilMs || now < e.readyMs) return false
    if (e.state === 'dropped' || e.state === 'unpaid' || e.retiring || e.lanes.size >= e.source.parallel) return false
    if (this.#lanes >= this.#maxLanes) this.#capped = true
    return this.#lanes < this.#maxLanes
  }

  #byRank(now: number): Entry[] {
    if (now - this.#rankedMs < RANK_MS) return this.#ranked
    this.#rankedMs = now
    const { grid, shareOfBudget } = this.#deps
    const cost = new Map<Entry, number>()
    for (const e of this.#entries.values())
      if (e.state !== 'dropped') cost.set(e, costOfChunk(e, grid.chunkBytes, shareOfBudget?.(e.source) ?? 0))
    this.#ranked = [...cost.keys()].sort((a, b) => cost.get(a)! - cost.get(b)!)
    return this.#ranked
  }

  async #runLane(entry: Entry, lane: Lane): Promise<void> {
    const signal = AbortSignal.any([lane.abort.signal, entry.gone.signal, this.#stop.signal])
    let failure: { readonly error: unknown } | undefined
    try {
      await entry.source.fetch(makeDelivery(this.#laneDeps, lane, signal), signal)
      entry.failures = 0
    } catch (error) {
      failure = { error }
    } finally {
      this.#endLane(entry, lane)
    }
    if (failure && !this.#stop.signal.aborted && !entry.gone.signal.aborted) await this.#onFailure(entry, lane, failure.error)
    if (this.#map.left === 0) return
    if (this.#capped || failure || this.#sequential) this.#assignAll()
    this.#assign(entry)
  }

  #endLane(entry: Entry, lane: Lane): void {
    entry.lanes.delete(lane)
    this.#lanes--
    if (lane.race) {
      const racers = this.#races.get(lane.first)
      racers?.delete(lane)
      if (racers?.size === 0) this.#races.delete(lane.first)
    }
    endDelivery(this.#laneDeps, lane)
    learn(entry, lane, this.#deps.clock.monotonic())
    for (let c = lane.first; c < lane.end; c++) if (this.#map.isAssigned(c)) this.#putBack(c)
    entry.onQuiet()
  }

  async #check(entry: Entry, chunk: number, slot: PoolSlot): Promise<void> {
    const { grid, verify, pool, onVerified } = this.#deps
    const bytes = chunkLength(grid, chunk)
    if (!this.#map.isWanted(chunk)) {
      entry.wasted += bytes
      pool.release(slot)
      return
    }
    this.#map.verify(chunk)
    this.#verifying++
    entry.checking++
    let good: boolean | 'mended' = false
    try {
      good = await verify(slot, chunk, entry.source)
      if (good) onVerified(chunk, entry.source, bytes)
    } catch (error) {
      this.#map.reopen(chunk)
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
    else this.#reject(chunk)
    if (good !== true) this.#blame(entry, chunk)
  }

  #markDone(entry: Entry, chunk: number, bytes: number): void {
    this.#map.finish(chunk)
    entry.chunks++
    entry.bytes += bytes
    if (this.#map.left > 0) return
    this.#finished.resolve()
    for (const e of this.#entries.values()) for (const lane of e.lanes) lane.abort.abort()
  }

  #reject(chunk: number): void {
    this.#map.reopen(chunk)
    this.#putBack(chunk)
  }

  #blame(entry: Entry, chunk: number): void {
    entry.bad++
    this.#deps.log.debug('chunk with wrong hash', { source: entry.source.key, chunk, bad: entry.bad })
    if (entry.bad >= MAX_BAD_CHUNKS) this.#drop(entry, 'SOURCE_LIED', `sent ${entry.bad} wrong chunks`)
    this.#assignAll()
  }

  /** A chunk nobody works on any more is missing again; one that a racer or a later run holds stays assigned. */
  #putBack(chunk: number): void {
    for (const e of this.#entries.values()) for (const l of e.lanes) if (chunk >= l.at && chunk < l.end) return
    this.#map.putBack(chunk)
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
    entry.isBusy = code === 'SOURCE_BUSY'
    const most = entry.isBusy || entry.bytes > 0 || lane.received > 0 ? MAX_SOURCE_FAILURES : MAX_SILENT_FAILURES
    if (entry.source.ended || ++entry.failures >= most) return this.#drop(entry, code, entry.note)
    entry.state = 'waiting'
    entry.readyMs = this.#deps.clock.monotonic() + RETRY_MS * 2 ** (entry.failures - 1)
  }

  async #onUnpaid(entry: Entry, error: KithError): Promise<void> {
    if (entry.state === 'unpaid' || entry.state === 'dropped') return
    entry.state = 'unpaid'
    await this.#quiet(entry)
    if (this.#map.left === 0 || this.#stop.signal.aborted || entry.gone.signal.aborted) return
    const goOn = await this.#deps.onUnpaid(entry.source, error).catch(() => false)
    if (!goOn) return this.#drop(entry, 'PAYMENT_REQUIRED', entry.note ?? 'wants to be paid')
    entry.state = 'idle'
    entry.note = undefined
  }

  /** Resolves when nothing of a source is under way: what it served, and charged for, has arrived and counts as delivered. */
  async #quiet(entry: Entry): Promise<void> {
    while (entry.lanes.size > 0 || entry.checking > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const before = entry.onQuiet
      entry.onQuiet = () => {
        before()
        resolve()
      }
      await promise
      entry.onQuiet = () => {}
    }
  }

  #drop(entry: Entry, code: string, note: string): void {
    if (this.#close(entry, note) && !entry.retiring) this.#deps.onDropped(entry.source, code)
  }

  #close(entry: Entry, note: string): boolean {
    if (entry.state === 'dropped') return false
    entry.state = 'dropped'
    entry.note = note
    entry.gone.abort()
    this.#track(entry.source[Symbol.asyncDispose]())
    this.#rankedMs = Number.NEGATIVE_INFINITY
    this.#picker.joined()
    this.#forgetIdle()
    return true
  }

  /** A connection that ended without being asked for anything would keep its place for ever. @returns whether it was dropped */
  #dropEnded(entry: Entry): boolean {
    const quiet = entry.lanes.size === 0 && entry.checking === 0 && entry.state !== 'unpaid' // else the end of those decides
    if (!entry.source.ended || !quiet || this.#map.left === 0) return false // all is here: that it hangs up now is no fault
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
    while (!this.#stop.signal.aborted && this.#map.left > 0) {
      try {
        await clock.sleep(500, this.#stop.signal)
      } catch {
        return
      }
      const now = clock.monotonic()
      const looksEach = Math.ceil(LOOKS_PER_TICK / Math.max(1, this.#entries.size))
      const behind = this.#deps.pool.free === 0 && this.#verifying > 0
      for (const e of [...this.#entries.values()]) {
        for (const lane of e.lanes) {
          if (!behind && !waitsForUs(lane) && now - lane.lastByteMs > STALL_MS)
            lane.abort.abort(new KithError('SOURCE_STALLED', 'sent nothing for 15 s'))
        }
        e.looks = looksEach
        if (e.state === 'waiting' && now >= e.readyMs) e.state = 'idle'
        if (!this.#dropEnded(e) && e.changed) this.#lookAgain(e)
      }
      this.#assignAll()
      this.#tellSlow(now)
    }
  }

  #tellSlow(now: number): void {
    const { onSlow, throttles = [] } = this.#deps
    if (!onSlow || this.#capped || throttles.some(t => t.isBusy)) return // under a limit nobody can be judged
    for (const e of findSlow([...this.#entries.values()], now)) {
      e.toldSlow = true
      onSlow(e.source)
    }
  }
}
