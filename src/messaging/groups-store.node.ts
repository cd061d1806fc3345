/**
 * groups.db: operations, keys and messages of groups, and what is still to be given to the messenger. All that is said, names of groups and
 * keys are encrypted with a key of this home.
 */
import { SEALED_SCHEMA, SealedCells, sealDatabase } from '../store/sealed-cells.node.ts'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { GroupCommit } from './group-commit.node.ts'
import type { GroupStore, HeldPost, OutgoingCopy, StoredDelivery, StoredEpoch, StoredPost } from './groups/store.ts'
import { MAX_GROUP_POSTS } from './limits.ts'
import type { DeliveryState, EntityId } from './types.ts'

const SCHEMA = `
CREATE TABLE ops (seq INTEGER PRIMARY KEY, group_id TEXT NOT NULL, hash TEXT NOT NULL, bytes BLOB NOT NULL, UNIQUE (group_id, hash));
CREATE TABLE epochs (seq INTEGER PRIMARY KEY, group_id TEXT NOT NULL, id TEXT NOT NULL, key BLOB NOT NULL, heads TEXT NOT NULL, UNIQUE (group_id, id));
CREATE TABLE posts (
  seq INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL,
  id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body TEXT NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  UNIQUE (group_id, id, sender)
);
CREATE TABLE deliveries (
  out_id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL,
  post_id TEXT NOT NULL,
  recipient TEXT NOT NULL,
  state TEXT NOT NULL,
  code TEXT,
  changed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_post ON deliveries (group_id, post_id);
CREATE INDEX deliveries_open ON deliveries (state) WHERE state NOT IN ('delivered', 'failed');
CREATE TABLE held (
  seq INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body TEXT NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL
);
CREATE INDEX held_group ON held (group_id, sender);
CREATE TABLE outgoing (seq INTEGER PRIMARY KEY, out_id TEXT NOT NULL UNIQUE, recipient TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL)
`
const POST = 'SELECT id, group_id AS groupId, sender AS "from", body, sent AS sentAt, received AS receivedAt FROM posts'
const DELIVERY = `SELECT out_id AS outId, group_id AS groupId, post_id AS postId, recipient AS "to", state, code, changed AS changedAt
FROM deliveries`

/** Old messages are looked for after so many new ones. */
const TRIM_EVERY = 64

/** Places of cells. A group's id is the hash of its first operation. */
const place = {
  op: (group: string, hash: string): string => `ops ${group} ${hash}`,
  epoch: (group: string, id: string): string => `epochs ${group} ${id}`,
  post: (p: { readonly groupId: string; readonly id: string; readonly from: string }): string => `posts ${p.groupId} ${p.id} ${p.from}`,
  held: (p: { readonly groupId: string; readonly from: string }): string => `held ${p.groupId} ${p.from}`,
  outgoing: (outId: string): string => `outgoing ${outId}`
}

/** A row whose body is still sealed. */
type Sealed<T> = Omit<T, 'body'> & { readonly body: Uint8Array }
const withCode = (row: StoredDelivery & { readonly code: string | null }): StoredDelivery => ({ ...row, code: row.code ?? undefined })

export class SqliteGroups implements GroupStore {
  readonly #db: Sqlite
  readonly #cells: SealedCells
  readonly #commit: GroupCommit
  #added = 0

  constructor(db: Sqlite, cells: SealedCells) {
    this.#db = db
    this.#cells = cells
    this.#commit = new GroupCommit({ transaction: work => db.transaction(work) })
  }

  commit<T>(work: () => T): Promise<T> {
    return this.#commit.run(work)
  }

