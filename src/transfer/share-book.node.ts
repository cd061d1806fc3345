/**
 * The files this node seeds: kept in SQLite, so that they are still seeded after a restart; looked up by the servers of every
 * protocol; offered to peers. A running download is in here too, as a partial share, while it runs.
 */
import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'
import { HASHES_PER_PAGE, MAX_RANGES } from '../wire/limits.ts'
import { MANIFEST_DOMAIN, manifestCodec } from '../wire/manifest.ts'
import type { Offer, OfferProtocol } from '../wire/offer.ts'
import type { Range } from '../wire/ranges.ts'
import type { Signed } from '../wire/signed.ts'
import type { ChunkCache } from './chunk-cache.ts'
import type { DigestWants } from './digests.ts'
import { FileReader } from './disk/file-reader.node.ts'
import { chunkLength, type Grid, makeGrid } from './grid.ts'
import { type FileDigest, type FileStamp, hasDigests, sameStamp } from './hash-file.node.ts'
import { makePage, pageTops } from './hashing/merkle.ts'
import { HAVE_AGE_MS, MAX_SHARES, OFFER_LIFETIME_MS } from './limits.ts'
import type { OfferedShare, OfferedShares, Signer } from './offers.ts'
import type { Share, ShareIndex } from './protocol.ts'
import {
  findShare,
  listShares,
  recordOf,
  SHARE_MIGRATIONS,
  type ShareRecord,
  type ShareRow,
  type ShareState,
  type ShareSummary,
  saveShare
} from './share-store.node.ts'
import type { Terms } from './upload-gate.ts'

export interface ShareBookDeps {
  readonly clock: Clock
  readonly signer: Signer
  /** Ports on which a share is served now over these protocols, for offers. */
  readonly endpoints: (share: Share, protocols: readonly string[]) => readonly OfferProtocol[]
  /** Chunks in memory that all shares have together. */
  readonly cache?: ChunkCache
  readonly onStopped: (fileId: Uint8Array, reason: string) => void
}

interface Active extends OfferedShare {
  readonly share: Share
  readonly protocols: readonly string[]
  readonly terms0: Terms
  readonly names: Names
  /** Open for reading; undefined for a running download, which reads by itself. */
  readonly file: OpenFile | undefined
}

interface OpenFile {
  readonly path: string
  readonly stamp: FileStamp
  readonly reader: FileReader
}

/** What requests of the protocols call a share, in hex. */
interface Names {
  /** 20 bytes each: BitTorrent v1, and v2 cut. */
  readonly infoHashes: readonly string[]
  readonly ed2k: string | undefined
}
const NO_NAMES: Names = { infoHashes: [], ed2k: undefined }

export class ShareBook implements ShareIndex, OfferedShares, AsyncDisposable {
  readonly #deps: ShareBookDeps
  readonly #db: Sqlite
  readonly #active = new Map<string, Active>()
  readonly #byInfoHash = new Map<string, string>()
  readonly #byEd2k = new Map<string, string>()
  readonly #byRoot = new Map<string, string>()
  readonly #uploaded = new Map<string, number>()
  /** Running downloads of torrents, by hex info-hash. */
  readonly #torrents = new Map<string, { readonly share: Share; readonly over: readonly string[] }>()
  /** Running downloads of ed2k links, by hex hash. */
  readonly #ed2kLinks = new Map<string, Share>()

  constructor(deps: ShareBookDeps, db: Sqlite) {
    this.#deps = deps
    this.#db = db
  }

  /** Opens the book and everything that was being seeded. @throws STORE_* */
  static async open(deps: ShareBookDeps, path: string): Promise<ShareBook> {
    const book = new ShareBook(deps, openSqlite(path, { migrations: SHARE_MIGRATIONS }))
    for (const { record, state } of book.records()) if (state === 'seeding') await book.#activate(record)
    return book
  }

