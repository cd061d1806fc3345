/**
 * `Source` over one client: whether it serves us, keeps us in its queue or is gone; what is fetched is range-fetcher.node.ts. While it
 * keeps us waiting, `has` says no to everything; the connection may end meanwhile: the client calls back, or is asked again after 20
 * minutes.
 */
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Delivery, Source } from '../protocol.ts'
import { COMPLETE, type FileAnswer, hasPart, type PartStatus } from './file-request.ts'
import { type Introduction, introduce } from './introduction.node.ts'
import type { KithPacket } from './kith-packet.ts'
import { MAX_REASKS, MAX_RUN_BYTES, REASK_MS } from './limits.ts'
import { edonkey, emule } from './opcodes.ts'
import { protocols } from './packet.ts'
import type { ByteRange, CompressedPiece, PartHead } from './parts.ts'
import { RangeFetcher } from './range-fetcher.node.ts'
import { encodeRecoveryRequest, type RecoveryAnswer } from './recovery.ts'
import { asSourceError, type PeerSession, type SessionReader } from './session.node.ts'

export interface SourceDeps extends Introduction {
  readonly clock: Clock
  /** "192.0.2.1:4662" */
  readonly address: string
  /** Connects, with the source as reader once hellos were exchanged. */
  connect(signal: AbortSignal): Promise<PeerSession>
  /** Sessions that the client opens to us from now on, until disposed. */
  awaitCall?(userHash: Uint8Array, take: (session: PeerSession) => void): Disposable
}

