/**
 * The downloader's half: one stream to a seeder, on which the requests of up to PIPELINED_RUNS runs wait one behind the other; the answers
 * come in the same order and go from the network's pieces straight into slots. A run that ends early (aborted, not wanted) costs the
 * stream, since its answers are on the way; the runs behind it ask again on a new one.
 */
import { bytesToHex } from '../../base/bytes.ts'
import { encode } from '../../base/codec.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { FramedStream } from '../../net/streams.ts'
import { fileRequest } from '../../wire/file-stream.ts'
import { chunkLength, chunkOffset, type Grid } from '../grid.ts'
import type { Delivery, Endpoint, Slot, Source } from '../protocol.ts'
import { MAX_RUN_BYTES, PIPELINED_RUNS } from './limits.ts'
import { lied, lost, readAnswer, refusalError } from './receive.ts'

export type OpenStream = (peerId: string, signal: AbortSignal) => Promise<FramedStream>

/** A run that waits for its answers. */
class Turn {
  readonly delivery: Delivery
  readonly signal: AbortSignal
  readonly end: number
  /** Chunk that comes next, its slot once there is one, and whether any of it has arrived. */
  at: number
  slot: Slot | undefined
  begun = false
  /** The stream that carries its request, and the chunk at which that begins. */
  askedOn: FramedStream | undefined
  askedAt = -1
  isSettled = false
  readonly #done = Promise.withResolvers<void>()

  constructor(delivery: Delivery, signal: AbortSignal) {
    this.delivery = delivery
    this.signal = signal
    this.at = delivery.run.first
    this.end = delivery.run.first + delivery.run.count
    this.#done.promise.catch(() => {})
  }
  get done(): Promise<void> {
    return this.#done.promise
  }
  received(n: number): void {
    this.begun = true
    this.delivery.received(n)
  }
  complete(): void {
    this.slot = undefined
    this.begun = false
    this.delivery.complete(this.at++)
  }
  settle(error?: unknown): void {
    this.isSettled = true
    if (error === undefined) this.#done.resolve()
    else this.#done.reject(error)
  }
}

export class KithStreamSource implements Source {
  readonly key: string
  readonly protocol = 'kith'
  readonly seeder: string | undefined
  readonly parallel: number = PIPELINED_RUNS
  readonly maxRun: number
  readonly #peerId: string
  readonly #fileHash: string
  readonly #grid: Grid
  readonly #open: OpenStream
  readonly #onDispose: (source: KithStreamSource) => void
  readonly #gone = new AbortController()
  readonly #line: Turn[] = []
  #stream: FramedStream | undefined
  /** Whether the stream has brought something: then it may have gone stale since. */
  #hasWorked = false
  #pumping: Promise<void> | undefined

