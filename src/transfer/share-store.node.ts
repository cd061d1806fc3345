/** How shares are kept in SQLite: one row per file, found again by its id, or by path and stamp. */
import type { Sqlite } from '../store/sqlite.node.ts'
import type { Ed2kDigest, ExtraDigests, V2Digest } from './digests.ts'
import type { FileStamp } from './hash-file.node.ts'
import type { Terms } from './upload-gate.ts'

/** What names and describes a share, without its lists of hashes, which are large. */
export interface ShareSummary extends Terms {
  readonly fileId: Uint8Array
  readonly path: string
  readonly name: string
  readonly mime: string
  readonly stamp: FileStamp
  readonly root: Uint8Array
  /** BitTorrent v1's: 20 bytes; undefined without BitTorrent. */
  readonly infoHash: Uint8Array | undefined
  /** BitTorrent v2's: 32 bytes. */
  readonly infoHashV2?: Uint8Array | undefined
  /** 20 bytes of the plain v1 torrent that is served beside a hybrid; undefined without one. */
  readonly plainInfoHash?: Uint8Array | undefined
  readonly ed2k: Pick<Ed2kDigest, 'hash' | 'aich'> | undefined
  readonly pricePerMb: bigint
  readonly protocols: readonly string[]
  readonly trackers: readonly string[]
  readonly addedAt: number
}

/** Digests that nobody asked for are undefined. Those of a share that is stored again without them stay in its row. */
export interface ShareRecord extends ShareSummary, ExtraDigests {
  readonly chunkHashes: Uint8Array
  readonly ed2k: Ed2kDigest | undefined
}

export type ShareState = 'seeding' | 'changed' | 'missing'

export const SHARE_MIGRATIONS: readonly string[] = [
  `CREATE TABLE shares (
     file_id BLOB PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL, size INTEGER NOT NULL, mtime TEXT NOT NULL,
     inode TEXT NOT NULL, root BLOB NOT NULL, chunk_hashes BLOB NOT NULL, pieces BLOB, info_hash BLOB, price TEXT NOT NULL,
     protocols TEXT NOT NULL, trackers TEXT NOT NULL, upload_limit INTEGER, credit_bytes INTEGER, added_at INTEGER NOT NULL,
     state TEXT NOT NULL, uploaded INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0);
   CREATE INDEX shares_path ON shares (path)`,
  `ALTER TABLE shares ADD COLUMN v2_root BLOB;
   ALTER TABLE shares ADD COLUMN v2_layer BLOB;
   ALTER TABLE shares ADD COLUMN info_hash_v2 BLOB;
   ALTER TABLE shares ADD COLUMN plain_info_hash BLOB;
   ALTER TABLE shares ADD COLUMN ed2k_hash BLOB;
   ALTER TABLE shares ADD COLUMN ed2k_parts BLOB;
   ALTER TABLE shares ADD COLUMN aich BLOB;
   ALTER TABLE shares ADD COLUMN aich_parts BLOB`
]

/** What follows from the content, which is the key: never changed. */
const FIXED = ['file_id', 'size', 'root', 'chunk_hashes', 'added_at']
const CHANGED = ['path', 'name', 'mime', 'mtime', 'inode', 'price', 'protocols', 'trackers', 'upload_limit', 'credit_bytes']
/** What follows from the content, too, but was not always wanted: kept when a share is stored again without it. */
const KEPT = ['pieces', 'v2_root', 'v2_layer', 'ed2k_hash', 'ed2k_parts', 'aich', 'aich_parts']
/** What follows from content and name. */
const NAMED = ['info_hash', 'info_hash_v2', 'plain_info_hash']
const COLUMNS = [...FIXED, ...CHANGED, ...KEPT, ...NAMED]

const SAVE = `INSERT INTO shares (${COLUMNS.join(', ')}, state) VALUES (${COLUMNS.map(() => '?').join(', ')}, 'seeding')
  ON CONFLICT (file_id) DO UPDATE SET state = 'seeding', ${CHANGED.map(c => `${c} = excluded.${c}`).join(', ')},
  ${KEPT.map(c => `${c} = coalesce(excluded.${c}, ${c})`).join(', ')},
  ${NAMED.map(c => `${c} = coalesce(excluded.${c}, iif(excluded.name = name, ${c}, NULL))`).join(', ')}`

