/**
 * The answering side of request/response, apart from what carries it: which methods there are, who asked how much, and what a handler may
 * do. The libp2p and the in-memory implementation share it, so both have the same limits.
 */
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { rateKeyOf, scopeOfIp } from './address-scope.ts'
import {
  BURST_SECONDS,
  HANDLER_TIMEOUT_MS,
  MAX_CONNECTIONS_LOOPBACK,
  MAX_CONNECTIONS_PER_IP,
  MAX_MESSAGE_BYTES,
  MAX_METHOD_CHARS,
  MAX_RATED_PEERS,
  MAX_REQUESTS_PER_PEER,
  REQUEST_READ_TIMEOUT_MS
} from './limits.ts'
import type { RpcContext, RpcHandlerOptions } from './rpc.ts'
import { type Answer, isWireCode } from './rpc-frame.ts'

type Handler = (request: Uint8Array, context: RpcContext) => Promise<Uint8Array>

interface Method {
  readonly options: RpcHandlerOptions
  readonly handler: Handler
}

export interface RpcMethodsDeps {
  readonly clock: Clock
  readonly log: Logger
}

export class RpcMethods {
  readonly #deps: RpcMethodsDeps
  readonly #methods = new Map<string, Method>()
  readonly #running = new Map<string, number>()
  /** By peer or address, and method; oldest first. */
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(deps: RpcMethodsDeps) {
    this.#deps = deps
  }

  /** @throws METHOD_EXISTS, BAD_METHOD as programming errors */
  add(method: string, options: RpcHandlerOptions, handler: Handler): Disposable {
    if (!isMethodName(method)) throw new KithError('BAD_METHOD', 'not a method name', { method })
    if (options.maxRequestBytes > MAX_MESSAGE_BYTES)
      throw new KithError('BAD_METHOD', 'request limit is above the limit of all methods', { method })
    if (this.#methods.has(method)) throw new KithError('METHOD_EXISTS', 'the method has a handler already', { method })
    this.#methods.set(method, { options, handler })
    return { [Symbol.dispose]: () => void this.#methods.delete(method) }
  }

  /**
   * Answers one request. Never throws: whatever happens becomes an answer with a code.
   * `read` brings the request's body, refuses one above the given size, and gives up when its signal aborts.
   */
  async answer(method: string, context: RpcContext, read: (maxBytes: number, signal: AbortSignal) => Promise<Uint8Array>): Promise<Answer> {
    const found = this.#methods.get(method)
    if (!found) return { code: 'UNKNOWN_METHOD' }
    const running = this.#running.get(context.peerId) ?? 0
    if (running >= MAX_REQUESTS_PER_PEER || !this.#mayAsk(method, found.options.perSecond, context)) return { code: 'RATE_LIMITED' }
    this.#running.set(context.peerId, running + 1)
    try {
      const request = await read(
        found.options.maxRequestBytes,
        AbortSignal.any([context.signal, AbortSignal.timeout(REQUEST_READ_TIMEOUT_MS)])
      )
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(HANDLER_TIMEOUT_MS)])
      const body = await withSignal(found.handler(request, { ...context, signal }), signal)
      if (body.length > MAX_MESSAGE_BYTES)
        throw new KithError('INTERNAL', 'answer is larger than any may be', { method, size: body.length })
      return { body }
    } catch (error) {
      this.#deps.log.debug('request refused', { method, peer: context.peerId, cause: error })
      return { code: wireCodeOf(error) }
    } finally {
      const left = this.#running.get(context.peerId)! - 1
      if (left === 0) this.#running.delete(context.peerId)
      else this.#running.set(context.peerId, left)
    }
  }

  /** One allowance for the PeerId, and one for its address, since new PeerIds cost nothing. */
  #mayAsk(method: string, perSecond: number, { peerId, address }: RpcContext): boolean {
    if (!this.#bucket(`${peerId} ${method}`, perSecond).tryTake()) return false
    if (address === undefined) return true
    const peers = scopeOfIp(address) === 'loopback' ? MAX_CONNECTIONS_LOOPBACK : MAX_CONNECTIONS_PER_IP
    return this.#bucket(`${rateKeyOf(address)} ${method}`, perSecond * peers).tryTake()
  }

  #bucket(key: string, perSecond: number): TokenBucket {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#deps.clock, perSecond, Math.max(1, perSecond * BURST_SECONDS))
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > MAX_RATED_PEERS) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}

/** Whether a text can be the name of a method: lower-case words joined by "-" or "/". */
export const isMethodName = (method: string): boolean => method.length <= MAX_METHOD_CHARS && /^[a-z0-9]+(?:[/-][a-z0-9]+)*$/.test(method)

/** What leaves the node about an error: its code, never its message. */
function wireCodeOf(error: unknown): string {
  if ((error as { name?: unknown } | null)?.name === 'TimeoutError') return 'PEER_TIMEOUT'
  const code = error instanceof KithError ? codeOf(error) : 'INTERNAL'
  return isWireCode(code) ? code : 'INTERNAL'
}

/** Settles with `work`, or rejects with the signal's reason when that comes first; `work` is then left to end by itself. */
export function withSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
