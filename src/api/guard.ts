/**
 * Decides from the head of a request, before a byte of its body is read, whether it may go on. A web page that the user happens to
 * have open can send requests to loopback too (DNS rebinding, forms, `fetch` without CORS): Host, Origin, fetch metadata, the token and
 * the content type each stop that on their own.
 */

import { timingSafeEqual } from '#crypto'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { MAX_TARGET_CHARS, MAX_WRONG_TOKENS_PER_MINUTE } from './limits.ts'
import type { Problem } from './problem.ts'
import { problem } from './problem.ts'

export interface RequestHead {
  readonly method: string
  /** As it was sent: `/v1/info?x=1`. */
  readonly target: string
  /** Every header line in its order, duplicates included. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

export interface GuardOptions {
  readonly token: string
  /** Exact values of Host, for example `127.0.0.1:4800`. */
  readonly hosts: readonly string[]
}

export class Guard {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #token: Uint8Array
  readonly #tokenText: string
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  /** Times of wrong tokens within the last minute; at most MAX_WRONG_TOKENS_PER_MINUTE. */
  #wrong: number[] = []

  constructor(deps: { readonly clock: Pick<Clock, 'monotonic'> }, options: GuardOptions) {
    this.#clock = deps.clock
    this.#token = utf8(options.token)
    this.#tokenText = options.token
    this.#hosts = new Set(options.hosts)
    this.#origins = new Set(options.hosts.map(h => `http://${h}`))
  }

  /** Undefined when the request may go on. */
  check(head: RequestHead): Problem | undefined {
    return this.#checkHost(head) ?? this.#checkOrigin(head) ?? this.#checkToken(head) ?? checkMethod(head) ?? checkContent(head)
  }

  #checkHost(head: RequestHead): Problem | undefined {
    const hosts = valuesOf(head, 'host')
    const own = hosts.length === 1 && this.#hosts.has(hosts[0]!)
    // The absolute form names a second host; no client of ours sends it.
    if (own && head.target.startsWith('/') && !head.target.startsWith('//')) return undefined
    return problem(421, 'API_HOST_REFUSED', 'this API answers only to its own address', 'use the url in api.json')
  }

  #checkOrigin(head: RequestHead): Problem | undefined {
    const origins = valuesOf(head, 'origin')
    const sites = valuesOf(head, 'sec-fetch-site')
    // `same-site` is another port of this machine: any web page served from it.
    if (origins.every(o => this.#origins.has(o)) && sites.every(s => s === 'same-origin' || s === 'none')) return undefined
    return problem(403, 'API_ORIGIN_REFUSED', 'web pages of other origins may not use this API')
  }

  #checkToken(head: RequestHead): Problem | undefined {
    if (head.target.length > MAX_TARGET_CHARS) return problem(414, 'BAD_REQUEST', 'the request target is too long')
    if (hasTokenInUrl(head.target, this.#tokenText)) {
      return problem(400, 'API_TOKEN_IN_URL', 'tokens are not taken from the URL', 'send it as Authorization: Bearer …')
    }
    const given = valuesOf(head, 'authorization')
    const token = given.length === 1 ? /^Bearer ([\x21-\x7e]+)$/i.exec(given[0]!)?.[1] : undefined
    if (token === undefined)
      return problem(401, 'API_TOKEN_MISSING', 'a bearer token is needed', 'it is in api.json in the state folder of this home')
    // A right token always passes: with 256 bits there is nothing to guess, and nobody can lock the owner out.
    if (timingSafeEqual(utf8(token), this.#token)) return undefined
    const now = this.#clock.monotonic()
    this.#wrong = this.#wrong.filter(t => now - t < 60_000)
    if (this.#wrong.length >= MAX_WRONG_TOKENS_PER_MINUTE) {
      return problem(429, 'API_TOO_MANY_ATTEMPTS', 'too many wrong tokens', 'wait a minute')
    }
    this.#wrong.push(now)
    return problem(401, 'API_TOKEN_WRONG', 'the bearer token is wrong', 'the node may have restarted: read api.json again')
  }
}

/** HEAD would run the GET route and leave its event stream unread. */
function checkMethod(head: RequestHead): Problem | undefined {
  return head.method === 'HEAD' ? problem(405, 'METHOD_NOT_ALLOWED', 'use GET') : undefined
}

/** Forms and beacons cannot declare JSON without asking first (CORS preflight), which nobody here answers. */
function checkContent(head: RequestHead): Problem | undefined {
  const length = valuesOf(head, 'content-length')
  const hasBody = valuesOf(head, 'transfer-encoding').length > 0 || length.some(l => l !== '0')
  const encoded = valuesOf(head, 'content-encoding').some(e => e.toLowerCase() !== 'identity')
  if (head.method !== 'POST' && !hasBody) return undefined
  const types = valuesOf(head, 'content-type')
  const json = types.length === 1 && /^application\/json(?:\s*;\s*charset=utf-8)?$/i.test(types[0]!.trim())
  if (json && !encoded) return undefined
  return problem(415, 'API_CONTENT_TYPE', 'the body must be application/json, not compressed')
}

function hasTokenInUrl(target: string, token: string): boolean {
  if (target.includes(token)) return true
  const query = target.split('?', 2)[1] ?? ''
  return /(?:^|&)(?:access_|api_|auth_|bearer_)?(?:token|key|authorization)=/i.test(query)
}

const valuesOf = (head: RequestHead, name: string): string[] => head.headers.filter(([n]) => n.toLowerCase() === name).map(([, v]) => v)
