/** Answers one request: route, ticket, conditions, range, head; send-body.node.ts does the rest. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, hasCode } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { chunkLength, chunkOffset } from '../grid.ts'
import type { Customer, Share, ShareIndex } from '../protocol.ts'
import type { BufferPool } from './buffer-pool.ts'
import { CODINGS, type Coding, chooseCoding, mayBeEncoded } from './coding.ts'
import type { CounterWindows } from './counter-window.ts'
import { type Encoders, sendEncoded } from './encoded-body.node.ts'
import { contentDisposition } from './file-name.ts'
import { MAX_CHUNKS_CHECKED, MAX_HEADERS } from './limits.ts'
import { type ByteRange, contentRange, parseRange } from './range.ts'
import { type Gate, openBody } from './send-body.node.ts'
import { answerMac, readTicketHeaders, requestMac, sameMac } from './ticket-mac.ts'

export interface ServeContext {
  /** Name for figures: "http" or "https". */
  readonly protocol: string
  readonly shares: ShareIndex
  readonly gate: Gate
  readonly clock: Clock
  readonly log: Logger
  readonly pool: BufferPool
  readonly windows: CounterWindows
  readonly encoders: Encoders
  readonly writeStallMs: number
}

/** A refusal as sent: RFC 9457 problem+json. `code` is what programs compare, `detail` what people read. */
interface Problem {
  readonly status: number
  readonly code: string
  readonly title: string
  readonly detail?: string
  readonly headers?: OutgoingHttpHeaders
}

interface Asker {
  readonly customer: Customer
  readonly counter: number
}

const notFound: Problem = { status: 404, code: 'NOT_FOUND', title: 'nothing is shared under this address' }

/** Answers `req`; rejects only when the connection is of no further use. */
export async function answer(context: ServeContext, req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (res.destroyed || req.socket.destroyed) return
  res.on('error', () => {}) // the close event ends the work; an error on a socket of theirs is not ours to raise
  const refusal = refuseForm(req)
  if (refusal) return sendProblem(req, res, refusal, undefined)
  const target = route(context.shares, req.url ?? '')
  if (!target) return sendProblem(req, res, notFound, undefined)
  const asker = authenticate(context, req, target.share)
  if (asker && 'code' in asker) return sendProblem(req, res, asker, undefined)
  return serve(context, req, res, target, asker)
}

/** What is wrong with a request whatever it asks for. */
function refuseForm(req: IncomingMessage): Problem | undefined {
  if (req.rawHeaders.length > 2 * MAX_HEADERS) return { status: 431, code: 'TOO_MANY_HEADERS', title: 'too many headers' }
  if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0') return { status: 400, code: 'VERSION', title: 'HTTP/1.1 is spoken here' }
  if (req.method !== 'GET' && req.method !== 'HEAD')
    return { status: 405, code: 'METHOD', title: 'only GET and HEAD are served', headers: { allow: 'GET, HEAD' } }
  if (hasBody(req)) return { status: 400, code: 'BODY', title: 'a request here has no body' }
  return undefined
}

const hasBody = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] !== undefined || (req.headers['content-length'] ?? '0') !== '0'

interface Target {
  readonly share: Share
  /** Set for /file/{hash}/chunk/{id}. */
  readonly chunk: number | undefined
}

function route(shares: ShareIndex, url: string): Target | undefined {
  const m = /^\/(?:([0-9a-f]{64})|file\/([0-9a-f]{64})\/chunk\/(0|[1-9][0-9]{0,6}))$/.exec(url)
  if (!m) return undefined
  const share = shares.byFileId(m[1] ?? m[2]!)
  if (!share) return undefined
  const chunk = m[3] === undefined ? undefined : Number(m[3])
  return chunk !== undefined && chunk >= share.grid.count ? undefined : { share, chunk }
}

