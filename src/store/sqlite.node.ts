/**
 * Opens a SQLite database the one way Kith uses it: WAL, synchronous=FULL (DESIGN §9: what is acknowledged survives a power
 * cut), a schema version with migrations, an integrity check, and errors with codes. A damaged file is never replaced.
 */
import { chmodSync, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder, syncFolder } from '../platform/files.node.ts'

export interface SqliteOptions {
  /** SQL scripts; script i takes the schema from version i to i + 1. Never edit one that was released: append. */
  readonly migrations: readonly string[]
}

export type Row = Record<string, SQLInputValue>

export class Sqlite implements Disposable {
  readonly path: string
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #open = true

  constructor(path: string, db: DatabaseSync) {
    this.path = path
    this.#db = db
  }

  /** Runs one statement. Integers come back as bigint when they do not fit a number. @throws DISK_FULL, STORE_CORRUPT, STORE_READ_ONLY */
  run(sql: string, ...params: SQLInputValue[]): { readonly changes: number } {
    return this.#guard(() => ({ changes: Number(this.#prepare(sql).run(...params).changes) }))
  }
  get<T = Row>(sql: string, ...params: SQLInputValue[]): T | undefined {
    return this.#guard(() => this.#prepare(sql).get(...params) as T | undefined)
  }
  all<T = Row>(sql: string, ...params: SQLInputValue[]): T[] {
    return this.#guard(() => this.#prepare(sql).all(...params) as T[])
  }

  /** All of `work` is durable when this returns, or none of it happened. `work` must be synchronous. */
  transaction<T>(work: () => T): T {
    this.#guard(() => this.#db.exec('BEGIN IMMEDIATE'))
    try {
      const result = work()
      this.#guard(() => this.#db.exec('COMMIT'))
      return result
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return
    this.#open = false
    this.#statements.clear()
    this.#db.close()
  }

  #prepare(sql: string): StatementSync {
    let s = this.#statements.get(sql)
    if (!s) this.#statements.set(sql, (s = this.#db.prepare(sql)))
    return s
  }
  #guard<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw toKithError(cause, this.path)
    }
  }
}

/**
 * Opens (or creates, mode 0600) the database at `path` and brings its schema up to date.
 * @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL
 */
export function openSqlite(path: string, options: SqliteOptions): Sqlite {
  makePrivateFolder(dirname(path))
  if (!existsSync(path)) create(path, options)
  // SQLite takes what is shorter than a page for a new database. `create` lets no such file appear here: this one has lost what it held.
  if (statSync(path).size < MIN_PAGE_BYTES) throw corrupt(path, 'it is empty')
  return open(path, options)
}

const MIN_PAGE_BYTES = 512

/** A new database gets its name when it is whole and durable. */
function create(path: string, options: SqliteOptions): void {
  const made = `${path}.new`
  for (const suffix of ['', '-wal', '-shm']) rmSync(made + suffix, { force: true })
  open(made, options)[Symbol.dispose]() // the last to close writes the log back and removes it
  renameSync(made, path)
  syncFolder(dirname(path))
}

function open(path: string, options: SqliteOptions): Sqlite {
  let db: DatabaseSync | undefined
  try {
    const existed = existsSync(path)
    db = new DatabaseSync(path)
    if (!existed) chmodSync(path, 0o600)
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=2000')
    const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (check.quick_check !== 'ok') throw corrupt(path, check.quick_check)
    migrate(db, path, options.migrations)
    if (schemaOf(db) !== expectedSchema(options.migrations)) throw corrupt(path, 'its schema has changed')
    return new Sqlite(path, db)
  } catch (cause) {
    db?.close()
    // Our own statements are right: what they stumble over here is a schema that is not what its version says.
    if (primaryCode(cause) === 1) throw corrupt(path, 'its schema has changed', cause)
    throw toKithError(cause, path)
  }
}

const RESTORE = 'move the file away to start with an empty one, or restore a backup; nothing was changed'

function migrate(db: DatabaseSync, path: string, migrations: readonly string[]): void {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > migrations.length) {
    throw new KithError(
      'STORE_NEWER',
      `${path} was written by a newer version of Kith`,
      { path, version, known: migrations.length },
      { hint: 'update kith' }
    )
  }
  for (let v = version; v < migrations.length; v++) db.exec(`BEGIN; ${migrations[v]}; PRAGMA user_version=${v + 1}; COMMIT`)
}

const SCHEMA = 'SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name'
const schemaOf = (db: DatabaseSync): string => JSON.stringify(db.prepare(SCHEMA).all())

function expectedSchema(migrations: readonly string[]): string {
  const db = new DatabaseSync(':memory:')
  try {
    for (const sql of migrations) db.exec(sql)
    return schemaOf(db)
  } finally {
    db.close()
  }
}

const corrupt = (path: string, why: string, cause?: unknown): KithError =>
  new KithError('STORE_CORRUPT', `${path} is damaged: ${why}`, { path }, { cause, hint: RESTORE })

/** SQLite's result code without its extension. undefined: not an error of SQLite. */
function primaryCode(error: unknown): number | undefined {
  const code = (error as { errcode?: number } | null)?.errcode
  return error instanceof KithError || code === undefined ? undefined : code & 0xff
}

/** A page beyond the end of the file. */
const IOERR_SHORT_READ = 522

function toKithError(cause: unknown, path: string): unknown {
  const primary = primaryCode(cause)
  if (primary === undefined) return cause
  if (primary === 13)
    return new KithError(
      'DISK_FULL',
      `no space left for ${path}`,
      { path },
      { cause, hint: 'free some space; nothing that was acknowledged is lost' }
    )
  if (primary === 11 || primary === 26 || (cause as { errcode?: number }).errcode === IOERR_SHORT_READ)
    return corrupt(path, (cause as Error).message, cause)
  if (primary === 8 || primary === 14)
    return new KithError('STORE_READ_ONLY', `cannot write ${path}`, { path }, { cause, hint: 'check the permissions of the folder' })
  return cause
}
