/**
 * Downloader's choice (spec 004, `selectDownloadProtocol`): in which order the protocols of one seeder are tried. The first is what the
 * spec selects; the rest is what its §10 "Protocol Failure Handling" falls back to. Pure: no clock, no state, no protocol code.
 *
 * 1. A browser has WebTorrent, and HTTP(S) where the server allows it (CORS).
 * 2. What the user prefers comes first.
 * 3. A large file (> 100 MB) with many (> 5) BitTorrent seeders: BitTorrent.
 * 4. HTTP, when a seeder has it: directly on an open network, through the proxy on a restricted one, where it comes before all else.
 * 5. The rest by the number of seeders that have it.
 *
 * Kith's own stream is the last resort and, with WebTorrent, the only way to a seeder that is reached through a relay. What keeps
 * failing over several seeders (an ISP that blocks it) is tried after everything else.
 */
import { LARGE_FILE_BYTES, MANY_SEEDERS } from '../limits.ts'

export interface PolicyContext {
  readonly environment: 'node' | 'browser'
  /** What the seeder offers and this program speaks. */
  readonly offered: readonly string[]
  /** The user's choice: tried first where it is offered. */
  readonly prefer?: string | undefined
  /** Only these; undefined or empty: all. */
  readonly allow?: readonly string[] | undefined
  /** This network lets nothing but HTTP(S) through. */
  readonly restricted?: boolean | undefined
  /** False when the seeder is only reached through a relay: its ports mean nothing then. */
  readonly hasHost: boolean
  readonly fileSize: number
  /** How many seeders of the file have each protocol. */
  readonly seeders: Readonly<Record<string, number>>
  /** Protocols that failed with several seeders of this download and worked with none. */
  readonly failing?: ReadonlySet<string> | undefined
}

/** Kith's own stream, in the connection over which the offer came. */
export const OWN_STREAM = 'kith'
const WEB: readonly string[] = ['http', 'https']
/** These find their way to a seeder without an address of it. */
export const HOSTLESS: ReadonlySet<string> = new Set([OWN_STREAM, 'webtorrent'])
const IN_BROWSER: readonly string[] = ['webtorrent', ...WEB, OWN_STREAM]
/** Among protocols that are equally available: the cheapest to speak first. */
const TIE_ORDER: readonly string[] = [...WEB, 'bittorrent', 'webtorrent', 'ed2k']

/** The protocols to try for one seeder, in order, each once. Empty: it offers none that may be used. */
export function orderProtocols(c: PolicyContext): string[] {
  const usable = [...new Set(c.offered)].filter(name => isUsable(name, c))
  const first = (name: string): boolean => usable.includes(name)
  const order: string[] = []
  if (c.environment === 'browser') {
    order.push(...IN_BROWSER.filter(first))
    if (c.prefer !== undefined && first(c.prefer)) order.unshift(c.prefer)
  } else {
    if (c.prefer !== undefined && first(c.prefer)) order.push(c.prefer)
    const many = (c.seeders['bittorrent'] ?? 0) > MANY_SEEDERS
    if (c.fileSize > LARGE_FILE_BYTES && many && c.restricted !== true && first('bittorrent')) order.push('bittorrent')
    order.push(...WEB.filter(first))
    order.push(...usable.filter(name => name !== OWN_STREAM).sort((a, b) => byAvailability(c, a, b)))
    if (first(OWN_STREAM)) order.push(OWN_STREAM)
  }
  const once = [...new Set(order)]
  const fails = (name: string): boolean => c.failing?.has(name) === true
  return [...once.filter(name => !fails(name)), ...once.filter(fails)]
}

function isUsable(name: string, c: PolicyContext): boolean {
  if (c.allow !== undefined && c.allow.length > 0 && !c.allow.includes(name)) return false
  if (c.environment === 'browser' && !IN_BROWSER.includes(name)) return false
  return c.hasHost || HOSTLESS.has(name)
}

function byAvailability(c: PolicyContext, a: string, b: string): number {
  const rank = (name: string): number => (TIE_ORDER.includes(name) ? TIE_ORDER.indexOf(name) : TIE_ORDER.length)
  return (c.seeders[b] ?? 0) - (c.seeders[a] ?? 0) || rank(a) - rank(b)
}
