/** Request/response over libp2p: protocol `/kith/METHOD/1`, one stream for each request (rpc.ts, rpc-frame.ts). */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { canonicalIp, parseAddress } from './address-scope.ts'
import { drained } from './drained.ts'
import { MAX_INBOUND_STREAMS, MAX_OUTBOUND_STREAMS, REQUEST_TIMEOUT_MS } from './limits.ts'
import type { PeerTarget, Rpc, RpcContext, RpcHandlerOptions, RpcRequestOptions } from './rpc.ts'
import { CallQueue, callerError } from './rpc-caller.ts'
import { type Answer, FrameReader, requestFrame, responseFrame } from './rpc-frame.ts'
import { isMethodName, type RpcMethods, withSignal } from './rpc-methods.ts'

/** Bytes handed to the muxer in one call; back-pressure is looked at in between. */
const WRITE_BYTES = 64 * 1024
/** How long the rest of an answered stream may take to close. */
const CLOSE_TIMEOUT_MS = 2_000

export interface Libp2pRpcDeps {
  readonly libp2p: Libp2p
  readonly methods: RpcMethods
  readonly log: Logger
  /** An open connection to the peer, dialled if there is none. @throws PEER_UNREACHABLE */
  readonly connect: (target: PeerTarget, signal: AbortSignal) => Promise<Connection>
}

export class Libp2pRpc implements Rpc, AsyncDisposable {
  readonly #deps: Libp2pRpcDeps
  readonly #queue = new CallQueue()
  readonly #closing = new AbortController()
  /** Everything under way; disposal waits for it. */
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(deps: Libp2pRpcDeps) {
    this.#deps = deps
  }

  handle(
    method: string,
    options: RpcHandlerOptions,
    handler: (request: Uint8Array, context: RpcContext) => Promise<Uint8Array>
  ): Disposable {
    const entry = this.#deps.methods.add(method, options, handler)
    const { libp2p, log } = this.#deps
    const protocol = protocolOf(method)
    const serve = (stream: Stream, connection: Connection): void => this.#track(this.#serve(method, stream, connection))
    const limits = { maxInboundStreams: MAX_INBOUND_STREAMS, maxOutboundStreams: MAX_OUTBOUND_STREAMS, runOnLimitedConnection: true }
    this.#track(libp2p.handle(protocol, serve, limits).catch(cause => log.error('method not registered', { method, cause })))
    return {
      [Symbol.dispose]: () => {
        entry[Symbol.dispose]()
        this.#track(libp2p.unhandle(protocol).catch(cause => log.debug('method not unregistered', { method, cause })))
      }
    }
  }

  async request(target: PeerTarget, method: string, body: Uint8Array, options: RpcRequestOptions): Promise<Uint8Array> {
    if (!isMethodName(method)) throw new KithError('BAD_METHOD', 'not a method name', { method })
    const deadline = AbortSignal.timeout(options.timeoutMs ?? REQUEST_TIMEOUT_MS)
    const signal = AbortSignal.any([this.#closing.signal, deadline, ...(options.signal ? [options.signal] : [])])
    try {
      signal.throwIfAborted()
      const answer = await this.#queue.run(target.peerId, () => this.#call(target, method, body, options.maxResponseBytes, signal), signal)
      if ('code' in answer) throw callerError(answer.code, target.peerId, method)
      return answer.body
    } catch (error) {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
      options.signal?.throwIfAborted()
      if (deadline.aborted)
        throw new KithError('PEER_TIMEOUT', 'the peer did not answer in time', { peer: target.peerId, method }, { cause: error })
      throw toKithError(error, target.peerId, method)
    }
  }

  addressOf(peerId: string): string | undefined {
    for (const c of this.#deps.libp2p.getConnections()) {
      if (c.status !== 'open' || !c.direct || c.remotePeer.toString() !== peerId) continue
      const ip = ipOf(c)
      if (ip !== undefined) return ip
    }
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new KithError('HOST_CLOSED', 'the host has been closed'))
    await Promise.allSettled(this.#tasks)
  }

  async #call(target: PeerTarget, method: string, body: Uint8Array, maxBytes: number, signal: AbortSignal): Promise<Answer> {
    const connection = await this.#deps.connect(target, signal)
    const stream = await connection.newStream(protocolOf(method), { signal, runOnLimitedConnection: true })
    const answer = readFrame(stream, new FrameReader('response', maxBytes), signal)
    answer.catch(() => {}) // heard below, also when writing fails first
    try {
      await writeAll(stream, requestFrame(body), signal).catch(error => {
        // A peer may refuse before it has read everything: its answer says more than our broken pipe.
        if (stream.status !== 'open' || signal.aborted) throw error
      })
      this.#track(stream.close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) }).catch(() => {}))
      const result = await answer
      if (stream.status === 'open') this.#track(finish(stream))
      return result
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error('request failed'))
      throw error
    }
  }

