/**
 * Asks a plain URL what is there before a download is planned: size, whether Range works, a strong ETag, a name. Redirects are
 * followed only here, each through the address filter (threats HT7-HT11); a source is then pinned to where they ended.
 */
import { utf8 } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { type Resolve, resolveAndCheck } from '../address-filter.node.ts'
import { type AddressPolicy, checkUrl, PUBLIC_ONLY } from '../address-filter.ts'
import type { Grid } from '../grid.ts'
import type { Endpoint } from '../protocol.ts'
import { openConnection, proxyRefused } from './connect.node.ts'
import { fileNameOf, fileNameOfPath } from './file-name.ts'
import { MAX_REDIRECTS, PROBE_TIMEOUT_MS } from './limits.ts'
import { type HttpPlace, makePlace } from './place.node.ts'
import { type ProxyOptions, proxyRoute } from './proxy.ts'
import { parseContentRange } from './range.ts'
import type { ResponseHead } from './response-head.ts'
import { isStrongEtag, withEtag } from './url.ts'

export interface ProbeOptions extends ProxyOptions {
  /** Whether the URL itself may name a private or loopback address: "the user said so". Redirects never may go there. */
  readonly allowPrivate?: boolean
  readonly timeoutMs?: number
  /** Certificate authorities in PEM; the system's by default. */
  readonly ca?: string
  /** How names become addresses; the system's by default. */
  readonly resolve?: Resolve
}

export interface ProbeResult {
  /** Bytes; undefined when the server does not say. */
  readonly size: number | undefined
  /** Strong ETag with its quotes; undefined when there is none. */
  readonly etag: string | undefined
  /** Whether parts can be fetched. */
  readonly acceptRanges: boolean
  /** Display name, cleaned; not a path. */
  readonly name: string | undefined
  /** Where the redirects ended. */
  readonly finalUrl: string
  /** IP address that `finalUrl` was fetched from: connect to this one. A name when only the proxy could resolve it. */
  readonly address: string
  readonly port: number
  /** SHA-256 in hex that the server claims (Repr-Digest, or a path that is one). A claim: check it. */
  readonly sha256: string | undefined
}

/**
 * Probes `url` with a request for its first byte.
 * @throws URL_FORBIDDEN, FORBIDDEN_ADDRESS, REDIRECT_FORBIDDEN, HTTP_STATUS, SOURCE_LOST, SOURCE_LIED, ENCODING_FORBIDDEN
 */
export async function probeUrl(url: string, options: ProbeOptions = {}, signal?: AbortSignal): Promise<ProbeResult> {
  const timeout = new AbortController()
  const timer = setTimeout(
    () => timeout.abort(new KithError('SOURCE_LOST', 'the server does not answer', { url })),
    options.timeoutMs ?? PROBE_TIMEOUT_MS
  )
  try {
    return await follow(url, options, signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal)
  } finally {
    clearTimeout(timer)
  }
}

/** What `httpProtocol().openSource` needs to fetch from a probed URL. */
export const endpointOf = (probe: ProbeResult, fileId: Uint8Array, grid: Grid): Endpoint => ({
  host: probe.address,
  port: probe.port,
  extra: utf8(withEtag(probe.finalUrl, probe.etag)),
  fileId,
  grid,
  seeder: undefined,
  ticket: undefined
})

async function follow(start: string, options: ProbeOptions, signal: AbortSignal): Promise<ProbeResult> {
  const user: AddressPolicy = { allowPrivate: options.allowPrivate ?? false, allowLoopback: options.allowPrivate ?? false }
  let url = start
  let first: { readonly host: string; readonly address: string } | undefined
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const { host } = checkForm(url, hop > 0)
    const same = first?.host === host
    // The user's own host may redirect within itself, pinned to the address it had: a second look-up could say 127.0.0.1 (HT9).
    const resolve: Resolve | undefined = same && first ? async () => [first!.address] : options.resolve
    const policy = hop === 0 || same ? user : PUBLIC_ONLY
    const { head, address, port } = await ask(url, policy, hop > 0, { ...options, ...(resolve ? { resolve } : {}) }, signal)
    first ??= { host, address }
    if (head.status < 300 || head.status >= 400) return read(url, head, address, port)
    url = nextUrl(url, head)
  }
  throw new KithError('REDIRECT_FORBIDDEN', `more than ${MAX_REDIRECTS} redirects`, { url: start })
}

