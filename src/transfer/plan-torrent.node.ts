/** The plan for a magnet link or a .torrent file: metadata from the file or from peers, pieces checked by their SHA-1. */
import { readFileSync, statSync } from 'node:fs'
import { bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { Address } from './address.ts'
import type { BitTorrent, PeerHints } from './bittorrent/bittorrent.node.ts'
import { parseMagnet } from './bittorrent/magnet.ts'
import { type Metainfo, parseTorrent } from './bittorrent/metainfo.ts'
import { makeGrid } from './grid.ts'
import { FIRST_SOURCE_MS, MAX_TORRENT_BYTES } from './limits.ts'
import type { FeedContext, Plan } from './plan.node.ts'

export interface TorrentPlanDeps {
  readonly bittorrent: BitTorrent
  /** Peers and trackers that the user named: they may be on this machine or network. */
  readonly given: PeerHints
}

/** @throws FILE_NOT_FOUND, BAD_TORRENT, BAD_MAGNET, BENCODE_ERROR, NO_SOURCES, CANCELLED */
export async function planTorrent(
  deps: TorrentPlanDeps,
  address: Extract<Address, { kind: 'magnet' | 'torrent' }>,
  signal: AbortSignal
): Promise<Plan> {
  const magnet = address.kind === 'magnet' ? parseMagnet(address.text) : undefined
  const metainfo = address.kind === 'torrent' ? readTorrent(address.path) : await fetchMetainfo(deps, parseMagnet(address.text), signal)
  const hex = bytesToHex(metainfo.infoHash)
  const { size, pieceLength, pieces } = metainfo
  if (!pieces) throw new KithError('BAD_TORRENT', 'v2 not supported yet')
  return {
    stem: hex.slice(0, 16),
    grid: makeGrid(size, pieceLength),
    header: { key: `btih:${hex}`, size, chunkBytes: pieceLength, root: undefined },
    hashes: { algorithm: 'sha1', of: c => pieces.subarray(20 * c, 20 * c + 20) },
    name: metainfo.name,
    mime: '',
    fileId: undefined,
    root: undefined,
    chunkHashes: undefined,
    rootIsTrusted: false,
    torrent: { infoHash: metainfo.infoHash, pieces },
    files: metainfo.multiFile ? filesOf(metainfo) : undefined,
    feed: (context, feedSignal) => feed(deps, metainfo, magnet?.peers ?? [], context, feedSignal)
  }
}

function readTorrent(path: string): Metainfo {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat?.isFile())
    throw new KithError('FILE_NOT_FOUND', `there is no file ${path}`, { path }, { hint: 'check the path of the .torrent file' })
  if (stat.size > MAX_TORRENT_BYTES) throw new KithError('BAD_TORRENT', 'the .torrent file is larger than 10 MiB', { size: stat.size })
  return parseTorrent(readFileSync(path))
}

async function fetchMetainfo(
  { bittorrent, given }: TorrentPlanDeps,
  magnet: ReturnType<typeof parseMagnet>,
  signal: AbortSignal
): Promise<Metainfo> {
  try {
    return await bittorrent.fetchMetainfo(magnet, given, AbortSignal.any([signal, AbortSignal.timeout(2 * FIRST_SOURCE_MS)]))
  } catch (cause) {
    if (signal.aborted) throw new KithError('CANCELLED', 'stopped', {}, { cause })
    if (!(cause instanceof KithError) || cause.code !== 'METADATA_FAILED') throw cause
    const hint = 'name a tracker with --tracker or a peer with --peer; public trackers and the public DHT are off'
    throw new KithError('NO_SOURCES', 'no peer gave the metadata of this magnet link', {}, { cause, hint })
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
  { bittorrent, given }: TorrentPlanDeps,
  torrent: Metainfo,
  peers: PeerHints['peers'],
  context: FeedContext,
  signal: AbortSignal
): Promise<void> {
  await using _ = bittorrent.openSwarm({
    torrent,
    trackers: torrent.trackers,
    peers: peers ?? [],
    trust: 'found',
    also: given,
    left: () => context.bytesLeft(),
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
  await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