  async #serve(method: string, stream: Stream, connection: Connection): Promise<void> {
    const gone = new AbortController()
    stream.addEventListener('close', () => gone.abort(new KithError('PEER_PROTOCOL', 'the caller went away')), { once: true })
    const signal = AbortSignal.any([this.#closing.signal, gone.signal])
    const context = { peerId: connection.remotePeer.toString(), address: ipOf(connection), signal }
    try {
      const answer = await this.#deps.methods.answer(method, context, async (maxBytes, reading) => {
        const frame = await readFrame(stream, new FrameReader('request', maxBytes), reading)
        return (frame as { readonly body: Uint8Array }).body
      })
      if (signal.aborted) return stream.abort(new Error('the caller went away'))
      await writeAll(stream, responseFrame(answer), AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]))
      await finish(stream)
    } catch (cause) {
      this.#deps.log.debug('answer not delivered', { method, cause })
      stream.abort(new Error('answer not delivered'))
    }
  }

  #track(task: Promise<unknown>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

const protocolOf = (method: string): string => `/kith/${method}/1`

/** IP address of the other end of a direct connection. undefined for relayed ones and for those dialled by name. */
export function ipOf(connection: Pick<Connection, 'remoteAddr' | 'direct'>): string | undefined {
  const parsed = connection.direct ? parseAddress(connection.remoteAddr.toString()) : undefined
  return parsed && !parsed.isName ? canonicalIp(parsed.host) : undefined
}

/** Closes our half, gives the other side a moment, then lets go of what is left. */
export async function finish(stream: Stream): Promise<void> {
  const closed = new Promise<void>(resolve => stream.addEventListener('close', () => resolve(), { once: true }))
  const limit = AbortSignal.timeout(CLOSE_TIMEOUT_MS)
  try {
    await stream.close({ signal: limit })
    if (stream.status === 'open' || stream.status === 'closing') await withSignal(closed, limit)
  } catch {
    stream.abort(new Error('the other side did not close the stream'))
  }
}

async function writeAll(stream: Stream, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
    signal.throwIfAborted()
    if (!stream.send(bytes.subarray(at, at + WRITE_BYTES))) await drained(stream, signal)
  }
}

/** Reads one frame. The stream is left open. @throws PEER_PROTOCOL, REQUEST_TOO_LARGE, or the signal's reason */
function readFrame(stream: Stream, reader: FrameReader, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const listening = new AbortController()
    const once = { signal: listening.signal }
    const settle = (act: () => void): void => {
      listening.abort()
      act()
    }
    const early = (): void => settle(() => reject(new KithError('PEER_PROTOCOL', 'the stream ended before the message')))
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => settle(() => reject(signal.reason)), once)
    // Neither event means that everything was delivered: negotiation reads ahead and hands back what it did not need.
    const isOver = (): boolean => stream.readBufferLength === 0 && (stream.readableEnded || stream.status !== 'open')
    const endIfOver = (): void => void (isOver() && early())
    stream.addEventListener('end', endIfOver, once)
    stream.addEventListener('close', endIfOver, once)
    stream.addEventListener(
      'message',
      event => {
        try {
          const frame = reader.push(event.data.subarray())
          if (frame) settle(() => resolve(frame))
          else if (isOver()) early()
        } catch (error) {
          settle(() => reject(error))
        }
      },
      once
    )
    endIfOver()
  })
}

/** libp2p names its errors; what they mean to a caller is one of our codes. */
export function toKithError(error: unknown, peer: string, method: string): unknown {
  if (error instanceof KithError) return error
  const name = (error as { name?: string } | null)?.name ?? ''
  if (name === 'UnsupportedProtocolError')
    return new KithError('PEER_REFUSED', 'the peer does not know this method', { peer, method, code: 'UNKNOWN_METHOD' })
  if (/^Stream|^Muxer/.test(name) || name === 'UnexpectedEOFError' || name === 'InvalidDataLengthError')
    return new KithError('PEER_PROTOCOL', 'the stream broke', { peer, method }, { cause: error })
  return new KithError('PEER_UNREACHABLE', 'the peer cannot be reached', { peer, method }, { cause: error })
}