/** asking: not answered yet. queued: we wait for a slot. serving: it takes requests. */
type Phase = 'asking' | 'queued' | 'serving'

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
  readonly #fetcher: RangeFetcher
  #recovery: PromiseWithResolvers<RecoveryAnswer> | undefined
  #aich: Uint8Array | undefined
  readonly #listeners = new Set<() => void>()
  readonly #ready = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #tasks = new Set<Promise<void>>()
  #session: PeerSession | undefined
  #userHash: Uint8Array | undefined
  #status: PartStatus | undefined
  #phase: Phase = 'asking'
  #rank: number | undefined
  #error: KithError | undefined
  #released: Promise<void> | undefined
  #reaskTimer: AbortController | undefined
  #reasks = 0

  constructor(deps: SourceDeps) {
    this.#deps = deps
    this.key = `ed2k ${deps.address}`
    this.seeder = deps.seeder
    this.hash = deps.hash
    this.size = deps.grid.size
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / deps.grid.chunkBytes))
    const { clock, hash, grid } = deps
    const isServing = (): boolean => this.#phase === 'serving' && !this.#error
    this.#fetcher = new RangeFetcher({ clock, hash, grid, isServing, has: chunk => this.has(chunk) })
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
    return this.#fetcher.served
  }
  get error(): KithError | undefined {
    return this.#error
  }
  /** Our place in its queue, as it last said. */
  get rank(): number | undefined {
    return this.#phase === 'queued' ? this.#rank : undefined
  }
  /** Its address without the port, while it is connected. */
  get host(): string | undefined {
    return this.#session?.host
  }
  /** AICH root that it named: 20 bytes. */
  get aich(): Uint8Array | undefined {
    return this.#aich
  }
  get ended(): boolean {
    return this.#error !== undefined
  }
  has(chunk: number): boolean {
    if (this.#phase !== 'serving' || this.#error || !this.#status) return false
    const { chunkBytes } = this.#deps.grid
    // A Kith peer says of each chunk that is no part whether it has it when it is asked for it, and of each part when it has come.
    if (this.#status.complete || (this.#session?.isKith && chunkBytes !== PART_BYTES)) return true
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
    this.#fetcher.connect(session)
    if (called) return
    this.#phase = 'asking'
    try {
      introduce(session, this.#deps)
    } catch (error) {
      this.#fail(asSourceError(error))
    }
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#error) throw this.#error
    if (this.#released) throw new KithError('SOURCE_LOST', 'the source was closed')
    if (this.#fetcher.isUnpaid) this.#askAgain()
    else if (this.#phase !== 'serving') throw new KithError('SOURCE_BUSY', 'the client serves others first', rankData(this.#rank))
    await this.#fetcher.fetch(delivery, signal)
  }

  /** Whether it may have recovery data under this AICH root. */
  mayRecover(root: Uint8Array): boolean {
    return this.#session?.remote?.abilities.aich === true && (this.#aich === undefined || equalBytes(this.#aich, root))
  }
  /** Asks for the recovery data of a part; one question at a time. @throws SOURCE_BUSY, SOURCE_LOST, or what `signal` aborts with */
  async askRecovery(part: number, root: Uint8Array, signal: AbortSignal): Promise<RecoveryAnswer> {
    if (this.#recovery) throw new KithError('SOURCE_BUSY', 'the client is asked for other recovery data')
    if (!this.#session || this.#session.wire.error) throw new KithError('SOURCE_LOST', 'the client is not connected')
    const asked = Promise.withResolvers<RecoveryAnswer>()
    this.#recovery = asked
    const onAbort = (): void => asked.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    this.#session.send(protocols.emule, emule.recoveryRequest, encodeRecoveryRequest({ hash: this.hash, part, root }))
    try {
      return await asked.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#recovery = undefined
    }
  }
  /** Fetches stretches of a chunk again, into `bytes`, which holds the chunk. @throws SOURCE_BUSY, SOURCE_LOST */
  async refill(chunk: number, bytes: Uint8Array, ranges: readonly ByteRange[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.has(chunk)) throw new KithError('SOURCE_BUSY', 'the client does not have this now')
    await this.#fetcher.refill(chunk, bytes, ranges, signal)
  }
  /** It broke the rules in a way that only we can see. */
  drop(error: KithError): void {
    this.#fail(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#release()
    await this.#released
  }

  fileAnswer({ status, aich }: FileAnswer): void {
    if (aich) this.#aich = aich.slice()
    if (status) this.#status = status
    this.#status ??= COMPLETE // files of one part say nothing
    this.#tell()
  }
  noSuchFile(): void {
    this.#fail(new KithError('SOURCE_LOST', 'the client does not have the file'))
  }
  hashSet(): void {}
  recovery(answer: RecoveryAnswer): void {
    this.#recovery?.resolve(answer)
  }

  accepted(): void {
    this.#phase = 'serving'
    this.#status ??= COMPLETE
    this.#reasks = 0
    this.#ready.resolve()
    this.#tell()
    this.#fetcher.pump()
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
    this.#fetcher.forget()
    this.#fetcher.endAll(new KithError('SOURCE_BUSY', 'our turn is over: the client serves others first'))
    this.#tell()
  }

  /** A Kith peer answers every range that is under way, one way or the other: what was paid for is still taken. */
  refused({ cause, reason, ranges }: Extract<KithPacket, { kind: 'refusal' }>): void {
    if (cause === 'unpaid') {
      this.#fetcher.unpaid(reason, ranges)
      this.#status ??= COMPLETE
      if (ranges.length === 0) this.#phase = 'serving' // the scheduler hears of it when it asks
      this.#ready.resolve()
      this.#tell()
    } else this.#fetcher.missing(ranges, new KithError('SOURCE_BUSY', 'the peer does not have this yet'))
    this.#fetcher.pump()
  }

  part(head: PartHead): void {
    this.#fetcher.part(head)
  }
  target(offset: number): Uint8Array | number {
    return this.#fetcher.target(offset)
  }
  received(offset: number, count: number): void {
    this.#fetcher.received(offset, count)
  }
  compressed(piece: CompressedPiece): void {
    this.#fetcher.compressed(piece)
  }
  readDone(): void {
    this.#fetcher.pump()
  }

  /** While we only waited, a lost connection is no lost source. */
  closed(error: KithError): void {
    this.#session = undefined
    this.#fetcher.disconnect()
    this.#recovery?.reject(asSourceError(error))
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

  /** After a refusal of the whole file, the file is asked for again; after one of ranges, the ranges are. */
  #askAgain(): void {
    this.#fetcher.forgiveDebt()
    if (this.#session && this.#phase === 'serving') this.#session.send(protocols.edonkey, edonkey.startUpload, this.hash)
  }

  #fail(error: KithError): void {
    this.#error ??= error
    this.#fetcher.endAll(this.#error)
    this.#ready.resolve()
    this.#gone.resolve()
    this.#tell()
    if (this.#session && !this.#session.wire.error) this.#session.wire.close(error)
  }

  async #release(): Promise<void> {
    const session = this.#session
    this.#stop.abort()
    this.#recovery?.reject(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#fetcher.endAll(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#listeners.clear()
    this.#ready.resolve()
    this.#gone.resolve()
    // Said in so many words: aMule goes on counting a client that just hangs up as served, and then answers the same ranges no more.
    if (session && this.#phase !== 'asking') session.send(protocols.edonkey, edonkey.cancelTransfer)
    await session?.[Symbol.asyncDispose]()
    await this.#fetcher.settled()
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
