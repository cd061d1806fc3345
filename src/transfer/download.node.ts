/**
 * One download from address to finished file: plan, part file, scheduler, whole-file hash, final name, settlement. What arrived
 * stays on disk whatever happens; the next download of the same content goes on from there.
 */
import { chmodSync } from 'node:fs'
import { randomBytes } from '#crypto'
import { base64UrlToBytes, bytesToBase64Url, bytesToHex, equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { decode } from '../base/codec.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { peerIdToText } from '../identity/peer-id.ts'
import { offerCodec } from '../wire/offer.ts'
import { offerAnswer } from '../wire/transfer-rpc.ts'
import { amountDue } from '../wire/wei.ts'
import { hashesOfInfo } from './bittorrent/metainfo.ts'
import { ChunkVerifier } from './disk/chunk-verifier.node.ts'
import { type FinishedFiles, finishFiles } from './disk/finish-files.node.ts'
import { type PartialShare, partialShare } from './disk/partial-share.node.ts'
import { placeFile } from './disk/place-file.node.ts'
import { Decrypter } from './encryption/file-encryption.node.ts'
import type { FileSecret } from './file-cipher.node.ts'
import { chunkLength } from './grid.ts'
import { MAX_ROOTS, MAX_SOURCES, NO_SOURCE_MS, REFUSED_MS, RETRY_MS, RETRY_PAYMENT_MS, SILENT_MS, SLOT_POOL_BYTES } from './limits.ts'
import { OfferedSource } from './offered-source.ts'
import { checkOffer } from './offers.ts'
import { openPartFile, type PartFile, type PartSource, plainPathOf } from './part-file.node.ts'
import type { Bill, PaymentGate, SettlementView } from './payment-gate.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import type { Source } from './protocol.ts'
import { safeName } from './safe-name.ts'
import { RateMeter } from './scheduling/rate-meter.ts'
import { Scheduler } from './scheduling/scheduler.ts'
import { type PoolSlot, SlotPool } from './scheduling/slot-pool.ts'
import { SettlePace } from './settle-pace.ts'
import { mergeSettlements } from './settlements.ts'
import type { ShareBook } from './share-book.node.ts'
import type { SourceStats } from './source-entry.ts'
import { createThrottle, type Throttle } from './throttle.ts'
import type { FirstWorkers } from './verify-workers.node.ts'

export type DownloadState = 'finding' | 'fetching' | 'waiting' | 'checking' | 'settling' | 'done' | 'failed' | 'cancelled'

export interface DownloadDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly payments: PaymentGate
  readonly shares: ShareBook
  /** Makes the plan for the address. */
  readonly plan: (onNote: (text: string) => void, signal: AbortSignal, notRoots: ReadonlySet<string>) => Promise<Plan>
  /** Told once chunks can be served to others, and when they no longer can. */
  readonly announce: (fileId: Uint8Array) => Promise<void>
  readonly withdraw: (fileId: Uint8Array) => Promise<void>
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
  readonly #dropListeners: ((source: Source, code: string) => void)[] = []
  readonly #slowListeners: ((source: Source) => void)[] = []
  readonly #throttles: readonly Throttle[]
  /** Those who wait for the file to grow from the front. */
  readonly #followers = new Set<() => void>()
  /** wei per MB, by seeder. */
  readonly #admitted = new Map<string, bigint>()
  /** Weak: sources that are gone are not kept for it. */
  #partSources = new WeakMap<Source, PartSource>()
  readonly #task: Promise<void>
  #stage: Stage | undefined
  #partial: PartialShare | undefined
  #frontier = 0
  #lastSourceMs: number
  /** Why the last seeder was left over money: what a download with nobody left ends with. */
  #refusal: KithError | undefined
  readonly #pace = new SettlePace()

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
    this.#lastSourceMs = deps.clock.monotonic()
    const own = options.limit === undefined ? [] : [createThrottle(deps.clock, options.limit)]
    this.#throttles = deps.downloadLimit ? [...own, deps.downloadLimit] : own
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
    const { grid } = this.plan ?? {}
    return grid ? Math.min(grid.size, this.#frontier * grid.chunkBytes) : 0
  }
  /** Where the bytes are while the download runs; undefined before the first and after the last. */
  get partPath(): string | undefined {
    return this.finishedAt === undefined ? this.#stage?.part.path : undefined
  }
  /** Waits until `bytes` from the front are verified, or the download has ended. @returns contiguousBytes; throws what `signal` aborts with */
  async contiguous(bytes: number, signal?: AbortSignal): Promise<number> {
    while (this.contiguousBytes < bytes && this.finishedAt === undefined) {
      signal?.throwIfAborted()
      const { promise, resolve } = Promise.withResolvers<void>()
      const wake = (): void => resolve()
      this.#followers.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
      await promise
      this.#followers.delete(wake)
      signal?.removeEventListener('abort', wake)
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
    this.#frontier = 0
    this.#partSources = new WeakMap()
    this.#dropListeners.length = this.#slowListeners.length = 0
    this.verifiedBytes = this.resumedBytes = this.chunksDone = 0
    this.sha256 = undefined
    this.#set('finding', 'a seeder proposed a false hash list; looking for another')
  }

  async #fetch(plan: Plan, signal: AbortSignal): Promise<void> {
    const file = { fileId: plan.fileId ?? new Uint8Array(32), root: plan.root ?? new Uint8Array(32), size: plan.grid.size }
    const bill = await this.#deps.payments.openBill(file, { maxCostWei: this.options.maxCostWei })
    await using stack = new AsyncDisposableStack()
    stack.defer(() => bill.close())
    const part = stack.use(openPartFile(this.options.folder, plan.stem, plan.header))
    await this.#replay(part, bill)
    const pool = new SlotPool(plan.grid.chunkBytes, Math.min(SLOT_POOL_BYTES, Math.max(4, plan.grid.count) * plan.grid.chunkBytes))
    const verifier = stack.use(ChunkVerifier.open(plan.grid, plan.hashes, part.path, pool.buffer, this.#deps.workers?.take()))
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
          onUnpaid: (source, error) => this.#onUnpaid(source, error),
          onDropped: (source, code) => this.#dropListeners.forEach(listen => void listen(source, code)),
          onSlow: source => this.#slowListeners.forEach(listen => void listen(source)),
          onDiskFull: () => this.#set('waiting', DISK_FULL),
          shareOfBudget: source => shareOfBudget(source, plan.grid.size, this.options.maxCostWei)
        },
        { sequential: this.options.sequential === true, spread: randomBytes(1)[0]! / 256 }
      )
    )
    const decrypter = this.#decrypt(stack, plan, part, scheduler)
    this.#stage = { plan, bill, part, verifier, scheduler, decrypter }
    this.#follow()
    this.#set('fetching', 'fetching')
    await this.#runScheduler(this.#stage, signal)
    await this.#complete(this.#stage)
  }

  /** What earlier runs brought counts, and is owed for. */
  async #replay(part: PartFile, bill: Bill): Promise<void> {
    const seeders = await Promise.all(part.sources.map(s => this.#readmit(s.offer, bill)))
    for (const [chunk, index] of part.resumed) {
      const bytes = chunkLength(part.grid, chunk)
      this.resumedBytes += bytes
      const seeder = seeders[index]
      if (seeder) bill.delivered(seeder, part.sources[index]!.protocol, chunk, bytes)
    }
    this.verifiedBytes = this.resumedBytes
    this.chunksDone = part.resumed.length
  }

  async #readmit(raw: string | undefined, bill: Bill): Promise<string | undefined> {
    if (raw === undefined) return undefined
    try {
      const bytes = base64UrlToBytes(raw)
      const { peerId, fileId } = decode(offerCodec, decode(offerAnswer, bytes).offer.body)
      const offer = await checkOffer(bytes, { peerId: peerIdToText(peerId) }, fileId, undefined)
      bill.admit(offer)
      return offer.seeder
    } catch (error) {
      this.#note(`an earlier seeder cannot be paid: ${textOf(error)}`)
      return undefined
    }
  }

  async #runScheduler(stage: Stage, signal: AbortSignal): Promise<void> {
    const { scheduler, plan } = stage
    const feeding = new AbortController()
    const both = AbortSignal.any([signal, feeding.signal])
    signal.addEventListener('abort', () => scheduler.abort(signal.reason), { once: true })
    if (signal.aborted) scheduler.abort(signal.reason)
    const stopSharing = this.#sharePartial(stage)
    const feed = plan.feed(this.#feedContext(stage), both)
    const watch = this.#watch(stage, both)
    let flushed: Promise<void> | undefined
    try {
      await scheduler.finished
      flushed = stage.part.checkpoint() // the disk works while the rest is hashed; finishing hears of its errors
    } finally {
      feeding.abort()
      await Promise.allSettled([feed, watch, flushed])
      await stopSharing()
    }
  }

  #feedContext({ scheduler, bill, plan }: Stage): FeedContext {
    return {
      grid: plan.grid,
      bytesLeft: () => plan.grid.size - this.verifiedBytes,
      wantsMore: () => scheduler.sourceCount < MAX_SOURCES && scheduler.chunksLeft > 0,
      add: (source, offer) => {
        if (scheduler.sourceCount >= MAX_SOURCES || scheduler.chunksLeft === 0) return false
        const raw = offer && offer.offer.pricePerMb !== 0n ? bytesToBase64Url(offer.raw) : undefined
        // Written down with its first chunk: seeders may come and go, each time with another offer.
        this.#partSources.set(source, { seeder: source.seeder, protocol: source.protocol, offer: raw })
        scheduler.add(source)
        this.#deps.onChange()
        return true
      },
      admit: offer => {
        if (offer.offer.pricePerMb !== 0n && !plan.rootIsTrusted) {
          throw new KithError(
            'NO_ROOT',
            'a bare file id cannot be paid for before the whole file is checked',
            {},
            { hint: 'use the full kith: link for paid seeders' }
          )
        }
        const known = this.#admitted.get(offer.seeder)
        if (known !== undefined && known < offer.offer.pricePerMb)
          throw new KithError('OVERCHARGE', 'it raised its price during the download')
        try {
          bill.admit(offer)
        } catch (error) {
          if (error instanceof KithError) this.#refusal = error
          throw error
        }
        this.#admitted.set(offer.seeder, offer.offer.pricePerMb)
      },
      note: text => this.#note(text),
      statsOf: source => scheduler.statsOf(source),
      retire: (source, note) => scheduler.retire(source, note),
      onDropped: listener => void this.#dropListeners.push(listener),
      onSlow: listener => void this.#slowListeners.push(listener)
    }
  }

  #onVerified(chunk: number, source: Source, bytes: number): void {
    const { part, bill } = this.#stage!
    part.record(chunk, part.addSource(this.#partSources.get(source)!), bytes)
    if (source.seeder !== undefined && source instanceof OfferedSource && source.pricePerMb !== 0n) {
      bill.delivered(source.seeder, source.protocol, chunk, bytes)
      this.#pace.delivered(source.seeder, bytes)
    }
    this.#partial?.tell(chunk)
    this.verifiedBytes += bytes
    this.chunksDone++
    if (this.message === DISK_FULL) this.#set('fetching', 'fetching')
    this.#meter.add(this.#deps.clock.monotonic(), bytes)
    this.#follow()
    this.#deps.onChange()
  }

  /** Tells the whole-file hash how far the file is contiguous. */
  #follow(): void {
    const { part, verifier, plan, decrypter } = this.#stage!
    const before = this.#frontier
    while (this.#frontier < part.done.length && part.done[this.#frontier] === 1) this.#frontier++
    const bytes = Math.min(plan.grid.size, this.#frontier * plan.grid.chunkBytes)
    verifier.follow(bytes)
    decrypter?.follow(bytes)
    if (this.#frontier > before) for (const wake of this.#followers) wake()
  }

  /** A seeder's credit is used up: pay what is owed to it and go on (DESIGN §7). */
  async #onUnpaid(source: Source, error: KithError): Promise<boolean> {
    const stage = this.#stage!
    const { seeder } = source
    if (seeder === undefined || !stage.plan.rootIsTrusted) return false
    const asked = textOf(error.data['reason'] ?? error)
    const leave = (why: string): false => {
      this.#refusal = new KithError('PAYMENT_REQUIRED', why, {}, { hint: UNPAID_HINT })
      return false
    }
    const { clock } = this.#deps
    const pace = this.#pace.decide(seeder, clock.monotonic())
    if (pace === 'leave') return leave(`a seeder asks to be paid for too little: ${asked}`)
    if (pace === 'wait') {
      await clock.sleep(RETRY_MS, this.#stop.signal).catch(() => {})
      return !this.#stop.signal.aborted
    }
    const before = this.message
    this.#set('waiting', `paying a seeder what is owed so far: ${textOf(error)}`)
    const result = await this.#settleSoFar(stage, seeder)
    if (this.#stop.signal.aborted) return false
    this.#set('fetching', before)
    if (result.state === 'nothing-owed') return leave(`a seeder is owed nothing and wants to be paid: ${asked}`)
    this.#pace.settled(seeder, clock.monotonic())
    this.settlement = mergeSettlements(this.settlement, result)
    if (result.state === 'queued') return leave(`a seeder could not be paid: ${result.reason ?? 'the chain is not reachable'}`)
    return true
  }

  /** A chain that is away, or a wallet that is being filled, is waited for as long as seeders are. */
  async #settleSoFar({ bill }: Stage, seeder: string): Promise<SettlementView> {
    const { clock } = this.#deps
    const until = clock.monotonic() + NO_SOURCE_MS
    for (;;) {
      const result = await bill.settle(seeder, this.#stop.signal)
      if (result.state !== 'queued' || clock.monotonic() > until || this.#stop.signal.aborted) return result
      this.#set('waiting', `a seeder waits for its payment: ${result.reason ?? 'the chain is not reachable'}`)
      await clock.sleep(RETRY_PAYMENT_MS, this.#stop.signal).catch(() => {})
    }
  }

  /** Offers the verified chunks to others while the download runs. */
  #sharePartial({ plan, part }: Stage): () => Promise<void> {
    const { fileId, root, chunkHashes, torrent } = plan
    if (torrent) {
      const share = partialShare(plan, part)
      this.#partial = share
      const remove = this.#deps.shares.addTorrent(hashesOfInfo(torrent).map(bytesToHex), share, torrent.over)
      return async () => {
        remove()
        await share.close()
      }
    }
    if (!fileId || !root || !chunkHashes || !plan.rootIsTrusted) return async () => {}
    const share = partialShare(plan, part)
    this.#partial = share
    const remove = this.#deps.shares.addPartial(share, () => chunkHashes)
    const announced = this.#deps.announce(fileId).catch(error => this.#deps.log.debug('partial share not announced', { error }))
    return async () => {
      await remove()
      await this.#deps.withdraw(fileId).catch(() => {}) // before the wait: an announcement without peers ends only by being withdrawn
      await announced
      await share.close()
    }
  }

  /** Fails a download that has had nobody to fetch from for a minute; says what it waits for until then. */
  async #watch({ scheduler }: Stage, signal: AbortSignal): Promise<void> {
    let verified = this.verifiedBytes
    while (!signal.aborted) {
      await this.#deps.clock.sleep(1_000, signal).catch(() => {})
      const now = this.#deps.clock.monotonic()
      if (this.verifiedBytes > verified || scheduler.isHopeful()) {
        verified = this.verifiedBytes
        this.#lastSourceMs = now
        if (this.state === 'waiting' && this.message.startsWith(WAITING)) this.#set('fetching', 'fetching')
      } else if (this.#refusal && scheduler.sourceCount === 0 && now - this.#lastSourceMs > REFUSED_MS) {
        scheduler.abort(this.#refusal)
      } else if (now - this.#lastSourceMs > NO_SOURCE_MS) {
        const hint = 'what arrived is kept: run the same command again when a seeder is back'
        scheduler.abort(
          new KithError('NO_SOURCES', this.#lastNote ? `no seeder is left (${this.#lastNote})` : 'no seeder is left', {}, { hint })
        )
      } else if (this.state === 'fetching' && (scheduler.sourceCount === 0 || now - this.#lastSourceMs > SILENT_MS)) {
        this.#set('waiting', this.#lastNote ? `${WAITING} (${this.#lastNote})` : WAITING)
      }
      this.#deps.onChange()
    }
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

  /** The plaintext takes its name; the encrypted file goes, unless it is to be shared on. */
  async #unseal(decrypter: Decrypter, part: PartFile, plan: Plan): Promise<string> {
    const { folder, seed } = this.options
    await decrypter.done
    const { name } = await decrypter.head
    chmodSync(decrypter.path, 0o666 & ~process.umask())
    const path = placeFile(decrypter.path, folder, safeName(name, plan.stem))
    decrypter.keep()
    if (seed) this.sealedPath = (await finishFiles(part, folder, plan)).path
    else await part.discard()
    return path
  }

  async #complete({ plan, part, verifier, bill, scheduler, decrypter }: Stage): Promise<void> {
    this.#set('checking', 'checking the whole file')
    this.sha256 = await verifier.digest()
    if (plan.fileId && !equalBytes(this.sha256, plan.fileId)) {
      await scheduler[Symbol.asyncDispose]()
      await part.discard()
      throw new KithError(
        'HASH_MISMATCH',
        'the file that arrived is not the one that was asked for; it was deleted',
        {},
        { hint: 'the link names a file and a hash list that do not belong together' }
      )
    }
    if (decrypter) this.path = await this.#unseal(decrypter, part, plan)
    else {
      const { path, files } = await finishFiles(part, this.options.folder, plan)
      this.placed = files
      this.path = path
    }
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
    for (const wake of this.#followers) wake()
    this.#set(state, message)
  }
  #set(state: DownloadState, message: string): void {
    this.state = state
    this.message = message
    this.#deps.onChange()
  }
}

const UNPAID_HINT = 'what arrived is kept: kith wallet show says what is in the way; then run the same command again'
const DISK_FULL = 'no space left on the disk; it goes on by itself when there is some'
const WAITING = 'no seeder at the moment; looking for one'

interface Stage {
  readonly plan: Plan
  readonly bill: Bill
  readonly part: PartFile
  readonly verifier: ChunkVerifier
  readonly scheduler: Scheduler
  readonly decrypter: Decrypter | undefined
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
