/**
 * The plan for a magnet link or a .torrent file: metadata from the file or from peers. Pieces are checked by their place in the tree of
 * their file (BEP 52) where the torrent has all of its trees, else by their SHA-1, which can be made to collide.
 */
import { readFileSync, statSync } from 'node:fs'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import type { Address } from './address.ts'
import type { BitTorrent, PeerHints } from './bittorrent/bittorrent.node.ts'
import { missingLayers, type V2Info } from './bittorrent/file-tree.ts'
import { HASH_BYTES } from './bittorrent/hashes.ts'
import { type Magnet, parseMagnet } from './bittorrent/magnet.ts'
import { type Metainfo, parseTorrent } from './bittorrent/metainfo.ts'
import { makeGrid } from './grid.ts'
import { pieceHeight } from './hashing/bep52-tree.ts'
import { FIRST_SOURCE_MS, MAX_TORRENT_BYTES } from './limits.ts'
import type { FeedContext, Plan } from './plan.node.ts'

export interface TorrentPlanDeps {
  readonly bittorrent: BitTorrent
  /** Peers and trackers that the user named: they may be on this machine or network. */
  readonly given: PeerHints
  /** Joins the swarm of browsers at WebSocket trackers; undefined: not over WebTorrent. */
  readonly joinWeb?: ((torrent: Metainfo, trackers: readonly string[], context: FeedContext) => AsyncDisposable | undefined) | undefined
}

/** @throws FILE_NOT_FOUND, BAD_TORRENT, BAD_MAGNET, BENCODE_ERROR, NO_SOURCES, CANCELLED */
export async function planTorrent(
  deps: TorrentPlanDeps,
  address: Extract<Address, { kind: 'magnet' | 'torrent' }>,
  signal: AbortSignal
): Promise<Plan> {
  const magnet = address.kind === 'magnet' ? parseMagnet(address.text) : undefined
  const metainfo = magnet ? await fetchMetainfo(deps, magnet, signal) : await readTorrent(deps, address, signal)
  const { infoHash, size, pieceLength, pieces, v2 } = metainfo
  const hex = bytesToHex(infoHash)
  return {
    stem: hex.slice(0, 16),
    grid: makeGrid(size, pieceLength),
    header: { key: pieces ? `btih:${hex}` : `btmh:${bytesToHex(v2!.infoHash)}`, size, chunkBytes: pieceLength, root: undefined },
    hashes: hashesOf(metainfo),
    name: metainfo.name,
    mime: '',
    fileId: undefined,
    root: undefined,
    chunkHashes: undefined,
    rootIsTrusted: false,
    torrent: { infoHash, pieces: pieces ?? new Uint8Array() },
    files: metainfo.multiFile ? filesOf(metainfo) : undefined,
    feed: (context, feedSignal) => feed(deps, metainfo, magnet, context, feedSignal)
  }
}

/** What a torrent or magnet link says by itself. @throws FILE_NOT_FOUND, BAD_TORRENT, BAD_MAGNET, BENCODE_ERROR */
export function describeTorrent(address: Extract<Address, { kind: 'magnet' | 'torrent' }>): {
  readonly hash: string
  readonly name: string | undefined
  readonly size: number | undefined
  readonly pieceLength: number
} {
  if (address.kind === 'torrent') {
    const { infoHash, pieces, v2, name, size, pieceLength } = parseFile(address.path)
    return { hash: shownHash(infoHash, pieces ? undefined : v2?.infoHash), name, size, pieceLength }
  }
  const { infoHash, infoHashV2, name } = parseMagnet(address.text)
  const only = infoHashV2 && equalBytes(infoHash, infoHashV2.subarray(0, infoHash.length)) ? infoHashV2 : undefined
  return { hash: shownHash(infoHash, only), name, size: undefined, pieceLength: CHUNK_BYTES }
}

/** Of a torrent that only has v2 its own hash, not the part of it that v1's messages carry. */
const shownHash = (infoHash: Uint8Array, only: Uint8Array | undefined): string =>
  only ? `btmh:${bytesToHex(only)}` : `btih:${bytesToHex(infoHash)}`

