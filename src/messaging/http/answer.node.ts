/** Answers of the message server: JSON of known shape, refusals as spec 001's origin words them ({detail}) with a code. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { codeOf, KithError, toldTextOf } from '../../base/errors.ts'
import { HTTP_LINGER_MS, MAX_REASON_CHARS } from '../limits.ts'

const HEADERS = {
  'Content-Type': 'application/json',
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff'
} as const

/** Codes that are not "the message is wrong" (400). */
const STATUS: ReadonlyMap<string, number> = new Map([
  ['TOO_LARGE', 413],
  ['UNSUPPORTED_MEDIA_TYPE', 415],
  ['TOO_MANY_HEADERS', 431],
  ['NOT_FOUND', 404],
  ['METHOD_NOT_ALLOWED', 405],
  ['NOT_AUTHORISED', 401],
  ['RATE_LIMITED', 429],
  ['QUEUE_FULL', 503],
  ['PEER_TIMEOUT', 408],
  ['MESSENGER_CLOSED', 503],
  ['INTERNAL', 500]
])
/** After these the rest of the request is not read: it may be endless. */
const CLOSING: ReadonlySet<number> = new Set([405, 408, 413, 415, 431, 503])

export const statusOf = (code: string): number => STATUS.get(code) ?? 400

export function answer(response: ServerResponse, status: number, body: string): void {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, { ...HEADERS, 'Content-Length': Buffer.byteLength(body) })
  response.end(body)
}

/** A refusal; whatever is not a KithError is told as INTERNAL, without its text. `reply` are frames that wait for the client. */
export function refuse(request: IncomingMessage, response: ServerResponse, error: unknown, reply: readonly Uint8Array[] = []): void {
  if (response.headersSent || response.destroyed) return
  const known = error instanceof KithError
  const code = known ? codeOf(error) : 'INTERNAL'
  const status = statusOf(code)
  if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer, Kith')
  if (status === 429 || status === 503) response.setHeader('Retry-After', '1')
  if (status === 405) response.setHeader('Allow', request.url === '/message' ? 'POST' : 'GET')
  const detail = known ? toldTextOf(error).slice(0, MAX_REASON_CHARS) : 'the request could not be handled'
  if (!request.complete || CLOSING.has(status)) closeAfter(request, response)
  const told = JSON.stringify({ detail, error_code: code })
  answer(response, status, reply.length === 0 ? told : `${told.slice(0, -1)},"reply":${replyText(reply)}}`)
}

/** Frames as a JSON array: each is canonical JSON already and goes out as it is. */
export const replyText = (frames: readonly Uint8Array[]): string =>
  `[${frames.map(f => Buffer.from(f.buffer, f.byteOffset, f.byteLength).toString()).join(',')}]`

/** Closing at once would reset the connection before the client has read the answer: what it sends is dropped for a moment. */
function closeAfter(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('Connection', 'close')
  const { socket } = request
  request.on('error', () => {})
  response.once('finish', () => {
    request.resume()
    const timer = setTimeout(() => socket.destroy(), HTTP_LINGER_MS)
    socket.once('close', () => clearTimeout(timer))
  })
}
