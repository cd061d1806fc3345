/** Magnet links (BEP 9) with a v1 info-hash, a v2 one (BEP 52: `btmh`, a SHA-256 multihash), or both of a hybrid: reader and writer. */
import { base32ToBytes, bytesToHex, equalBytes, hexToBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { MAX_MAGNET_CHARS, MAX_MAGNET_PARAMS, MAX_MAGNET_PEERS, MAX_TRACKERS, MAX_WEB_SEEDS } from './limits.ts'
import { formatPeerAddress, keepTrackers, keepWebSeeds, keepWebTrackers, type PeerAddress, parsePeerAddress } from './urls.ts'

export interface Magnet {
  /** 20 bytes by which peers and trackers know the torrent: the v1 info-hash; of a link without one, `infoHashV2` cut. */
  readonly infoHash: Uint8Array
  /** 32 bytes. */
  readonly infoHashV2?: Uint8Array | undefined
  /** Display name: remote text. */
  readonly name: string | undefined
  readonly trackers: readonly string[]
  /** Trackers of WebTorrent. */
  readonly webTrackers?: readonly string[]
  readonly webSeeds: readonly string[]
  /** Peers named in the link; checked like any other address before they are dialled. */
  readonly peers: readonly PeerAddress[]
}

const MAX_NAME_CHARS = 1024

/**
 * Reads a magnet link. Parameters it does not know, and trackers beyond 32, are ignored.
 * @throws BAD_MAGNET without an info-hash, and with two of one version
 */
export function parseMagnet(text: string): Magnet {
  if (text.length > MAX_MAGNET_CHARS || !/^magnet:\?/i.test(text)) throw bad('not a magnet link')
  const params = text.slice('magnet:?'.length).split('&')
  const hashes = { btih: new Map<string, Uint8Array>(), btmh: new Map<string, Uint8Array>() }
  const found = { tr: [] as string[], ws: [] as string[], 'x.pe': [] as string[] }
  let name: string | undefined
  for (const param of params.slice(0, MAX_MAGNET_PARAMS)) {
    const [, key = '', raw = ''] = /^([^=.]+(?:\.pe)?)(?:\.[0-9]+)?=(.*)$/s.exec(param) ?? []
    const value = decodePercent(raw)
    if (key === 'xt') {
      const [, kind, text = ''] = /^urn:(btih|btmh):(.*)$/is.exec(value) ?? []
      const hash = kind && (kind.toLowerCase() === 'btih' ? readHash(text) : readMultihash(text))
      if (hash) hashes[hash.length === 20 ? 'btih' : 'btmh'].set(bytesToHex(hash), hash)
    } else if (key === 'dn') name ??= value.slice(0, MAX_NAME_CHARS)
    else if (key === 'tr' || key === 'ws' || key === 'x.pe') found[key].push(value)
  }
  if (hashes.btih.size > 1 || hashes.btmh.size > 1) throw bad('two info-hashes')
  const [v1] = hashes.btih.values()
  const [v2] = hashes.btmh.values()
  const infoHash = v1 ?? v2?.slice(0, 20)
  if (!infoHash) throw bad('no info-hash')
  const web = keepWebTrackers(found.tr, MAX_TRACKERS)
  return {
    infoHash,
    infoHashV2: v2,
    name,
    trackers: keepTrackers(found.tr, MAX_TRACKERS),
    ...(web.length > 0 ? { webTrackers: web } : {}),
    webSeeds: keepWebSeeds(found.ws, MAX_WEB_SEEDS),
    peers: found['x.pe']
      .slice(0, MAX_MAGNET_PEERS)
      .map(parsePeerAddress)
      .filter(p => p !== undefined)
  }
}

/** Writes a magnet link that names its hashes in hex, and no tracker unless given. */
export function formatMagnet(magnet: Pick<Magnet, 'infoHash'> & Partial<Magnet>): string {
  const part = (key: string, value: string): string => `&${key}=${encodeURIComponent(value)}`
  const { infoHash, infoHashV2 } = magnet
  const v1 = hasV1(magnet) ? [`xt=urn:btih:${bytesToHex(infoHash)}`] : []
  const v2 = infoHashV2 ? [`xt=urn:btmh:${SHA256_PREFIX}${bytesToHex(infoHashV2)}`] : []
  return (
    `magnet:?${[...v1, ...v2].join('&')}` +
    (magnet.name === undefined ? '' : part('dn', magnet.name.toWellFormed())) +
    (magnet.trackers ?? []).map(t => part('tr', t)).join('') +
    (magnet.webTrackers ?? []).map(t => part('tr', t)).join('') +
    (magnet.webSeeds ?? []).map(w => part('ws', w)).join('') +
    // Not escaped: libtorrent 2.0 reads it as it stands, and would not find an address in "%5B" and "%3A".
    (magnet.peers ?? []).map(p => `&x.pe=${formatPeerAddress(p)}`).join('')
  )
}

/** Whether `infoHash` is one of v1: no SHA-1 is the front of the SHA-256 of the same. */
export const hasV1 = ({ infoHash, infoHashV2 }: Pick<Magnet, 'infoHash'> & Partial<Magnet>): boolean =>
  !infoHashV2 || !equalBytes(infoHash, infoHashV2.subarray(0, 20))

/** Multihash (CID style): function 0x12 is SHA-256, then the length. */
const SHA256_PREFIX = '1220'

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

function readMultihash(text: string): Uint8Array {
  if (!/^1220[0-9a-f]{64}$/i.test(text)) throw bad('the v2 info-hash is no SHA-256 multihash in hex')
  return hexToBytes(text.slice(SHA256_PREFIX.length))
}

function decodePercent(raw: string): string {
  try {
    return decodeURIComponent(raw.replaceAll('+', '%20'))
  } catch {
    return ''
  }
}
