/**
 * One client connection (opened by connect.node.ts) that reads answers without a copy: the socket fills whatever buffer the exchange points at, so that bytes
 * of a file land in their chunk slot. Node's own client is slower by a factor (docs/adr/0003-raw-socket-http-source.md) and decides
 * too much: here a head is read strictly, nothing is decoded, no redirect is followed.
 */
import type { Socket } from 'node:net'
import { concatBytes } from '../../base/bytes.ts'
import { KithError, textOf } from '../../base/errors.ts'
import { MAX_HEAD_BYTES, MAX_SPILL_BYTES } from './limits.ts'
import { headEnd, parseHead, type ResponseHead } from './response-head.ts'

/** Where body bytes go. All calls come from the socket's read callback. */
export interface BodySink {
  /** False while there is no room: reading stops until the connection's `resume`. */
  readonly ready: boolean
  /** Where the next bytes are to be read to; asked only when ready. */
  target(): Uint8Array
  /** `n` bytes were read into the last target. */
  filled(n: number): void
}

/** Decides about a head: a sink for its body, or an error for the caller. Called once. */
export type OnHead = (head: ResponseHead) => BodySink

interface Exchange {
  readonly onHead: OnHead
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  headBytes: number
  sink: BodySink | undefined
  /** Body bytes that have not arrived. */
  left: number
  keepAlive: boolean
  /** Bytes (most often in scratch) that a sink has no room for yet. */
  spill: Uint8Array | undefined
}

export class HttpConnection implements AsyncDisposable {
  readonly #scratch = new Uint8Array(MAX_HEAD_BYTES)
  /** Where bytes are read to: the sink's target, or scratch. */
  #next: Uint8Array = this.#scratch
  #socket: Socket | undefined
  #exchange: Exchange | undefined
  /** Whether the buffer that Node reads into now belongs to the sink. */
  #intoSink = false
  #closed: Promise<void> = Promise.resolve()
  /** False once it cannot carry another request. */
  reusable = true
  /** Bytes of the current (or last) answer that arrived: 0 tells a stale connection from a broken answer. */
  answerBytes = 0

