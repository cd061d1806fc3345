/**
 * Which addresses a URL from outside may lead to: the guard against server-side request forgery (threats HT8-HT11). Literals are
 * read here, independent of the platform; names are resolved, checked and pinned in address-filter.node.ts.
 */
import { KithError } from '../base/errors.ts'

export interface AddressPolicy {
  /** Private, carrier-grade and link-local ranges: when LAN discovery or the user gave the address. */
  readonly allowPrivate: boolean
  /** This machine: only when the user gave the address. */
  readonly allowLoopback: boolean
}

/** Nothing but the public internet. */
export const PUBLIC_ONLY: AddressPolicy = { allowPrivate: false, allowLoopback: false }

/** `never`: unroutable, multicast, documentation, cloud metadata, and tunnels that would hide another address. */
export type AddressClass = 'public' | 'private' | 'loopback' | 'never'

export interface CheckedUrl {
  readonly tls: boolean
  /** Name in lower case (punycode), or an IP literal without brackets. */
  readonly host: string
  /** The host's class when it is a literal or a name that always means this machine; undefined for names to be resolved. */
  readonly literal: AddressClass | undefined
  readonly port: number
  /** Host header. */
  readonly authority: string
  /** Path with query. */
  readonly path: string
}

const MAX_URL_CHARS = 4096
/** Ports of services that speak something else but could be talked into action by a line of HTTP (the well-known ones above 1023). */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5984, 6000, 6379, 6380, 6443,
  6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9200, 9300, 10250, 11211, 27017
])

/** 80, 443 and unprivileged ports that are not a well-known service's. @throws URL_FORBIDDEN */
export function checkPort(port: number): void {
  const ok = Number.isInteger(port) && port <= 65_535 && (port === 80 || port === 443 || port >= 1024) && !SERVICE_PORTS.has(port)
  if (!ok) throw forbidden('this port is not for files', { port: String(port) })
}

/**
 * Where a seeder's offer may lead: the IP literal at which the seeder was authenticated, and a port for files. An empty host would be this
 * machine to the platform. @throws FORBIDDEN_ADDRESS, URL_FORBIDDEN
 */
export function checkEndpoint(host: string, port: number): void {
  if (!isIpv4(host) && !parseIpv6(host)) throw new KithError('FORBIDDEN_ADDRESS', 'an endpoint is an IP address, not a name', { host })
  checkPort(port)
}

/** checkPort as a question. */
export function isFilePort(port: number): boolean {
  try {
    checkPort(port)
    return true
  } catch {
    return false
  }
}

/** @throws FORBIDDEN_ADDRESS unless the policy lets this class pass */
export function checkClass(kind: AddressClass, policy: AddressPolicy, host: string): void {
  if (kind === 'public' || (kind === 'private' && policy.allowPrivate) || (kind === 'loopback' && policy.allowLoopback)) return
  throw new KithError('FORBIDDEN_ADDRESS', `this address is not followed (${kind})`, { host, class: kind })
}

/**
 * Reads an http(s) URL strictly and checks all that can be checked without resolving: scheme, port, literal addresses in any
 * spelling, no user name, no fragment, no characters that parsers disagree about.
 * @throws URL_FORBIDDEN, FORBIDDEN_ADDRESS
 */