function authenticate(context: ServeContext, req: IncomingMessage, share: Share): Asker | Problem | undefined {
  const { 'kith-ticket': ticket, 'kith-counter': counter, 'kith-mac': mac } = req.headers
  if (ticket === undefined && counter === undefined && mac === undefined) return undefined
  const refused = (code: string, title: string): Problem => ({ status: 403, code, title })
  const t = readTicketHeaders(ticket, counter, mac)
  if (!t) return refused('TICKET_MALFORMED', 'the ticket headers are malformed')
  const customer = context.gate.customerOf(t.id, share)
  if (!customer) return refused('TICKET_UNKNOWN', 'the ticket is unknown, expired, or for another file')
  const expected = requestMac(customer.ticket.key, {
    method: req.method ?? '',
    path: req.url ?? '',
    range: req.headers.range ?? '',
    counter: t.counter
  })
  if (!sameMac(expected, t.mac)) return refused('TICKET_MAC', 'the request is not authentic')
  const seen = context.windows.accept(customer.ticket, t.counter)
  if (seen === 'replayed') return refused('TICKET_REPLAYED', 'the counter was used before')
  return { customer, counter: t.counter }
}

async function serve(
  context: ServeContext,
  req: IncomingMessage,
  res: ServerResponse,
  target: Target,
  asker: Asker | undefined
): Promise<void> {
  const { share, chunk } = target
  const etag = etagOf(share, chunk)
  const whole: ByteRange =
    chunk === undefined
      ? { first: 0, last: share.grid.size - 1 }
      : { first: chunkOffset(share.grid, chunk), last: chunkOffset(share.grid, chunk) + chunkLength(share.grid, chunk) - 1 }
  const known = [etag, ...(varies(target) ? CODINGS.map(c => etagOf(share, c)) : [])].find(tag =>
    etagMatches(req.headers['if-none-match'], tag)
  )
  if (known !== undefined) {
    sendHead(req, res, 304, { ...commonHeaders(share), ...varyHeaders(target), etag: known }, asker)
    return void res.end()
  }
  const asked = chunk === undefined && req.method === 'GET' ? rangeOf(req, etag, share) : undefined
  if (asked && 'code' in asked) return sendProblem(req, res, asked, asker)
  const range = asked ?? whole
  const missing = missingChunk(share, range)
  if (missing !== undefined) {
    const title = 'this seeder does not have that part of the file (yet)'
    return sendProblem(req, res, { status: asked ? 416 : 404, code: 'CHUNK_MISSING', title }, asker)
  }
  if (!asker && !asked && req.headers.range === undefined && (await serveEncoded(context, req, res, target))) return
  const headers: OutgoingHttpHeaders = { ...fileHeaders(target), etag, 'content-length': range.last - range.first + 1 }
  if (chunk === undefined && !asked && req.method === 'GET') headers['content-digest'] = digestOf(share)
  if (asked) headers['content-range'] = contentRange(range, share.grid.size)
  if (req.method === 'HEAD' || range.last < range.first) {
    sendHead(req, res, 200, headers, asker)
    return void res.end()
  }
  await using body = openBody(context, share, asker?.customer, range, res)
  let reason: string | undefined
  try {
    reason = await body.prepare()
  } catch (error) {
    if (res.destroyed) return
    const status = hasCode(error, 'FILE_CHANGED') ? 410 : 503
    context.log.debug('share cannot be read', { code: codeOf(error) })
    return sendProblem(req, res, { status, code: status === 410 ? 'FILE_CHANGED' : 'BUSY', title: 'the file cannot be served now' }, asker)
  }
  if (reason !== undefined)
    return sendProblem(req, res, { status: 402, code: 'PAYMENT_REQUIRED', title: 'payment is required', detail: reason }, asker)
  sendHead(req, res, asked ? 206 : 200, headers, asker)
  await body.send()
}

/** Sends the whole file compressed, if the client asked for that and it is worth it. @returns whether it did */
async function serveEncoded(context: ServeContext, req: IncomingMessage, res: ServerResponse, target: Target): Promise<boolean> {
  const { share } = target
  const coding =
    varies(target) && req.method === 'GET' && req.httpVersion === '1.1' ? chooseCoding(req.headers['accept-encoding']) : undefined
  if (!coding) return false
  using place = context.encoders.tryTake()
  if (!place) return false
  const isWorth = await context.encoders.isWorth(share).catch(() => false) // what cannot be read is refused by the next step
  if (!isWorth || res.destroyed) return res.destroyed
  const { 'accept-ranges': _, 'repr-digest': __, ...headers } = fileHeaders(target)
  sendHead(req, res, 200, { ...headers, etag: etagOf(share, coding), 'content-encoding': coding }, undefined)
  await sendEncoded(context, share, coding, res)
  return true
}

/** Strong: names the bytes of one representation (RFC 9110 §8.8.3.3), so each coding has its own. */
const etagOf = (share: Share, part: number | Coding | undefined): string =>
  `"${bytesToHex(share.fileId)}${part === undefined ? '' : `-${part}`}"`

