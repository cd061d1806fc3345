/** mailbox.db: envelopes kept for others, and the peer records of their owners. What is acknowledged is on disk (DESIGN §9). */
import { createHash } from 'node:crypto'
import { KithError } from '../base/errors.ts'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'
import { GroupCommit } from './group-commit.node.ts'
import {
  MAILBOX_SHARE_OF_STRANGERS,
  MAILBOX_SHARE_PER_NETWORK,
  MAILBOX_SHARE_PER_STRANGER,
  MAX_MAILBOX_BYTES,
  MAX_MAILBOX_ENVELOPES,
  MAX_MAILBOX_TOTAL_BYTES
} from './limits.ts'
import type { KeptEnvelope, MailboxStore, Stranger } from './mailbox-types.ts'
import type { EntityId } from './types.ts'

const SCHEMA = `
CREATE TABLE kept (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  owner TEXT NOT NULL,
  hash BLOB NOT NULL,
  expires INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  envelope BLOB NOT NULL,
  UNIQUE (owner, hash)
);
CREATE INDEX kept_expires ON kept (expires);
CREATE TABLE totals (owner TEXT PRIMARY KEY, envelopes INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (entity TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TRIGGER kept_added AFTER INSERT ON kept BEGIN
  INSERT INTO totals (owner, envelopes, bytes) VALUES (new.owner, 1, new.bytes)
    ON CONFLICT (owner) DO UPDATE SET envelopes = envelopes + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER kept_removed AFTER DELETE ON kept BEGIN
  UPDATE totals SET envelopes = envelopes - 1, bytes = bytes - old.bytes WHERE owner = old.owner;
  DELETE FROM totals WHERE owner = old.owner AND envelopes <= 0;
END
`

/** What strangers left: by peer, by network, and all together. Envelopes from before have none of it. */
const SHARES = `
ALTER TABLE kept ADD COLUMN peer TEXT;
ALTER TABLE kept ADD COLUMN network TEXT;
CREATE TABLE shares (owner TEXT NOT NULL, name TEXT NOT NULL, envelopes INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (owner, name)) WITHOUT ROWID;
CREATE TABLE known (owner TEXT NOT NULL, tag BLOB NOT NULL, PRIMARY KEY (owner, tag)) WITHOUT ROWID;
CREATE TRIGGER share_added AFTER INSERT ON kept WHEN new.peer IS NOT NULL BEGIN
  INSERT INTO shares (owner, name, envelopes, bytes)
    VALUES (new.owner, 'peer ' || new.peer, 1, new.bytes), (new.owner, 'network ' || new.network, 1, new.bytes), (new.owner, 'all', 1, new.bytes)
    ON CONFLICT (owner, name) DO UPDATE SET envelopes = envelopes + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER share_removed AFTER DELETE ON kept WHEN old.peer IS NOT NULL BEGIN
  UPDATE shares SET envelopes = envelopes - 1, bytes = bytes - old.bytes
    WHERE owner = old.owner AND name IN ('peer ' || old.peer, 'network ' || old.network, 'all');
  DELETE FROM shares WHERE owner = old.owner AND envelopes <= 0;
END
`

export interface MailboxLimits {
  readonly maxEnvelopes?: number
  readonly maxBytes?: number
  readonly maxTotalBytes?: number
}

interface Total {
  readonly envelopes: number
  readonly bytes: number
}

/** Envelopes, and records as discovery's RecordMemory. */
export class SqliteMailbox implements MailboxStore {
  readonly #db: Sqlite
  readonly #commit: GroupCommit
  readonly #limits: Required<MailboxLimits>

  constructor(db: Sqlite, limits: MailboxLimits) {
    this.#db = db
    this.#commit = new GroupCommit({ transaction: work => db.transaction(work) })
    this.#limits = { maxEnvelopes: MAX_MAILBOX_ENVELOPES, maxBytes: MAX_MAILBOX_BYTES, maxTotalBytes: MAX_MAILBOX_TOTAL_BYTES, ...limits }
  }

