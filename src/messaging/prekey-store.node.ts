/** prekeys.db, mode 0600: the secret halves of this instance's prekeys. A secret that is removed is overwritten in the file. */
import type { PrekeyStore, StoredPrekey } from '../session/prekeys.ts'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'

const SCHEMA = `
CREATE TABLE prekeys (id TEXT PRIMARY KEY, secret BLOB NOT NULL, signed BLOB NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID
`
const COLUMNS = 'SELECT id, secret, signed, created AS createdAt FROM prekeys'

export class SqlitePrekeys implements PrekeyStore, Disposable {
  readonly #db: Sqlite

  constructor(db: Sqlite) {
    this.#db = db
    db.get('PRAGMA secure_delete=ON')
  }

  list(): readonly StoredPrekey[] {
    return this.#db.all<StoredPrekey>(`${COLUMNS} ORDER BY created DESC`)
  }
  get(id: string): StoredPrekey | undefined {
    return this.#db.get<StoredPrekey>(`${COLUMNS} WHERE id = ?`, id)
  }
  put({ id, secret, signed, createdAt }: StoredPrekey): void {
    this.#db.run('INSERT OR REPLACE INTO prekeys (id, secret, signed, created) VALUES (?, ?, ?, ?)', id, secret, signed, createdAt)
  }
  remove(id: string): void {
    if (this.#db.run('DELETE FROM prekeys WHERE id = ?', id).changes === 0) return
    // Else the log still holds the page as it was.
    this.#db.get('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]()
  }
}

/** @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export const openPrekeyStore = (path: string): SqlitePrekeys => new SqlitePrekeys(openSqlite(path, { migrations: [SCHEMA] }))
