/**
 * The HTTP proxy of the user's settings: which requests go through it, and what it is told. Credentials are only ever in `header`.
 * Addresses of this machine and of the local network are always reached directly. Pure.
 */
import { KithError } from '../../base/errors.ts'
import { classOfAddress, classOfHost } from '../address-filter.ts'

export interface ProxyOptions {
  /** `http://[user:password@]host:port`; undefined: none. */
  readonly proxy?: string | undefined
  /** Hosts that are reached directly, with their subdomains: `example.org`, an IP address, or `*`. */
  readonly noProxy?: readonly string[]
}

export interface ProxyServer {
  /** Name or IP literal, without brackets. */
  readonly host: string
  readonly port: number
  /** `Proxy-Authorization: …` with its line end, or "". */
  readonly header: string
}

export interface ProxyRoute {
  readonly server: ProxyServer
  /** Whether a request to this host goes through the proxy. @param address its IP address, when known */
  covers(host: string, address?: string): boolean
}

/** Reads the setting. @throws PROXY_INVALID, without showing what was in it */
export function proxyRoute(options: ProxyOptions): ProxyRoute | undefined {
  if (options.proxy === undefined || options.proxy === '') return undefined
  const server = parseProxy(options.proxy)
  const direct = (options.noProxy ?? [])
    .map(entry =>
      entry
        .trim()
        .toLowerCase()
        .replace(/^\*?\./, '')
    )
    .filter(entry => entry !== '')
  const local = (kind: string | undefined): boolean => kind === 'loopback' || kind === 'private'
  return {
    server,
    covers: (host, address) => {
      const name = host.toLowerCase().replace(/\.$/, '')
      if (local(classOfHost(name)) || (address !== undefined && local(classOfAddress(address)))) return false
      return !direct.some(entry => entry === '*' || name === entry || address === entry || name.endsWith(`.${entry}`))
    }
  }
}

/** A host as it stands in front of `:port`. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

function parseProxy(text: string): ProxyServer {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url?.protocol === 'http:' && url.hostname !== '' && /^\/?$/.test(url.pathname) && url.search === '' && url.hash === ''
  if (!url || !plain) {
    throw new KithError(
      'PROXY_INVALID',
      'the proxy setting is not http://host:port',
      {},
      { hint: 'write http://host:port, or http://user:password@host:port' }
    )
  }
  const { username, password } = url
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 80 : Number(url.port),
    header: username === '' && password === '' ? '' : `Proxy-Authorization: Basic ${base64(`${decode(username)}:${decode(password)}`)}\r\n`
  }
}

const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)))

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new KithError('PROXY_INVALID', 'the credentials of the proxy are not percent-encoded', {}, { cause })
  }
}
