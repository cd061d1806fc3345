/**
 * `Source` over one peer connection. Blocks are only asked for once their chunk has a slot, so back-pressure needs no pause of
 * the socket, and as many are in flight as twice the measured rate times the shortest answer time.
 */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { chunkLength, type Grid } from '../grid.ts'
import type { Delivery, Slot, Source } from '../protocol.ts'
import { ChunkRun, type RunHost } from '../scheduling/chunk-run.ts'
import type { ExtendedHandshake } from './extensions.ts'
import { DEFAULT_REQUEST_QUEUE, LINGER_MS, MAX_QUEUED_REQUESTS, MAX_RUN_BYTES } from './limits.ts'
import { BLOCK_MESSAGE_BYTES, type Block, messageIds, protocolError, writeBlockMessage } from './messages.ts'
import { blockSize, type PeerSession, type SessionReader } from './session.node.ts'
import { RequestWindow } from './window.ts'

type Run = ChunkRun<OpenChunk>

interface OpenChunk {
  readonly run: Run
  readonly chunk: number
  readonly target: Uint8Array
  asked: number
  got: number
  /** Blocks that were refused once and are asked for again. */
  readonly again: Block[]
}

/** A block that was asked for. */
interface Pending {
  readonly block: Block
  readonly sentMs: number
  /** undefined: nobody wants it any more, the answer is thrown away. */
  chunk: OpenChunk | undefined
  target: Uint8Array | undefined
  /** Somebody asked for it again while a part had been thrown away already. */
  next: OpenChunk | undefined
  /** A cancel is under way: a refusal is the answer to that. */
  cancelled: boolean
  /** Called when the last byte is in the slot: the run ended, but the socket was reading into its slot. */
  onDone: (() => void) | undefined
}

const keyOf = (b: Block): number => b.piece * 2 ** 27 + b.begin

export interface PeerSourceDeps {
  readonly session: PeerSession
  readonly grid: Grid
  readonly clock: Clock
  readonly seeder: string | undefined
  /** Ends the connection, or only our interest in it when the peer connected to us. */
  release(): Promise<void>
}

export class PeerSource implements Source, SessionReader {
  readonly key: string
  readonly protocol: string
  readonly seeder: string | undefined
  readonly parallel = 2
  readonly maxRun: number
  readonly #deps: PeerSourceDeps
  readonly #runs: Run[] = []
  readonly #host: RunHost<OpenChunk>
  readonly #pending = new Map<number, Pending>()
  /** Blocks whose answer may still come although a choke took them back. */
  readonly #late = new Set<number>()
  readonly #listeners = new Set<() => void>()
  readonly #window: RequestWindow
  readonly #ready = Promise.withResolvers<void>()
  #out = new Uint8Array(64 * BLOCK_MESSAGE_BYTES)
  #outLength = 0
  #pendingBytes = 0
  #blockBytes: number | undefined
  #unpaid: string | undefined
  #error: KithError | undefined
  #released: Promise<void> | undefined

