/** Nonces of messages outside a session, in messages.db: recorded in the transaction that stores their message. */
import { hexToBytes } from '../../base/bytes.ts'
import type { NonceStore } from '../../session/replay-window.ts'
import type { Sqlite } from '../../store/sqlite.node.ts'

export const NONCE_SCHEMA = `
CREATE TABLE nonces (sender TEXT NOT NULL, nonce BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (sender, nonce)) WITHOUT ROWID;
CREATE INDEX nonces_at ON nonces (sender, at);
CREATE TABLE nonce_marks (sender TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
`

export class SqliteNonces implements NonceStore {
  readonly isDurable = true
  readonly #db: Sqlite

  constructor(db: Sqlite) {
    this.#db = db
  }

  has(sender: string, nonce: string): boolean {
    return this.#db.get('SELECT 1 FROM nonces WHERE sender = ? AND nonce = ?', sender, hexToBytes(nonce)) !== undefined
  }
  count(sender: string): number {
    return this.#number('SELECT count(*) AS n FROM nonces WHERE sender = ?', sender) ?? 0
  }
  senders(): number {
    return this.#number('SELECT count(*) AS n FROM (SELECT sender FROM nonces UNION SELECT sender FROM nonce_marks)') ?? 0
  }
  add(sender: string, nonce: string, timestamp: number): void {
    this.#db.run('INSERT INTO nonces (sender, nonce, at) VALUES (?, ?, ?)', sender, hexToBytes(nonce), timestamp)
  }
  removeOldest(sender: string): number | undefined {
    const at = this.#number('SELECT min(at) AS n FROM nonces WHERE sender = ?', sender)
    if (at === undefined) return undefined
    this.#db.run(
      'DELETE FROM nonces WHERE sender = ?1 AND nonce = (SELECT nonce FROM nonces WHERE sender = ?1 AND at = ?2 LIMIT 1)',
      sender,
      at
    )
    return at
  }
  markOf(sender: string): number {
    return this.#number('SELECT at AS n FROM nonce_marks WHERE sender = ?', sender) ?? 0
  }
  setMark(sender: string, timestamp: number): void {
    this.#db.run('INSERT OR REPLACE INTO nonce_marks (sender, at) VALUES (?, ?)', sender, timestamp)
  }
  prune(timestamp: number): void {
    this.#db.run('DELETE FROM nonces WHERE at < ?', timestamp)
    this.#db.run('DELETE FROM nonce_marks WHERE at < ? AND sender NOT IN (SELECT sender FROM nonces)', timestamp)
  }

  #number(sql: string, ...params: string[]): number | undefined {
    return this.#db.get<{ n: number | null }>(sql, ...params)?.n ?? undefined
  }
}
