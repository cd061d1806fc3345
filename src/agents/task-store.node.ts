/**
 * tasks.db. What a task is about, its input, result and notes are encrypted with a key of this home. A write is one transaction that SQLite
 * hands to the system without waiting for the disk; `durable` waits for an fdatasync of the write-ahead log that began afterwards, one for
 * all that wait (store/synced-log.node.ts). So nothing blocks on the disk, and what is acknowledged survives a power cut.
 */
import { join } from 'node:path'
import type { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { SEALED_SCHEMA, SealedCells, sealDatabase } from '../store/sealed-cells.node.ts'
import { openSqlite, type Row, type Sqlite } from '../store/sqlite.node.ts'
import { SyncedLog } from '../store/synced-log.node.ts'
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
   CREATE UNIQUE INDEX tombstones_by_offer ON tombstones (giver, offer)`,
  SEALED_SCHEMA
]

/** Columns of tasks that are sealed; none of them is looked for. */
const SEALED = ['hash', 'description', 'request', 'note', 'outcome'] as const
const cell = (key: number, column: (typeof SEALED)[number]): string => `tasks ${key} ${column}`
const owedCell = (message: string): string => `owed ${message}`

/** @param storageKey 32 bytes of this home */
export interface TaskStoreDeps {
  readonly storageKey: Uint8Array
  /** The disk has failed: nothing can be written until another process opens the store. */
  readonly onFailed?: (error: KithError) => void
}

/** Opens tasks.db in a folder. @throws STORE_CORRUPT (also with another key), STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openTaskStore(folder: string, deps: TaskStoreDeps): TaskStore {
  const db = openSqlite(join(folder, 'tasks.db'), { migrations: MIGRATIONS })
  try {
    const cells = new SealedCells(deps.storageKey, db.path)
    sealDatabase(db, cells, () => sealRows(db, cells))
    return new SqliteTaskStore(db, new SyncedLog(db, deps), cells)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
}

/** Of a database from before texts were sealed. */
function sealRows(db: Sqlite, cells: SealedCells): number {
  const tasks = db.all<Record<string, string | number | null>>(`SELECT key, ${SEALED.join(', ')} FROM tasks`)
  for (const row of tasks) {
    const sealed = SEALED.map(c => (row[c] === null ? null : cells.seal(String(row[c]), cell(Number(row['key']), c))))
    db.run(`UPDATE tasks SET ${SEALED.map(c => `${c} = ?`).join(', ')} WHERE key = ?`, ...sealed, row['key']!)
  }
  const owed = db.all<{ message: string; body: string }>('SELECT message, body FROM owed')
  for (const o of owed) db.run('UPDATE owed SET body = ? WHERE message = ?', cells.seal(o.body, owedCell(o.message)), o.message)
  return tasks.length + owed.length
}

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
  readonly #log: SyncedLog
  readonly #cells: SealedCells
  #key: number
  #syncing: Promise<void> | undefined
  #next: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(db: Sqlite, log: SyncedLog, cells: SealedCells) {
    this.#db = db
    this.#log = log
    this.#cells = cells
    // AUTOINCREMENT: a key is never used again, and cells are bound to theirs.
    this.#key = db.get<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'")?.seq ?? 0
  }

  write<T>(work: () => T): T {
    this.#log.check()
    this.#log.wrote(0)
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
      await this.#log.sync()
    } finally {
      if (!this.#next) this.#syncing = undefined
    }
  }

  insert(t: NewTask, request: string): TaskRow {
    const key = ++this.#key
    const [hash, description, sealed, note] = (
      [
        ['hash', t.requestHash],
        ['description', t.description],
        ['request', request],
        ['note', '']
      ] as const
    ).map(([column, value]) => this.#cells.seal(value, cell(key, column)))
    const texts = [t.role, t.id, t.peer, t.skill, t.idempotencyKey, hash!, description!, t.priority, JSON.stringify(t.path), t.state]
    const numbers = [t.createdAt, t.deadline, t.dueAt, t.attempts, JSON.stringify(t.candidates), t.attemptMs ?? null, t.offer ?? null]
    const values = [...texts, ...numbers, sealed!, note!, key]
    this.#db.run(`INSERT INTO tasks (${FIELDS}, request, note, key) VALUES (${values.map(() => '?').join(', ')})`, ...values)
    return { ...t, key, progress: 0, note: '', finishedAt: undefined }
  }
  update(key: number, change: TaskChange): void {
    const { outcome, path, ...plain } = change
    const sets: string[] = []
    const values: (string | number | null | Uint8Array)[] = []
    for (const [name, column] of Object.entries(COLUMNS) as [keyof typeof plain, string][]) {
      if (!(name in plain)) continue
      sets.push(`${column} = ?`)
      values.push(name === 'note' ? this.#cells.seal(plain.note ?? '', cell(key, 'note')) : (plain[name] ?? null))
    }
    if (path) {
      sets.push('path = ?')
      values.push(JSON.stringify(path))
    }
    if (outcome) {
      sets.push('outcome = ?')
      values.push(this.#cells.seal(JSON.stringify(outcome), cell(key, 'outcome')))
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
    const row = this.#db.get<{ request: Uint8Array }>('SELECT request FROM tasks WHERE key = ?', key)
    return row ? this.#cells.text(row.request, cell(key, 'request')) : ''
  }
  outcome(key: number): Outcome {
    const row = this.#db.get<{ outcome: Uint8Array | null }>('SELECT outcome FROM tasks WHERE key = ?', key)
    return row?.outcome ? (JSON.parse(this.#cells.text(row.outcome, cell(key, 'outcome'))) as Outcome) : {}
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
    this.#db.run(sql, m.message, m.to, m.type, m.task ?? null, this.#cells.seal(m.body, owedCell(m.message)), m.until)
  }
  settle(message: string): void {
    this.#db.run('DELETE FROM owed WHERE message = ?', message)
  }
  owed(): OwedMessage[] {
    const rows = this.#db.all<Omit<OwedMessage, 'body' | 'task'> & { readonly task: number | null; readonly body: Uint8Array }>(
      'SELECT message, recipient AS "to", type, task, body, until FROM owed ORDER BY rowid'
    )
    return rows.map(r => ({ ...r, task: r.task ?? undefined, body: this.#cells.text(r.body, owedCell(r.message)) }))
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
      this.#log[Symbol.dispose]()
      this.#db[Symbol.dispose]()
    })()
    return this.#closed
  }

  #one(where: string, ...values: (string | number)[]): TaskRow | undefined {
    const row = this.#db.get<Row>(`SELECT key, progress, note, finished, ${FIELDS} FROM tasks ${where}`, ...values)
    return row && this.#row(row)
  }
  #many(where: string, ...values: (string | number)[]): TaskRow[] {
    return this.#db.all<Row>(`SELECT key, progress, note, finished, ${FIELDS} FROM tasks ${where}`, ...values).map(r => this.#row(r))
  }
  #row(r: Row): TaskRow {
    const text = (column: 'hash' | 'description' | 'note'): string => this.#cells.text(r[column], cell(Number(r['key']), column))
    return { ...rowOf(r), requestHash: text('hash'), description: text('description'), note: text('note') }
  }
}

const rowOf = (r: Row): Omit<TaskRow, 'requestHash' | 'description' | 'note'> => ({
  key: Number(r['key']),
  role: String(r['role']) as Role,
  id: String(r['id']),
  peer: String(r['peer']),
  skill: String(r['skill']),
  idempotencyKey: String(r['idem']),
  priority: String(r['priority']) as Priority,
  path: JSON.parse(String(r['path'])) as EntityId[],
  state: String(r['state']) as TaskState,
  progress: Number(r['progress']),
  createdAt: Number(r['created']),
  deadline: Number(r['deadline']),
  dueAt: Number(r['due']),
  finishedAt: r['finished'] === null ? undefined : Number(r['finished']),
  attempts: Number(r['attempts']),
  candidates: JSON.parse(String(r['candidates'])) as EntityId[],
  attemptMs: r['attempt_ms'] === null ? undefined : Number(r['attempt_ms']),
  offer: r['offer'] === null ? undefined : String(r['offer'])
})
