/** Magnet links with a BitTorrent v1 info-hash (BEP 9): reader and writer. */
import { base32ToBytes, bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { MAX_MAGNET_CHARS, MAX_MAGNET_PARAMS, MAX_MAGNET_PEERS, MAX_TRACKERS, MAX_WEB_SEEDS } from './limits.ts'
import { formatPeerAddress, keepTrackers, keepWebSeeds, type PeerAddress, parsePeerAddress } from './urls.ts'

export interface Magnet {
  /** 20 bytes. */
  readonly infoHash: Uint8Array
  /** Display name: remote text. */
  readonly name: string | undefined
  readonly trackers: readonly string[]
  readonly webSeeds: readonly string[]
  /** Peers named in the link; checked like any other address before they are dialled. */
  readonly peers: readonly PeerAddress[]
}

const MAX_NAME_CHARS = 1024

/**
 * Reads a magnet link. Parameters it does not know, and trackers beyond 32, are ignored.
 * @throws BAD_MAGNET without exactly one v1 info-hash
 */
export function parseMagnet(text: string): Magnet {
  if (text.length > MAX_MAGNET_CHARS || !/^magnet:\?/i.test(text)) throw bad('not a magnet link')
  const params = text.slice('magnet:?'.length).split('&')
  const hashes = new Map<string, Uint8Array>()
  const found = { tr: [] as string[], ws: [] as string[], 'x.pe': [] as string[] }
  let name: string | undefined
  let v2 = false
  for (const param of params.slice(0, MAX_MAGNET_PARAMS)) {
    const [, key = '', raw = ''] = /^([^=.]+(?:\.pe)?)(?:\.[0-9]+)?=(.*)$/s.exec(param) ?? []
    const value = decodePercent(raw)
    if (key === 'xt' && /^urn:btih:/i.test(value)) {
      const hash = readHash(value.slice('urn:btih:'.length))
      hashes.set(bytesToHex(hash), hash)
    } else if (key === 'xt' && /^urn:btmh:/i.test(value)) v2 = true
    else if (key === 'dn') name ??= value.slice(0, MAX_NAME_CHARS)
    else if (key === 'tr' || key === 'ws' || key === 'x.pe') found[key].push(value)
  }
  if (hashes.size === 0 && v2) throw bad('v2 not supported yet')
  if (hashes.size !== 1) throw bad(hashes.size === 0 ? 'no info-hash' : 'two info-hashes')
  return {
    infoHash: [...hashes.values()][0]!,
    name,
    trackers: keepTrackers(found.tr, MAX_TRACKERS),
    webSeeds: keepWebSeeds(found.ws, MAX_WEB_SEEDS),
    peers: found['x.pe']
      .slice(0, MAX_MAGNET_PEERS)
      .map(parsePeerAddress)
      .filter(p => p !== undefined)
  }
}

/** Writes a magnet link that names the hash in hex, and no tracker unless given. */
export function formatMagnet(magnet: Pick<Magnet, 'infoHash'> & Partial<Magnet>): string {
  const part = (key: string, value: string): string => `&${key}=${encodeURIComponent(value)}`
  return (
    `magnet:?xt=urn:btih:${bytesToHex(magnet.infoHash)}` +
    (magnet.name === undefined ? '' : part('dn', magnet.name.toWellFormed())) +
    (magnet.trackers ?? []).map(t => part('tr', t)).join('') +
    (magnet.webSeeds ?? []).map(w => part('ws', w)).join('') +
    (magnet.peers ?? []).map(p => part('x.pe', formatPeerAddress(p))).join('')
  )
}

const bad = (why: string): KithError => new KithError('BAD_MAGNET', `bad magnet link: ${why}`)

function readHash(text: string): Uint8Array {
  try {
    const bytes = text.length === 40 ? hexToBytes(text) : text.length === 32 ? base32ToBytes(text) : undefined
    if (bytes) return bytes
  } catch (cause) {
    throw new KithError('BAD_MAGNET', 'bad magnet link: the info-hash is neither hex nor base32', {}, { cause })
  }
  throw bad('the info-hash has the wrong length')
}

function decodePercent(raw: string): string {
  try {
    return decodeURIComponent(raw.replaceAll('+', '%20'))
  } catch {
    return ''
  }
}
