/** Framed streams over libp2p: protocol `/kith/<name>/1`, direct and relayed connections (streams.ts, frame-stream.ts). */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { drained } from './drained.ts'
import { type BytePipe, FrameStream, type FrameStreamInit } from './frame-stream.ts'
import { finish, ipOf, toKithError } from './libp2p-rpc.ts'
import { HANDSHAKE_TIMEOUT_MS, MAX_OUTBOUND_STREAMS } from './limits.ts'
import type { PeerTarget } from './rpc.ts'
import { isMethodName } from './rpc-methods.ts'
import { StreamBook } from './stream-book.ts'
import type { FramedStream, StreamHandlerOptions, StreamOpenOptions, Streams } from './streams.ts'

export interface Libp2pStreamsDeps {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly libp2p: Libp2p
  readonly log: Logger
  /** An open connection to the peer, dialled if there is none. @throws PEER_UNREACHABLE */
  readonly connect: (target: PeerTarget, signal: AbortSignal) => Promise<Connection>
}

export class Libp2pStreams implements Streams, AsyncDisposable {
  readonly #deps: Libp2pStreamsDeps
  readonly #book: StreamBook
  readonly #closing = new AbortController()
  readonly #open = new Set<FrameStream>()
  /** Everything under way; disposal waits for it. */
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(deps: Libp2pStreamsDeps) {
    this.#deps = deps
    this.#book = new StreamBook(deps.log)
  }

  handle(protocol: string, options: StreamHandlerOptions, handler: (stream: FramedStream) => Promise<void>): Disposable {
    const entry = this.#book.add(protocol, options, handler)
    const { libp2p, log } = this.#deps
    const name = nameOf(protocol)
    const serve = (stream: Stream, connection: Connection): void =>
      this.#track(this.#book.serve(protocol, this.#wrap(stream, connection, options.maxFrameBytes)))
    const limits = { maxInboundStreams: options.maxStreamsPerPeer, maxOutboundStreams: MAX_OUTBOUND_STREAMS, runOnLimitedConnection: true }
    this.#track(libp2p.handle(name, serve, limits).catch(cause => log.error('protocol not registered', { protocol, cause })))
    return {
      [Symbol.dispose]: () => {
        entry[Symbol.dispose]()
        this.#track(libp2p.unhandle(name).catch(cause => log.debug('protocol not unregistered', { protocol, cause })))
      }
    }
  }

  async open(target: PeerTarget, protocol: string, options: StreamOpenOptions): Promise<FramedStream> {
    if (!isMethodName(protocol)) throw new KithError('BAD_METHOD', 'not a protocol name', { protocol })
    const signal = AbortSignal.any([options.signal, this.#closing.signal, AbortSignal.timeout(2 * HANDSHAKE_TIMEOUT_MS)])
    try {
      signal.throwIfAborted()
      const connection = await this.#deps.connect(target, signal)
      const limits = { signal, runOnLimitedConnection: true, maxOutboundStreams: MAX_OUTBOUND_STREAMS }
      const stream = await connection.newStream(nameOf(protocol), limits)
      return this.#wrap(stream, connection, options.maxFrameBytes)
    } catch (error) {
      this.#closing.signal.throwIfAborted()
      options.signal.throwIfAborted()
      throw toKithError(error, target.peerId, protocol)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new KithError('HOST_CLOSED', 'the host has been closed')
    this.#closing.abort(reason)
    await Promise.all([...this.#open].map(s => s[Symbol.asyncDispose]()))
    await Promise.allSettled(this.#tasks)
  }

  #wrap(stream: Stream, connection: Connection, maxFrameBytes: number): FrameStream {
    const init = { clock: this.#deps.clock, peerId: connection.remotePeer.toString(), address: ipOf(connection), maxFrameBytes }
    const framed = wrap(init, stream)
    this.#open.add(framed)
    framed.closed.addEventListener('abort', () => this.#open.delete(framed), { once: true })
    if (this.#closing.signal.aborted) void framed[Symbol.asyncDispose]()
    return framed
  }

  #track(task: Promise<unknown>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

const nameOf = (protocol: string): string => `/kith/${protocol}/1`

function wrap(init: FrameStreamInit, stream: Stream): FrameStream {
  const pipe: BytePipe = {
    write: bytes => stream.send(bytes),
    drained: signal => drained(stream, signal),
    // A stream that has ended cannot be paused; what it holds is delivered once.
    pause: () => void (stream.status === 'open' && quietly(() => stream.pause())),
    resume: () => quietly(() => stream.resume()),
    close: () => finish(stream),
    abort: error => stream.abort(error)
  }
  const framed = new FrameStream(init, pipe)
  const listening = { signal: framed.closed }
  // Only this says that the other side ended its half: 'end' and 'close' also come when the connection breaks.
  let finished = stream.status === 'open' && stream.remoteWriteStatus === 'closed'
  stream.addEventListener('remoteCloseWrite', () => (finished = true), listening)
  // Nor do they mean that everything was delivered: negotiation reads ahead and hands back what it did not need.
  const look = (error?: Error): void => {
    const broken = error ?? (stream.status === 'reset' || stream.status === 'aborted')
    if (broken) framed.onGone(error)
    else if (stream.readBufferLength > 0 || (!stream.readableEnded && stream.status === 'open')) return
    else if (finished) framed.onEnd()
    else framed.onGone(new Error('the connection ended'))
  }
  stream.addEventListener('end', () => look(), listening)
  stream.addEventListener('close', event => look((event as { readonly error?: Error }).error), listening)
  stream.addEventListener(
    'message',
    event => {
      if (event.data instanceof Uint8Array) framed.onBytes(event.data)
      else for (const piece of event.data) framed.onBytes(piece)
      look()
    },
    listening
  )
  look()
  return framed
}

function quietly(work: () => void): void {
  try {
    work()
  } catch {
    // the stream ended in between
  }
}
