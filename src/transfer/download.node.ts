/**
 * One download from address to finished file: plan, part file, scheduler, whole-file hash, final name, settlement. What arrived
 * stays on disk whatever happens; the next download of the same content goes on from there.
 */
import { randomBytes } from '#crypto'
import { bytesToBase64Url, bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import { amountDue } from '../wire/wei.ts'
import { ChunkVerifier } from './disk/chunk-verifier.node.ts'
import { fileHere } from './disk/file-here.node.ts'
import type { FinishedFiles } from './disk/finish-files.node.ts'
import { checkWhole, place } from './downloading/completion.node.ts'
import { feedContext, SourceEvents } from './downloading/feed-context.node.ts'
import { Followers, Front } from './downloading/front.ts'
import { Paying } from './downloading/paying.node.ts'
import { replay } from './downloading/replay.node.ts'
import { type RunningShare, type ShareRunningDeps, shareRunning } from './downloading/share-running.node.ts'
import { type Silence, watchSources } from './downloading/watch.ts'
import { Decrypter } from './encryption/file-encryption.node.ts'
import type { FileSecret } from './file-cipher.node.ts'
import { MAX_ROOTS, SLOT_POOL_BYTES } from './limits.ts'
import { OfferedSource } from './offered-source.ts'
import { openPartFile, type PartFile, type PartSource, plainPathOf } from './part-file.node.ts'
import type { Bill, PaymentGate, SettlementView } from './payment-gate.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import type { Source } from './protocol.ts'
import { RateMeter } from './scheduling/rate-meter.ts'
import { Scheduler } from './scheduling/scheduler.ts'
import { type PoolSlot, SlotPool } from './scheduling/slot-pool.ts'
import { mergeSettlements } from './settlements.ts'
import type { SourceStats } from './source-entry.ts'
import { createThrottle, type Throttle } from './throttle.ts'
import type { FirstWorkers } from './verify-workers.node.ts'

export type DownloadState = 'finding' | 'fetching' | 'waiting' | 'checking' | 'settling' | 'done' | 'failed' | 'cancelled'

export interface DownloadDeps extends ShareRunningDeps {
  readonly clock: Clock
  readonly payments: PaymentGate
  /** Makes the plan for the address. */
  readonly plan: (onNote: (text: string) => void, signal: AbortSignal, notRoots: ReadonlySet<string>) => Promise<Plan>
  readonly onChange: () => void
  /** The limit that all downloads of a node share. */
  readonly downloadLimit?: Throttle | undefined
  /** Threads that were started ahead; a download without them starts its own. */
  readonly workers?: FirstWorkers | undefined
}

export interface DownloadOptions {
  readonly address: string
  readonly folder: string
  readonly maxCostWei: bigint | undefined
  /** Bytes per second of this download; undefined: no limit. */
  readonly limit?: number | undefined
  /** In order from the front, a few chunks ahead: for a reader that follows (`contiguousBytes`, `contiguous`). */
  readonly sequential?: boolean | undefined
  /** What opens the file, when it is encrypted. */
  readonly secret?: FileSecret | undefined
  /** Keeps the encrypted file, to be shared on. */
  readonly seed?: boolean | undefined
}

export class Download implements AsyncDisposable {
  readonly id: string = bytesToHex(randomBytes(8))
  readonly options: DownloadOptions
  readonly startedAt: number
  readonly #deps: DownloadDeps
  readonly #stop = new AbortController()
  readonly #meter: RateMeter
  readonly #throttles: readonly Throttle[]
  readonly #followers = new Followers()
  /** Weak: sources that are gone are not kept for it. */
  #partSources = new WeakMap<Source, PartSource>()
  readonly #paying: Paying
  readonly #silence: Silence
  readonly #task: Promise<void>
  #stage: Stage | undefined
  #running: RunningShare | undefined

  state: DownloadState = 'finding'
  message = 'looking for seeders'
  plan: Plan | undefined
  path: string | undefined
  /** Every file that `path` stands for, and where in the content it begins. */
  placed: FinishedFiles['files'] = []
  /** The encrypted file beside `path`, when it was kept. */
  sealedPath: string | undefined
  /** Name inside an encrypted file. */
  plainName: string | undefined
  resumedBytes = 0
  verifiedBytes = 0
  receivedBytes = 0
  chunksDone = 0
  settlement: SettlementView | undefined
  sha256: Uint8Array | undefined
  error: unknown
  finishedAt: number | undefined

  constructor(deps: DownloadDeps, options: DownloadOptions) {
    this.#deps = deps
    this.options = options
    this.startedAt = deps.clock.now()
    this.#meter = new RateMeter(deps.clock.monotonic())
    this.#silence = { sinceMs: deps.clock.monotonic() }
    const own = options.limit === undefined ? [] : [createThrottle(deps.clock, options.limit)]
    this.#throttles = deps.downloadLimit ? [...own, deps.downloadLimit] : own
    this.#paying = new Paying({
      clock: deps.clock,
      signal: this.#stop.signal,
      shown: () => this.message,
      waiting: message => this.#set('waiting', message),
      fetching: message => this.#set('fetching', message),
      onSettled: result => {
        this.settlement = mergeSettlements(this.settlement, result)
      }
    })
    this.#task = this.#run()
  }

  /** Resolves when the download has ended in any way; never rejects: see `state` and `error`. */
  get ended(): Promise<void> {
    return this.#task
  }
  get rate(): number {
    return this.#meter.rate(this.#deps.clock.monotonic())
  }
  get owedWei(): bigint {
    return this.#stage?.bill.owedWei ?? 0n
  }
  get paidWei(): bigint {
    return this.#stage?.bill.paidWei ?? 0n
  }
  /** Bytes from the front that are verified and in the part file. */
  get contiguousBytes(): number {
    return this.#stage?.front.bytes ?? 0
  }
  /** Where the bytes are while the download runs; undefined before the first and after the last. */
  get partPath(): string | undefined {
    return this.finishedAt === undefined ? this.#stage?.part.path : undefined
  }
  /** Waits until `bytes` from the front are verified, or the download has ended. @returns contiguousBytes; throws what `signal` aborts with */
  async contiguous(bytes: number, signal?: AbortSignal): Promise<number> {
    while (this.contiguousBytes < bytes && this.finishedAt === undefined) {
      signal?.throwIfAborted()
      await this.#followers.next(signal)
    }
    return this.contiguousBytes
  }
  sources(): SourceStats[] {
    return this.#stage?.scheduler.stats() ?? []
  }

  /** Stops; what arrived stays on disk. */
  async cancel(): Promise<void> {
    this.#stop.abort(new KithError('CANCELLED', 'stopped by the user'))
    await this.#task
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cancel()
  }

  async #run(): Promise<void> {
    const signal = this.#stop.signal
    try {
      await this.#tryRoots(signal)
      this.#end('done', 'done')
    } catch (error) {
      this.error = error
      this.#deps.log.debug('download ended', { error })
      const cancelled = signal.aborted && codeOf(signal.reason) === 'CANCELLED'
      this.#end(cancelled ? 'cancelled' : 'failed', cancelled ? 'stopped; what arrived is kept' : textOf(error))
    }
  }

  /** A bare file id has no root to trust: a false one, found out by the whole file's hash or an absurd size, costs time and the next is tried. */
  async #tryRoots(signal: AbortSignal): Promise<void> {
    const notRoots = new Set<string>()
    for (let failure: unknown; ; ) {
      try {
        this.plan = await this.#deps.plan(text => this.#note(text), signal, notRoots)
      } catch (error) {
        throw failure ?? error
      }
      try {
        return await this.#fetch(this.plan, signal)
      } catch (error) {
        const { root, rootIsTrusted } = this.plan
        const mayBeFalse = ['HASH_MISMATCH', 'DISK_FULL', 'NO_SOURCES'].includes(codeOf(error))
        if (!root || rootIsTrusted || !mayBeFalse || signal.aborted || notRoots.size >= MAX_ROOTS) throw error
        failure ??= error
        notRoots.add(bytesToHex(root))
        this.#forgetProgress()
      }
    }
  }

  #forgetProgress(): void {
    this.#stage = undefined
    this.#partSources = new WeakMap()
    this.verifiedBytes = this.resumedBytes = this.chunksDone = 0
    this.sha256 = undefined
    this.#set('finding', 'a seeder proposed a false hash list; looking for another')
  }

  async #fetch(plan: Plan, signal: AbortSignal): Promise<void> {
    if (await this.#isHere(plan, signal)) return
    const file = { fileId: plan.fileId ?? new Uint8Array(32), root: plan.root ?? new Uint8Array(32), size: plan.grid.size }
    const bill = await this.#deps.payments.openBill(file, { maxCostWei: this.options.maxCostWei })
    await using stack = new AsyncDisposableStack()
    stack.defer(() => bill.close())
    const part = stack.use(openPartFile(this.options.folder, plan.stem, plan.header))
    this.verifiedBytes = this.resumedBytes = await replay(part, bill, text => this.#note(text))
    this.chunksDone = part.resumed.length
    const pool = new SlotPool(plan.grid.chunkBytes, Math.min(SLOT_POOL_BYTES, Math.max(4, plan.grid.count) * plan.grid.chunkBytes))
    const verifier = stack.use(ChunkVerifier.open(plan.grid, plan.hashes, part.path, pool.buffer, this.#deps.workers?.take()))
    const events = new SourceEvents()
    const scheduler = stack.use(
      new Scheduler(
        {
          clock: this.#deps.clock,
          log: this.#deps.log,
          grid: plan.grid,
          pool,
          done: part.done,
          throttles: this.#throttles,
          verify: async (slot, chunk, source) => {
            if (!part.hasRoom) await part.room()
            return await verifyOrMend(verifier, plan, slot, chunk, source)
          },
          onVerified: (chunk, source, bytes) => this.#onVerified(chunk, source, bytes),
          onUnpaid: (source, error) => this.#paying.onUnpaid({ plan, bill }, source, error),
          onDropped: (source, code) => events.dropped(source, code),
          onSlow: source => events.slow(source),
          onDiskFull: () => this.#set('waiting', DISK_FULL),
          shareOfBudget: source => shareOfBudget(source, plan.grid.size, this.options.maxCostWei)
        },
        { sequential: this.options.sequential === true, spread: randomBytes(1)[0]! / 256 }
      )
    )
    const decrypter = this.#decrypt(stack, plan, part, scheduler)
    this.#stage = { plan, bill, part, verifier, scheduler, events, decrypter, front: new Front(plan.grid, part.done) }
    this.#follow()
    this.#set('fetching', 'fetching')
    await this.#runScheduler(this.#stage, signal)
    await this.#complete(this.#stage)
  }

  /** The same command again, after it was done: nothing is fetched or paid. Of an encrypted file only the ciphertext's hash is known. */
  async #isHere(plan: Plan, signal: AbortSignal): Promise<boolean> {
    if (this.options.secret) return false
    const path = await fileHere(
      this.options.folder,
      plan,
      () => this.#note('a file of that name is here; reading whether it is this one'),
      signal
    )
    if (path === undefined) return false
    this.sha256 = plan.fileId
    this.verifiedBytes = this.resumedBytes = plan.grid.size
    this.chunksDone = plan.grid.count
    this.placed = [{ path, offset: 0, length: plan.grid.size }]
    this.path = path
    return true
  }

  async #runScheduler(stage: Stage, signal: AbortSignal): Promise<void> {
    const { scheduler, plan } = stage
    const feeding = new AbortController()
    const both = AbortSignal.any([signal, feeding.signal])
    signal.addEventListener('abort', () => scheduler.abort(signal.reason), { once: true })
    if (signal.aborted) scheduler.abort(signal.reason)
    this.#running = shareRunning(this.#deps, plan, stage.part)
    const feed = plan.feed(this.#feedContext(stage), both)
    const watch = this.#watch(stage, both)
    let flushed: Promise<void> | undefined
    try {
      await scheduler.finished
      flushed = stage.part.checkpoint() // the disk works while the rest is hashed; finishing hears of its errors
    } finally {
      feeding.abort()
      await Promise.allSettled([feed, watch, flushed])
      await this.#running?.[Symbol.asyncDispose]()
    }
  }

  #feedContext({ scheduler, bill, plan, events }: Stage): FeedContext {
    return feedContext({
      scheduler,
      plan,
      bill,
      events,
      paying: this.#paying,
      bytesLeft: () => plan.grid.size - this.verifiedBytes,
      note: text => this.#note(text),
      onAdded: (source, offer) => {
        const raw = offer && offer.offer.pricePerMb !== 0n ? bytesToBase64Url(offer.raw) : undefined
        // Written down with its first chunk: seeders may come and go, each time with another offer.
        this.#partSources.set(source, { seeder: source.seeder, protocol: source.protocol, offer: raw })
        this.#deps.onChange()
      }
    })
  }

  #onVerified(chunk: number, source: Source, bytes: number): void {
    const { part, bill } = this.#stage!
    part.record(chunk, part.addSource(this.#partSources.get(source)!), bytes)
    if (source instanceof OfferedSource && source.pricePerMb !== 0n) this.#paying.delivered(bill, source, chunk, bytes)
    this.#running?.tell(chunk)
    this.verifiedBytes += bytes
    this.chunksDone++
    if (this.message === DISK_FULL) this.#set('fetching', 'fetching')
    this.#meter.add(this.#deps.clock.monotonic(), bytes)
    this.#follow()
    this.#deps.onChange()
  }

  /** Tells the whole-file hash how far the file is contiguous. */
  #follow(): void {
    const { verifier, decrypter, front } = this.#stage!
    const hasMoved = front.advance()
    verifier.follow(front.bytes)
    decrypter?.follow(front.bytes)
    if (hasMoved) this.#followers.wake()
  }

  #watch({ scheduler }: Stage, signal: AbortSignal): Promise<void> {
    const download = this
    const watched: Parameters<typeof watchSources>[1] = {
      scheduler,
      get verifiedBytes() {
        return download.verifiedBytes
      },
      get refusal() {
        return download.#paying.refusal
      },
      get note() {
        return download.#lastNote
      },
      get isFetching() {
        return download.state === 'fetching'
      },
      get isWaiting() {
        return download.state === 'waiting' && download.message.startsWith(WAITING)
      },
      fetching: () => this.#set('fetching', 'fetching'),
      waiting: note => this.#set('waiting', note === undefined ? WAITING : `${WAITING} (${note})`),
      changed: () => this.#deps.onChange()
    }
    return watchSources(this.#deps.clock, watched, this.#silence, signal)
  }

  /** Decrypts behind the download. A wrong key is known with the first chunk and ends it; what arrived is kept. */
  #decrypt(stack: AsyncDisposableStack, plan: Plan, part: PartFile, scheduler: Scheduler): Decrypter | undefined {
    const { secret } = this.options
    if (!secret) return undefined
    const decrypter = stack.use(new Decrypter(part.path, plan.grid.size, plainPathOf(part.path), secret))
    decrypter.head.then(head => {
      this.plainName = head.name
    }, scheduler.abort.bind(scheduler))
    decrypter.done.catch(error => scheduler.abort(error))
    return decrypter
  }

  async #complete(stage: Stage): Promise<void> {
    const { plan, part, verifier, bill, scheduler } = stage
    this.#set('checking', 'checking the whole file')
    this.sha256 = await verifier.digest()
    try {
      checkWhole(plan, this.sha256)
    } catch (error) {
      await scheduler[Symbol.asyncDispose]()
      await part.discard()
      throw error
    }
    const { path, files, sealedPath } = await place(stage, this.options)
    this.sealedPath = sealedPath
    this.placed = files
    this.path = path
    this.#set('settling', 'paying the seeders')
    const result = await bill.settle(undefined, this.#stop.signal)
    this.settlement = mergeSettlements(this.settlement, result)
  }

  #lastNote: string | undefined
  #note(text: string): void {
    this.#lastNote = text
    if (this.state === 'finding') this.message = text
    this.#deps.onChange()
  }
  #end(state: DownloadState, message: string): void {
    this.finishedAt = this.#deps.clock.now()
    this.#followers.wake()
    this.#set(state, message)
  }
  #set(state: DownloadState, message: string): void {
    this.state = state
    this.message = message
    this.#deps.onChange()
  }
}