/** Whether answers depend on Accept-Encoding. */
const varies = ({ share, chunk }: Target): boolean => chunk === undefined && mayBeEncoded(share)
const varyHeaders = (target: Target): OutgoingHttpHeaders => (varies(target) ? { vary: 'accept-encoding' } : {})

const digestOf = (share: Share): string => `sha-256=:${Buffer.from(share.fileId).toString('base64')}:`

function rangeOf(req: IncomingMessage, etag: string, share: Share): ByteRange | Problem | undefined {
  const header = req.headers.range
  if (header === undefined) return undefined
  const ifRange = req.headers['if-range']
  if (ifRange !== undefined && ifRange !== etag) return undefined
  try {
    const range = parseRange(header, share.grid.size)
    if (range !== 'unsatisfiable') return range
    const headers = { 'content-range': `bytes */${share.grid.size}` }
    return { status: 416, code: 'RANGE', title: 'one byte range inside the file can be had at a time', headers }
  } catch {
    return { status: 400, code: 'HTTP_RANGE', title: 'the Range header is malformed' }
  }
}

function missingChunk(share: Share, range: ByteRange): number | undefined {
  const first = Math.floor(range.first / share.grid.chunkBytes)
  const last = Math.min(Math.floor(range.last / share.grid.chunkBytes), first + MAX_CHUNKS_CHECKED)
  for (let c = first; c <= last; c++) if (!share.has(c)) return c
  return undefined
}

/** If-None-Match: `*` or a list; weak tags compare equal to strong ones here (RFC 9110 §13.1.2). */
const etagMatches = (header: string | undefined, etag: string): boolean =>
  header?.split(',').some(tag => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag) ?? false

const MIME = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,62}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}$/i

/** A file of a stranger must never act in the name of this address: not sniffed, not framed, no scripts, saved instead of shown. */
const safetyHeaders: OutgoingHttpHeaders = { 'x-content-type-options': 'nosniff', 'content-security-policy': "sandbox; default-src 'none'" }

function commonHeaders(share: Share): OutgoingHttpHeaders {
  if (share.pricePerMb > 0n) return { ...safetyHeaders, 'cache-control': 'private, max-age=31536000, immutable' }
  return {
    ...safetyHeaders,
    'cache-control': 'public, max-age=31536000, immutable',
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'content-range, etag, content-disposition, content-digest, repr-digest',
    'cross-origin-resource-policy': 'cross-origin'
  }
}

function fileHeaders(target: Target): OutgoingHttpHeaders {
  const { share, chunk } = target
  if (chunk !== undefined) return { ...commonHeaders(share), 'content-type': 'application/octet-stream' }
  return {
    ...commonHeaders(share),
    ...varyHeaders(target),
    'accept-ranges': 'bytes',
    'content-type': MIME.test(share.mime) ? share.mime : 'application/octet-stream',
    'content-disposition': contentDisposition(share.name),
    'repr-digest': digestOf(share)
  }
}

function sendHead(req: IncomingMessage, res: ServerResponse, status: number, headers: OutgoingHttpHeaders, asker: Asker | undefined): void {
  if (asker) {
    const range = headers['content-range']
    const facts = { status, contentRange: typeof range === 'string' ? range : '', counter: asker.counter }
    headers['kith-mac'] = answerMac(asker.customer.ticket.key, facts)
  }
  // A client that sent a body does not get to say where the next request begins.
  if (hasBody(req)) headers['connection'] = 'close'
  res.writeHead(status, headers)
}

function sendProblem(req: IncomingMessage, res: ServerResponse, problem: Problem, asker: Asker | undefined): void {
  if (res.destroyed) return
  const { status, code, title, detail } = problem
  const body = Buffer.from(
    JSON.stringify({ type: `urn:kith:problem:${code}`, title, status, code, ...(detail === undefined ? {} : { detail }) })
  )
  const headers: OutgoingHttpHeaders = {
    ...safetyHeaders,
    'content-type': 'application/problem+json',
    'content-length': body.length,
    'cache-control': 'no-store',
    ...problem.headers
  }
  if (status === 431 || code === 'VERSION') headers['connection'] = 'close'
  sendHead(req, res, status, headers, asker)
  res.end(req.method === 'HEAD' ? undefined : body)
}
