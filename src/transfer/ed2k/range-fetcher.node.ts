/**
 * Chunks of a file over one connection: runs, the ranges that are under way for them, and what comes. Ranges are only asked for once their
 * chunks have slots, so back-pressure needs no pause of the socket.
 */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Grid } from '../grid.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Delivery } from '../protocol.ts'
import { ChunkRun, type RunHost } from '../scheduling/chunk-run.ts'
import { RateMeter } from '../scheduling/rate-meter.ts'
import { wireError } from './bytes.ts'
import { InFlight } from './in-flight.ts'
import { LINGER_MS, MAX_AHEAD_BYTES, MAX_RANGE_BYTES, MAX_RANGES_AHEAD, MIN_AHEAD_BYTES, MIN_RANGES_AHEAD } from './limits.ts'
import { type ByteRange, type CompressedPiece, encodePartRequest, type PartHead } from './parts.ts'
import type { PeerSession } from './session.node.ts'
import { inflateExactly } from './unpack.node.ts'
import { type OpenChunk, openChunk, type Pending, type Run, type Stretch, stretchAt, targetOf } from './wanted.ts'

export interface RangeFetcherDeps {
  readonly clock: Clock
  readonly hash: Uint8Array
  readonly grid: Grid
  /** Whether the client has a chunk. */
  has(chunk: number): boolean
  /** Whether the client takes requests now. */
  isServing(): boolean
}

/** Below this rate other programs are asked for one chunk at a time, so that little is stuck with them. */
const SLOW = 256 * 1024

export class RangeFetcher {
  readonly #deps: RangeFetcherDeps
  readonly #runs: Run[] = []
  readonly #host: RunHost<OpenChunk>
  readonly #flight = new InFlight()
  readonly #meter: RateMeter
  readonly #tasks = new Set<Promise<void>>()
  #session: PeerSession | undefined
  /** The range whose packet is coming. */
  #current: Pending | undefined
  #unpaid: string | undefined
  #served = false

