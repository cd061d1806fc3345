/**
 * The book of peers in peers.db: who they are, what the user decided about them, what they may do, how they behaved. Decisions are durable
 * when the call returns; what was only noticed is written behind, within FLUSH_MS.
 */
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { openSqlite, type Row, type Sqlite } from '../store/sqlite.node.ts'
import { aliasKey, checkEntity } from './checks.ts'
import { GrantBook } from './grant-book.node.ts'
import { FLUSH_MS, MAX_UNMARKED_PEERS } from './limits.ts'
import { newPeer, saysMore, withMarks, withObservation } from './observation.ts'
import { MIGRATIONS, PUT_PEER, peerToRow, rowToPeer, UNMARKED } from './peer-row.node.ts'
import { StoredScores } from './score-keeper.node.ts'
import type { Grant, PeerBook, PeerMarks, PeerObservation, PeerRecord, ScoreKeeper } from './types.ts'

export interface PeerBookDeps {
  readonly clock: Clock
  readonly log: Logger
}

/** A time alone is written this rarely. */
const SEEN_STEP_MS = 60_000

/** Opens the book at `path`, making it if there is none. @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openPeerBook(deps: PeerBookDeps, path: string): PeerBook {
  const db = openSqlite(path, { migrations: MIGRATIONS })
  try {
    return new SqlitePeerBook(deps, db)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
}

class SqlitePeerBook implements PeerBook {
  readonly scores: ScoreKeeper
  readonly #scores: StoredScores
  readonly #deps: PeerBookDeps
  readonly #db: Sqlite
  readonly #grants: GrantBook
  /** Noticed, but not on disk yet. */
  readonly #pending = new Map<string, PeerRecord>()
  readonly #stop = new AbortController()
  #flushing: Promise<void> | undefined
  #closed = false

  constructor(deps: PeerBookDeps, db: Sqlite) {
    this.#deps = deps
    this.#db = db
    this.#grants = new GrantBook(db, () => deps.clock.now())
    this.#scores = new StoredScores(db, deps.clock, () => this.#flushSoon())
    this.scores = this.#scores
  }

  peer(entityId: string): PeerRecord | undefined {
    const row = this.#pending.get(entityId) ?? this.#db.get('SELECT * FROM peers WHERE entity_id = ?', entityId)
    return row === undefined || isRecord(row) ? row : rowToPeer(row)
  }
  find(text: string): PeerRecord | undefined {
    if (text.startsWith('did:')) return this.peer(text)
    this.#flush()
    const named = this.#db.get('SELECT * FROM peers WHERE name_key = ?', aliasKey(text.trim()))
    if (named) return rowToPeer(named)
    const owner = this.#db.get<{ entity_id: string }>('SELECT entity_id FROM peer_ids WHERE peer_id = ?', text)
    return owner && this.peer(owner.entity_id)
  }
  peers(limit = 1000): PeerRecord[] {
    this.#flush()
    return this.#db.all('SELECT * FROM peers ORDER BY last_seen DESC, entity_id LIMIT ?', limit).map(rowToPeer)
  }

  observe(entityId: string, seen: PeerObservation = {}): void {
    const now = this.#deps.clock.now()
    const old = this.peer(entityId)
    if (!old) checkEntity(entityId)
    const record = withObservation(old ?? newPeer(entityId, now), seen, now)
    if (old && !saysMore(old, record) && record.lastSeen - old.lastSeen < SEEN_STEP_MS) return
    this.#pending.set(entityId, record)
    this.#flushSoon()
  }
  mark(entityId: string, marks: PeerMarks): PeerRecord {
    checkEntity(entityId)
    const record = withMarks(this.peer(entityId) ?? newPeer(entityId, this.#deps.clock.now()), marks)
    this.#db.transaction(() => {
      if (record.name !== undefined) this.#checkFree(record.name, entityId)
      this.#write(record)
    })
    this.#pending.delete(entityId)
    return record
  }
  forget(entityId: string): boolean {
    const had = this.peer(entityId) !== undefined
    this.#pending.delete(entityId)
    this.#db.transaction(() => {
      for (const [table, column] of HELD) this.#db.run(`DELETE FROM ${table} WHERE ${column} = ?`, entityId)
    })
    return had
  }

  grant(to: string, what: string, limits: Readonly<Record<string, number>> = {}): Grant {
    return this.#grants.put(to, what, limits)
  }
  revoke(to: string, what: string): boolean {
    return this.#grants.remove(to, what)
  }
  grants(to?: string): Grant[] {
    return this.#grants.list(to)
  }
  allowed(entityId: string, what: string): Grant | undefined {
    if (this.scores.isBanned({ entityId })) return undefined
    const person = this.peer(entityId)?.personId
    return this.#grants.first([entityId, ...(person === undefined ? [] : [person]), '*'], what)
  }

  isRefused(peerId: string): boolean {
    if (this.scores.isBanned({ addressKey: `peer ${peerId}` })) return true
    const owner = this.#db.get<{ entity_id: string }>('SELECT entity_id FROM peer_ids WHERE peer_id = ?', peerId)
    if (owner && this.scores.isBanned({ entityId: owner.entity_id })) return true
    for (const { entityId, peerIds } of this.#pending.values())
      if (peerIds.includes(peerId) && this.scores.isBanned({ entityId })) return true
    return false
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#stop.abort()
    await this.#flushing
    try {
      this.#flush()
    } finally {
      this.#db[Symbol.dispose]()
    }
  }

  #checkFree(name: string, entityId: string): void {
    const holder = this.#db.get<{ entity_id: string }>('SELECT entity_id FROM peers WHERE name_key = ?', aliasKey(name))
    if (holder && holder.entity_id !== entityId) {
      throw new KithError('ALIAS_TAKEN', `another peer is called ${name}`, { name, peer: holder.entity_id })
    }
  }

  #write(record: PeerRecord): void {
    this.#db.run(PUT_PEER, ...peerToRow(record))
    this.#db.run('DELETE FROM peer_ids WHERE entity_id = ?', record.entityId)
    for (const id of record.peerIds) this.#db.run('REPLACE INTO peer_ids VALUES (?, ?)', id, record.entityId)
  }

  #flushSoon(): void {
    if (this.#closed) return
    this.#flushing ??= this.#flushLater()
  }
  async #flushLater(): Promise<void> {
    await this.#deps.clock.sleep(FLUSH_MS, this.#stop.signal).catch(() => {})
    this.#flushing = undefined
    if (this.#closed) return
    try {
      this.#flush()
    } catch (error) {
      this.#deps.log.warn('what was learned about peers could not be written', { code: codeOf(error) })
      this.#flushSoon()
    }
  }
  /** Puts everything noticed on disk, or throws and keeps it. */
  #flush(): void {
    if (this.#pending.size === 0 && !this.#scores.isDirty) return
    this.#db.transaction(() => {
      this.#scores.write()
      for (const record of this.#pending.values()) this.#write(record)
      if (this.#pending.size > 0) this.#forgetOldest()
    })
    this.#scores.written()
    this.#pending.clear()
  }
  #forgetOldest(): void {
    const { n } = this.#db.get<{ n: number }>(`SELECT count(*) AS n FROM peers WHERE ${UNMARKED}`)!
    if (n <= MAX_UNMARKED_PEERS) return
    const oldest = `SELECT entity_id FROM peers WHERE ${UNMARKED} ORDER BY last_seen LIMIT ?`
    for (const { entity_id } of this.#db.all<{ entity_id: string }>(oldest, n - MAX_UNMARKED_PEERS)) {
      this.#db.run('DELETE FROM peers WHERE entity_id = ?', entity_id)
      this.#db.run('DELETE FROM peer_ids WHERE entity_id = ?', entity_id)
    }
  }
}

const HELD = [
  ['peers', 'entity_id'],
  ['peer_ids', 'entity_id'],
  ['grants', 'who']
] as const

const isRecord = (row: Row | PeerRecord): row is PeerRecord => 'entityId' in row
