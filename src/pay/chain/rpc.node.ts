/**
 * JSON-RPC over HTTP(S) to nodes that may be slow, broken or hostile: one deadline, a size limit, the answer's id checked, no redirects,
 * no compression, several endpoints. Whatever goes wrong is a KithError, and an endpoint's text never reaches a log above debug.
 */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { fromUtf8 } from '../../base/bytes.ts'
import { codeOf, hasCode, KithError, textOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MAX_RPC_RESPONSE_BYTES, RPC_TIMEOUT_MS } from '../limits.ts'
import { parseJson, readCount, readObject } from './quantity.ts'
import { ChainSession, type RpcCall } from './session.ts'

export interface JsonRpcOptions {
  /** http: or https: addresses; the first that works is used. They may hold a key, so only the host is ever logged. */
  readonly urls: readonly string[]
  readonly chainId: number
  readonly timeoutMs?: number
}

/** Endpoints of one chain. Constructing it opens nothing; every call is one request. */
export class JsonRpc {
  readonly #log: Logger
  readonly #options: JsonRpcOptions
  readonly #timeoutMs: number
  #preferred = 0
  #nextId = 1

  constructor(deps: { readonly log: Logger }, options: JsonRpcOptions) {
    this.#log = deps.log
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? RPC_TIMEOUT_MS
  }

  /** Host names for people: never the path, which may hold a key. */
  get hosts(): readonly string[] {
    return this.#options.urls.map(hostOf)
  }

  /**
   * Begins one operation on an endpoint that says it is on our chain. Its calls move to the next endpoint when one fails, after
   * asking that one for its chain id too.
   * @throws WRONG_CHAIN when endpoints answer, but for another chain; RPC_ERROR when none answers usably
   */
  async session(signal: AbortSignal): Promise<ChainSession> {
    return new ChainSession(this.#options.chainId, await this.open(signal))
  }

  /** The same without types, for methods that only a development chain has. @throws WRONG_CHAIN, RPC_ERROR */
  async open(signal: AbortSignal): Promise<RpcCall> {
    const { urls } = this.#options
    if (urls.length === 0)
      throw new KithError('RPC_ERROR', 'no RPC endpoint is configured', {}, { hint: 'run kith chain up, or set pay.rpc to a chain node' })
    let at = await this.#firstUsable(0, signal)
    let tried = 1
    return async (method, params, read) => {
      for (;;) {
        const url = urls[at]!
        try {
          return read(await this.#call(url, method, params, signal))
        } catch (error) {
          if (!hasCode(error, 'RPC_ERROR') || tried >= urls.length) throw error
          this.#log.warn('chain endpoint failed', { host: hostOf(url), method, code: codeOf(error) })
          this.#preferred = (at + 1) % urls.length
          at = await this.#firstUsable(tried, signal)
          tried++
        }
      }
    }
  }

  /** Index of the first endpoint from the preferred one that is on our chain. */
  async #firstUsable(skip: number, signal: AbortSignal): Promise<number> {
    const { urls, chainId } = this.#options
    let last: unknown
    for (let i = 0; i < urls.length - skip; i++) {
      const at = (this.#preferred + i) % urls.length
      try {
        const said = readCount(await this.#call(urls[at]!, 'eth_chainId', [], signal), 'chain id')
        if (said !== chainId) throw new KithError('WRONG_CHAIN', `the endpoint is on chain ${said}, not ${chainId}`, { said, chainId })
        this.#preferred = at
        return at
      } catch (error) {
        signal.throwIfAborted()
        last = error
        this.#log.debug('chain endpoint is unusable', { host: hostOf(urls[at]!), code: codeOf(error) })
      }
    }
    throw last
  }

  async #call(url: string, method: string, params: readonly unknown[], signal: AbortSignal): Promise<unknown> {
    const id = this.#nextId++
    const text = await post(url, JSON.stringify({ jsonrpc: '2.0', id, method, params }), this.#timeoutMs, signal)
    const answer = readObject(parseJson(text), 'answer')
    if (answer['id'] !== id || answer['jsonrpc'] !== '2.0')
      throw new KithError('RPC_ERROR', 'the endpoint answered another request', { method })
    if (answer['error'] !== undefined && answer['error'] !== null) {
      const { code, message } = readObject(answer['error'], 'error')
      throw new KithError('RPC_REFUSED', `the chain node refused ${method}`, {
        method,
        rpcCode: typeof code === 'number' ? code : 0,
        rpcMessage: textOf(message).slice(0, 200)
      })
    }
    if (!('result' in answer)) throw new KithError('RPC_ERROR', 'the endpoint gave no result', { method })
    return answer['result']
  }
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : 'invalid')

/** @throws RPC_ERROR, or the signal's own reason when the caller gave up */
async function post(url: string, body: string, timeoutMs: number, signal: AbortSignal): Promise<string> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new KithError('RPC_ERROR', 'an RPC address is not an http(s) URL', {}, { hint: 'check pay.rpc in the configuration' })
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    return await exchange(new URL(url), body, AbortSignal.any([signal, timeout]))
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof KithError) throw cause
    const why = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : `cannot be reached (${codeOf(cause)})`
    throw new KithError('RPC_ERROR', `chain endpoint ${hostOf(url)}: ${why}`, { host: hostOf(url) }, { cause })
  }
}

function exchange(url: URL, body: string, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const headers = { 'content-type': 'application/json', 'accept-encoding': 'identity', 'content-length': Buffer.byteLength(body) }
  // no agent: sessions are rare, and a kept connection would keep a finished command alive
  const req = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, { method: 'POST', headers, signal, agent: false })
  req.on('error', reject)
  req.on('response', res => {
    const fail = (what: string): void => {
      reject(new KithError('RPC_ERROR', `chain endpoint ${url.host}: ${what}`, { host: url.host }))
      res.destroy()
    }
    res.on('error', reject)
    res.on('aborted', () => fail('the answer broke off'))
    if (res.statusCode !== 200) return fail(`HTTP status ${res.statusCode ?? 0}`)
    if ((res.headers['content-encoding'] ?? 'identity') !== 'identity') return fail('a compressed answer')
    const parts: Buffer[] = []
    let size = 0
    res.on('data', (part: Buffer) => {
      size += part.length
      if (size > MAX_RPC_RESPONSE_BYTES) return fail('an answer above 1 MiB')
      parts.push(part)
    })
    res.on('end', () => {
      try {
        resolve(fromUtf8(Buffer.concat(parts)))
      } catch {
        fail('an answer that is not UTF-8')
      }
    })
  })
  req.end(body)
  return promise
}
