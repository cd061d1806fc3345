/** Where one file is on one server, how to get there, and what to say there: from an endpoint of an offer or of a probed URL. */
import { isIP } from 'node:net'
import { bytesToHex, fromUtf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { checkPort } from '../address-filter.ts'
import type { Endpoint } from '../protocol.ts'
import type { ConnectTarget, TlsTrust } from './connect.node.ts'
import { bracketed, type ProxyRoute } from './proxy.ts'
import { splitUrl } from './url.ts'

export interface HttpPlace extends ConnectTarget {
  /** Host header. */
  readonly authority: string
  /** Path with query: what a server sees, and tickets prove. */
  readonly path: string
  /** Request line after GET, and the headers that only a proxy reads. */
  readonly target: string
  readonly proxyHeader: string
  /** Strong ETag the file must still have; undefined when the server gave none. */
  readonly etag: string | undefined
}

export interface PlaceOptions {
  /** Certificate authorities in PEM for https URLs; the system's by default. */
  readonly ca?: string | undefined
  readonly route?: ProxyRoute | undefined
}

/** The place of a plain URL, or of a seeder's listener. @throws FORBIDDEN_ADDRESS, URL_FORBIDDEN */
export function placeOf(e: Endpoint, { ca, route }: PlaceOptions): HttpPlace {
  if (e.seeder !== undefined || e.extra.length === 0) return seederPlace(e, undefined, route)
  const url = splitUrl(fromUtf8(e.extra))
  const address = isIP(e.host) === 0 ? undefined : e.host
  if (address === undefined && !route?.covers(url.host)) throw notAnAddress()
  return makePlace(url, address, url.tls ? { name: url.host, ca } : undefined, route)
}

/** The place of a seeder's HTTPS listener: `extra` is the SHA-256 of its key. @throws FORBIDDEN_ADDRESS, URL_FORBIDDEN, SOURCE_LIED */
export function securePlaceOf(e: Endpoint, { route }: PlaceOptions): HttpPlace {
  if (e.extra.length !== PIN_BYTES) throw new KithError('SOURCE_LIED', 'the offer pins no key', { bytes: e.extra.length })
  return seederPlace(e, { pin: e.extra }, route)
}

/** What is in an offer's `extra` for https: SHA-256 of a SubjectPublicKeyInfo. */
export const PIN_BYTES = 32

function seederPlace(e: Endpoint, tls: TlsTrust | undefined, route: ProxyRoute | undefined): HttpPlace {
  if (isIP(e.host) === 0) throw notAnAddress()
  checkPort(e.port)
  const authority = `${bracketed(e.host)}:${e.port}`
  return makePlace({ host: e.host, port: e.port, authority, path: `/${bytesToHex(e.fileId)}`, etag: undefined }, e.host, tls, route)
}

interface Parts {
  readonly host: string
  readonly port: number
  readonly authority: string
  readonly path: string
  readonly etag: string | undefined
}

/** @param address IP address; undefined when only the proxy can resolve the name */
export function makePlace(
  { host, port, authority, path, etag }: Parts,
  address: string | undefined,
  tls: TlsTrust | undefined,
  route: ProxyRoute | undefined
): HttpPlace {
  const proxy = route?.covers(host, address) ? route.server : undefined
  const direct = { port, tls, authority, path, etag, target: path, proxyHeader: '' }
  if (!proxy) return { ...direct, address: address ?? host }
  if (tls) return { ...direct, address: host, proxy }
  return { ...direct, address: host, proxy, target: `http://${authority}${path}`, proxyHeader: proxy.header }
}

const notAnAddress = (): KithError => new KithError('FORBIDDEN_ADDRESS', 'an endpoint is an IP address, not a name')
