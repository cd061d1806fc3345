/**
 * The client's end of a link over HTTP: each frame is a POST /message, frames for us come in the answers, and one request waits for those
 * that come unasked. With it a peer of which only a URL is known can be messaged, also by one that nobody can connect to.
 * Spec: docs/wire/message-http.md §3
 */
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { keyOfDid } from '../wire/did-key.ts'
import { canonicalJson, isJsonObject, type JsonObject, parseJsonObject } from '../wire/strict-json.ts'
import { HttpCaller, type HttpTarget } from './http/connect.node.ts'
import {
  MAX_CODE_CHARS,
  MAX_HTTP_ANSWER_BYTES,
  MAX_HTTP_ARRIVED_BYTES,
  MAX_HTTP_SENDING_BYTES,
  MAX_HTTP_WAIT_MS,
  MAX_REASON_CHARS
} from './limits.ts'
import type { MessageLink } from './link.ts'
import type { EntityId } from './types.ts'

export interface HttpLinkDeps {
  /** Bytes from the system's random generator. */
  readonly random: (n: number) => Uint8Array
}

/** Who answers at a URL: an offer to be checked by the handshake, or by comparing fingerprints. */
export interface HttpIdentity {
  readonly entityId: EntityId
  readonly publicKey: Uint8Array
}

/** GET /public-key. @throws BAD_URL, PEER_UNREACHABLE, PEER_TIMEOUT, PEER_PROTOCOL, CERT_REJECTED */
export async function askPublicKey(target: HttpTarget, signal: AbortSignal): Promise<HttpIdentity> {
  using caller = new HttpCaller(target)
  const { status, body } = await caller.call('GET', '/public-key', {}, undefined, signal)
  const json = status === 200 ? readJson(body) : {}
  const { entity_id: entityId, public_key: hex } = json
  const publicKey = typeof entityId === 'string' ? keyOfDid(entityId) : undefined
  if (!publicKey || hex !== bytesToHex(publicKey))
    throw new KithError('PEER_PROTOCOL', 'no message server answers at this address', { status })
  return { entityId: entityId as string, publicKey }
}

/** A link to the server at `target`; nothing is sent before the first frame. @throws BAD_URL */
export function openHttpLink(deps: HttpLinkDeps, target: HttpTarget): MessageLink {
  return new HttpClientLink(deps, target)
}

interface Waiting {
  readonly frame: Uint8Array
  readonly isGreeting: boolean
  resolve(): void
  reject(error: unknown): void
}

class HttpClientLink implements MessageLink {
  readonly via = 'http'
  readonly peerId = undefined
  readonly address = undefined
  readonly closed: AbortSignal
  readonly #ended = new AbortController()
  readonly #caller: HttpCaller
  readonly #headers: Readonly<Record<string, string>>
  readonly #arrived: Uint8Array[] = []
  #arrivedBytes = 0
  #onRoom: (() => void) | undefined
  /** In the order in which they are to go. */
  readonly #waiting: Waiting[] = []
  readonly #tasks = new Set<Promise<void>>()
  /** Bytes under way. */
  #sending = 0
  #isGreeting = false
  #wakeReader: (() => void) | undefined
  #isCollecting = false
  #failure: KithError | undefined

  constructor(deps: HttpLinkDeps, target: HttpTarget) {
    this.closed = this.#ended.signal
    this.#caller = new HttpCaller(target)
    this.#headers = { 'kith-link': bytesToHex(deps.random(16)) }
  }

