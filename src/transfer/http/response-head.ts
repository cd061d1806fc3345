/**
 * The head of an HTTP/1 answer, read strictly (RFC 9112 §4-5): CRLF only, no folded lines, no control characters, one value for
 * each header that decides about the body. What is not needed (Set-Cookie, HSTS …) is ignored. Pure.
 */
import { KithError } from '../../base/errors.ts'
import { MAX_HEAD_BYTES, MAX_HEADERS } from './limits.ts'

export interface ResponseHead {
  readonly status: number
  /** Names in lower case. Repeated headers that do not decide anything keep their first value. */
  readonly headers: ReadonlyMap<string, string>
  /** Content-Length; undefined when absent. */
  readonly length: number | undefined
  /** Whether another request may follow on this connection. */
  readonly keepAlive: boolean
  /** Bytes of the head with its empty line. */
  readonly bytes: number
}

/** Headers that two parsers could read differently if they came twice. */
const ONCE: ReadonlySet<string> = new Set([
  'content-length',
  'content-range',
  'content-encoding',
  'transfer-encoding',
  'location',
  'etag',
  'kith-mac'
])

/** Index just after the empty line, or -1 while it has not come. Searches from `from`. */
export function headEnd(bytes: Uint8Array, from: number, end: number): number {
  for (let i = Math.max(3, from); i < end; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13) return i + 1
  }
  return -1
}

/** Reads a head that ends with its empty line. @throws HTTP_HEAD */
export function parseHead(bytes: Uint8Array): ResponseHead {
  if (bytes.length > MAX_HEAD_BYTES) throw bad('too large')
  let text = ''
  for (const b of bytes) text += String.fromCharCode(b)
  if (!text.endsWith('\r\n\r\n')) throw bad('no empty line at its end')
  const [statusLine = '', ...lines] = text.slice(0, -4).split('\r\n')
  const status = /^HTTP\/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(statusLine)
  if (!status) throw bad('not a status line')
  if (lines.length > MAX_HEADERS) throw bad('too many headers')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const m = /^([a-zA-Z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/.exec(line)
    if (!m) throw bad('a malformed header line')
    const name = m[1]!.toLowerCase()
    if (!headers.has(name)) headers.set(name, m[2]!.replace(/[ \t]+$/, ''))
    else if (ONCE.has(name)) throw bad('a header that must be single came twice')
  }
  const connection = (headers.get('connection') ?? '').toLowerCase()
  return {
    status: Number(status[2]),
    headers,
    length: contentLength(headers.get('content-length')),
    keepAlive: status[1] === '1' ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection),
    bytes: bytes.length
  }
}

function contentLength(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[0-9]{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw bad('a malformed Content-Length')
  return Number(text)
}

const bad = (what: string): KithError => new KithError('HTTP_HEAD', `bad head of an answer: ${what}`)