  constructor(endpoint: Endpoint, peerId: string, open: OpenStream, onDispose: (source: KithStreamSource) => void) {
    this.key = `kith ${peerId}`
    this.seeder = endpoint.seeder
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / endpoint.grid.chunkBytes))
    this.#peerId = peerId
    this.#fileHash = bytesToHex(endpoint.fileId)
    this.#grid = endpoint.grid
    this.#open = open
    this.#onDispose = onDispose
  }

  has(): boolean {
    return true // what a seeder has is in its offer
  }
  onChange(): void {}

  /** Opens the stream, so that a seeder that cannot be reached is known before anything is assigned to it. @throws SOURCE_LOST */
  async connect(signal: AbortSignal): Promise<void> {
    try {
      await this.#ready(AbortSignal.any([signal, this.#gone.signal]))
    } catch (error) {
      signal.throwIfAborted()
      throw lost(error)
    }
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    if (this.#gone.signal.aborted) throw new KithError('SOURCE_LOST', 'the source was closed')
    signal.throwIfAborted()
    if (!delivery.wants(delivery.run.first)) return
    const turn = new Turn(delivery, AbortSignal.any([signal, this.#gone.signal]))
    const onAbort = (): void => this.#leave(turn)
    turn.signal.addEventListener('abort', onAbort, { once: true })
    this.#line.push(turn)
    if (this.#pumping) this.#askAll()
    else this.#pumping = this.#pump().finally(() => (this.#pumping = undefined))
    try {
      await turn.done
    } finally {
      turn.signal.removeEventListener('abort', onAbort)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone.abort(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#onDispose(this)
    this.#drop()
    await this.#pumping
  }

  /** Answers are read for the first turn of the line until nobody waits. Never rejects. */
  async #pump(): Promise<void> {
    for (let turn = this.#line[0]; turn; turn = this.#line[0]) {
      try {
        if (!turn.isSettled) turn.settle(await this.#receive(turn))
        else if (turn.askedOn === this.#stream) this.#drop() // aborted in the line: its answers are on the way
      } catch (error) {
        const retry = this.#isStale(turn, error)
        this.#drop()
        if (retry) continue
        turn.settle(lost(error))
      }
      this.#line.shift()
    }
  }

  /** Reads answers until the turn is complete, or its next chunk is not wanted. @returns the seeder's refusal @throws what broke */
  async #receive(turn: Turn): Promise<KithError | undefined> {
    const { delivery } = turn
    const stream = await this.#ready(turn.signal)
    this.#askAll()
    while (turn.at < turn.end) {
      if (!delivery.wants(turn.at)) {
        this.#drop()
        return undefined
      }
      turn.slot ??= await untilAborted(delivery.slot(turn.at), turn.signal)
      const answer = await readAnswer(stream, chunkLength(this.#grid, turn.at), turn.slot, n => turn.received(n))
      this.#hasWorked = true
      if (answer.refusal !== '') return refusalError(answer)
      if (answer.isLastChunk !== (turn.at + 1 === turn.end)) throw lied('the answer ends at another place than the request')
      turn.complete()
    }
    return undefined
  }

  async #ready(signal: AbortSignal): Promise<FramedStream> {
    signal.throwIfAborted()
    if (this.#stream && !this.#stream.closed.aborted) return this.#stream
    const stream = await this.#open(this.#peerId, signal)
    this.#stream = stream
    this.#hasWorked = false
    if (signal.aborted) this.#drop()
    signal.throwIfAborted()
    return stream
  }

  /** Sends the requests of all turns that are not on the present stream. */
  #askAll(): void {
    const stream = this.#stream
    if (!stream || stream.closed.aborted) return
    for (const turn of this.#line) {
      if (turn.isSettled || turn.askedOn === stream) continue
      turn.askedOn = stream
      turn.askedAt = turn.at
      const offset = chunkOffset(this.#grid, turn.at)
      const length = Math.min(this.#grid.size, turn.end * this.#grid.chunkBytes) - offset
      // A stream that breaks tells its reader.
      stream.send(encode(fileRequest, { fileHash: this.#fileHash, offset, length })).catch(() => {})
    }
  }

  /** The caller gave up: nothing of its slots is touched from here on. Its answers, if any are on the way, cost the stream. */
  #leave(turn: Turn): void {
    turn.settle(turn.signal.reason)
    if (turn === this.#line[0]) this.#drop()
    else if (turn.askedOn === undefined) this.#line.splice(this.#line.indexOf(turn), 1)
  }

  /** Whether a stream that had worked broke before it brought anything for this turn: it may have been idle for too long. */
  #isStale(turn: Turn, error: unknown): boolean {
    if (turn.isSettled || !this.#hasWorked || turn.begun || turn.askedAt !== turn.at) return false
    return hasCode(error, 'PEER_PROTOCOL') || hasCode(error, 'SOURCE_LOST')
  }

  #drop(): void {
    void this.#stream?.[Symbol.asyncDispose]()
    this.#stream = undefined
  }
}

/** Settles with `work`, or rejects when the signal aborts first. */
async function untilAborted<T>(work: T | Promise<T>, signal: AbortSignal): Promise<T> {
  if (!(work instanceof Promise)) return work
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