  byFileId = (hex: string): Share | undefined => this.#active.get(hex)?.share
  byInfoHash = (hex: string): Share | undefined => this.#active.get(this.#byInfoHash.get(hex) ?? '')?.share
  byEd2k = (hex: string): Share | undefined => this.#active.get(this.#byEd2k.get(hex) ?? '')?.share
  /** The shares that are offered over one protocol: what its server may see. HTTPS sees what HTTP sees. */
  forProtocol(protocol: string): ShareIndex {
    const names = protocol === 'https' ? ['https', 'http'] : [protocol]
    const only = (share: Share | undefined): Share | undefined => {
      const offered = share && this.#active.get(bytesToHex(share.fileId))?.protocols
      return offered && names.some(n => offered.includes(n)) ? share : undefined
    }
    const torrents = TORRENT_PROTOCOLS.includes(protocol)
    return {
      byFileId: hex => only(this.byFileId(hex)),
      byInfoHash: hex => (torrents ? (only(this.byInfoHash(hex)) ?? this.#torrent(hex, protocol)) : undefined),
      byEd2k: hex => (protocol === 'ed2k' ? (only(this.byEd2k(hex)) ?? this.#ed2kLinks.get(hex)) : undefined)
    }
  }
  offered = (hex: string): OfferedShare | undefined => this.#active.get(hex)
  offeredByRoot = (hex: string): OfferedShare | undefined => this.#active.get(this.#byRoot.get(hex) ?? '')
  termsOf = (share: Share): Terms =>
    this.#active.get(bytesToHex(share.fileId))?.terms0 ?? { uploadLimit: undefined, creditBytes: undefined }

  /** Everything that was shared and not unshared, with its state, without the lists of hashes. */
  summaries(): ReturnType<typeof listShares> {
    return listShares(this.#db).map(s => ({ ...s, uploaded: s.uploaded + (this.#uploaded.get(bytesToHex(s.summary.fileId)) ?? 0) }))
  }

  /** One share with everything; undefined when it is not in the book. */
  record(fileIdHex: string): ShareRecord | undefined {
    const row = this.#db.get<ShareRow>('SELECT * FROM shares WHERE file_id = ?', Buffer.from(fileIdHex, 'hex'))
    return row && recordOf(row)
  }

  /** The same with them: hundreds of KiB for each GiB that is shared. */
  records(): { readonly record: ShareRecord; readonly state: ShareState; readonly uploaded: number }[] {
    return this.#db.all<ShareRow>('SELECT * FROM shares ORDER BY added_at, file_id').map(row => ({
      record: recordOf(row),
      state: row.state as ShareState,
      uploaded: row.uploaded + (this.#uploaded.get(bytesToHex(row.file_id)) ?? 0)
    }))
  }

  /**
   * What is known of a file that was hashed before and is untouched since. Sharing it again reads nothing; if only some digests are
   * missing, `hashFile` makes just those.
   * @param wants undefined: whatever is known; else only when nothing of this is missing
   */
  known(path: string, stamp: FileStamp, wants?: DigestWants): FileDigest | undefined {
    const r = findShare(this.#db, path, stamp)
    if (!r || (wants && !hasDigests(r, wants))) return undefined
    const { fileId, root, chunkHashes, pieces, v2, ed2k } = r
    return { size: stamp.size, fileId, root, chunkHashes, pieces, v2, ed2k, stamp }
  }

  /**
   * Adds (or updates) a share; durable when this resolves. Uploads under way go on when the file is the same, so a share can be
   * added as soon as its SHA-256 is known and again with what was hashed since.
   * @throws STORE_*, TOO_MANY_SHARES
   */
  async add(record: ShareRecord): Promise<Share> {
    const others = 'SELECT count(*) AS total FROM shares WHERE file_id <> ?'
    const total = this.#db.get<{ total: number }>(others, record.fileId)?.total ?? 0
    if (total >= MAX_SHARES) throw new KithError('TOO_MANY_SHARES', `this node seeds ${total} files already`)
    return this.#activate(saveShare(this.#db, record))
  }

  /** Forgets a share; the file is not touched. @returns what it was, or undefined when there was none */
  async remove(fileIdHex: string): Promise<ShareSummary | undefined> {
    const found = this.summaries().find(r => bytesToHex(r.summary.fileId) === fileIdHex)
    if (!found) return undefined
    this.#db.run('DELETE FROM shares WHERE file_id = ?', found.summary.fileId)
    await this.#deactivate(fileIdHex)
    return found.summary
  }

  /** Serves a running download's verified chunks until the returned function is called. Nothing when the file is shared anyway. */
  addPartial(share: Share, chunkHashes: () => Uint8Array | undefined): () => Promise<void> {
    const hex = bytesToHex(share.fileId)
    if (this.#active.has(hex)) return async () => {}
    const active = this.#makeActive(share, PARTIAL, undefined, NO_NAMES, chunkHashes, undefined)
    this.#register(hex, active)
    return async () => {
      if (this.#active.get(hex) === active) await this.#deactivate(hex)
    }
  }

  /** Serves a running torrent download to its swarm, by these hashes and over these protocols, until the returned function is called. */
  addTorrent(infoHashes: readonly string[], share: Share, over: readonly string[]): () => void {
    for (const hex of infoHashes) this.#torrents.set(hex, { share, over })
    return () => {
      for (const hex of infoHashes) if (this.#torrents.get(hex)?.share === share) this.#torrents.delete(hex)
    }
  }

  /** The same for an ed2k link. @param hash hex of 16 bytes */
  addEd2kLink(hash: string, share: Share): () => void {
    this.#ed2kLinks.set(hash, share)
    return () => {
      if (this.#ed2kLinks.get(hash) === share) this.#ed2kLinks.delete(hash)
    }
  }

  /** Counts served bytes; written to the database now and then and at the end. */
  countUpload(fileIdHex: string, bytes: number): void {
    this.#uploaded.set(fileIdHex, (this.#uploaded.get(fileIdHex) ?? 0) + bytes)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#saveUploads()
    for (const hex of [...this.#active.keys()]) await this.#deactivate(hex)
    this.#db[Symbol.dispose]()
  }

  #torrent(hex: string, protocol: string): Share | undefined {
    const found = this.#torrents.get(hex)
    return found?.over.includes(protocol) ? found.share : undefined
  }

  #saveUploads(): void {
    this.#db.transaction(() => {
      for (const [hex, bytes] of this.#uploaded)
        this.#db.run('UPDATE shares SET uploaded = uploaded + ? WHERE file_id = ?', bytes, Buffer.from(hex, 'hex'))
    })
    this.#uploaded.clear()
  }

  /** Serves a share from now on, in place of what there was under its id. */
  async #activate(record: ShareRecord): Promise<Share> {
    const { fileId, chunkHashes, path, stamp } = record
    const hex = bytesToHex(fileId)
    const manifest = await this.#signManifest(record)
    const before = this.#active.get(hex)
    const same = before?.file && before.file.path === path && sameStamp(before.file.stamp, stamp) ? before.file : undefined
    const grid = makeGrid(stamp.size)
    const hashOf = (c: number): Uint8Array => chunkHashes.subarray(32 * c, 32 * c + 32)
    const file = same ?? {
      path,
      stamp,
      reader: new FileReader(path, grid, stamp, hashOf, reason => this.#onGone(fileId, reason), this.#deps.cache)
    }
    const share = fullShare(record, grid, file.reader)
    this.#forget(hex)
    this.#register(
      hex,
      this.#makeActive(share, record, manifest, namesOf(record), () => chunkHashes, file)
    )
    if (!same) await before?.file?.reader[Symbol.asyncDispose]()
    return share
  }

  #makeActive(
    share: Share,
    terms0: Terms & { readonly protocols: readonly string[] },
    manifest: Signed | undefined,
    names: Names,
    hashes: () => Uint8Array | undefined,
    file: OpenFile | undefined
  ): Active {
    const partial = manifest === undefined
    const { protocols } = terms0
    let tops: readonly Uint8Array[] | undefined
    let have: { readonly chunks: readonly Range[]; readonly madeMs: number } | undefined
    const chunks = (): readonly Range[] => {
      const now = this.#deps.clock.monotonic()
      if (!have || now - have.madeMs >= HAVE_AGE_MS) have = { chunks: rangesOf(share), madeMs: now }
      return have.chunks
    }
    return {
      share,
      protocols,
      terms0,
      manifest,
      names,
      file,
      creditBytes: terms0.creditBytes,
      terms: async () => this.#offerTerms(share, protocols, partial ? chunks() : undefined),
      page: n => {
        const all = hashes()
        if (!all || n >= Math.ceil(all.length / 32 / HASHES_PER_PAGE)) return undefined
        tops ??= pageTops(all) // once per share: hashing the whole list for every request would let anybody keep us busy
        return makePage(all, n, tops)
      }
    }
  }

  #offerTerms(
    share: Share,
    names: readonly string[],
    chunks: readonly Range[] | undefined
  ): Omit<Offer, 'peerId' | 'creditBytes' | 'wallet' | 'chainId'> {
    const now = this.#deps.clock.now()
    return {
      fileId: share.fileId,
      root: share.root,
      size: share.grid.size,
      sequence: now,
      expiresAt: now + OFFER_LIFETIME_MS,
      pricePerMb: share.pricePerMb,
      chunks,
      protocols: this.#deps.endpoints(share, names)
    }
  }

  async #signManifest(r: ShareRecord): Promise<Signed> {
    const { fileId, root, name, mime } = r
    return this.#deps.signer.sign(
      MANIFEST_DOMAIN,
      encode(manifestCodec, { fileId, root, size: r.stamp.size, name, mime, created: r.addedAt })
    )
  }

  #register(hex: string, active: Active): void {
    this.#active.set(hex, active)
    this.#byRoot.set(bytesToHex(active.share.root), hex)
    for (const h of active.names.infoHashes) this.#byInfoHash.set(h, hex)
    if (active.names.ed2k) this.#byEd2k.set(active.names.ed2k, hex)
  }

  #forget(hex: string): Active | undefined {
    const active = this.#active.get(hex)
    if (!active) return undefined
    this.#active.delete(hex)
    this.#byRoot.delete(bytesToHex(active.share.root))
    // Two files can be made to have the same MD4: the name may be another's by now.
    for (const h of active.names.infoHashes) if (this.#byInfoHash.get(h) === hex) this.#byInfoHash.delete(h)
    if (active.names.ed2k && this.#byEd2k.get(active.names.ed2k) === hex) this.#byEd2k.delete(active.names.ed2k)
    return active
  }

  async #deactivate(hex: string): Promise<void> {
    await this.#forget(hex)?.file?.reader[Symbol.asyncDispose]()
  }

  #onGone(fileId: Uint8Array, reason: 'changed' | 'missing'): void {
    this.#db.run('UPDATE shares SET state = ? WHERE file_id = ?', reason, fileId)
    void this.#deactivate(bytesToHex(fileId))
    this.#deps.onStopped(fileId, reason === 'changed' ? 'the file is no longer what was shared' : 'the file is gone')
  }
}

