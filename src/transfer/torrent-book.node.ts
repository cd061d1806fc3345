/**
 * Torrents that others made, were fetched here and are seeded on to their own swarms: same info-hash, same metadata, also after a restart.
 * Each is two files in one folder: the .torrent and a record of where its content lies. Metadata is only read when a peer asks for it.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { makePrivateFolder, writeFileDurably } from '../platform/files.node.ts'
import { formatMagnet } from './bittorrent/magnet.ts'
import { hashesOfInfo, type Metainfo, parseTorrent } from './bittorrent/metainfo.ts'
import { type PlacedFile, TorrentReader } from './disk/torrent-reader.node.ts'
import { makeGrid } from './grid.ts'
import { stampOf } from './hash-file.node.ts'
import { MAX_KEPT_TORRENTS } from './limits.ts'
import type { Share, ShareIndex } from './protocol.ts'
import { foreignTorrent, pieceCheck } from './torrent-content.node.ts'

export interface TorrentBookDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly onStopped: (torrent: KeptTorrent, reason: 'changed' | 'missing') => void
}

/** What is to be kept. */
export interface TorrentToKeep {
  /** The .torrent file. */
  readonly file: Uint8Array
  /** Of the file or folder that the user sees. */
  readonly path: string
  readonly files: readonly { readonly path: string; readonly offset: number; readonly length: number }[]
  /** Subset of bittorrent, webtorrent. */
  readonly protocols: readonly string[]
  /** Trackers that the user named; those of the torrent are in `file`. */
  readonly trackers: readonly string[]
}

/** A torrent that is seeded on, without its metadata. */
export interface KeptTorrent {
  readonly version: 1
  /** Hex of 20 bytes: what it is called here. */
  readonly infoHash: string
  /** Hex of 32 bytes; null without v2. */
  readonly infoHashV2: string | null
  readonly name: string
  readonly size: number
  readonly private: boolean
  readonly path: string
  readonly files: readonly PlacedFile[]
  readonly protocols: readonly string[]
  /** Those of the torrent: strangers' words. */
  readonly tiers: readonly (readonly string[])[]
  readonly webTrackers: readonly string[]
  /** Those that the user named. */
  readonly given: readonly string[]
  readonly addedAt: number
  readonly state: 'seeding' | 'changed' | 'missing'
  readonly uploaded: number
}

interface Entry {
  record: KeptTorrent
  uploaded: number
  /** Set while peers ask for it. */
  share: Share | undefined
  reader: TorrentReader | undefined
}

export class TorrentBook implements AsyncDisposable {
  readonly #deps: TorrentBookDeps
  readonly #folder: string
  readonly #entries = new Map<string, Entry>()
  /** Keys of `#entries` by every 20-byte hash that a peer may name. */
  readonly #byHash = new Map<string, string>()

  /** @param folder made when the first torrent is kept; records that cannot be read are left out with a warning */
  constructor(deps: TorrentBookDeps, folder: string) {
    this.#deps = deps
    this.#folder = folder
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      const hex = /^([0-9a-f]{40})\.json$/.exec(name)?.[1]
      if (hex === undefined || this.#entries.size >= MAX_KEPT_TORRENTS) continue
      try {
        this.#register(readRecord(join(folder, name), hex))
      } catch (error) {
        deps.log.warn('a torrent that was seeded cannot be seeded on', { infoHash: hex, error })
      }
    }
  }