/** A v2 torrent file may lack piece layers: then it is as good as its magnet link. */
async function readTorrent(deps: TorrentPlanDeps, address: Address, signal: AbortSignal): Promise<Metainfo> {
  if (address.kind !== 'torrent') throw new KithError('BAD_ADDRESS', 'not a torrent')
  const metainfo = parseFile(address.path)
  const { pieces, v2, infoHash, trackers, webSeeds } = metainfo
  if (pieces || !v2 || missingLayers(v2, metainfo.pieceLength).length === 0) return metainfo
  return fetchMetainfo(deps, { infoHash, infoHashV2: v2.infoHash, name: undefined, trackers, webSeeds, peers: [] }, signal)
}

function parseFile(path: string): Metainfo {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat?.isFile())
    throw new KithError('FILE_NOT_FOUND', `there is no file ${path}`, { path }, { hint: 'check the path of the .torrent file' })
  if (stat.size > MAX_TORRENT_BYTES) throw new KithError('BAD_TORRENT', 'the .torrent file is larger than 10 MiB', { size: stat.size })
  return parseTorrent(readFileSync(path))
}

async function fetchMetainfo({ bittorrent, given }: TorrentPlanDeps, magnet: Magnet, signal: AbortSignal): Promise<Metainfo> {
  try {
    return await bittorrent.fetchMetainfo(magnet, given, AbortSignal.any([signal, AbortSignal.timeout(2 * FIRST_SOURCE_MS)]))
  } catch (cause) {
    if (signal.aborted) throw new KithError('CANCELLED', 'stopped', {}, { cause })
    if (!(cause instanceof KithError) || cause.code !== 'METADATA_FAILED') throw cause
    const hint =
      'name a tracker with --tracker, a peer with --peer or a DHT with --dht-bootstrap; public ones are off unless --public is given'
    throw new KithError('NO_SOURCES', 'no peer gave the metadata of this magnet link', {}, { cause, hint })
  }
}

function hashesOf({ pieces, v2, pieceLength }: Metainfo): Plan['hashes'] {
  if (v2 && (!pieces || missingLayers(v2, pieceLength).length === 0)) return treeHashes(v2, pieceLength)
  return { algorithm: 'sha1', of: c => pieces!.subarray(20 * c, 20 * c + 20) }
}

/** Each piece belongs to one file: its hash is one of that file's piece layer, or the root of a file that is not longer. */
function treeHashes(v2: V2Info, pieceLength: number): Plan['hashes'] {
  const count = v2.files.reduce((n, f) => n + Math.ceil(f.length / pieceLength), 0)
  const hashes = new Uint8Array(HASH_BYTES * count)
  const lengths = new Int32Array(count)
  const heights = new Uint8Array(count)
  let next = 0
  for (const { root, length } of v2.files) {
    if (!root) continue
    const layer = length > pieceLength ? v2.layers.get(bytesToHex(root)) : root
    if (!layer) throw new KithError('BAD_TORRENT', 'a piece layer is missing')
    hashes.set(layer, HASH_BYTES * next)
    heights.fill(pieceHeight(length, pieceLength), next, next + Math.ceil(length / pieceLength))
    for (let left = length; left > 0; left -= pieceLength) lengths[next++] = Math.min(left, pieceLength)
  }
  return {
    algorithm: 'sha256-tree',
    of: c => hashes.subarray(HASH_BYTES * c, HASH_BYTES * (c + 1)),
    shape: c => ({ bytes: lengths[c]!, height: heights[c]! })
  }
}

function filesOf({ files }: Metainfo): NonNullable<Plan['files']> {
  const out: { path: readonly string[]; offset: number; length: number }[] = []
  let offset = 0
  for (const { path, length, pad } of files) {
    if (!pad) out.push({ path, offset, length })
    offset += length
  }
  return out
}

async function feed(
  { bittorrent, given, joinWeb }: TorrentPlanDeps,
  torrent: Metainfo,
  magnet: Magnet | undefined,
  context: FeedContext,
  signal: AbortSignal
): Promise<void> {
  await using _web = torrent.private ? undefined : joinWeb?.(torrent, magnet?.webTrackers ?? torrent.webTrackers ?? [], context)
  await using _ = bittorrent.openSwarm({
    torrent,
    trackers: torrent.trackers,
    peers: magnet?.peers ?? [],
    trust: 'found',
    also: given,
    left: () => context.bytesLeft(),
    note: text => context.note(text),
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
  await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
