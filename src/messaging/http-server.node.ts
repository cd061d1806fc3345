/**
 * The HTTP server of spec 001: POST /message, GET /health, /peers, /stats, /public-key and /. A client needs no server of its own: what is
 * for it comes in the answers.
 * Spec: docs/wire/message-http.md
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { rateKeyOf } from '../net/address-scope.ts'
import type { TlsIdentity } from '../platform/x509.node.ts'
import type { Penalty } from '../trust/scores.ts'
import { type ReceivedSecureMessage, readSecureMessageAhead } from '../wire/secure-message.ts'
import { answer, refuse, replyText } from './http/answer.node.ts'
import { HttpAuthority } from './http/authority.ts'
import { BodyBudget, checkLength, readBody } from './http/body.node.ts'
import type { HttpLink, Refusal } from './http/link.ts'
import { HttpLinks } from './http/links.ts'
import { type HttpLimits, openListener } from './http/listener.node.ts'
import { StrangerChecks } from './http/stranger-checks.ts'
import { HTTP_REPLY_MS, HTTP_SETTLE_MS, MAX_HTTP_WAIT_MS } from './limits.ts'
import type { MessageLink } from './link.ts'

export interface MessageHttpDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Takes a link on which somebody will greet (Messenger's `accept`). */
  accept(link: MessageLink): unknown
  readonly self: { readonly entityId: string; readonly publicKey: Uint8Array }
  /** For GET /peers, without those who did not agree to be told of. */
  peers(): readonly { readonly entityId: string; readonly address: string | undefined; readonly hasPublicKey: boolean }[]
  /** For GET /stats: anything that JSON can say. */
  stats(): unknown
  /** Whether a peer has the grant `stats`. */
  isGranted(entityId: string): boolean
  /** Nothing is read from a banned address. */
  isBanned(addressKey: string): boolean
  penalise(addressKey: string, penalty: Penalty, code: string): void
  /**
   * A message that belongs to no session: undefined refuses it with SESSION_EXPIRED. Absent: all are refused so. For the form of spec 001's
   * version 0.3 and for sealed messages.
   */
  outside?(body: Uint8Array, address: string): Promise<{ readonly verification: string } | undefined>
}

export interface MessageHttpOptions extends HttpLimits {
  readonly host?: string
  /** 0: any free one. */
  readonly port?: number
  /** Undefined: no TLS. */
  readonly tls?: TlsIdentity | undefined
  /** What opens /peers and /stats to the owner. */
  readonly token?: string | undefined
  readonly bodyTimeoutMs?: number
}

export interface MessageHttp extends AsyncDisposable {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Connections, and links, that are open now. */
  readonly connections: number
  readonly links: number
}

