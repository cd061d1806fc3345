/**
 * The plan for a magnet link or a .torrent file: metadata from the file or from peers. Pieces are checked by their place in the tree of
 * their file (BEP 52) where the torrent has all of its trees, else by their SHA-1, which can be made to collide (torrent-content.node.ts).
 */
import { readFileSync, statSync } from 'node:fs'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import type { Address } from './address.ts'
import type { BitTorrent, PeerHints, SwarmRequest } from './bittorrent/bittorrent.node.ts'
import { missingLayers } from './bittorrent/file-tree.ts'
import { type Magnet, parseMagnet } from './bittorrent/magnet.ts'
import { isTorrentError, type Metainfo, parseTorrent, torrentFileOf } from './bittorrent/metainfo.ts'
import { makeGrid } from './grid.ts'
import { FIRST_SOURCE_MS, MAX_TORRENT_BYTES } from './limits.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import { filesOfTorrent, foreignTorrent, hashesOfTorrent } from './torrent-content.node.ts'
import { peersNamed, trackersNamed, unaskedText } from './unasked.ts'

export interface TorrentPlanDeps {
  readonly bittorrent: BitTorrent
  /** What the user allows beside `web`; all of it unless it is said. */
  readonly over?: { readonly bittorrent: boolean; readonly http: boolean }
  /** Peers and trackers that the user named: they may be on this machine or network. */
  readonly given: PeerHints
  /** WebTorrent; undefined: not over it. */
  readonly web?: TorrentWeb | undefined
  /** One line for the user. */
  readonly note?: (text: string) => void
}

/** The swarm of browsers, at WebSocket trackers that a torrent or the user named. */
export interface TorrentWeb {
  /** undefined: there is no tracker. */
  join(torrent: Metainfo, trackers: readonly string[], context: FeedContext): AsyncDisposable | undefined
  /** undefined: there is no tracker. */
  fetchMetainfo(magnet: Magnet, signal: AbortSignal): Promise<Metainfo> | undefined
}

const EVERYTHING = { bittorrent: true, http: true }

/** @throws FILE_NOT_FOUND, BAD_TORRENT, BAD_MAGNET, BENCODE_ERROR, NO_SOURCES, CANCELLED */
export async function planTorrent(
  deps: TorrentPlanDeps,
  address: Extract<Address, { kind: 'magnet' | 'torrent' }>,
  signal: AbortSignal
): Promise<Plan> {
  const magnet = address.kind === 'magnet' ? parseMagnet(address.text) : undefined
  if (magnet) tellUnasked(deps, magnet)
  const metainfo = magnet ? await fetchMetainfo(deps, magnet, signal) : await readTorrent(deps, address, signal)
  if (!magnet) tellUnasked(deps, metainfo)
  const { infoHash, size, pieceLength, pieces, v2 } = metainfo
  const hex = bytesToHex(infoHash)
  return {
    stem: hex.slice(0, 16),
    grid: makeGrid(size, pieceLength),
    header: { key: pieces ? `btih:${hex}` : `btmh:${bytesToHex(v2!.infoHash)}`, size, chunkBytes: pieceLength, root: undefined },
    hashes: hashesOfTorrent(metainfo),
    name: metainfo.name,
    mime: '',
    fileId: undefined,
    root: undefined,
    chunkHashes: undefined,
    rootIsTrusted: false,
    torrent: {
      ...foreignTorrent(metainfo),
      pieces,
      over: [...((deps.over ?? EVERYTHING).bittorrent ? ['bittorrent'] : []), ...(deps.web ? ['webtorrent'] : [])],
      file: () => torrentFileOf({ ...metainfo, webTrackers: webTrackersOf(metainfo, magnet) })
    },
    files: metainfo.multiFile ? filesOfTorrent(metainfo) : undefined,
    feed: (context, feedSignal) => feed(deps, metainfo, magnet, context, feedSignal)
  }
}

const NOBODY_NAMED = 'it names no tracker: name one with --tracker, a peer with --peer, or a DHT with --dht-bootstrap'

/** Says which address of a link is not asked. @returns what it says */
function tellUnasked(
  { given, note }: TorrentPlanDeps,
  { trackers, webTrackers = [], peers = [] }: Pick<Magnet, 'trackers' | 'webTrackers'> & Partial<Pick<Magnet, 'peers'>>
): string | undefined {
  const named = [...trackersNamed([...trackers, ...webTrackers]), ...peersNamed(peers)]
  // Whoever named some way knows how.
  if ((given.peers ?? []).length > 0) return undefined
  const text = named.length + (given.trackers ?? []).length === 0 ? NOBODY_NAMED : unaskedText(named, given.trackers ?? [])
  if (text !== undefined) note?.(text)
  return text
}

const webTrackersOf = (torrent: Metainfo, magnet: Magnet | undefined): readonly string[] => magnet?.webTrackers ?? torrent.webTrackers ?? []

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

async function fetchMetainfo(deps: TorrentPlanDeps, magnet: Magnet, signal: AbortSignal): Promise<Metainfo> {
  const { bittorrent, given, web, over = EVERYTHING } = deps
  const found = new AbortController()
  const soon = AbortSignal.any([signal, found.signal, AbortSignal.timeout(2 * FIRST_SOURCE_MS)])
  const ways = [over.bittorrent ? bittorrent.fetchMetainfo(magnet, given, soon) : undefined, web?.fetchMetainfo(magnet, soon)]
  try {
    return await firstOf(ways.filter(way => way !== undefined))
  } catch (cause) {
    if (signal.aborted) throw new KithError('CANCELLED', 'stopped', {}, { cause })
    if (!(cause instanceof KithError) || cause.code !== 'METADATA_FAILED') throw cause
    const hint = over.bittorrent
      ? 'name a tracker with --tracker, a peer with --peer or a DHT with --dht-bootstrap; public ones are off unless --public is given'
      : 'over WebTorrent alone peers are only found at WebSocket trackers: --tracker wss://…'
    const unasked = over.bittorrent ? tellUnasked(deps, magnet) : undefined
    throw new KithError('NO_SOURCES', 'no peer gave the metadata of this magnet link', {}, { cause, hint: unasked ?? hint })
  } finally {
    found.abort()
    await Promise.allSettled(ways)
  }
}

/** What comes first; a torrent that is refused is refused everywhere. @throws METADATA_FAILED when no way brings it */
async function firstOf(ways: readonly Promise<Metainfo>[]): Promise<Metainfo> {
  const first = Promise.withResolvers<Metainfo>()
  const failures: unknown[] = []
  const onFailure = (error: unknown): void => {
    failures.push(error)
    if (isTorrentError(error)) first.reject(error)
    else if (failures.length === ways.length) first.reject(failures.find(e => hasCode(e, 'METADATA_FAILED')) ?? error)
  }
  for (const way of ways) way.then(first.resolve, onFailure)
  if (ways.length === 0) first.reject(new KithError('METADATA_FAILED', 'there is nobody to ask'))
  return await first.promise
}

async function feed(
  { bittorrent, given, web, over = EVERYTHING }: TorrentPlanDeps,
  torrent: Metainfo,
  magnet: Magnet | undefined,
  context: FeedContext,
  signal: AbortSignal
): Promise<void> {
  const request: SwarmRequest = {
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
  }
  await using _web = torrent.private ? undefined : web?.join(torrent, webTrackersOf(torrent, magnet), context)
  await using _peers = over.bittorrent ? bittorrent.openSwarm(request) : undefined
  await using _seeds = over.http ? bittorrent.openWebSeeds(request) : undefined
  if (!signal.aborted) await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