  add(owner: EntityId, envelope: Uint8Array, expiresAt: number, from?: Stranger): Promise<void> {
    const hash = createHash('sha256').update(envelope).digest()
    return this.#commit.run(() => {
      if (this.#db.get('SELECT 1 FROM kept WHERE owner = ? AND hash = ?', owner, hash)) return
      this.#checkRoom(owner, envelope.length)
      if (from) this.#checkShares(owner, envelope.length, from)
      const sql = 'INSERT INTO kept (owner, hash, expires, bytes, envelope, peer, network) VALUES (?, ?, ?, ?, ?, ?, ?)'
      this.#db.run(sql, owner, hash, expiresAt, envelope.length, envelope, from?.peerId ?? null, from?.network ?? null)
    })
  }

  oldest(owner: EntityId, now: number, maxCount: number, maxBytes: number): KeptEnvelope[] {
    const sql = 'SELECT number, bytes FROM kept WHERE owner = ? AND expires > ? ORDER BY number LIMIT ?'
    const kept: KeptEnvelope[] = []
    let left = maxBytes
    for (const { number, bytes } of this.#db.all<{ number: number; bytes: number }>(sql, owner, now, maxCount)) {
      if (kept.length > 0 && bytes > left) break
      left -= bytes
      kept.push({
        number,
        envelope: this.#db.get<{ envelope: Uint8Array }>('SELECT envelope FROM kept WHERE number = ?', number)!.envelope
      })
    }
    return kept
  }

  count(owner: EntityId, now: number): number {
    return this.#db.get<{ n: number }>('SELECT count(*) AS n FROM kept WHERE owner = ? AND expires > ?', owner, now)!.n
  }

  async remove(owner: EntityId, numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return
    await this.#commit.run(() => {
      for (const n of numbers) this.#db.run('DELETE FROM kept WHERE number = ? AND owner = ?', n, owner)
    })
  }

  prune(now: number): number {
    return this.#db.run('DELETE FROM kept WHERE expires <= ?', now).changes
  }

  totals(): { owner: EntityId; envelopes: number; bytes: number }[] {
    return this.#db.all('SELECT owner, envelopes, bytes FROM totals ORDER BY owner')
  }

  clear(owner: EntityId): void {
    this.#db.run('DELETE FROM kept WHERE owner = ?', owner)
  }

  async setKnown(owner: EntityId, tags: readonly Uint8Array[]): Promise<void> {
    await this.#commit.run(() => {
      this.#db.run('DELETE FROM known WHERE owner = ?', owner)
      for (const tag of tags) this.#db.run('INSERT OR IGNORE INTO known (owner, tag) VALUES (?, ?)', owner, tag)
    })
  }
  isKnown(owner: EntityId, tag: Uint8Array): boolean {
    return this.#db.get('SELECT 1 FROM known WHERE owner = ? AND tag = ?', owner, tag) !== undefined
  }

  /** Encoded peer records of owners, for when they are away. */
  records(): Uint8Array[] {
    return this.#db.all<{ record: Uint8Array }>('SELECT record FROM records').map(r => r.record)
  }
  saveRecord(entityId: EntityId, record: Uint8Array): void {
    this.#db.run('INSERT OR REPLACE INTO records (entity, record) VALUES (?, ?)', entityId, record)
  }
  removeRecord(entityId: EntityId): void {
    this.#db.run('DELETE FROM records WHERE entity = ?', entityId)
  }

  #checkRoom(owner: EntityId, bytes: number): void {
    const own = this.#db.get<Total>('SELECT envelopes, bytes FROM totals WHERE owner = ?', owner) ?? NONE
    const all = this.#db.get<{ bytes: number }>('SELECT coalesce(sum(bytes), 0) AS bytes FROM totals')!
    const { maxEnvelopes, maxBytes, maxTotalBytes } = this.#limits
    if (own.envelopes >= maxEnvelopes || own.bytes + bytes > maxBytes || all.bytes + bytes > maxTotalBytes) throw full(own)
  }

  /** What all strangers together leave is at most a half, of one owner's room and of everybody's: the other is for who is known. */
  #checkShares(owner: EntityId, bytes: number, { peerId, network }: Stranger): void {
    const { maxEnvelopes, maxBytes, maxTotalBytes } = this.#limits
    for (const [name, share] of [
      [`peer ${peerId}`, MAILBOX_SHARE_PER_STRANGER],
      [`network ${network}`, MAILBOX_SHARE_PER_NETWORK],
      ['all', MAILBOX_SHARE_OF_STRANGERS]
    ] as const) {
      const held = this.#db.get<Total>('SELECT envelopes, bytes FROM shares WHERE owner = ? AND name = ?', owner, name) ?? NONE
      if (held.envelopes + 1 > maxEnvelopes * share || held.bytes + bytes > maxBytes * share) throw full(held)
    }
    const all = this.#db.get<{ bytes: number }>("SELECT coalesce(sum(bytes), 0) AS bytes FROM shares WHERE name = 'all'")!
    if (all.bytes + bytes > maxTotalBytes * MAILBOX_SHARE_OF_STRANGERS) throw full(NONE)
  }

  [Symbol.dispose](): void {
    this.#commit.flush()
    this.#db[Symbol.dispose]()
  }
}

const NONE: Total = { envelopes: 0, bytes: 0 }
const full = ({ envelopes, bytes }: Total): KithError => new KithError('QUEUE_FULL', 'too much is kept already', { envelopes, bytes })

/** @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export const openMailboxStore = (path: string, limits: MailboxLimits = {}): SqliteMailbox =>
  new SqliteMailbox(openSqlite(path, { migrations: [SCHEMA, SHARES] }), limits)
