/**
 * Frames on a pipe of bytes, apart from what the pipe is: lengths, back-pressure both ways, and the deadlines for silence. Pieces that
 * arrive are kept as they are and copied once, into what the reader gives.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { MAX_FRAME_BYTES, READ_AHEAD_BYTES, STREAM_CHECK_MS, STREAM_IDLE_MS, STREAM_STALL_MS } from './limits.ts'
import type { FramedStream } from './streams.ts'

/** What carries the bytes. Nothing of it throws for what the other side does. */
export interface BytePipe {
  /** Takes bytes. @returns false when the caller should wait for `drained` before it gives more */
  write(bytes: Uint8Array): boolean
  /** Resolves when more may be written; rejects when the pipe has ended or `signal` aborts. */
  drained(signal: AbortSignal): Promise<void>
  pause(): void
  resume(): void
  /** Ends in order; resolves when the other side has ended too, or after a moment. Never rejects. */
  close(): Promise<void>
  /** Ends at once. */
  abort(error: Error): void
}

export interface FrameStreamInit {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly peerId: string
  readonly address: string | undefined
  readonly maxFrameBytes: number
}

/** Bytes handed to the pipe in one call; back-pressure is looked at in between. */
const WRITE_BYTES = 256 * 1024
/** A first part up to this size goes together with the length. */
const SMALL_BYTES = 1024
/** Bytes of the longest length: MAX_FRAME_BYTES needs four. */
const MAX_LENGTH_BYTES = 4

export class FrameStream implements FramedStream {
  readonly peerId: string
  readonly address: string | undefined
  readonly closed: AbortSignal
  readonly #pipe: BytePipe
  readonly #clock: FrameStreamInit['clock']
  readonly #maxFrameBytes: number
  readonly #gone = new AbortController()
  /** What arrived and was not read, oldest first. */
  readonly #pieces: Uint8Array[] = []
  #held = 0
  #paused = false
  #ended = false
  #frameLeft = 0
  #wake: (() => void) | undefined
  #sending: Promise<void> = Promise.resolve()
  #readingSince: number | undefined
  #sendingSince: number | undefined

  constructor(init: FrameStreamInit, pipe: BytePipe) {
    if (init.maxFrameBytes > MAX_FRAME_BYTES) throw new KithError('BAD_METHOD', 'frame limit is above the limit of all protocols')
    this.peerId = init.peerId
    this.address = init.address
    this.closed = this.#gone.signal
    this.#clock = init.clock
    this.#maxFrameBytes = init.maxFrameBytes
    this.#pipe = pipe
    this.#watch().catch(() => {})
  }

  /** The pipe brought bytes, which belong to the stream now. */
  onBytes(piece: Uint8Array): void {
    if (piece.length === 0 || this.closed.aborted) return
    this.#pieces.push(piece)
    this.#held += piece.length
    if (!this.#paused && this.#held > READ_AHEAD_BYTES) {
      this.#paused = true
      this.#pipe.pause()
    }
    this.#wake?.()
  }
  /** The other side sends nothing more. What arrived can still be read. */
  onEnd(): void {
    this.#ended = true
    this.#wake?.()
  }
  /** The pipe broke, or both sides have ended. */
  onGone(cause: unknown): void {
    this.#fail(new KithError('PEER_PROTOCOL', 'the stream broke', { peer: this.peerId }, { cause }))
  }