export function checkUrl(text: string, policy: AddressPolicy): CheckedUrl {
  if (text.length > MAX_URL_CHARS) throw forbidden('too long')
  if (/[\u0000-\u0020\u007f-\u00a0\u00ad\u2028\u2029\\]/.test(text)) throw forbidden('a space, a control character or a backslash')
  const raw = /^(https?):\/\/([^/?#]+)([^#]*)$/i.exec(text)
  if (!raw) throw forbidden('not an http(s) URL without fragment')
  if (raw[2]!.includes('@')) throw forbidden('a user name')
  const url = parse(text)
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  if (host === '' || url.username !== '' || url.password !== '') throw forbidden('no host')
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  checkPort(port)
  const literal = classOfHost(host)
  // 2130706433, 0x7f.1, ①②⑦.0.0.1: spellings nobody uses for a good reason
  if (isIpv4(host) && raw[2]!.replace(/:[0-9]*$/, '') !== host) throw forbidden('an IP address in an unusual spelling')
  if (literal) checkClass(literal, policy, host)
  return { tls: url.protocol === 'https:', host, literal, port, authority: url.host, path: `${url.pathname}${url.search}` }
}

/** Class of a literal or of a name that never leaves this machine; undefined for other names. */
export function classOfHost(host: string): AddressClass | undefined {
  const name = host.toLowerCase().replace(/\.$/, '')
  if (name === 'localhost' || name.endsWith('.localhost') || name === 'localhost.localdomain') return 'loopback'
  return isIpv4(name) || name.includes(':') ? classOfAddress(name) : undefined
}

/** Class of an IP literal (no brackets); `never` for anything that is not one, also with a zone. */
export function classOfAddress(address: string): AddressClass {
  if (isIpv4(address)) return classOf4(address.split('.').map(Number))
  const words = parseIpv6(address)
  return words ? classOf6(words) : 'never'
}

const isIpv4 = (s: string): boolean => /^(?:(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])(?:\.(?!$)|$)){4}$/.test(s)

type Rule4 = readonly [network: number, bits: number, kind: AddressClass]
const v4 = (a: number, b = 0, c = 0, d = 0): number => ((a * 256 + b) * 256 + c) * 256 + d
/** IANA special-purpose registry; the first that matches decides. */
const RULES4: readonly Rule4[] = [
  [v4(127), 8, 'loopback'],
  [v4(169, 254, 169, 254), 32, 'never'], // cloud metadata
  [v4(100, 100, 100, 200), 32, 'never'], // the same elsewhere
  [v4(10), 8, 'private'],
  [v4(100, 64), 10, 'private'],
  [v4(169, 254), 16, 'private'],
  [v4(172, 16), 12, 'private'],
  [v4(192, 168), 16, 'private'],
  [v4(0), 8, 'never'],
  [v4(192), 24, 'never'],
  [v4(192, 0, 2), 24, 'never'],
  [v4(192, 88, 99), 24, 'never'],
  [v4(198, 18), 15, 'never'],
  [v4(198, 51, 100), 24, 'never'],
  [v4(203, 0, 113), 24, 'never'],
  [v4(224), 3, 'never']
]

function classOf4([a = 0, b = 0, c = 0, d = 0]: readonly number[]): AddressClass {
  const address = v4(a, b, c, d)
  for (const [network, bits, kind] of RULES4)
    if (Math.floor(address / 2 ** (32 - bits)) === Math.floor(network / 2 ** (32 - bits))) return kind
  return 'public'
}

/** Only 2000::/3 is handed out; the rest is public for nobody. Addresses that hold an IPv4 one are judged by that. */
function classOf6(w: readonly number[]): AddressClass {
  const low4 = (): AddressClass => classOf4([w[6]! >> 8, w[6]! & 255, w[7]! >> 8, w[7]! & 255])
  const zeros = (n: number): boolean => w.slice(0, n).every(x => x === 0)
  if (zeros(7) && w[7] === 1) return 'loopback'
  if (zeros(5) && w[5] === 0xffff) return low4()
  if (w[0] === 0x64 && w[1] === 0xff9b && w.slice(2, 6).every(x => x === 0)) return low4() === 'public' ? 'public' : 'never' // NAT64
  if (w[0] === 0xfd00 && w[1] === 0xec2) return 'never' // cloud metadata
  if ((w[0]! & 0xfe00) === 0xfc00 || (w[0]! & 0xffc0) === 0xfe80) return 'private'
  if ((w[0]! & 0xe000) !== 0x2000) return 'never'
  const special = w[0] === 0x2002 || (w[0] === 0x2001 && (w[1]! < 0x200 || w[1] === 0xdb8)) || (w[0] === 0x3fff && w[1]! < 0x1000)
  return special ? 'never' : 'public'
}

/** Eight 16-bit words; undefined when it is not an IPv6 literal. */
export function parseIpv6(text: string): readonly number[] | undefined {
  const halves = text.split('::')
  if (text.length > 45 || halves.length > 2) return undefined
  const head = words(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? words(halves[1]!, true) : []
  if (!head || !tail) return undefined
  const gap = 8 - head.length - tail.length
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined
  return [...head, ...new Array<number>(gap).fill(0), ...tail]
}

function words(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return []
  const out: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    if (mayEndInIpv4 && i === parts.length - 1 && isIpv4(part)) {
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
      out.push(a * 256 + b, c * 256 + d)
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(Number.parseInt(part, 16))
    else return undefined
  }
  return out
}

function parse(text: string): URL {
  try {
    return new URL(text)
  } catch (cause) {
    throw new KithError('URL_FORBIDDEN', 'not a URL', {}, { cause })
  }
}

const forbidden = (why: string, data: Readonly<Record<string, string>> = {}): KithError =>
  new KithError('URL_FORBIDDEN', `this URL is not followed: ${why}`, data, {
    hint: 'use a plain http(s) URL of a file on ports 80, 443 or 1024 and above'
  })