function fullShare(record: ShareRecord, grid: Grid, reader: FileReader): Share {
  const asTorrent = isOffered(record, TORRENT_PROTOCOLS)
  return {
    fileId: record.fileId,
    root: record.root,
    grid,
    name: record.name,
    mime: record.mime,
    pricePerMb: record.pricePerMb,
    pieces: asTorrent ? record.pieces : undefined,
    v2: asTorrent ? record.v2 : undefined,
    ed2k: isOffered(record, ['ed2k']) ? record.ed2k : undefined,
    has: c => c >= 0 && c < grid.count && chunkLength(grid, c) > 0,
    read: (offset, length, target) => reader.read(offset, length, target),
    onChunk: () => {}
  }
}

function namesOf(record: ShareRecord): Names {
  const { ed2k, infoHash, infoHashV2, plainInfoHash } = record
  const hashes = [infoHash, infoHashV2?.subarray(0, 20), plainInfoHash].flatMap(h => (h ? [bytesToHex(h)] : []))
  return {
    infoHashes: isOffered(record, TORRENT_PROTOCOLS) ? hashes : [],
    ed2k: ed2k && isOffered(record, ['ed2k']) ? bytesToHex(ed2k.hash) : undefined
  }
}

const TORRENT_PROTOCOLS: readonly string[] = ['bittorrent', 'webtorrent']
const isOffered = (record: ShareRecord, protocols: readonly string[]): boolean => protocols.some(p => record.protocols.includes(p))

/** A running download is served over what needs no hashes but SHA-256, without limits of its own. */
const PARTIAL = { uploadLimit: undefined, creditBytes: undefined, protocols: ['http', 'https', 'kith'] }

/** The first MAX_RANGES ranges of chunks that can be served now. */
function rangesOf({ grid, has }: Share): readonly Range[] {
  const ranges: Range[] = []
  for (let c = 0; c < grid.count && ranges.length < MAX_RANGES; c++) {
    if (!has(c)) continue
    let end = c + 1
    while (end < grid.count && has(end)) end++
    ranges.push({ first: c, count: end - c })
    c = end
  }
  return ranges
}
