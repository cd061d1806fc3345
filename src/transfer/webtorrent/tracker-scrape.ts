/** The scrape convention of HTTP trackers (BEP 48) for the WebSocket tracker: figures of the torrents that a request names. Pure. */
import { concatBytes, utf8 } from '../../base/bytes.ts'
import { MAX_SCRAPE_HASHES } from './limits.ts'

/** Bencoded answer to "/scrape?info_hash=…&info_hash=…"; undefined when it is another path, or names none or too many torrents. */
export function scrapePage(
  url: string,
  count: (infoHash: Uint8Array) => readonly [complete: number, incomplete: number]
): Uint8Array | undefined {
  const [path, query = ''] = url.split('?', 2)
  if (path !== '/scrape') return undefined
  const parts = query.split('&', MAX_SCRAPE_HASHES + 1)
  const hashes = parts.map(part => (part.startsWith('info_hash=') ? unescape20(part.slice('info_hash='.length)) : undefined))
  const known = hashes.filter(hash => hash !== undefined)
  if (known.length === 0 || known.length !== parts.length || parts.length > MAX_SCRAPE_HASHES) return undefined
  // bencoded dictionaries are sorted by key, and each key is there once
  const byText = new Map(known.map(hash => [String.fromCharCode(...hash), hash]))
  const entries = [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, hash]) => entry(hash, count(hash)))
  return concatBytes(utf8('d5:filesd'), ...entries, utf8('ee'))
}

const entry = (hash: Uint8Array, [complete, incomplete]: readonly [number, number]): Uint8Array =>
  concatBytes(utf8('20:'), hash, utf8(`d8:completei${complete}e10:downloadedi${complete}e10:incompletei${incomplete}ee`))

/** 20 bytes in which each may be escaped; undefined for anything else. */
function unescape20(text: string): Uint8Array | undefined {
  if (!/^(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~!*'()-]){20}$/.test(text)) return undefined
  const bytes = [...text.matchAll(/%([0-9A-Fa-f]{2})|(.)/g)].map(([, hex, char]) => (hex ? Number.parseInt(hex, 16) : char!.charCodeAt(0)))
  return Uint8Array.from(bytes)
}