  groups(): { id: string; ops: Uint8Array[]; epochs: StoredEpoch[] }[] {
    const ids = this.#db.all<{ id: string }>('SELECT group_id AS id FROM ops GROUP BY group_id ORDER BY min(seq)')
    return ids.map(({ id }) => ({
      id,
      ops: this.#db
        .all<{ hash: string; bytes: Uint8Array }>('SELECT hash, bytes FROM ops WHERE group_id = ? ORDER BY seq', id)
        .map(r => this.#cells.open(r.bytes, place.op(id, r.hash))),
      epochs: this.#db
        .all<{ id: string; key: Uint8Array; heads: string }>('SELECT id, key, heads FROM epochs WHERE group_id = ? ORDER BY seq', id)
        .map(e => ({ ...e, key: this.#cells.open(e.key, place.epoch(id, e.id)), heads: e.heads.split(' ') }))
    }))
  }
  addOps(groupId: string, ops: readonly { readonly hash: string; readonly bytes: Uint8Array }[]): void {
    const sql = 'INSERT OR IGNORE INTO ops (group_id, hash, bytes) VALUES (?, ?, ?)'
    for (const { hash, bytes } of ops) this.#db.run(sql, groupId, hash, this.#cells.seal(bytes, place.op(groupId, hash)))
  }
  addEpoch(groupId: string, { id, key, heads }: StoredEpoch): void {
    this.#db.run(
      'INSERT OR IGNORE INTO epochs (group_id, id, key, heads) VALUES (?, ?, ?, ?)',
      groupId,
      id,
      this.#cells.seal(key, place.epoch(groupId, id)),
      heads.join(' ')
    )
  }
  removeEpochs(groupId: string, ids: readonly string[]): void {
    for (const id of ids) this.#db.run('DELETE FROM epochs WHERE group_id = ? AND id = ?', groupId, id)
  }
  forget(groupId: string): void {
    for (const table of ['ops', 'epochs', 'posts', 'deliveries', 'held']) this.#db.run(`DELETE FROM ${table} WHERE group_id = ?`, groupId)
  }

  addPost(p: StoredPost): boolean {
    const sql = 'INSERT OR IGNORE INTO posts (group_id, id, sender, body, sent, received) VALUES (?, ?, ?, ?, ?, ?)'
    const isNew = this.#db.run(sql, p.groupId, p.id, p.from, this.#sealed(p.body, place.post(p)), p.sentAt, p.receivedAt).changes > 0
    if (isNew && this.#added++ % TRIM_EVERY === 0) this.#trim(p.groupId)
    return isNew
  }
  posts(groupId: string, limit: number): StoredPost[] {
    return this.#db
      .all<Sealed<StoredPost>>(`${POST} WHERE group_id = ? ORDER BY seq DESC LIMIT ?`, groupId, limit)
      .map(p => this.#opened<StoredPost>(p, place.post(p)))
  }
  post(groupId: string, postId: string, from?: EntityId): StoredPost | undefined {
    const sql = `${POST} WHERE group_id = ? AND id = ? AND (sender = ? OR ? IS NULL) ORDER BY seq LIMIT 1`
    const row = this.#db.get<Sealed<StoredPost>>(sql, groupId, postId, from ?? null, from ?? null)
    return row && this.#opened<StoredPost>(row, place.post(row))
  }

  addDelivery(d: StoredDelivery): void {
    const sql = 'INSERT OR IGNORE INTO deliveries (out_id, group_id, post_id, recipient, state, code, changed) VALUES (?, ?, ?, ?, ?, ?, ?)'
    this.#db.run(sql, d.outId, d.groupId, d.postId, d.to, d.state, d.code ?? null, d.changedAt)
  }
  setDelivery(outId: string, state: DeliveryState, code: string | undefined, changedAt: number): StoredDelivery | undefined {
    const sql = `UPDATE deliveries SET state = ?2, code = ?3, changed = ?4
      WHERE out_id = ?1 AND state <> 'failed' AND (state <> 'delivered' OR ?2 = 'failed') AND (state IS NOT ?2 OR code IS NOT ?3)`
    if (this.#db.run(sql, outId, state, code ?? null, changedAt).changes === 0) return undefined
    return withCode(this.#db.get(`${DELIVERY} WHERE out_id = ?`, outId)!)
  }
  deliveries(groupId: string, postId: string): StoredDelivery[] {
    const rows = this.#db.all<StoredDelivery & { code: string | null }>(
      `${DELIVERY} WHERE group_id = ? AND post_id = ? ORDER BY recipient`,
      groupId,
      postId
    )
    return rows.map(withCode)
  }
  unfinished(): StoredDelivery[] {
    const rows = this.#db.all<StoredDelivery & { code: string | null }>(`${DELIVERY} WHERE state NOT IN ('delivered', 'failed')`)
    return rows.map(withCode)
  }

  hold(p: Omit<HeldPost, 'seq'>, max: number, maxPerMember: number): boolean {
    const count = (sql: string, ...params: string[]): number =>
      this.#db.get<{ n: number }>(`SELECT count(*) AS n FROM held WHERE ${sql}`, ...params)!.n
    if (count('group_id = ?', p.groupId) >= max || count('group_id = ? AND sender = ?', p.groupId, p.from) >= maxPerMember) return false
    const sql = 'INSERT INTO held (group_id, sender, body, sent, received) VALUES (?, ?, ?, ?, ?)'
    this.#db.run(sql, p.groupId, p.from, this.#sealed(p.body, place.held(p)), p.sentAt, p.receivedAt)
    return true
  }
  held(groupId: string): HeldPost[] {
    const sql = 'SELECT seq, group_id AS groupId, sender AS "from", body, sent AS sentAt, received AS receivedAt FROM held'
    return this.#db
      .all<Sealed<HeldPost>>(`${sql} WHERE group_id = ? ORDER BY seq`, groupId)
      .map(p => this.#opened<HeldPost>(p, place.held(p)))
  }
  unhold(seq: number): void {
    this.#db.run('DELETE FROM held WHERE seq = ?', seq)
  }

  addOutgoing(o: OutgoingCopy): void {
    const sql = 'INSERT OR IGNORE INTO outgoing (out_id, recipient, type, body) VALUES (?, ?, ?, ?)'
    this.#db.run(sql, o.outId, o.to, o.type, this.#sealed(o.body, place.outgoing(o.outId)))
  }
  outgoing(limit: number): OutgoingCopy[] {
    const sql = 'SELECT out_id AS outId, recipient AS "to", type, body FROM outgoing ORDER BY seq LIMIT ?'
    return this.#db.all<Sealed<OutgoingCopy>>(sql, limit).map(o => this.#opened<OutgoingCopy>(o, place.outgoing(o.outId)))
  }
  removeOutgoing(outId: string): void {
    this.#db.run('DELETE FROM outgoing WHERE out_id = ?', outId)
  }

  [Symbol.dispose](): void {
    this.#commit.flush()
    this.#db[Symbol.dispose]()
  }

  #sealed(body: JsonObject, at: string): Uint8Array {
    return this.#cells.seal(JSON.stringify(body), at)
  }
  #opened<T extends { readonly body: JsonObject }>(row: Sealed<T>, at: string): T {
    return { ...row, body: JSON.parse(this.#cells.text(row.body, at)) as JsonObject } as unknown as T
  }

  /** The oldest messages beyond the number go, with what became of them. */
  #trim(groupId: string): void {
    const sql = 'SELECT seq, id FROM posts WHERE group_id = ? ORDER BY seq DESC LIMIT -1 OFFSET ?'
    for (const { seq, id } of this.#db.all<{ seq: number; id: string }>(sql, groupId, MAX_GROUP_POSTS)) {
      this.#db.run('DELETE FROM posts WHERE seq = ?', seq)
      this.#db.run('DELETE FROM deliveries WHERE group_id = ? AND post_id = ?', groupId, id)
    }
  }
}

export interface GroupStoreDeps {
  /** 32 bytes of this home. */
  readonly storageKey: Uint8Array
}

/** @throws STORE_CORRUPT (also with another key), STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openGroupStore(path: string, deps: GroupStoreDeps): SqliteGroups {
  const db = openSqlite(path, { migrations: [SCHEMA, SEALED_SCHEMA] })
  try {
    const cells = new SealedCells(deps.storageKey, path)
    sealDatabase(db, cells, () => sealRows(db, cells))
    return new SqliteGroups(db, cells)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
}

/** Of a database from before texts and keys were sealed. */
function sealRows(db: Sqlite, cells: SealedCells): number {
  let count = 0
  const seal = <T extends { readonly seq: number; readonly cell: string | Uint8Array }>(
    table: string,
    column: string,
    names: string,
    at: (row: T) => string
  ): void => {
    for (const row of db.all<T>(`SELECT seq, ${column} AS cell, ${names} FROM ${table}`)) {
      db.run(`UPDATE ${table} SET ${column} = ? WHERE seq = ?`, cells.seal(row.cell, at(row)), row.seq)
      count++
    }
  }
  type Cell<N extends string> = { readonly seq: number; readonly cell: string | Uint8Array } & Readonly<Record<N, string>>
  seal<Cell<'g' | 'hash'>>('ops', 'bytes', 'group_id AS g, hash', r => place.op(r.g, r.hash))
  seal<Cell<'g' | 'id'>>('epochs', 'key', 'group_id AS g, id', r => place.epoch(r.g, r.id))
  seal<Cell<'groupId' | 'id' | 'from'>>('posts', 'body', 'group_id AS groupId, id, sender AS "from"', place.post)
  seal<Cell<'groupId' | 'from'>>('held', 'body', 'group_id AS groupId, sender AS "from"', place.held)
  seal<Cell<'outId'>>('outgoing', 'body', 'out_id AS outId', r => place.outgoing(r.outId))
  return count
}