  constructor(deps: PeerSourceDeps) {
    this.#deps = deps
    this.protocol = deps.session.protocol
    this.key = `${this.protocol} ${deps.session.wire.address}`
    this.seeder = deps.seeder
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / deps.grid.chunkBytes))
    this.#host = {
      has: chunk => deps.session.remoteHas(chunk),
      open: (run, chunk, slot) => this.#open(run, chunk, slot),
      pump: () => this.#pumpSafely(),
      end: (run, error) => this.#end(run, error)
    }
    this.#window = new RequestWindow(deps.clock.monotonic())
    deps.session.reader = this
    deps.session.wire.send({ kind: 'interested' })
    this.#checkReady()
  }

  /** Resolves when the peer has said what it has, which extensions it takes, and unchoked us; or when it is gone. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }
  /** Why the connection ended. */
  get error(): KithError | undefined {
    return this.#error
  }

  get ended(): boolean {
    return this.#error !== undefined
  }
  has(chunk: number): boolean {
    return !this.#deps.session.choked && this.#deps.session.remoteHas(chunk)
  }

  onChange(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true })
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#error) throw this.#error
    if (this.#released) throw new KithError('SOURCE_LOST', 'the source was closed')
    const run: Run = new ChunkRun(delivery, this.#host)
    this.#runs.push(run)
    this.#pumpSafely()
    await run.until(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#released ??= this.#release()
    await this.#released
  }

  choked(): void {
    for (const key of this.#pending.keys()) this.#late.add(key)
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#endAll(new KithError('SOURCE_BUSY', 'the peer serves others first'))
    if (this.#late.size > MAX_QUEUED_REQUESTS) this.#late.clear() // a peer that never answers what it took back: nothing to wait for
  }
  unchoked(): void {
    this.#checkReady()
    this.#tell()
    this.#pump()
  }
  gained(): void {
    this.#checkReady()
    this.#tell()
  }
  extended(_handshake: ExtendedHandshake): void {
    this.#checkReady()
  }
  metadata(): void {}

  block(block: Block): Uint8Array | undefined {
    const key = keyOf(block)
    const p = this.#pending.get(key)
    if (!p && this.#late.delete(key)) return undefined
    if (!p || p.block.length !== block.length)
      throw protocolError('a block that was not asked for', { piece: block.piece, begin: block.begin })
    p.target = p.chunk?.target.subarray(block.begin, block.begin + block.length) ?? EMPTY
    return p.chunk && p.target
  }

  blockDone(block: Block): void {
    const p = this.#take(block)
    if (!p) return
    const now = this.#deps.clock.monotonic()
    this.#window.add(now, block.length, now - p.sentMs)
    p.onDone?.()
    if (p.next && !p.next.run.settled) p.next.again.push(p.block)
    const chunk = p.chunk
    if (!chunk) return
    chunk.got += block.length
    chunk.run.delivery.received(block.length)
    if (chunk.got < chunk.target.length) return
    chunk.run.open.delete(chunk)
    chunk.run.delivery.complete(chunk.chunk)
  }

  rejected(block: Block): void {
    const p = this.#take(block)
    if (!p) {
      this.#late.delete(keyOf(block))
      return
    }
    if (p.next && !p.next.run.settled) p.next.again.push(p.block)
    if (p.cancelled) p.chunk?.again.push(p.block)
    else if (this.#unpaid === undefined && p.chunk)
      this.#end(p.chunk.run, new KithError('SOURCE_BUSY', 'the peer refused a block it said it has'))
  }

  /** The seeder answers every request that is under way, one way or the other: what was paid for is still taken. */
  needs(reason: string): void {
    this.#unpaid ??= reason
  }

  readDone(): void {
    this.#pump()
  }

  closed(error: KithError): void {
    const lied = error.code === 'PEER_WIRE'
    this.#error = error.code.startsWith('SOURCE_')
      ? error
      : new KithError(lied ? 'SOURCE_LIED' : 'SOURCE_LOST', error.message, error.data, { cause: error })
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const p of pending) p.onDone?.()
    this.#endAll(this.#error)
    this.#ready.resolve()
    this.#tell()
  }

  async #release(): Promise<void> {
    this.#endAll(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#listeners.clear()
    await this.#deps.release()
  }

  #checkReady(): void {
    const { session } = this.#deps
    const introduced = session.extended !== undefined || !session.remote.extended
    if (introduced && session.knowsPieces && !session.choked) this.#ready.resolve()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #take(block: Block): Pending | undefined {
    const p = this.#pending.get(keyOf(block))
    if (!p || p.block.length !== block.length) return undefined
    this.#pending.delete(keyOf(block))
    this.#pendingBytes -= p.block.length
    return p
  }

  /** Called from outside a read: what the delivery throws must not escape into its caller. */
  #pumpSafely(): void {
    try {
      this.#pump()
    } catch (error) {
      this.#endAll(error)
    }
  }

  /** Asks for as much as the window allows, oldest run first, and sends it in one write. */
  #pump(): void {
    if (this.#unpaid !== undefined && this.#pending.size === 0) {
      const reason = this.#unpaid
      this.#unpaid = undefined
      this.#endAll(new KithError('PAYMENT_REQUIRED', 'the seeder wants to be paid first', { reason }))
    }
    if (this.#error || this.#unpaid !== undefined || this.#deps.session.choked) return
    const mayAsk = Math.min(this.#deps.session.extended?.requestQueue ?? DEFAULT_REQUEST_QUEUE, LINGER_MS, MAX_QUEUED_REQUESTS)
    this.#blockBytes ??= blockSize(this.#deps.session)
    for (const run of [...this.#runs]) {
      while (this.#pendingBytes < this.#window.bytes && this.#pending.size < mayAsk) {
        const chunk = this.#chunkToAsk(run)
        if (!chunk) break
        this.#ask(chunk, this.#blockBytes)
      }
      if (run.isComplete) this.#end(run, undefined)
    }
    this.#flush()
  }

  #chunkToAsk(run: Run): OpenChunk | undefined {
    for (const chunk of run.open) if (chunk.again.length > 0 || chunk.asked < chunk.target.length) return chunk
    return run.openNext()
  }

  #open(run: Run, chunk: number, slot: Slot): OpenChunk {
    const { grid, session } = this.#deps
    const whole = slot.bytes.subarray(0, chunkLength(grid, chunk))
    const bytes = session.torrent.pieceBytes?.get(chunk) ?? whole.length
    whole.fill(0, bytes)
    return { run, chunk, target: whole.subarray(0, bytes), asked: 0, got: 0, again: [] }
  }

  #ask(chunk: OpenChunk, size: number): void {
    const block = chunk.again.pop() ?? {
      piece: chunk.chunk,
      begin: chunk.asked,
      length: Math.min(size, chunk.target.length - chunk.asked)
    }
    if (block.begin === chunk.asked) chunk.asked += block.length
    const before = this.#pending.get(keyOf(block))
    if (before && before.block.length === block.length) {
      // cancelled a moment ago and still under way: its answer will do, unless a part of it is gone
      if (before.target || before.chunk) before.next = chunk
      else before.chunk = chunk
      return
    }
    this.#pending.set(keyOf(block), {
      block,
      sentMs: this.#deps.clock.monotonic(),
      chunk,
      target: undefined,
      next: undefined,
      cancelled: false,
      onDone: undefined
    })
    this.#pendingBytes += block.length
    this.#queue(messageIds.request, block)
  }

  #queue(id: number, block: Block): void {
    if (this.#outLength + BLOCK_MESSAGE_BYTES > this.#out.length) this.#flush()
    writeBlockMessage(this.#out, this.#outLength, id, block)
    this.#outLength += BLOCK_MESSAGE_BYTES
  }

  #flush(): void {
    if (this.#outLength === 0) return
    this.#deps.session.wire.write(this.#out.slice(0, this.#outLength))
    this.#outLength = 0
  }

  /** Settles a run. What is under way for it is cancelled where the peer understands that, and thrown away when it comes. */
  #end(run: Run, error: unknown): void {
    const settle = run.settle(error)
    if (!settle) return
    this.#runs.splice(this.#runs.indexOf(run), 1)
    let busy: Pending | undefined
    for (const p of run.open.size > 0 ? this.#pending.values() : []) {
      if (p.chunk?.run !== run) continue
      p.chunk = undefined
      if (p.target) {
        if (!this.#deps.session.wire.discardBlock(p.target)) busy = p
      } else if (this.#deps.session.remote.fast && !p.cancelled) {
        p.cancelled = true
        this.#queue(messageIds.cancel, p.block)
      }
    }
    run.open.clear()
    if (!this.#error) this.#flush()
    if (busy) void this.#lingerFor(busy, settle)
    else settle()
  }

  /** The slot stays ours for the moment in which the rest of a block is read straight into it; a slow peer is closed instead. */
  async #lingerFor(p: Pending, settle: () => void): Promise<void> {
    const done = Promise.withResolvers<void>()
    const stop = new AbortController()
    p.onDone = done.resolve
    await Promise.race([done.promise, this.#deps.clock.sleep(LINGER_MS, stop.signal).catch(() => {})])
    stop.abort()
    p.onDone = undefined
    if (this.#pending.get(keyOf(p.block)) === p)
      this.#deps.session.wire.close(new KithError('SOURCE_LOST', 'the peer stopped within a block'))
    settle()
  }

  #endAll(error: unknown): void {
    for (const run of [...this.#runs]) this.#end(run, error)
  }
}

const EMPTY = new Uint8Array()
