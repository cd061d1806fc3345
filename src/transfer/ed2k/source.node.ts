/**
 * `Source` over one client. Ranges are only asked for once their chunks have slots, so back-pressure needs no pause of the socket.
 * While it keeps us in its queue, `has` says no to everything; the connection may end meanwhile: the client calls back, or is asked
 * again after 20 minutes.
 */

import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Grid } from '../grid.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Delivery, Slot, Source, Ticket } from '../protocol.ts'
import { RateMeter } from '../scheduling/rate-meter.ts'
import { wireError } from './bytes.ts'
import { COMPLETE, encodeFileRequest, type FileAnswer, hasPart, type PartStatus } from './file-request.ts'
import { InFlight } from './in-flight.ts'
import { encodeKithPacket, type KithPacket, ticketMac } from './kith-packet.ts'
import {
  LINGER_MS,
  MAX_AHEAD_BYTES,
  MAX_RANGE_BYTES,
  MAX_RANGES_AHEAD,
  MAX_REASKS,
  MAX_RUN_BYTES,
  MIN_AHEAD_BYTES,
  MIN_RANGES_AHEAD,
  REASK_MS
} from './limits.ts'
import { edonkey, emule } from './opcodes.ts'
import { protocols } from './packet.ts'
import { type CompressedPiece, encodePartRequest, type PartHead } from './parts.ts'
import { asSourceError, type PeerSession, type SessionReader } from './session.node.ts'
import { inflateExactly } from './unpack.node.ts'
import { newRun, type OpenChunk, openChunk, type Pending, type Run, type Stretch, stretchAt, targetOf } from './wanted.ts'

export interface SourceDeps {
  readonly clock: Clock
  readonly hash: Uint8Array
  readonly grid: Grid
  /** "192.0.2.1:4662" */
  readonly address: string
  readonly seeder: string | undefined
  readonly ticket: Ticket | undefined
  readonly ownHash: Uint8Array
  /** Connects, with the source as reader once hellos were exchanged. */
  connect(signal: AbortSignal): Promise<PeerSession>
  /** Sessions that the client opens to us from now on, until disposed. */
  awaitCall?(userHash: Uint8Array, take: (session: PeerSession) => void): Disposable
}

/** asking: not answered yet. queued: we wait for a slot. serving: it takes requests. */
type Phase = 'asking' | 'queued' | 'serving'

/** Below this rate other programs are asked for one chunk at a time, so that little is stuck with them. */
const SLOW = 256 * 1024

export class PeerSource implements Source, SessionReader {
  readonly key: string
  readonly protocol = 'ed2k'
  readonly seeder: string | undefined
  readonly parallel = 2
  readonly maxRun: number
  readonly hash: Uint8Array
  readonly size: number
  readonly #deps: SourceDeps
  readonly #stop = new AbortController()
  readonly #runs: Run[] = []
  readonly #flight = new InFlight()
  readonly #listeners = new Set<() => void>()
  readonly #meter: RateMeter
  readonly #ready = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #tasks = new Set<Promise<void>>()
  #session: PeerSession | undefined
  #userHash: Uint8Array | undefined
  #status: PartStatus | undefined
  #phase: Phase = 'asking'
  #rank: number | undefined
  #unpaid: string | undefined
  #error: KithError | undefined
  /** The range whose packet is coming. */
  #current: Pending | undefined
  #released: Promise<void> | undefined
  #reaskTimer: AbortController | undefined
  #reasks = 0
  #served = false