/** Listens and serves until disposed; disposal ends all links and requests first. @throws HTTP_LISTEN */
export async function openMessageHttp(deps: MessageHttpDeps, options: MessageHttpOptions = {}): Promise<MessageHttp> {
  await using stack = new AsyncDisposableStack()
  const strangers = new StrangerChecks(deps.clock)
  const links = stack.use(new HttpLinks({ clock: deps.clock, strangers, accept: link => deps.accept(link) }))
  const authority = new HttpAuthority({ ...deps, strangers, self: deps.self.entityId, isGranted: id => deps.isGranted(id) }, options.token)
  const routes = new Routes(deps, links, authority, options)
  const listener = stack.use(await openListener(deps, options, (request, response) => void routes.serve(request, response)))
  const owned = stack.move()
  const { host, port } = listener
  return {
    host,
    port,
    url: `${options.tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    get connections() {
      return listener.connections
    },
    get links() {
      return links.size
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

const NAME = /^[0-9a-f]{32}$/
const JSON_TYPE = /^application\/json(?:\s*;\s*charset=utf-8)?$/i
/** A penalty for whoever sends what no client could send by mistake. */
const PENALTY: ReadonlyMap<string, Penalty> = new Map([
  ['MALFORMED_JSON', 'mid'],
  ['TOO_DEEP', 'low'],
  ['MALFORMED', 'mid'],
  ['INVALID_SIGNATURE', 'mid'],
  ['DECRYPTION_FAILED', 'mid'],
  ['TOO_LARGE', 'mid'],
  ['PEER_TIMEOUT', 'mid']
])

class Routes {
  readonly #deps: MessageHttpDeps
  readonly #links: HttpLinks
  readonly #authority: HttpAuthority
  readonly #budget = new BodyBudget()
  readonly #bodyMs: number | undefined
  readonly #description: string

  constructor(deps: MessageHttpDeps, links: HttpLinks, authority: HttpAuthority, options: MessageHttpOptions) {
    this.#deps = deps
    this.#links = links
    this.#authority = authority
    this.#bodyMs = options.bodyTimeoutMs
    const endpoints = ['POST /message', 'GET /health', 'GET /public-key', 'GET /peers', 'GET /stats']
    this.#description = JSON.stringify({ service: 'kith', protocol_versions: ['1.1', '1.0'], entity_id: deps.self.entityId, endpoints })
  }

  /** Answers one request; never throws. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const address = request.socket.remoteAddress ?? ''
    try {
      if (this.#deps.isBanned(rateKeyOf(address))) throw new KithError('RATE_LIMITED', 'nothing is taken from this address for now')
      await this.#route(request, response, address)
    } catch (error) {
      this.#fail(request, response, address, error)
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, address: string, error: unknown): void {
    this.#blame(address, codeOf(error))
    if (!(error instanceof KithError)) this.#deps.log.error('a request could not be handled', { error })
    refuse(request, response, error)
  }

  /** Whoever brought it, not the peer in whose session it was put. */
  #blame(address: string, code: string): void {
    const penalty = PENALTY.get(code)
    if (penalty) this.#deps.penalise(rateKeyOf(address), penalty, code)
  }

  async #route(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const { self } = this.#deps
    const path = request.url ?? ''
    if (request.method !== (path === '/message' ? 'POST' : 'GET')) throw new KithError('METHOD_NOT_ALLOWED', 'another method is needed')
    switch (path) {
      case '/message':
        return await this.#message(request, response, address)
      case '/health':
        return answer(response, 200, JSON.stringify({ status: 'healthy', entity_id: self.entityId }))
      case '/public-key':
        return answer(response, 200, JSON.stringify({ entity_id: self.entityId, public_key: Buffer.from(self.publicKey).toString('hex') }))
      case '/peers':
        await this.#allow(request, path, address)
        return answer(response, 200, this.#peers())
      case '/stats':
        await this.#allow(request, path, address)
        return answer(response, 200, JSON.stringify(this.#deps.stats()))
      case '/':
        return answer(response, 200, this.#description)
      default:
        throw new KithError('NOT_FOUND', 'there is nothing here')
    }
  }

  #allow(request: IncomingMessage, path: string, address: string): Promise<void> {
    return this.#authority.check({ method: 'GET', path, authorization: request.headers.authorization, address })
  }

  #peers(): string {
    const peers = this.#deps.peers().map(p => ({ entity_id: p.entityId, address: p.address ?? null, has_public_key: p.hasPublicKey }))
    return JSON.stringify({ entity_id: this.#deps.self.entityId, peers, count: peers.length })
  }

  async #message(request: IncomingMessage, response: ServerResponse, address: string): Promise<void> {
    const name = request.headers['kith-link']
    const link = typeof name === 'string' && NAME.test(name) ? name : undefined
    const isEmpty = request.headers['content-length'] === '0'
    if (link !== undefined && isEmpty) return await this.#collect(request, response, link)
    const { 'content-type': type, 'content-encoding': coding } = request.headers
    if (type === undefined || !JSON_TYPE.test(type) || coding !== undefined) {
      throw new KithError('UNSUPPORTED_MEDIA_TYPE', 'a message is application/json in UTF-8, not compressed')
    }
    checkLength(request)
    if (/100-continue/i.test(request.headers.expect ?? '')) response.writeContinue()
    using body = await readBody(request, this.#budget, rateKeyOf(address), this.#bodyMs)
    const { verification, reply, refusal } = await this.#handle(body.bytes, link, address)
    if (refusal) this.#blame(address, refusal.code)
    if (refusal) return refuse(request, response, new KithError(refusal.code, refusal.message), reply)
    const told = { status: 'received', entity_id: this.#deps.self.entityId, verification }
    answer(response, 200, withReply(told, reply))
  }

  async #handle(body: Uint8Array, name: string | undefined, address: string): Promise<Handled> {
    let message: ReceivedSecureMessage
    let link: HttpLink
    try {
      // The session that it belongs to reads it next.
      message = readSecureMessageAhead(body)
      if (message.recipientId !== this.#deps.self.entityId) throw new KithError('MISROUTED', 'the message is for somebody else')
      link = await this.#links.linkFor(message, name, address)
    } catch (error) {
      const taken = await this.#deps.outside?.(body, address)
      if (taken) return { verification: taken.verification, reply: [], refusal: undefined }
      throw error
    }
    const refusal = await link.give(body, HTTP_SETTLE_MS)
    const waitMs = message.type === 'handshake' ? HTTP_SETTLE_MS : refusal ? 0 : HTTP_REPLY_MS
    if (waitMs > 0) await link.ready(waitMs)
    return { verification: 'verified', reply: link.collect(), refusal }
  }

  /** A client of ours waits for messages: an empty request that names its link. */
  async #collect(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
    const link = this.#links.named(name)
    if (!link || link.closed.aborted) throw new KithError('SESSION_EXPIRED', 'there is no such link: begin with a handshake')
    request.resume()
    const wait = /^wait=(\d{1,2})$/.exec(String(request.headers.prefer ?? ''))?.[1]
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    await link.ready(Math.min(MAX_HTTP_WAIT_MS, Number(wait ?? 0) * 1000), gone.signal)
    if (gone.signal.aborted) return
    answer(response, 200, withReply({ status: 'collected', entity_id: this.#deps.self.entityId }, link.collect()))
  }
}

interface Handled {
  readonly verification: string
  readonly reply: readonly Uint8Array[]
  readonly refusal: Refusal
}

/** Frames go into the answer as they are: nothing is written a second time. */
const withReply = (told: object, reply: readonly Uint8Array[]): string => {
  const text = JSON.stringify(told)
  return reply.length === 0 ? text : `${text.slice(0, -1)},"reply":${replyText(reply)}}`
}