  async next(): Promise<number | undefined> {
    while (this.#frameLeft > 0) this.#skip(await this.#available())
    let length = 0
    for (let i = 0; ; i++) {
      if (this.#held === 0 && !(await this.#more())) {
        if (i > 0) throw this.#breach('the stream ended before the frame')
        return undefined
      }
      const byte = this.#byte()
      length += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw this.#breach('a length with a needless byte')
        break
      }
      if (i + 1 === MAX_LENGTH_BYTES) throw this.#breach('a length that is too long')
    }
    if (length > this.#maxFrameBytes) throw this.#breach('a frame above the limit', { length, max: this.#maxFrameBytes })
    this.#frameLeft = length
    return length
  }

  async read(target: Uint8Array): Promise<void> {
    if (target.length > this.#frameLeft) throw this.#breach('a frame that is shorter than its content')
    for (let at = 0; at < target.length; ) {
      const n = Math.min(target.length - at, await this.#available())
      // Disposal between two pieces must leave the target alone: it may belong to somebody else by now.
      this.closed.throwIfAborted()
      const piece = this.#pieces[0]!
      target.set(n === piece.length ? piece : piece.subarray(0, n), at)
      this.#skip(n)
      at += n
    }
  }

  send(...parts: readonly Uint8Array[]): Promise<void> {
    const turn = this.#sending.then(() => this.#write(parts))
    this.#sending = turn.catch(() => {})
    return turn
  }

  async close(): Promise<void> {
    await this.#sending
    if (!this.closed.aborted) await this.#pipe.close()
    this.#fail(new KithError('STREAM_CLOSED', 'the stream was closed'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new KithError('STREAM_CLOSED', 'the stream was closed'))
  }

  async #write(parts: readonly Uint8Array[]): Promise<void> {
    this.closed.throwIfAborted()
    const total = parts.reduce((n, p) => n + p.length, 0)
    if (total > this.#maxFrameBytes) throw new KithError('BAD_METHOD', 'the frame is larger than the protocol allows', { size: total })
    for (const part of withLength(total, parts)) {
      for (let at = 0; at < part.length; at += WRITE_BYTES) {
        const bytes = part.length <= WRITE_BYTES ? part : part.subarray(at, at + WRITE_BYTES)
        if (this.#put(bytes)) continue
        this.#sendingSince = this.#clock.monotonic()
        try {
          await this.#pipe.drained(this.closed)
        } catch (cause) {
          this.onGone(cause)
        } finally {
          this.#sendingSince = undefined
        }
        this.closed.throwIfAborted()
      }
    }
  }

  #put(bytes: Uint8Array): boolean {
    try {
      return this.#pipe.write(bytes)
    } catch (cause) {
      this.onGone(cause)
      throw this.closed.reason
    }
  }

  /** Bytes of the frame that can be read now from the first piece; waits for at least one. */
  async #available(): Promise<number> {
    if (this.#held === 0 && !(await this.#more())) throw this.#breach('the stream ended before the frame')
    return Math.min(this.#frameLeft, this.#pieces[0]!.length)
  }

  #byte(): number {
    const byte = this.#pieces[0]![0]!
    this.#take(1)
    return byte
  }
  #skip(n: number): void {
    this.#frameLeft -= n
    this.#take(n)
  }
  #take(n: number): void {
    const piece = this.#pieces[0]!
    if (n === piece.length) this.#pieces.shift()
    else this.#pieces[0] = piece.subarray(n)
    this.#held -= n
    if (this.#paused && this.#held <= READ_AHEAD_BYTES / 4) {
      this.#paused = false
      this.#pipe.resume()
    }
  }

  /** Waits until something arrived. @returns false when the other side has ended */
  async #more(): Promise<boolean> {
    this.#readingSince = this.#clock.monotonic()
    try {
      while (this.#held === 0 && !this.#ended) {
        this.closed.throwIfAborted()
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        await promise
      }
      this.closed.throwIfAborted()
      return this.#held > 0
    } finally {
      this.#wake = undefined
      this.#readingSince = undefined
    }
  }

  #breach(message: string, data: Record<string, unknown> = {}): KithError {
    const error = new KithError('PEER_PROTOCOL', message, { peer: this.peerId, ...data })
    this.#fail(error)
    return error
  }

  #fail(error: KithError): void {
    if (this.closed.aborted) return
    this.#gone.abort(error)
    this.#pieces.length = 0
    this.#held = 0
    this.#pipe.abort(error)
    this.#wake?.()
  }

  /** Ends the stream when somebody waits for the other side for too long. */
  async #watch(): Promise<void> {
    while (!this.closed.aborted) {
      await this.#clock.sleep(STREAM_CHECK_MS, this.closed)
      const now = this.#clock.monotonic()
      const patience = this.#frameLeft > 0 ? STREAM_STALL_MS : STREAM_IDLE_MS
      const late = now - (this.#readingSince ?? now) > patience || now - (this.#sendingSince ?? now) > STREAM_STALL_MS
      if (late) this.#fail(new KithError('PEER_TIMEOUT', 'the peer was silent for too long', { peer: this.peerId }))
    }
  }
}

/** The parts of a frame with its length before them; a small first part goes together with it. */
function withLength(total: number, parts: readonly Uint8Array[]): Uint8Array[] {
  const first = parts[0] && parts[0].length <= SMALL_BYTES ? parts[0] : new Uint8Array()
  const head: number[] = []
  let left = total
  for (; left > 0x7f; left = Math.floor(left / 128)) head.push((left & 0x7f) | 0x80)
  head.push(left)
  const start = new Uint8Array(head.length + first.length)
  start.set(head)
  start.set(first, head.length)
  return [start, ...(first === parts[0] ? parts.slice(1) : parts)]
}
