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
import { FileReader } from './file-reader.node.ts'
import { chunkLength, type Grid, makeGrid } from './grid.ts'
import type { FileDigest, FileStamp } from './hash-file.node.ts'
import { HAVE_AGE_MS, MAX_SHARES, OFFER_LIFETIME_MS } from './limits.ts'
import { makePage, pageTops } from './merkle.ts'
import type { OfferedShare, OfferedShares, Signer } from './offers.ts'
import type { Share, ShareIndex } from './protocol.ts'
import type { Terms } from './upload-gate.ts'

export interface ShareRecord extends Terms {
  readonly fileId: Uint8Array
  readonly path: string
  readonly name: string
  readonly mime: string
  readonly stamp: FileStamp
  readonly root: Uint8Array
  readonly chunkHashes: Uint8Array
  readonly pieces: Uint8Array | undefined
  /** 20 bytes; undefined without BitTorrent. */
  readonly infoHash: Uint8Array | undefined
  readonly pricePerMb: bigint
  readonly protocols: readonly string[]
  readonly trackers: readonly string[]
  readonly addedAt: number
}

export type ShareState = 'seeding' | 'changed' | 'missing'

const MIGRATIONS = [
  `CREATE TABLE shares (
     file_id BLOB PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL, size INTEGER NOT NULL, mtime TEXT NOT NULL,
     inode TEXT NOT NULL, root BLOB NOT NULL, chunk_hashes BLOB NOT NULL, pieces BLOB, info_hash BLOB, price TEXT NOT NULL,
     protocols TEXT NOT NULL, trackers TEXT NOT NULL, upload_limit INTEGER, credit_bytes INTEGER, added_at INTEGER NOT NULL,
     state TEXT NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0);
   CREATE INDEX shares_path ON shares (path)`
]

export interface ShareBookDeps {
  readonly clock: Clock
  readonly signer: Signer
  /** Ports on which a share is served now over these protocols, for offers. */
  readonly endpoints: (share: Share, protocols: readonly string[]) => readonly OfferProtocol[]
  readonly onStopped: (fileId: Uint8Array, reason: string) => void
}

interface Active extends OfferedShare {
  readonly share: Share
  readonly protocols: readonly string[]
  readonly terms0: Terms
  readonly infoHash: string | undefined
  readonly dispose: () => Promise<void>
}

export class ShareBook implements ShareIndex, OfferedShares, AsyncDisposable {
  readonly #deps: ShareBookDeps
  readonly #db: Sqlite
  readonly #active = new Map<string, Active>()
  readonly #byInfoHash = new Map<string, string>()
  readonly #byRoot = new Map<string, string>()
  readonly #uploaded = new Map<string, number>()
  /** Running downloads of torrents, by hex info-hash. */
  readonly #torrents = new Map<string, Share>()

  constructor(deps: ShareBookDeps, db: Sqlite) {
    this.#deps = deps
    this.#db = db
  }

  /** Opens the book and everything that was being seeded. @throws STORE_* */
  static async open(deps: ShareBookDeps, path: string): Promise<ShareBook> {
    const book = new ShareBook(deps, openSqlite(path, { migrations: MIGRATIONS }))
    for (const { record, state } of book.records()) if (state === 'seeding') await book.#activate(record)
    return book
  }

  byFileId = (hex: string): Share | undefined => this.#active.get(hex)?.share
  byInfoHash = (hex: string): Share | undefined => this.#active.get(this.#byInfoHash.get(hex) ?? '')?.share
  /** The shares that are offered over one protocol: what its server may see. */
  forProtocol(protocol: string): ShareIndex {
    const only = (share: Share | undefined): Share | undefined =>
      share && this.#active.get(bytesToHex(share.fileId))?.protocols.includes(protocol) ? share : undefined
    const byInfoHash = (hex: string): Share | undefined => only(this.byInfoHash(hex)) ?? this.#torrents.get(hex)
    return { byFileId: hex => only(this.byFileId(hex)), byInfoHash: protocol === 'bittorrent' ? byInfoHash : () => undefined }
  }
  offered = (hex: string): OfferedShare | undefined => this.#active.get(hex)
  offeredByRoot = (hex: string): OfferedShare | undefined => this.#active.get(this.#byRoot.get(hex) ?? '')
  termsOf = (share: Share): Terms =>
    this.#active.get(bytesToHex(share.fileId))?.terms0 ?? { uploadLimit: undefined, creditBytes: undefined }

