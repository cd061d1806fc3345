/** Which addresses in torrents and magnets are kept. Whether they may be connected to is decided when that happens (`checkAddress`). */
import { MAX_URL_CHARS } from './limits.ts'

export interface PeerAddress {
  /** A name or a literal address, IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

/** Trackers we can talk to (http, https, udp), each once, at most `max`; the rest is left out. */
export const keepTrackers = (urls: Iterable<string>, max: number): string[] => keep(urls, /^(https?|udp):\/\//i, max)

/** Trackers of WebTorrent (ws, wss), each once, at most `max`. */
export const keepWebTrackers = (urls: Iterable<string>, max: number): string[] => keep(urls, /^wss?:\/\//i, max)

/** Web seeds (http, https), each once, at most `max`; the rest is left out. */
export const keepWebSeeds = (urls: Iterable<string>, max: number): string[] => keep(urls, /^https?:\/\//i, max)

/** "192.0.2.1:6881", "[2001:db8::1]:6881" or "name:6881"; undefined for anything else and for port 0. */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  const m = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):([0-9]{1,5})$/.exec(text)
  const port = Number(m?.[3])
  if (!m || port === 0 || port > 65535) return undefined
  return { host: (m[1] ?? m[2])!, port }
}

export const formatPeerAddress = ({ host, port }: PeerAddress): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)

function keep(urls: Iterable<string>, scheme: RegExp, max: number): string[] {
  const kept = new Set<string>()
  for (const raw of urls) {
    const url = raw.trim()
    if (kept.size >= max) break
    if (url.length <= MAX_URL_CHARS && scheme.test(url) && URL.canParse(url)) kept.add(url)
  }
  return [...kept]
}