/** Inserts a share or updates it. @returns what is stored now: with digests of before that were not given @throws STORE_*, DISK_FULL */
export function saveShare(db: Sqlite, r: ShareRecord): ShareRecord {
  const { fileId, stamp, root, chunkHashes, v2, ed2k } = r
  const terms = [
    r.pricePerMb.toString(),
    JSON.stringify(r.protocols),
    JSON.stringify(r.trackers),
    r.uploadLimit ?? null,
    r.creditBytes ?? null
  ]
  const fixed = [fileId, stamp.size, root, chunkHashes, r.addedAt]
  const changed = [r.path, r.name, r.mime, stamp.mtime, stamp.inode, ...terms]
  const kept = [
    r.pieces,
    v2?.root,
    v2?.layer,
    ed2k?.hash,
    ed2k?.parts,
    ed2k?.aich,
    ed2k?.aichParts,
    r.infoHash,
    r.infoHashV2,
    r.plainInfoHash
  ]
  db.run(SAVE, ...fixed, ...changed, ...kept.map(k => k ?? null))
  return recordOf(db.get<ShareRow>('SELECT * FROM shares WHERE file_id = ?', fileId)!)
}

/** The share that was stored for this path when the file looked like this. */
export function findShare(db: Sqlite, path: string, stamp: FileStamp): ShareRecord | undefined {
  const sql = 'SELECT * FROM shares WHERE path = ? AND size = ? AND mtime = ? AND inode = ?'
  const row = db.get<ShareRow>(sql, path, stamp.size, stamp.mtime, stamp.inode)
  return row && recordOf(row)
}

/** Columns of a summary. */
const LIGHT = `file_id, path, name, mime, size, mtime, inode, root, info_hash, info_hash_v2, plain_info_hash, ed2k_hash, aich, price, protocols,
  trackers, upload_limit, credit_bytes, added_at, state, uploaded`
type LightRow = Omit<ShareRow, 'chunk_hashes' | 'pieces' | 'v2_root' | 'v2_layer' | 'ed2k_parts' | 'aich_parts'>

/** Every share without its lists, in the order in which they were added. */
export const listShares = (db: Sqlite): { readonly summary: ShareSummary; readonly state: ShareState; readonly uploaded: number }[] =>
  db.all<LightRow>(`SELECT ${LIGHT} FROM shares ORDER BY added_at, file_id`).map(row => ({
    summary: summaryOf(row),
    state: row.state as ShareState,
    uploaded: row.uploaded
  }))

/** A row as `SELECT *` gives it. */
export interface ShareRow {
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
  readonly v2_root: Uint8Array | null
  readonly v2_layer: Uint8Array | null
  readonly info_hash_v2: Uint8Array | null
  readonly plain_info_hash: Uint8Array | null
  readonly ed2k_hash: Uint8Array | null
  readonly ed2k_parts: Uint8Array | null
  readonly aich: Uint8Array | null
  readonly aich_parts: Uint8Array | null
  readonly price: string
  readonly protocols: string
  readonly trackers: string
  readonly upload_limit: number | null
  readonly credit_bytes: number | null
  readonly added_at: number
  readonly state: string
  readonly uploaded: number
}

export const recordOf = (row: ShareRow): ShareRecord => ({
  ...summaryOf(row),
  chunkHashes: row.chunk_hashes,
  pieces: row.pieces ?? undefined,
  v2: v2Of(row),
  ed2k: ed2kOf(row)
})

const summaryOf = (row: LightRow): ShareSummary => ({
  fileId: row.file_id,
  path: row.path,
  name: row.name,
  mime: row.mime,
  stamp: { size: row.size, mtime: row.mtime, inode: row.inode },
  root: row.root,
  ed2k: row.ed2k_hash && row.aich ? { hash: row.ed2k_hash, aich: row.aich } : undefined,
  infoHash: row.info_hash ?? undefined,
  infoHashV2: row.info_hash_v2 ?? undefined,
  plainInfoHash: row.plain_info_hash ?? undefined,
  pricePerMb: BigInt(row.price),
  protocols: JSON.parse(row.protocols) as string[],
  trackers: JSON.parse(row.trackers) as string[],
  uploadLimit: row.upload_limit ?? undefined,
  creditBytes: row.credit_bytes ?? undefined,
  addedAt: row.added_at
})

const v2Of = ({ v2_root: root, v2_layer: layer }: ShareRow): V2Digest | undefined => (root && layer ? { root, layer } : undefined)

const ed2kOf = ({ ed2k_hash: hash, ed2k_parts: parts, aich, aich_parts: aichParts }: ShareRow): Ed2kDigest | undefined =>
  hash && parts && aich ? { hash, parts, aich, aichParts: aichParts ?? undefined } : undefined