  /** Everything that was shared and not unshared, with its state. */
  records(): { readonly record: ShareRecord; readonly state: ShareState; readonly uploaded: number }[] {
    return this.#db.all<Row>('SELECT * FROM shares ORDER BY added_at, file_id').map(row => ({
      record: fromRow(row),
      state: row.state as ShareState,
      uploaded: row.uploaded + (this.#uploaded.get(bytesToHex(row.file_id)) ?? 0)
    }))
  }

  /** A file that was hashed before and is untouched since: sharing it again reads nothing. */
  known(path: string, stamp: FileStamp, needsPieces: boolean): FileDigest | undefined {
    const row = this.#db.get<Row>(
      'SELECT * FROM shares WHERE path = ? AND size = ? AND mtime = ? AND inode = ?',
      path,
      stamp.size,
      stamp.mtime,
      stamp.inode
    )
    if (!row || (needsPieces && !row.pieces)) return undefined
    const r = fromRow(row)
    return { size: stamp.size, fileId: r.fileId, root: r.root, chunkHashes: r.chunkHashes, pieces: r.pieces, stamp }
  }

  /** Adds (or updates) a share; durable when this resolves. @throws STORE_*, TOO_MANY_SHARES */
  async add(record: ShareRecord): Promise<Share> {
    const { total } = this.#db.get<{ total: number }>('SELECT count(*) AS total FROM shares') ?? { total: 0 }
    if (total >= MAX_SHARES) throw new KithError('TOO_MANY_SHARES', `this node seeds ${total} files already`)
    this.#db.run(
      `INSERT INTO shares (file_id, path, name, mime, size, mtime, inode, root, chunk_hashes, pieces, info_hash, price, protocols, trackers, upload_limit, credit_bytes, added_at, state)
       VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,'seeding')
       ON CONFLICT (file_id) DO UPDATE SET path=excluded.path, name=excluded.name, mime=excluded.mime, mtime=excluded.mtime, inode=excluded.inode,
         pieces=coalesce(excluded.pieces, pieces), info_hash=coalesce(excluded.info_hash, info_hash), price=excluded.price, protocols=excluded.protocols,
         trackers=excluded.trackers, upload_limit=excluded.upload_limit, credit_bytes=excluded.credit_bytes, state='seeding'`,
      record.fileId,
      record.path,
      record.name,
      record.mime,
      record.stamp.size,
      record.stamp.mtime,
      record.stamp.inode,
      record.root,
      record.chunkHashes,
      record.pieces ?? null,
      record.infoHash ?? null,
      record.pricePerMb.toString(),
      JSON.stringify(record.protocols),
      JSON.stringify(record.trackers),
      record.uploadLimit ?? null,
      record.creditBytes ?? null,
      record.addedAt
    )
    await this.#deactivate(bytesToHex(record.fileId))
    return this.#activate(record)
  }

  /** Forgets a share; the file is not touched. @returns the record, or undefined when there was none */
  async remove(fileIdHex: string): Promise<ShareRecord | undefined> {
    const found = this.records().find(r => bytesToHex(r.record.fileId) === fileIdHex)
    if (!found) return undefined
    this.#db.run('DELETE FROM shares WHERE file_id = ?', found.record.fileId)
    await this.#deactivate(fileIdHex)
    return found.record
  }

  /** Serves a running download's verified chunks until the returned function is called. Nothing when the file is shared anyway. */
  addPartial(share: Share, chunkHashes: () => Uint8Array | undefined): () => Promise<void> {
    const hex = bytesToHex(share.fileId)
    if (this.#active.has(hex)) return async () => {}
    const active = this.#makeActive(share, PARTIAL, undefined, undefined, chunkHashes, async () => {})
    this.#register(hex, active)
    return async () => {
      if (this.#active.get(hex) === active) await this.#deactivate(hex)
    }
  }

  /** Serves a running torrent download to its swarm until the returned function is called. */
  addTorrent(infoHashHex: string, share: Share): () => void {
    this.#torrents.set(infoHashHex, share)
    return () => {
      if (this.#torrents.get(infoHashHex) === share) this.#torrents.delete(infoHashHex)
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

  #saveUploads(): void {
    this.#db.transaction(() => {
      for (const [hex, bytes] of this.#uploaded)
        this.#db.run('UPDATE shares SET uploaded = uploaded + ? WHERE file_id = ?', bytes, Buffer.from(hex, 'hex'))
    })
    this.#uploaded.clear()
  }

  async #activate(record: ShareRecord): Promise<Share> {
    const hex = bytesToHex(record.fileId)
    const grid = makeGrid(record.stamp.size)
    const hashOf = (c: number): Uint8Array => record.chunkHashes.subarray(32 * c, 32 * c + 32)
    const reader = new FileReader(record.path, grid, record.stamp, hashOf, reason => this.#onGone(record.fileId, reason))
    const share = fullShare(record, grid, reader)
    const manifest = await this.#signManifest(record)
    const infoHash = record.infoHash && record.protocols.includes('bittorrent') ? bytesToHex(record.infoHash) : undefined
    this.#register(
      hex,
      this.#makeActive(
        share,
        record,
        manifest,
        infoHash,
        () => record.chunkHashes,
        () => reader[Symbol.asyncDispose]()
      )
    )
    return share
  }

  #makeActive(
    share: Share,
    terms0: Terms & { readonly protocols: readonly string[] },
    manifest: Signed | undefined,
    infoHash: string | undefined,
    hashes: () => Uint8Array | undefined,
    dispose: () => Promise<void>
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
      infoHash,
      dispose,
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
    if (active.infoHash) this.#byInfoHash.set(active.infoHash, hex)
  }

  async #deactivate(hex: string): Promise<void> {
    const active = this.#active.get(hex)
    if (!active) return
    this.#active.delete(hex)
    this.#byRoot.delete(bytesToHex(active.share.root))
    if (active.infoHash) this.#byInfoHash.delete(active.infoHash)
    await active.dispose()
  }

  #onGone(fileId: Uint8Array, reason: 'changed' | 'missing'): void {
    this.#db.run('UPDATE shares SET state = ? WHERE file_id = ?', reason, fileId)
    void this.#deactivate(bytesToHex(fileId))
    this.#deps.onStopped(fileId, reason === 'changed' ? 'the file is no longer what was shared' : 'the file is gone')
  }
}