  constructor(deps: SourceDeps) {
    this.#deps = deps
    this.key = `ed2k ${deps.address}`
    this.seeder = deps.seeder
    this.hash = deps.hash
    this.size = deps.grid.size
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / deps.grid.chunkBytes))
    this.#meter = new RateMeter(deps.clock.monotonic())
  }

  /** Resolves when the client serves us, put us in its queue, or is gone. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }
  /** Resolves when it has ended or was closed. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }
  /** It has sent something. */
  get served(): boolean {
    return this.#served
  }
  get error(): KithError | undefined {
    return this.#error
  }
  /** Our place in its queue, as it last said. */
  get rank(): number | undefined {
    return this.#phase === 'queued' ? this.#rank : undefined
  }
  get ended(): boolean {
    return this.#error !== undefined
  }
  has(chunk: number): boolean {
    if (this.#phase !== 'serving' || this.#error || !this.#status) return false
    if (this.#status.complete || this.#session?.isKith) return true
    const { chunkBytes } = this.#deps.grid
    const first = Math.floor((chunk * chunkBytes) / PART_BYTES)
    const last = Math.floor((Math.min(this.size, (chunk + 1) * chunkBytes) - 1) / PART_BYTES)
    for (let p = first; p <= last; p++) if (!hasPart(this.#status, p)) return false
    return true
  }
  onChange(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true })
  }

  /** Uses a session whose hellos were exchanged: asks for the file and a slot, unless the client called because we have one. */
  attach(session: PeerSession, called = false): void {
    if (this.#released || this.#error || (this.#session && !this.#session.wire.error)) return
    this.#session = session
    this.#userHash = session.remote!.userHash
    this.#reaskTimer?.abort()
    session.reader = this
    this.#flight.begin(session.isKith)
    if (called) return
    this.#phase = 'asking'
    this.#introduce(session)
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#error) throw this.#error
    if (this.#released) throw new KithError('SOURCE_LOST', 'the source was closed')
    if (this.#unpaid !== undefined)
      this.#askAgain() // perhaps it was paid meanwhile
    else if (this.#phase !== 'serving') throw new KithError('SOURCE_BUSY', 'the client serves others first', rankData(this.#rank))
    const run = newRun(delivery)
    const onAbort = (): void => this.#end(run, signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#runs.push(run)
    this.#pumpSafely()
    try {
      await run.done.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#release()
    await this.#released
  }

  fileAnswer({ status }: FileAnswer): void {
    if (status) this.#status = status
    this.#status ??= COMPLETE // files of one part say nothing
    this.#tell()
  }
  noSuchFile(): void {
    this.#fail(new KithError('SOURCE_LOST', 'the client does not have the file'))
  }
  hashSet(): void {}
  recovery(): void {}

  accepted(): void {
    this.#phase = 'serving'
    this.#status ??= COMPLETE
    this.#reasks = 0
    this.#ready.resolve()
    this.#tell()
    this.#pump()
  }
  queued(rank: number): void {
    if (this.#phase === 'serving') return
    this.#phase = 'queued'
    this.#rank = rank
    this.#ready.resolve()
    this.#tell()
  }
  turnOver(): void {
    this.#phase = 'queued'
    this.#rank = undefined
    this.#flight.clear()
    this.#endAll(new KithError('SOURCE_BUSY', 'our turn is over: the client serves others first'))
    this.#tell()
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

  /** A Kith peer answers every range that is under way, one way or the other: what was paid for is still taken. */
  refused({ cause, reason, ranges }: Extract<KithPacket, { kind: 'refusal' }>): void {
    const runs = this.#flight.giveBack(ranges)
    if (cause === 'unpaid') {
      this.#unpaid ??= reason
      this.#status ??= COMPLETE
      if (ranges.length === 0) this.#phase = 'serving' // the scheduler hears of it when it asks
      this.#ready.resolve()
      this.#tell()
    } else for (const run of runs) this.#end(run, new KithError('SOURCE_BUSY', 'the peer does not have this yet'))
    this.#pump()
  }

  readDone(): void {
    this.#pump()
  }

  /** While we only waited, a lost connection is no lost source. */
  closed(error: KithError): void {
    this.#session = undefined
    this.#current = undefined
    this.#flight.clear()
    const patient = this.#phase === 'queued' && !this.#released && error.code !== 'ED2K_WIRE' && this.#deps.awaitCall
    if (patient && this.#userHash) {
      this.#reaskTimer = new AbortController()
      this.#track(this.#wait(this.#userHash, AbortSignal.any([this.#reaskTimer.signal, this.#stop.signal])))
    } else this.#fail(asSourceError(error))
  }

  /** Until the client calls back, or is asked again. */
  async #wait(userHash: Uint8Array, signal: AbortSignal): Promise<void> {
    using _ = this.#deps.awaitCall?.(userHash, session => this.attach(session, true))
    while (!signal.aborted && !this.#error) {
      try {
        await this.#deps.clock.sleep(REASK_MS, signal)
        if (++this.#reasks > MAX_REASKS) throw new KithError('SOURCE_LOST', 'the client never served us')
        const session = await this.#deps.connect(signal)
        if (signal.aborted) await session[Symbol.asyncDispose]()
        else this.attach(session)
        return
      } catch (error) {
        if (signal.aborted) return
        if (this.#reasks > MAX_REASKS) this.#fail(asSourceError(error))
      }
    }
  }

  #introduce(session: PeerSession): void {
    const remote = session.remote!
    const { ticket, ownHash } = this.#deps
    const { hash, size } = this
    if (ticket && remote.kithNonce) {
      const mac = ticketMac(ticket.key, { hash, seederHash: remote.userHash, ownHash, nonce: remote.kithNonce })
      session.send(protocols.emule, emule.kith, encodeKithPacket({ kind: 'ticket', hash, id: ticket.id, mac }))
    }
    const { multiPacketExt, multiPacket, extendedRequests, sourceExchange2, largeFiles } = remote.abilities
    if (size >= 2 ** 32 && !largeFiles) {
      this.#fail(new KithError('SOURCE_LOST', 'the client does not take files of this size'))
      return
    }
    if (multiPacketExt || multiPacket) {
      const q = {
        hash,
        size: multiPacketExt ? size : undefined,
        status: undefined,
        wantsName: true,
        wantsStatus: size > PART_BYTES,
        wantsAich: false,
        wantsSources: sourceExchange2 && !this.#deps.seeder ? 4 : undefined
      }
      session.send(protocols.emule, multiPacketExt ? emule.multiPacketExt : emule.multiPacket, encodeFileRequest(q, extendedRequests))
    } else {
      // A request for a name carries as much as the other side announced to read.
      const payload = new Uint8Array(16 + 2 * extendedRequests)
      payload.set(hash)
      session.send(protocols.edonkey, edonkey.nameRequest, payload)
      if (size > PART_BYTES) session.send(protocols.edonkey, edonkey.statusRequest, hash)
    }
    session.send(protocols.edonkey, edonkey.startUpload, hash)
  }

  /** After a refusal of the whole file, the file is asked for again; after one of ranges, the ranges are. */
  #askAgain(): void {
    this.#unpaid = undefined
    if (this.#session && this.#phase === 'serving') this.#session.send(protocols.edonkey, edonkey.startUpload, this.hash)
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
      this.#pump()
    } catch (error) {
      this.#endAll(error)
    }
  }

  /** Asks for as much as should be under way, oldest run first. */
  #pump(): void {
    if (this.#unpaid !== undefined && this.#flight.count === 0) {
      const reason = this.#unpaid
      if (this.#runs.length > 0) this.#endAll(new KithError('PAYMENT_REQUIRED', 'the seeder wants to be paid first', { reason }))
      return
    }
    if (this.#error || this.#unpaid !== undefined || this.#phase !== 'serving') return
    for (const run of [...this.#runs]) {
      while (this.#mayAsk()) {
        const chunk = this.#chunkToAsk(run)
        if (!chunk) break
        this.#ask(chunk)
      }
      if (run.open.size === 0 && run.next >= run.end && !run.waiting) this.#end(run, undefined)
    }
    this.#flush()
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
    return this.#nextChunk(run)
  }

  /** Opens the next chunk of a run, if its slot is there. */
  #nextChunk(run: Run): OpenChunk | undefined {
    if (run.waiting || run.next >= run.end || run.settled) return undefined
    if (!run.delivery.wants(run.next)) {
      run.end = run.next
      return undefined
    }
    if (!this.has(run.next)) {
      this.#end(run, new KithError('SOURCE_BUSY', 'the client does not have this part yet', { chunk: run.next }))
      return undefined
    }
    const chunk = run.next++
    const slot = run.delivery.slot(chunk)
    if (!(slot instanceof Promise)) return this.#open(run, chunk, slot)
    run.waiting = true
    slot.then(
      s => {
        run.waiting = false
        if (run.settled) return
        this.#open(run, chunk, s)
        this.#pumpSafely()
      },
      error => this.#end(run, error)
    )
    return undefined
  }

  #open(run: Run, chunk: number, slot: Slot): OpenChunk {
    const open = openChunk(this.#deps.grid, run, chunk, slot.bytes)
    run.open.add(open)
    return open
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
      chunk = fits ? this.#nextChunk(first.run) : undefined
    }
    this.#flight.add(stretches)
  }

  #flush(): void {
    for (let ranges = this.#flight.takeNew(); ranges.length > 0; ranges = this.#flight.takeNew())
      this.#session?.wire.write(encodePartRequest(this.hash, ranges))
  }

  /** Settles a run. What is under way for it is thrown away when it comes: eDonkey knows no way to cancel one range. */
  #end(run: Run, error: unknown): void {
    if (run.settled) return
    run.settled = true
    this.#runs.splice(this.#runs.indexOf(run), 1)
    let busy: Promise<void> | undefined
    for (const chunk of this.#flight.orphan(run)) busy = this.#session?.wire.release(chunk.slot) ?? busy
    run.open.clear()
    const settle = error === undefined ? run.done.resolve : (): void => run.done.reject(error)
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

  #endAll(error: unknown): void {
    for (const run of [...this.#runs]) this.#end(run, error)
  }

  #fail(error: KithError): void {
    this.#error ??= error
    this.#endAll(this.#error)
    this.#ready.resolve()
    this.#gone.resolve()
    this.#tell()
    if (this.#session && !this.#session.wire.error) this.#session.wire.close(error)
  }

  async #release(): Promise<void> {
    const session = this.#session
    this.#stop.abort()
    this.#endAll(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#listeners.clear()
    this.#ready.resolve()
    this.#gone.resolve()
    // Said in so many words: aMule goes on counting a client that just hangs up as served, and then answers the same ranges no more.
    if (session && this.#phase !== 'asking') session.send(protocols.edonkey, edonkey.cancelTransfer)
    await session?.[Symbol.asyncDispose]()
    await Promise.all(this.#tasks)
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

const rankData = (rank: number | undefined): { rank?: number } => (rank === undefined ? {} : { rank })
