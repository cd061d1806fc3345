/**
 * Requests to a message server: over TCP, or TLS that checks the pinned key or, without a pin, the certificate's authority. No redirects,
 * answers of bounded size.
 */
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request as requestPlain } from 'node:http'
import { request as requestSecure, Agent as SecureAgent } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { equalBytes } from '../../base/bytes.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { pinOf } from '../../platform/x509.node.ts'
import { HTTP_CONNECT_MS, HTTP_PARALLEL, HTTP_REQUEST_MS, MAX_HTTP_ANSWER_BYTES, MAX_HTTP_HEAD_BYTES } from '../limits.ts'

export interface HttpTarget {
  /** http: or https:, without path. */
  readonly url: string
  /** SHA-256 of the server's TLS key (SubjectPublicKeyInfo); undefined: an authority must vouch for it. */
  readonly pin?: Uint8Array | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly body: Uint8Array
}

export class HttpCaller implements Disposable {
  readonly #url: URL
  readonly #pin: Uint8Array | undefined
  readonly #agent: Agent
  readonly #checked = new WeakSet<Socket>()

  /** @throws BAD_URL */
  constructor(target: HttpTarget) {
    this.#url = readUrl(target.url)
    this.#pin = target.pin
    const options = { keepAlive: true, maxSockets: HTTP_PARALLEL + 1, maxFreeSockets: HTTP_PARALLEL + 1 }
    const pinned = { minVersion: 'TLSv1.3', rejectUnauthorized: false, maxCachedSessions: 0 } as const // a resumed session shows no certificate
    this.#agent = this.#isSecure ? new SecureAgent({ ...options, ...(target.pin ? pinned : {}) }) : new Agent(options)
  }

  /** @throws PEER_UNREACHABLE, PEER_TIMEOUT, PEER_PROTOCOL, CERT_REJECTED, or the signal's reason */
  call(
    method: 'GET' | 'POST',
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array | undefined,
    signal: AbortSignal
  ): Promise<HttpAnswer> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(HTTP_REQUEST_MS)])
    const options: RequestOptions = {
      method,
      path,
      host: this.#url.hostname.replace(/^\[|\]$/g, ''),
      port: this.#url.port,
      agent: this.#agent,
      maxHeaderSize: MAX_HTTP_HEAD_BYTES,
      headers: { ...headers, ...(body ? { 'content-length': String(body.length) } : {}) }
    }
    return new Promise<HttpAnswer>((resolve, reject) => {
      const request = this.#isSecure ? requestSecure(options) : requestPlain(options)
      const stop = (): void => void request.destroy(deadline.reason)
      deadline.addEventListener('abort', stop, { once: true })
      request.once('close', () => deadline.removeEventListener('abort', stop))
      request.once('error', cause => reject(signal.aborted ? signal.reason : toKithError(cause, deadline)))
      request.once('response', response => readAnswer(response).then(resolve, reject))
      if (deadline.aborted) stop()
      else this.#whenTrusted(request, () => request.end(body))
    })
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  get #isSecure(): boolean {
    return this.#url.protocol === 'https:'
  }

  /** Node forgets the certificate of a connection that is used again. */
  #isRight(socket: Socket): boolean {
    if (!this.#pin || this.#checked.has(socket)) return true
    const key = pinOf((socket as TLSSocket).getPeerX509Certificate())
    if (!key || !equalBytes(key, this.#pin)) return false
    this.#checked.add(socket)
    return true
  }

  /** No byte of HTTP is sent before the other side is known to be the right one. */
  #whenTrusted(request: ClientRequest, send: () => void): void {
    request.once('socket', socket => {
      const check = (): void => {
        clearTimeout(timer)
        if (!this.#isRight(socket)) request.destroy(new KithError('CERT_REJECTED', 'the TLS key is not the pinned one'))
        else send()
      }
      const late = (): void => void request.destroy(new KithError('PEER_UNREACHABLE', 'no connection in time'))
      const timer = setTimeout(late, HTTP_CONNECT_MS)
      request.once('close', () => clearTimeout(timer))
      if (!socket.connecting && !(this.#isSecure && !(socket as TLSSocket).getProtocol())) check()
      else socket.once(this.#isSecure ? 'secureConnect' : 'connect', check)
    })
  }
}

/** @throws BAD_URL */
function readUrl(text: string): URL {
  const url = URL.parse(text)
  const isPlain = url && (url.protocol === 'http:' || url.protocol === 'https:') && url.pathname === '/'
  if (isPlain && !url.username && !url.password && !url.search && !url.hash) return url
  throw new KithError('BAD_URL', 'not the address of a message server', {}, { hint: 'http://HOST:PORT or https://HOST:PORT' })
}

async function readAnswer(response: IncomingMessage): Promise<HttpAnswer> {
  const parts: Uint8Array[] = []
  let n = 0
  try {
    for await (const part of response as AsyncIterable<Uint8Array>) {
      n += part.length
      if (n > MAX_HTTP_ANSWER_BYTES) throw new KithError('PEER_PROTOCOL', 'the answer is too long')
      parts.push(part)
    }
  } catch (cause) {
    throw cause instanceof KithError ? cause : new KithError('PEER_PROTOCOL', 'the answer broke off', { cause: codeOf(cause) }, { cause })
  } finally {
    response.destroy()
  }
  return { status: response.statusCode ?? 0, body: Buffer.concat(parts) }
}

function toKithError(cause: unknown, deadline: AbortSignal): KithError {
  if (cause instanceof KithError) return cause
  if (deadline.aborted) return new KithError('PEER_TIMEOUT', 'the server did not answer in time', {}, { cause })
  return new KithError('PEER_UNREACHABLE', 'the server was not reached', { cause: codeOf(cause) }, { cause })
}
