/**
 * tasks.db. A write is one transaction that SQLite hands to the system without waiting for the disk; `durable` waits for an fdatasync of
 * the write-ahead log that began afterwards, one for all that wait. So nothing blocks on the disk, and what is acknowledged survives a
 * power cut as with synchronous=FULL: a checkpoint syncs the log before it touches the database.
 */
import { close, fdatasync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { syncFolder } from '../platform/files.node.ts'
import { openSqlite, type Row, type Sqlite } from '../store/sqlite.node.ts'
import type { Priority } from '../wire/message-types.ts'
import { MAX_FINISHED, MAX_FINISHED_AGE_MS, MAX_FINISHED_BYTES, MAX_TOMBSTONES, MAX_TOMBSTONES_PER_PEER } from './limits.ts'
import type { TaskState } from './states.ts'
import type { NewTask, Offer, OfferState, Outcome, OwedMessage, Role, TaskChange, TaskQuery, TaskRow, TaskStore } from './store.ts'

const MIGRATIONS = [
  `CREATE TABLE tasks (key INTEGER PRIMARY KEY AUTOINCREMENT, role TEXT NOT NULL, id TEXT NOT NULL, peer TEXT NOT NULL, skill TEXT NOT NULL,
     idem TEXT NOT NULL, hash TEXT NOT NULL, description TEXT NOT NULL, request TEXT NOT NULL, priority TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL,
     progress REAL NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL, deadline INTEGER NOT NULL,
     due INTEGER NOT NULL, finished INTEGER, outcome TEXT, attempts INTEGER NOT NULL, candidates TEXT NOT NULL, attempt_ms INTEGER,
     offer TEXT);
   CREATE UNIQUE INDEX given_ids ON tasks (id) WHERE role = 'given';
   CREATE UNIQUE INDEX given_keys ON tasks (idem) WHERE role = 'given';
   CREATE UNIQUE INDEX received_ids ON tasks (peer, id) WHERE role = 'received';
   CREATE UNIQUE INDEX received_keys ON tasks (peer, idem) WHERE role = 'received';
   CREATE INDEX tasks_by_id ON tasks (id);
   CREATE INDEX tasks_due ON tasks (due) WHERE finished IS NULL;
   CREATE INDEX tasks_finished ON tasks (finished) WHERE finished IS NOT NULL;
   CREATE TABLE offers (message TEXT PRIMARY KEY, task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE, peer TEXT NOT NULL,
     state TEXT NOT NULL);
   CREATE INDEX offers_by_task ON offers (task);
   -- messages that must reach the messenger; it takes the same id twice as one
   CREATE TABLE owed (message TEXT PRIMARY KEY, recipient TEXT NOT NULL, type TEXT NOT NULL,
     task INTEGER REFERENCES tasks ON DELETE CASCADE, body TEXT NOT NULL, until INTEGER NOT NULL);
   CREATE INDEX owed_by_task ON owed (task);
   CREATE TABLE skills (name TEXT PRIMARY KEY);
   CREATE TABLE tombstones (n INTEGER PRIMARY KEY, giver TEXT NOT NULL, offer TEXT NOT NULL, time INTEGER NOT NULL);
   CREATE UNIQUE INDEX tombstones_by_offer ON tombstones (giver, offer)`
]

/** Opens tasks.db in a folder. @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openTaskStore(folder: string): TaskStore {
  const db = openSqlite(join(folder, 'tasks.db'), { migrations: MIGRATIONS })
  try {
    db.get('PRAGMA synchronous=NORMAL')
    const log = openSync(`${db.path}-wal`, 'r+')
    syncFolder(dirname(db.path))
    return new SqliteTaskStore(db, log)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
}

const sync = promisify(fdatasync)
const closeFile = promisify(close)

const COLUMNS: Readonly<Record<Exclude<keyof TaskChange, 'outcome' | 'path'>, string>> = {
  id: 'id',
  peer: 'peer',
  state: 'state',
  progress: 'progress',
  note: 'note',
  deadline: 'deadline',
  dueAt: 'due',
  finishedAt: 'finished',
  attempts: 'attempts',
  offer: 'offer',
  priority: 'priority'
}
const FIELDS =
  'role, id, peer, skill, idem, hash, description, priority, path, state, created, deadline, due, attempts, candidates, attempt_ms, offer'

class SqliteTaskStore implements TaskStore {
  readonly #db: Sqlite
  readonly #log: number
  #syncing: Promise<void> | undefined
  #next: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(db: Sqlite, log: number) {
    this.#db = db
    this.#log = log
  }

  write<T>(work: () => T): T {
    return this.#db.transaction(work)
  }

  /** A sync that runs already may have begun too early: then the next one, which is shared. */
  durable(): Promise<void> {
    if (!this.#syncing) return (this.#syncing = this.#syncNow())
    this.#next ??= this.#syncing
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return (this.#syncing = this.#syncNow())
      })
    return this.#next
  }
  async #syncNow(): Promise<void> {
    try {
      await sync(this.#log)
    } catch (cause) {
      const isFull = (cause as { code?: string }).code === 'ENOSPC'
      throw new KithError(isFull ? 'DISK_FULL' : 'STORE_READ_ONLY', `cannot write ${this.#db.path}`, { path: this.#db.path }, { cause })
    } finally {
      if (!this.#next) this.#syncing = undefined
    }
  }

  insert(t: NewTask, request: string): TaskRow {
    const texts = [
      t.role,
      t.id,
      t.peer,
      t.skill,
      t.idempotencyKey,
      t.requestHash,
      t.description,
      t.priority,
      JSON.stringify(t.path),
      t.state
    ]
    const numbers = [t.createdAt, t.deadline, t.dueAt, t.attempts, JSON.stringify(t.candidates), t.attemptMs ?? null, t.offer ?? null]
    const values = [...texts, ...numbers, request]
    const sql = `INSERT INTO tasks (${FIELDS}, request) VALUES (${values.map(() => '?').join(', ')}) RETURNING key`
    const { key } = this.#db.get<{ key: number }>(sql, ...values)!
    return { ...t, key, progress: 0, note: '', finishedAt: undefined }
  }
  update(key: number, change: TaskChange): void {
    const { outcome, path, ...plain } = change
    const sets: string[] = []
    const values: (string | number | null)[] = []
    for (const [name, column] of Object.entries(COLUMNS) as [keyof typeof plain, string][]) {
      if (!(name in plain)) continue
      sets.push(`${column} = ?`)
      values.push(plain[name] ?? null)
    }
    if (path) {
      sets.push('path = ?')
      values.push(JSON.stringify(path))
    }
    if (outcome) {
      sets.push('outcome = ?')
      values.push(JSON.stringify(outcome))
    }
    this.#db.run(`UPDATE tasks SET ${sets.join(', ')} WHERE key = ?`, ...values, key)
  }
  remove(key: number): void {
    this.#db.run('DELETE FROM tasks WHERE key = ?', key)
  }
  get(key: number): TaskRow | undefined {
    return this.#one('WHERE key = ?', key)
  }
  find(role: Role, id: string, giver?: EntityId): TaskRow | undefined {
    if (giver === undefined) return this.#one('WHERE id = ? AND role = ?', id, role)
    return this.#one("WHERE role = 'received' AND peer = ? AND id = ?", giver, id)
  }
  byIdempotencyKey(role: Role, key: string, giver?: EntityId): TaskRow | undefined {
    if (role === 'given') return this.#one("WHERE role = 'given' AND idem = ?", key)
    return this.#one("WHERE role = 'received' AND peer = ? AND idem = ?", giver ?? '', key)
  }
  request(key: number): string {
    return this.#db.get<{ request: string }>('SELECT request FROM tasks WHERE key = ?', key)?.request ?? ''
  }
  outcome(key: number): Outcome {
    const row = this.#db.get<{ outcome: string | null }>('SELECT outcome FROM tasks WHERE key = ?', key)
    return row?.outcome ? (JSON.parse(row.outcome) as Outcome) : {}
  }
  list(q: TaskQuery): TaskRow[] {
    const wanted = [
      ['role', q.role],
      ['state', q.state],
      ['peer', q.peer]
    ].filter((w): w is [string, string] => w[1] !== undefined)
    const where = wanted.length > 0 ? `WHERE ${wanted.map(([column]) => `${column} = ?`).join(' AND ')}` : ''
    return this.#many(`${where} ORDER BY key DESC LIMIT ?`, ...wanted.map(([, value]) => value), q.limit)
  }
  unfinished(role: Role): TaskRow[] {
    return this.#many('WHERE finished IS NULL AND role = ? ORDER BY key', role)
  }
  due(now: number, limit: number): TaskRow[] {
    return this.#many('WHERE finished IS NULL AND due <= ? ORDER BY due LIMIT ?', now, limit)
  }
  nextDue(): number | undefined {
    return this.#db.get<{ due: number | null }>('SELECT min(due) AS due FROM tasks WHERE finished IS NULL')?.due ?? undefined
  }

  addOffer(o: Offer): void {
    this.#db.run('INSERT INTO offers (message, task, peer, state) VALUES (?, ?, ?, ?)', o.message, o.task, o.peer, o.state)
  }
  setOffer(message: string, state: OfferState): void {
    this.#db.run('UPDATE offers SET state = ? WHERE message = ?', state, message)
  }
  offer(message: string): Offer | undefined {
    return this.#db.get<Offer>('SELECT task, peer, message, state FROM offers WHERE message = ?', message)
  }
  offers(task: number): Offer[] {
    return this.#db.all<Offer>('SELECT task, peer, message, state FROM offers WHERE task = ? ORDER BY rowid', task)
  }

  owe(m: OwedMessage): void {
    const sql = 'INSERT INTO owed (message, recipient, type, task, body, until) VALUES (?, ?, ?, ?, ?, ?)'
    this.#db.run(sql, m.message, m.to, m.type, m.task ?? null, m.body, m.until)
  }
  settle(message: string): void {
    this.#db.run('DELETE FROM owed WHERE message = ?', message)
  }
  owed(): OwedMessage[] {
    const rows = this.#db.all<OwedMessage & { task: number | null }>(
      'SELECT message, recipient AS "to", type, task, body, until FROM owed ORDER BY rowid'
    )
    return rows.map(r => ({ ...r, task: r.task ?? undefined }))
  }

  rememberSkill(name: string): void {
    this.#db.run('INSERT OR IGNORE INTO skills (name) VALUES (?)', name)
  }
  forgetSkill(name: string): void {
    this.#db.run('DELETE FROM skills WHERE name = ?', name)
  }
  skills(): string[] {
    return this.#db.all<{ name: string }>('SELECT name FROM skills ORDER BY name').map(r => r.name)
  }

  bury(giver: EntityId, offer: string, at: number): void {
    this.#db.run('INSERT OR IGNORE INTO tombstones (giver, offer, time) VALUES (?, ?, ?)', giver, offer, at)
    const old = 'DELETE FROM tombstones WHERE n IN (SELECT n FROM tombstones WHERE giver = ? ORDER BY n DESC LIMIT -1 OFFSET ?)'
    this.#db.run(old, giver, MAX_TOMBSTONES_PER_PEER)
    this.#db.run('DELETE FROM tombstones WHERE n <= (SELECT max(n) FROM tombstones) - ?', MAX_TOMBSTONES)
  }
  isBuried(giver: EntityId, offer: string): boolean {
    return this.#db.get('SELECT 1 FROM tombstones WHERE giver = ? AND offer = ?', giver, offer) !== undefined
  }

  prune(now: number): void {
    const db = this.#db
    db.run('DELETE FROM tasks WHERE finished < ?', now - MAX_FINISHED_AGE_MS)
    db.run('DELETE FROM tombstones WHERE time < ?', now - MAX_FINISHED_AGE_MS)
    // Newest first: from where there are too many, or too many bytes, the rest goes.
    const sizes = db.all<{ key: number; bytes: number }>(
      `SELECT key, octet_length(request) + coalesce(octet_length(outcome), 0) AS bytes FROM tasks
       WHERE finished IS NOT NULL ORDER BY finished DESC, key DESC`
    )
    let bytes = 0
    const kept = sizes.findIndex((s, i) => (bytes += s.bytes) > MAX_FINISHED_BYTES || i >= MAX_FINISHED)
    if (kept >= 0) for (const { key } of sizes.slice(kept)) db.run('DELETE FROM tasks WHERE key = ?', key)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= (async () => {
      while (this.#syncing) await this.#syncing.catch(() => {})
      await closeFile(this.#log)
      this.#db[Symbol.dispose]()
    })()
    return this.#closed
  }

  #one(where: string, ...values: (string | number)[]): TaskRow | undefined {
    const row = this.#db.get<Row>(`SELECT key, progress, note, finished, ${FIELDS} FROM tasks ${where}`, ...values)
    return row && rowOf(row)
  }
  #many(where: string, ...values: (string | number)[]): TaskRow[] {
    return this.#db.all<Row>(`SELECT key, progress, note, finished, ${FIELDS} FROM tasks ${where}`, ...values).map(rowOf)
  }
}

const rowOf = (r: Row): TaskRow => ({
  key: Number(r['key']),
  role: String(r['role']) as Role,
  id: String(r['id']),
  peer: String(r['peer']),
  skill: String(r['skill']),
  idempotencyKey: String(r['idem']),
  requestHash: String(r['hash']),
  description: String(r['description']),
  priority: String(r['priority']) as Priority,
  path: JSON.parse(String(r['path'])) as EntityId[],
  state: String(r['state']) as TaskState,
  progress: Number(r['progress']),
  note: String(r['note']),
  createdAt: Number(r['created']),
  deadline: Number(r['deadline']),
  dueAt: Number(r['due']),
  finishedAt: r['finished'] === null ? undefined : Number(r['finished']),
  attempts: Number(r['attempts']),
  candidates: JSON.parse(String(r['candidates'])) as EntityId[],
  attemptMs: r['attempt_ms'] === null ? undefined : Number(r['attempt_ms']),
  offer: r['offer'] === null ? undefined : String(r['offer'])
})