  constructor(deps: RangeFetcherDeps) {
    this.#deps = deps
    this.#host = {
      has: chunk => deps.has(chunk),
      open: (run, chunk, slot) => openChunk(deps.grid, run, chunk, slot.bytes),
      pump: () => this.#pumpSafely(),
      end: (run, error) => this.#end(run, error)
    }
    this.#meter = new RateMeter(deps.clock.monotonic())
  }

  /** Something has come. */
  get served(): boolean {
    return this.#served
  }
  /** The seeder has refused to go on for nothing, and was not asked again. */
  get isUnpaid(): boolean {
    return this.#unpaid !== undefined
  }

  /** From now on ranges are asked for over this connection. */
  connect(session: PeerSession): void {
    this.#session = session
    this.#flight.begin(session.isKith)
  }
  /** The connection has ended: what was under way will not come. Its runs are the caller's to end. */
  disconnect(): void {
    this.#session = undefined
    this.#current = undefined
    this.#flight.clear()
  }
  /** The client does not send what is under way. */
  forget(): void {
    this.#flight.clear()
  }
  /** Perhaps it was paid meanwhile. */
  forgiveDebt(): void {
    this.#unpaid = undefined
  }

  /** @see Source.fetch */
  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    await this.#done(new ChunkRun(delivery, this.#host), signal)
  }

  /** Fetches stretches of a chunk again, into `bytes`, which holds the chunk from its start. Nothing else of it is touched. */
  async refill(chunk: number, bytes: Uint8Array, ranges: readonly ByteRange[], signal: AbortSignal): Promise<void> {
    const { grid } = this.#deps
    const nothing = { wants: () => false, received: () => {}, complete: () => {}, slot: never }
    const run: Run = new ChunkRun({ grid, run: { first: chunk, count: 0 }, ...nothing }, this.#host)
    const open = openChunk(grid, run, chunk, bytes)
    open.asked = open.end
    open.got = open.slot.length - ranges.reduce((n, r) => n + r.end - r.start, 0)
    open.again.push(...ranges)
    if (ranges.length > 0) run.open.add(open)
    await this.#done(run, signal)
  }

  async #done(run: Run, signal: AbortSignal): Promise<void> {
    this.#runs.push(run)
    this.#pumpSafely()
    await run.until(signal)
  }

  part(head: PartHead): void {
    this.#current = this.#flight.part(head)
  }
  target(offset: number): Uint8Array | number {
    return this.#current ? targetOf(this.#current, offset) : Number.POSITIVE_INFINITY
  }
  received(offset: number, count: number): void {
    const p = this.#current!
    p.at = offset + count
    if (p.at === p.end) this.#flight.remove(p)
    if (p.at === p.partEnd) this.#current = undefined
    this.#arrived(p, offset, count, count)
  }

  /** A zlib stream is kept until it is whole: at most as long as the range. (threats ED4) */
  compressed(piece: CompressedPiece): void {
    const { range: p, whole } = this.#flight.compressed(piece)
    if (!whole) {
      stretchAt(p, p.start)?.owner?.run.delivery.received(piece.piece.length) // it lives: nothing may look stalled
      return
    }
    const bytes = inflateExactly(whole, p.end - p.start)
    if (bytes.length !== p.end - p.start) throw wireError('a compressed range of another length', { start: p.start })
    let told = whole.length - piece.piece.length
    for (const s of p.stretches) {
      const target = targetOf(p, s.start)
      if (typeof target !== 'number') target.set(bytes.subarray(s.start - p.start, s.end - p.start))
      this.#arrived(p, s.start, s.end - s.start, Math.max(0, s.end - s.start - told))
      told = 0
    }
  }

  /** These ranges (all, if none is named) will not come before the seeder is paid: the scheduler hears of it once what was paid for is here. */
  unpaid(reason: string, ranges: readonly ByteRange[]): void {
    this.#flight.giveBack(ranges)
    this.#unpaid ??= reason
  }
  /** The peer does not have these ranges: ends the runs that wanted them. */
  missing(ranges: readonly ByteRange[], error: KithError): void {
    for (const run of this.#flight.giveBack(ranges)) this.#end(run, error)
  }

  /** Asks for as much as should be under way, oldest run first. */
  pump(): void {
    if (this.#unpaid !== undefined && this.#flight.count === 0) {
      const reason = this.#unpaid
      if (this.#runs.length > 0) this.endAll(new KithError('PAYMENT_REQUIRED', 'the seeder wants to be paid first', { reason }))
      return
    }
    if (this.#unpaid !== undefined || !this.#deps.isServing()) return
    for (const run of [...this.#runs]) {
      while (this.#mayAsk()) {
        const chunk = this.#chunkToAsk(run)
        if (!chunk) break
        this.#ask(chunk)
      }
      if (run.isComplete) this.#end(run, undefined)
    }
    this.#flush()
  }

  /** Ends every run. */
  endAll(error: unknown): void {
    for (const run of [...this.#runs]) this.#end(run, error)
  }
  /** Resolves when no slot is written to any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#tasks)
  }

  #arrived(p: Pending, offset: number, count: number, told: number): void {
    this.#meter.add(this.#deps.clock.monotonic(), count)
    this.#served = true
    const owner = stretchAt(p, offset)?.owner
    if (!owner) return
    owner.got += count
    if (told > 0) owner.run.delivery.received(told)
    if (owner.got < owner.slot.length) return
    owner.run.open.delete(owner)
    for (const s of p.stretches) if (s.owner === owner) s.owner = undefined
    owner.run.delivery.complete(owner.chunk)
  }

  /** Called from outside a read: what the delivery throws must not escape into its caller. */
  #pumpSafely(): void {
    try {
      this.pump()
    } catch (error) {
      this.endAll(error)
    }
  }

  #mayAsk(): boolean {
    const rate = this.#rate()
    if (this.#session?.isKith) return this.#flight.bytes < Math.max(MIN_AHEAD_BYTES, Math.min(MAX_AHEAD_BYTES, rate / 4))
    const most = Math.max(MIN_RANGES_AHEAD, Math.min(MAX_RANGES_AHEAD, Math.ceil((4 * rate) / MAX_RANGE_BYTES) + 1))
    return this.#flight.count < most
  }
  #rate(): number {
    return this.#meter.rate(this.#deps.clock.monotonic())
  }

  #chunkToAsk(run: Run): OpenChunk | undefined {
    for (const chunk of run.open) if (chunk.again.length > 0 || chunk.asked < chunk.end) return chunk
    return run.openNext()
  }

  /** Asks for one range that begins in this chunk, and goes on into the next where that makes it longer for other programs. */
  #ask(first: OpenChunk): void {
    const again = first.again.pop()
    if (again) this.#flight.add([{ ...again, owner: first }])
    if (again || this.#flight.adopt(first)) return
    const border = (Math.floor(first.asked / PART_BYTES) + 1) * PART_BYTES
    const most = Math.min(first.asked + MAX_RANGE_BYTES, border)
    const isLong = !this.#session?.isKith && this.#rate() > SLOW
    const stretches: Stretch[] = []
    for (let chunk: OpenChunk | undefined = first; chunk; ) {
      const end = Math.min(chunk.end, most)
      stretches.push({ start: chunk.asked, end, owner: chunk })
      chunk.asked = end
      const fits: boolean = isLong && end === chunk.end && end + this.#deps.grid.chunkBytes <= most
      chunk = fits ? first.run.openNext() : undefined
    }
    this.#flight.add(stretches)
  }

  #flush(): void {
    for (let ranges = this.#flight.takeNew(); ranges.length > 0; ranges = this.#flight.takeNew())
      this.#session?.wire.write(encodePartRequest(this.#deps.hash, ranges))
  }

  /** Settles a run. What is under way for it is thrown away when it comes: eDonkey knows no way to cancel one range. */
  #end(run: Run, error: unknown): void {
    const settle = run.settle(error)
    if (!settle) return
    this.#runs.splice(this.#runs.indexOf(run), 1)
    let busy: Promise<void> | undefined
    for (const chunk of this.#flight.orphan(run)) busy = this.#session?.wire.release(chunk.slot) ?? busy
    run.open.clear()
    if (busy) this.#track(this.#linger(busy, settle))
    else settle()
  }

  /** The slot stays ours for the moment in which the socket reads straight into it; a slow client is closed instead. */
  async #linger(busy: Promise<void>, settle: () => void): Promise<void> {
    const stop = new AbortController()
    const isDone = await Promise.race([
      busy.then(() => true),
      this.#deps.clock.sleep(LINGER_MS, stop.signal).then(
        () => false,
        () => true
      )
    ])
    stop.abort()
    if (!isDone) {
      const wire = this.#session?.wire
      wire?.close(new KithError('SOURCE_LOST', 'the client stopped within a part'))
      await wire?.ended
    }
    settle()
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

const never = (): never => {
  throw new KithError('INTERNAL', 'a slot for what has one')
}