function nextUrl(url: string, head: ResponseHead): string {
  const location = head.headers.get('location')
  if (location === undefined || ![301, 302, 303, 307, 308].includes(head.status))
    throw new KithError('HTTP_STATUS', `the server answered ${head.status}`, { status: head.status })
  if (!URL.canParse(location, url)) throw new KithError('REDIRECT_FORBIDDEN', 'a redirect to something that is not a URL')
  const next = new URL(location, url)
  next.hash = ''
  if (url.startsWith('https:') && next.protocol !== 'https:') throw new KithError('REDIRECT_FORBIDDEN', 'a redirect away from https')
  return next.href
}

interface Answer {
  readonly head: ResponseHead
  readonly address: string
  readonly port: number
}

async function ask(url: string, policy: AddressPolicy, redirected: boolean, options: ProbeOptions, signal: AbortSignal): Promise<Answer> {
  const place = await findPlace(url, policy, options).catch((cause: unknown) => {
    throw redirected ? redirectError(cause) : cause
  })
  await using connection = await openConnection(place, signal)
  const got = Promise.withResolvers<ResponseHead>()
  const request = [
    `GET ${place.target} HTTP/1.1`,
    `Host: ${place.authority}`,
    'Range: bytes=0-0',
    'Accept-Encoding: identity',
    'User-Agent: kith',
    'Connection: close'
  ].join('\r\n')
  const done = connection.request(
    `${request}\r\n${place.proxyHeader}\r\n`,
    head => {
      got.resolve(head) // the head is all that is wanted: the connection is closed whatever follows
      return { ready: false, target: () => new Uint8Array(1), filled: () => {} }
    },
    signal
  )
  done.catch(got.reject)
  const head = await got.promise
  if (head.status === 407 && place.proxy) throw proxyRefused()
  return { head, address: place.address, port: place.port }
}

/** Checks all but addresses. @throws URL_FORBIDDEN, REDIRECT_FORBIDDEN */
function checkForm(url: string, redirected: boolean): ReturnType<typeof checkUrl> {
  try {
    return checkUrl(url, { allowPrivate: true, allowLoopback: true })
  } catch (cause) {
    throw redirected ? redirectError(cause) : cause
  }
}

const redirectError = (cause: unknown): unknown =>
  hasCode(cause, 'URL_FORBIDDEN') || hasCode(cause, 'FORBIDDEN_ADDRESS')
    ? new KithError('REDIRECT_FORBIDDEN', 'a redirect to an address that is not followed', {}, { cause })
    : cause

async function findPlace(url: string, policy: AddressPolicy, options: ProbeOptions): Promise<HttpPlace> {
  const parts = checkUrl(url, policy)
  const route = proxyRoute(options)
  const address = await resolveAndCheck(parts.host, parts.port, policy, options.resolve).catch((error: unknown) => {
    // Behind a proxy names often resolve only there. One that resolves here to a forbidden address is refused all the same.
    if (hasCode(error, 'SOURCE_LOST') && parts.literal === undefined && route?.covers(parts.host)) return undefined
    throw error
  })
  return makePlace({ ...parts, etag: undefined }, address, parts.tls ? { name: parts.host, ca: options.ca } : undefined, route)
}

function read(url: string, head: ResponseHead, address: string, port: number): ProbeResult {
  const encoding = head.headers.get('content-encoding')
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw new KithError('ENCODING_FORBIDDEN', 'the server encoded the content', { encoding: encoding.slice(0, 32) })
  const range = parseContentRange(head.headers.get('content-range') ?? '')
  const empty = head.status === 416 && head.headers.get('content-range') === 'bytes */0'
  if (head.status !== 206 && head.status !== 200 && !empty)
    throw new KithError('HTTP_STATUS', `the server answered ${head.status}`, { status: head.status })
  if (head.status === 206 && (range?.first !== 0 || range.last !== 0)) throw new KithError('SOURCE_LIED', 'another range than asked for')
  const etag = head.headers.get('etag')
  const { pathname } = new URL(url)
  return {
    size: empty ? 0 : head.status === 206 ? range?.size : head.headers.has('transfer-encoding') ? undefined : head.length,
    etag: etag !== undefined && isStrongEtag(etag) ? etag : undefined,
    acceptRanges: head.status === 206 && range?.size !== undefined,
    name: fileNameOf(head.headers.get('content-disposition')) ?? fileNameOfPath(pathname),
    finalUrl: url,
    address,
    port,
    sha256: digestOf(head.headers.get('repr-digest')) ?? /\/([0-9a-f]{64})$/.exec(pathname)?.[1]
  }
}

/** `sha-256=:base64:` of Repr-Digest (RFC 9530) as hex. Content-Digest would be that of the one byte. */
function digestOf(header: string | undefined): string | undefined {
  const m = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header ?? '')
  return m ? Buffer.from(m[1]!, 'base64').toString('hex') : undefined
}