function fullShare(record: ShareRecord, grid: Grid, reader: FileReader): Share {
  return {
    fileId: record.fileId,
    root: record.root,
    grid,
    name: record.name,
    mime: record.mime,
    pricePerMb: record.pricePerMb,
    pieces: record.protocols.includes('bittorrent') ? record.pieces : undefined,
    has: c => c >= 0 && c < grid.count && chunkLength(grid, c) > 0,
    read: (offset, length, target) => reader.read(offset, length, target),
    onChunk: () => {}
  }
}

/** A running download is served over HTTP, without limits of its own. */
const PARTIAL = { uploadLimit: undefined, creditBytes: undefined, protocols: ['http'] }

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

interface Row {
  readonly file_id: Uint8Array
  readonly path: string
  readonly name: string
  readonly mime: string
  readonly size: number
  readonly mtime: string
  readonly inode: string
  readonly root: Uint8Array
  readonly chunk_hashes: Uint8Array
  readonly pieces: Uint8Array | null
  readonly info_hash: Uint8Array | null
  readonly price: string
  readonly protocols: string
  readonly trackers: string
  readonly upload_limit: number | null
  readonly credit_bytes: number | null
  readonly added_at: number
  readonly state: string
  readonly uploaded: number
}

const fromRow = (row: Row): ShareRecord => ({
  fileId: row.file_id,
  path: row.path,
  name: row.name,
  mime: row.mime,
  stamp: { size: row.size, mtime: row.mtime, inode: row.inode },
  root: row.root,
  chunkHashes: row.chunk_hashes,
  pieces: row.pieces ?? undefined,
  infoHash: row.info_hash ?? undefined,
  pricePerMb: BigInt(row.price),
  protocols: JSON.parse(row.protocols) as string[],
  trackers: JSON.parse(row.trackers) as string[],
  uploadLimit: row.upload_limit ?? undefined,
  creditBytes: row.credit_bytes ?? undefined,
  addedAt: row.added_at
})