  /** Internal: called once, by connect.node.ts. */
  attach(socket: Socket): void {
    this.#socket = socket
    this.#closed = new Promise(resolve => {
      socket.once('close', () => {
        this.reusable = false
        this.#fail(new KithError('SOURCE_LOST', 'the connection ended'))
        resolve()
      })
    })
    socket.once('end', () => {
      this.reusable = false
      this.#fail(new KithError('SOURCE_LOST', 'the other side closed the connection'))
    })
    if (socket.destroyed) this.reusable = false
  }

  /** Sends a request and resolves when its body has been delivered. One at a time. Abort closes the socket. @throws SOURCE_LOST, SOURCE_LIED, what `onHead` throws */
  async request(head: string, onHead: OnHead, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const socket = this.#socket
    if (!socket || !this.reusable || this.#exchange) throw new KithError('SOURCE_LOST', 'the connection is closed or busy')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.answerBytes = 0
    this.#exchange = { onHead, resolve, reject, headBytes: 0, sink: undefined, left: 0, keepAlive: false, spill: undefined }
    const onAbort = (): void => this.fail(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      socket.write(head, 'latin1')
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** The sink has room again, or wants no more (`left` is then dropped with the connection). */
  resume(): void {
    const x = this.#exchange
    if (!x || !this.#socket) return
    this.#guard(() => {
      if (this.#pour(x)) this.#socket?.resume()
    })
  }

  /** Ends the running exchange well although bytes are still to come; the connection is closed. */
  cut(): void {
    const x = this.#exchange
    if (!x) return
    this.#exchange = undefined
    if (x.left > 0 || !x.keepAlive) this.#destroy()
    x.resolve()
  }

  /** Ends the running exchange with an error and closes the connection. */
  fail(error: unknown): void {
    this.#fail(error)
    this.#destroy()
  }

  /** Internal: where Node reads to next. */
  nextBuffer(): Uint8Array {
    const x = this.#exchange
    this.#intoSink = false
    if (x?.sink?.ready && !x.spill) {
      this.#intoSink = true
      this.#next = limit(x.sink.target(), x.left)
      return this.#next
    }
    // TLS goes on delivering what it has decrypted although reading was stopped: not over bytes that still wait in scratch.
    if (x?.spill?.length) this.#next = new Uint8Array(MAX_HEAD_BYTES)
    else this.#next = x && !x.sink ? this.#scratch.subarray(x.headBytes) : this.#scratch
    return this.#next
  }

  /** Internal: `n` bytes were read into the last `nextBuffer`. @returns false to stop reading */
  onBytes(n: number): boolean {
    const x = this.#exchange
    if (!x) {
      this.fail(undefined) // nothing was asked for
      return false
    }
    this.answerBytes += n
    let more = false
    this.#guard(() => {
      if (!x.sink) more = this.#readHead(x, n)
      else if (this.#intoSink) more = this.#count(x, n)
      else {
        const bytes = this.#next.subarray(0, n)
        x.spill = x.spill?.length ? concatBytes(x.spill, bytes) : bytes
        if (x.spill.length > MAX_SPILL_BYTES) throw new KithError('SOURCE_LOST', 'the connection cannot be paused')
        more = this.#pour(x)
      }
    })
    return more
  }

  /** Internal: bytes that Node read into a buffer of its own. */
  feed(data: Uint8Array): void {
    let more = true
    for (let at = 0; at < data.length; ) {
      const part = data.subarray(at, at + this.nextBuffer().length)
      this.#next.set(part)
      at += part.length
      more = this.onBytes(part.length)
      if (!this.#exchange && at < data.length) {
        this.fail(undefined) // more than was asked for
        return
      }
    }
    if (!more) this.#socket?.pause()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.fail(new KithError('SOURCE_LOST', 'the source was closed'))
    await this.#closed
  }

  #readHead(x: Exchange, n: number): boolean {
    const from = x.headBytes
    x.headBytes += n
    const end = headEnd(this.#scratch, from, x.headBytes)
    if (end < 0) {
      if (x.headBytes >= this.#scratch.length) throw new KithError('SOURCE_LIED', 'the head of the answer is too large')
      return true
    }
    const head = readHead(this.#scratch.subarray(0, end))
    x.keepAlive = head.keepAlive
    x.sink = x.onHead(head)
    x.left = head.length ?? 0
    x.spill = this.#scratch.subarray(end, x.headBytes)
    return this.#pour(x)
  }

  /** Copies what is in scratch to the sink. @returns whether reading may go on */
  #pour(x: Exchange): boolean {
    while (x.spill && x.spill.length > 0) {
      if (x.left === 0) throw new KithError('SOURCE_LIED', 'more bytes than announced')
      if (!x.sink?.ready) return false
      const target = limit(x.sink.target(), x.left)
      const part = x.spill.subarray(0, target.length)
      target.set(part)
      x.spill = x.spill.subarray(part.length)
      this.#count(x, part.length)
      if (this.#exchange !== x) return this.reusable
    }
    x.spill = undefined
    if (x.left === 0) return this.#done(x)
    return x.sink?.ready ?? false
  }

  #count(x: Exchange, n: number): boolean {
    x.left -= n
    x.sink?.filled(n)
    if (this.#exchange !== x) return this.reusable
    if (x.left === 0 && !x.spill?.length) return this.#done(x)
    return x.sink?.ready ?? false
  }

  #done(x: Exchange): boolean {
    this.#exchange = undefined
    if (!x.keepAlive) this.#destroy()
    x.resolve()
    return x.keepAlive
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error)
    }
  }

  #fail(error: unknown): void {
    const x = this.#exchange
    this.#exchange = undefined
    x?.reject(error)
  }

  #destroy(): void {
    this.reusable = false
    this.#socket?.destroy()
  }
}

const limit = (target: Uint8Array, max: number): Uint8Array => (target.length > max ? target.subarray(0, max) : target)

function readHead(bytes: Uint8Array): ResponseHead {
  try {
    return parseHead(bytes)
  } catch (cause) {
    throw new KithError('SOURCE_LIED', textOf(cause), {}, { cause })
  }
}