const DISK_FULL = 'no space left on the disk; it goes on by itself when there is some'
const WAITING = 'no seeder at the moment; looking for one'

interface Stage {
  readonly plan: Plan
  readonly bill: Bill
  readonly part: PartFile
  readonly verifier: ChunkVerifier
  readonly scheduler: Scheduler
  readonly events: SourceEvents
  readonly decrypter: Decrypter | undefined
  readonly front: Front
}

/** A wrong chunk may be mended in its slot; the hash decides again. */
async function verifyOrMend(
  verifier: ChunkVerifier,
  plan: Plan,
  slot: PoolSlot,
  chunk: number,
  source: Source
): Promise<boolean | 'mended'> {
  if (await verifier.verify(slot, chunk)) return true
  const isMended = (await plan.mend?.(chunk, slot.bytes, source)) === true
  return isMended && (await verifier.verify(slot, chunk)) ? 'mended' : false
}

/** The part of the user's budget that the whole file from this source alone would take; 0 when it is free, or no budget was set. */
function shareOfBudget(source: Source, size: number, maxCostWei: bigint | undefined): number {
  if (!(source instanceof OfferedSource) || source.pricePerMb === 0n || !maxCostWei) return 0
  return Number(amountDue(size, source.pricePerMb)) / Number(maxCostWei)
}