  /** Seeds a torrent from now on; durable when it returns. @throws TOO_MANY_SHARES, FILE_NOT_FOUND, DISK_FULL, BAD_TORRENT */
  async keep({ file, path, files, protocols, trackers }: TorrentToKeep): Promise<KeptTorrent> {
    const torrent = parseTorrent(file)
    const infoHash = bytesToHex(torrent.infoHash)
    if (!this.#entries.has(infoHash) && this.#entries.size >= MAX_KEPT_TORRENTS)
      throw new KithError('TOO_MANY_SHARES', `this node seeds ${this.#entries.size} torrents of others already`)
    const tiered = torrent.trackerTiers?.flat() ?? []
    const record: KeptTorrent = {
      version: 1,
      infoHash,
      infoHashV2: torrent.v2 ? bytesToHex(torrent.v2.infoHash) : null,
      name: torrent.name,
      size: torrent.size,
      private: torrent.private,
      path,
      files: files.filter(f => f.length > 0).map(f => ({ path: f.path, offset: f.offset, stamp: stampOf(f.path) })),
      protocols,
      tiers: [...(torrent.trackerTiers ?? []), ...torrent.trackers.filter(t => !tiered.includes(t)).map(t => [t])],
      webTrackers: torrent.webTrackers ?? [],
      given: trackers,
      addedAt: this.#deps.clock.now(),
      state: 'seeding',
      uploaded: this.#entries.get(infoHash)?.uploaded ?? 0
    }
    await this.#close(infoHash)
    makePrivateFolder(this.#folder)
    writeFileDurably(this.torrentPath(infoHash), file) // before the record, which says that it is there
    this.#save(record)
    this.#register(record)
    return record
  }

  /** Forgets a torrent; its files are not touched. @returns what it was */
  async remove(infoHash: string): Promise<KeptTorrent | undefined> {
    const entry = this.#entries.get(infoHash)
    if (!entry) return undefined
    await this.#close(infoHash)
    this.#entries.delete(infoHash)
    for (const [hash, key] of this.#byHash) if (key === infoHash) this.#byHash.delete(hash)
    rmSync(this.#recordPath(infoHash), { force: true })
    rmSync(this.torrentPath(infoHash), { force: true })
    return { ...entry.record, uploaded: entry.uploaded }
  }

  all(): KeptTorrent[] {
    return [...this.#entries.values()].map(({ record, uploaded }) => ({ ...record, uploaded })).sort((a, b) => a.addedAt - b.addedAt)
  }

  /** Of this one by any of its hashes, 20 bytes or all 32 of v2, in hex. */
  find(hash: string): KeptTorrent | undefined {
    const entry = this.#entries.get(this.#byHash.get(hash.slice(0, 40)) ?? '')
    return entry && (hash.length === 40 || hash === entry.record.infoHashV2) ? { ...entry.record, uploaded: entry.uploaded } : undefined
  }

  /** The .torrent file. */
  torrentPath(infoHash: string): string {
    return join(this.#folder, `${infoHash}.torrent`)
  }

  /** `shares`, and behind them the torrents that are seeded over this protocol. */
  beside(shares: ShareIndex, protocol: string): ShareIndex {
    return { ...shares, byInfoHash: hex => shares.byInfoHash(hex) ?? this.#shareOf(hex, protocol) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [key, { record, uploaded }] of this.#entries) {
      if (uploaded > record.uploaded) this.#save({ ...record, uploaded })
      await this.#close(key)
    }
  }

  #shareOf(hash: string, protocol: string): Share | undefined {
    const entry = this.#entries.get(this.#byHash.get(hash) ?? '')
    if (entry?.record.state !== 'seeding' || !entry.record.protocols.includes(protocol)) return undefined
    try {
      entry.share ??= this.#open(entry)
    } catch (error) {
      this.#deps.log.warn('the .torrent of a torrent that is seeded cannot be read', { infoHash: entry.record.infoHash, error })
      this.#onGone(entry, 'missing')
    }
    return entry.share
  }

  #open(entry: Entry): Share {
    const { infoHash, files } = entry.record
    const torrent = parseTorrent(readFileSync(this.torrentPath(infoHash)))
    if (bytesToHex(torrent.infoHash) !== infoHash) throw new KithError('BAD_TORRENT', 'another torrent than was kept')
    const grid = makeGrid(torrent.size, torrent.pieceLength)
    const reader = new TorrentReader(grid, files, pieceCheck(torrent), reason => this.#onGone(entry, reason))
    entry.reader = reader
    const count = (bytes: number): void => {
      entry.uploaded += bytes
    }
    return shareOf(torrent, reader, count)
  }

  #onGone(entry: Entry, reason: 'changed' | 'missing'): void {
    entry.record = { ...entry.record, state: reason }
    this.#save(entry.record)
    void this.#close(entry.record.infoHash)
    this.#deps.onStopped(entry.record, reason)
  }

  async #close(infoHash: string): Promise<void> {
    const entry = this.#entries.get(infoHash)
    if (!entry) return
    const { reader } = entry
    entry.share = entry.reader = undefined
    await reader?.[Symbol.asyncDispose]()
  }

  #register(record: KeptTorrent): void {
    this.#entries.set(record.infoHash, { record, uploaded: record.uploaded, share: undefined, reader: undefined })
    for (const hash of hashesOfKept(record)) this.#byHash.set(bytesToHex(hash), record.infoHash)
  }

  #save(record: KeptTorrent): void {
    writeFileDurably(this.#recordPath(record.infoHash), `${JSON.stringify(record)}\n`)
  }

  #recordPath(infoHash: string): string {
    return join(this.#folder, `${infoHash}.json`)
  }
}

/** Every 20-byte hash by which its swarms know a torrent. */
export const hashesOfKept = ({ infoHash, infoHashV2 }: Pick<KeptTorrent, 'infoHash' | 'infoHashV2'>): readonly Uint8Array[] =>
  hashesOfInfo({ infoHash: hexToBytes(infoHash), infoHashV2: infoHashV2 === null ? undefined : hexToBytes(infoHashV2) })

/** The magnet link by which others find it: both hashes of a hybrid, and the trackers of the torrent. */
export const magnetOfKept = ({ infoHash, infoHashV2, name, tiers, webTrackers, given }: KeptTorrent): string =>
  formatMagnet({
    infoHash: hexToBytes(infoHash),
    infoHashV2: infoHashV2 === null ? undefined : hexToBytes(infoHashV2),
    name,
    trackers: [...new Set([...tiers.flat(), ...webTrackers, ...given])]
  })

const UNNAMED = new Uint8Array(32)

/** Served by its info-hash alone: it has neither a file id nor a root of Kith's. */
const shareOf = (torrent: Metainfo, reader: TorrentReader, count: (bytes: number) => void): Share => ({
  fileId: UNNAMED,
  root: UNNAMED,
  grid: makeGrid(torrent.size, torrent.pieceLength),
  name: torrent.name,
  mime: '',
  pricePerMb: 0n,
  pieces: torrent.pieces,
  torrent: foreignTorrent(torrent),
  has: c => c >= 0 && c * torrent.pieceLength < torrent.size,
  read: async (offset, length, target) => {
    await reader.read(offset, length, target)
    count(length)
  },
  onChunk: () => {}
})

/** Written by this program; a record that is not whole is not followed. */
function readRecord(path: string, infoHash: string): KeptTorrent {
  const record = JSON.parse(readFileSync(path, 'utf8')) as KeptTorrent
  if (record.version !== 1 || record.infoHash !== infoHash || !Array.isArray(record.files))
    throw new KithError('BAD_TORRENT', 'the record of a torrent is damaged', { path })
  return record
}