  async next(): Promise<Uint8Array | undefined> {
    while (this.#arrived.length === 0 && !this.closed.aborted) await new Promise<void>(resolve => (this.#wakeReader = resolve))
    const frame = this.#arrived.shift()
    this.#arrivedBytes -= frame?.length ?? 0
    if (this.#arrivedBytes < MAX_HTTP_ARRIVED_BYTES) this.#onRoom?.()
    if (!frame && this.#failure) throw this.#failure
    return frame
  }

  /** Handshake messages go one by one; later frames side by side, since sessions put them in order. Resolves when it was answered. */
  send(frame: Uint8Array): Promise<void> {
    if (this.closed.aborted) return Promise.reject(this.#failure ?? new KithError('PEER_PROTOCOL', 'the link has ended'))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ frame, isGreeting: GREETING.every((b, i) => frame[i] === b), resolve, reject })
    this.#pump()
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(undefined)
    await Promise.all(this.#tasks)
    this.#caller[Symbol.dispose]()
  }

  /** Sends what may be sent now, in order. */
  #pump(): void {
    for (let first = this.#waiting[0]; first && !this.closed.aborted; first = this.#waiting[0]) {
      const isAlone = this.#sending === 0
      if (this.#isGreeting || (!isAlone && (first.isGreeting || this.#sending + first.frame.length > MAX_HTTP_SENDING_BYTES))) return
      this.#waiting.shift()
      this.#track(this.#post(first))
    }
  }

  async #post({ frame, isGreeting, resolve, reject }: Waiting): Promise<void> {
    this.#sending += frame.length
    this.#isGreeting = isGreeting
    try {
      const headers = { ...this.#headers, 'content-type': 'application/json' }
      const { status, body } = await this.#caller.call('POST', '/message', headers, frame, this.closed)
      this.#take(status, body)
      resolve()
      if (!this.#isCollecting && !this.closed.aborted) this.#track(this.#collect())
    } catch (error) {
      this.#end(error)
      reject(error)
    }
    this.#sending -= frame.length
    this.#isGreeting = false
    this.#pump()
  }

  /** One empty request after the other, each waiting at the server until there is something for us. */
  async #collect(): Promise<void> {
    this.#isCollecting = true
    const headers = { ...this.#headers, prefer: `wait=${Math.floor(MAX_HTTP_WAIT_MS / 1000)}` }
    try {
      while (!this.closed.aborted) {
        if (this.#arrivedBytes >= MAX_HTTP_ARRIVED_BYTES) await new Promise<void>(resolve => (this.#onRoom = resolve))
        const { status, body } = await this.#caller.call('POST', '/message', headers, new Uint8Array(0), this.closed)
        this.#take(status, body)
      }
    } catch (error) {
      this.#end(error)
    }
  }

  /** @throws the code with which the server refused, PEER_PROTOCOL */
  #take(status: number, body: Uint8Array): void {
    const json = readJson(body)
    const reply = json['reply'] ?? []
    if (!Array.isArray(reply)) throw new KithError('PEER_PROTOCOL', 'the server answered something else')
    for (const message of reply) {
      const frame = utf8(canonicalJson(message))
      this.#arrived.push(frame)
      this.#arrivedBytes += frame.length
    }
    if (this.#arrivedBytes > 2 * MAX_HTTP_ARRIVED_BYTES) throw new KithError('PEER_PROTOCOL', 'the server sends more than is read')
    if (reply.length > 0) this.#wakeReader?.()
    if (status !== 200) throw refusalOf(status, json)
  }

  #end(error: unknown): void {
    if (this.closed.aborted) return
    if (error !== undefined)
      this.#failure = error instanceof KithError ? error : new KithError('PEER_PROTOCOL', 'the link broke', { cause: codeOf(error) })
    this.#ended.abort(this.#failure)
    this.#wakeReader?.()
    this.#onRoom?.()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure ?? new KithError('PEER_PROTOCOL', 'the link has ended'))
  }
  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

const GREETING = utf8('{"msg_type":"handshake')

/** @throws PEER_PROTOCOL */
function readJson(body: Uint8Array): JsonObject {
  try {
    const json = parseJsonObject(body, { maxBytes: MAX_HTTP_ANSWER_BYTES, maxDepth: 66 })
    if (isJsonObject(json)) return json
  } catch {
    // said below
  }
  throw new KithError('PEER_PROTOCOL', 'the server answered something else than JSON')
}

function refusalOf(status: number, json: JsonObject): KithError {
  const { error_code: code, detail } = json
  const known = typeof code === 'string' && /^[A-Z][A-Z_]*$/.test(code) && code.length <= MAX_CODE_CHARS
  const text = typeof detail === 'string' ? detail.slice(0, MAX_REASON_CHARS) : 'the server refused'
  return new KithError('PEER_REFUSED', text, { status, code: known ? code : 'UNKNOWN' })
}
