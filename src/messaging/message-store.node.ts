/**
 * messages.db: what is to be sent, what was received, which nonces were used. Bodies are encrypted with a key of this home, so that a copy of
 * the file alone tells who wrote to whom and when, and not what.
 */
import { randomFillSync } from 'node:crypto'
import { openAead } from '#crypto'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { AEAD_TAG_BYTES } from '../platform/crypto-types.ts'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'
import { SyncedLog } from '../store/synced-log.node.ts'
import type { MessageType, Priority } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { NONCE_SCHEMA, SqliteNonces } from './delivery/nonces.node.ts'
import { LANES, laneOf } from './delivery/priorities.ts'
import { GroupCommit } from './group-commit.node.ts'
import { KEEP_SENT_MS, MAX_FINISHED, MAX_INBOX, MAX_INBOX_BYTES, MAX_SENT_BYTES, REMEMBER_IDS_MS } from './limits.ts'
import type { InboxQuery, MessageStore, NewOutgoing, OutboxRow, ReceivedRow, WaitingMessage, WaitingTotal } from './store.ts'
import type { DeliveryState, EntityId, IncomingMessage, SentMessage } from './types.ts'

const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entities (id INTEGER PRIMARY KEY, did TEXT NOT NULL UNIQUE);
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  peer INTEGER NOT NULL,
  type TEXT NOT NULL,
  lane INTEGER NOT NULL,
  state INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  code TEXT,
  reason TEXT,
  body BLOB
);
CREATE INDEX outbox_waiting ON outbox (peer, lane, seq) WHERE state < 2;
CREATE TABLE inbox (
  seq INTEGER PRIMARY KEY,
  peer INTEGER NOT NULL,
  id BLOB NOT NULL,
  type TEXT NOT NULL,
  lane INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  via TEXT NOT NULL,
  done INTEGER NOT NULL,
  body BLOB,
  UNIQUE (peer, id)
);
CREATE INDEX inbox_undone ON inbox (type, seq) WHERE done = 0;
${NONCE_SCHEMA}`

/** On disk. `sent` is a matter of the running process. */
const STATES: readonly DeliveryState[] = ['waiting', 'relayed', 'delivered', 'failed']
const FIRST_ENDED = 2
/** What people write; of other types nothing is kept. */
const KEPT_TYPE: MessageType = 'agent_message'
/** So much more than the bound may be there before the oldest are looked for. */
const SENT_SLACK = 1.125
/** Rows that one `prune` removes of a kind: it runs between messages. */
const PRUNE_ROWS = 2000

interface OutRow {
  readonly seq: number
  readonly id: Uint8Array
  readonly did: string
  readonly type: MessageType
  readonly lane: number
  readonly state: number
  readonly bytes: number
  readonly created: number
  readonly expires: number
  readonly changed: number
  readonly attempts: number
  readonly code: string | null
  readonly reason: string | null
}
interface InRow {
  readonly seq: number
  readonly id: Uint8Array
  readonly did: string
  readonly type: MessageType
  readonly lane: number
  readonly sent: number
  readonly received: number
  readonly via: IncomingMessage['via']
  readonly body: Uint8Array | null
}

const OUT =
  'SELECT seq, o.id, did, type, lane, state, bytes, created, expires, changed, attempts, code, reason FROM outbox o JOIN entities e ON e.id = o.peer'
const IN = 'SELECT seq, i.id, did, type, lane, sent, received, via, body FROM inbox i JOIN entities e ON e.id = i.peer'

export interface MessageStoreOptions {
  /**
   * `volatile`: received messages are not written. What handlers cannot take at once is lost, and so is what they have not finished when the
   * process ends. Only for messages that are worth nothing later. Default: durable.
   */
  readonly inbox?: 'durable' | 'volatile'
  /** Bytes of content that the inbox keeps. */
  readonly maxInboxBytes?: number
  /** Bytes of texts that were sent and have ended. */
  readonly maxSentBytes?: number
  /** The disk has failed: from now on every commit is rejected with this error, until the store is opened anew by another process. */
  readonly onFailed?: (error: KithError) => void
}

export interface MessageStoreDeps {
  /** 32 bytes, of this home alone, for bodies at rest. */
  readonly storageKey: Uint8Array
}

/** Opens or creates messages.db. @throws STORE_CORRUPT (also when the key is not the one it was written with), STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openMessageStore(path: string, deps: MessageStoreDeps, options: MessageStoreOptions = {}): SqliteMessageStore {
  const db = openSqlite(path, { migrations: [SCHEMA] })
  try {
    return new SqliteMessageStore(db, deps, options)
  } catch (error) {
    db[Symbol.dispose]()
    throw error
  }
}

export class SqliteMessageStore implements MessageStore {
  readonly nonces: SqliteNonces
  readonly #db: Sqlite
  readonly #bodies: Bodies
  readonly #log: SyncedLog
  readonly #group: GroupCommit
  /** Row numbers of entities, which are few. */
  readonly #peers = new Map<EntityId, number>()
  /** Ids of what was received, the oldest forgotten first, when the inbox is not written. */
  readonly #volatile: Set<string> | undefined
  readonly #inboxBytes: number
  readonly #maxSentBytes: number
  #isClosed = false
  /** Content that is kept of what has ended: at least so much. */
  #sentBytes = 0
  #sentFrom = 0
  /** Rows are numbered here, so that nobody has to ask for the number of a new one. */
  #outSeq: number
  #inSeq: number

  constructor(db: Sqlite, deps: MessageStoreDeps, options: MessageStoreOptions = {}) {
    if (options.inbox === 'volatile') this.#volatile = new Set()
    this.#inboxBytes = options.maxInboxBytes ?? MAX_INBOX_BYTES
    this.#maxSentBytes = options.maxSentBytes ?? MAX_SENT_BYTES
    this.#db = db
    this.nonces = new SqliteNonces(db)
    this.#bodies = new Bodies(deps.storageKey)
    this.#checkKey()
    this.#outSeq = this.#top('outbox')
    this.#inSeq = this.#top('inbox')
    this.#log = new SyncedLog(db, options.onFailed ? { onFailed: options.onFailed } : {})
    this.#group = new GroupCommit({
      transaction: work => this.#transaction(work),
      sync: () => this.#log.sync()
    })
  }

  commit<T>(work: () => T, written?: (value: T) => void): Promise<T> {
    return this.#isClosed ? Promise.reject(closed()) : this.#group.run(work, written)
  }
  commitLater<T>(work: () => T, written?: (value: T) => void): Promise<T> {
    return this.#isClosed ? Promise.reject(closed()) : this.#group.later(work, written)
  }
  #transaction(work: () => void): void {
    this.#log.check()
    try {
      this.#db.transaction(work)
    } catch (error) {
      this.#peers.clear() // a row that was just made is gone again
      throw error
    }
  }

  addOutgoing(m: NewOutgoing): number | undefined {
    this.#log.wrote(m.body.length)
    const id = uuidToBytes(m.id)
    const { changes } = this.#db.run(
      'INSERT OR IGNORE INTO outbox (seq, id, peer, type, lane, state, bytes, created, expires, changed, attempts, body) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?)',
      ...[++this.#outSeq, id, this.#peerOf(m.to), m.type, laneOf(m.priority), m.body.length, m.createdAt, m.expiresAt, m.createdAt],
      this.#bodies.seal(m.body, id)
    )
    return changes === 0 ? undefined : this.#outSeq
  }

  setState(seq: number, state: DeliveryState, changedAt: number, attempts: number, reason: SentMessage['reason']): boolean {
    this.#log.wrote(0)
    const number = STATES.indexOf(state)
    // Texts can be looked at after their end, but for those that were taken back, and in bounds.
    const drop = number < FIRST_ENDED ? 'nothing' : reason?.code === 'CANCELLED' ? 'all' : 'others'
    const row = this.#db.get<{ n: number | null }>(
      `UPDATE outbox SET state = ?1, changed = ?2, attempts = ?3, code = ?4, reason = ?5,
         body = iif(?6 = 'all' OR (?6 = 'others' AND type <> '${KEPT_TYPE}'), NULL, body)
       WHERE seq = ?7 AND state < ${FIRST_ENDED} RETURNING length(body) AS n`,
      ...[number, changedAt, attempts, reason?.code ?? null, reason?.message ?? null, drop, seq]
    )
    if (!row) return false
    if (number >= FIRST_ENDED) this.#sentBytes += row.n ?? 0
    if (this.#sentBytes > this.#maxSentBytes * SENT_SLACK) this.#dropSent()
    return true
  }
  /** The oldest lose their content. Those below `#sentFrom` have none, but for what ended late, which the next prune finds. */
  #dropSent(): void {
    const kept = `FROM outbox WHERE state >= ${FIRST_ENDED} AND body IS NOT NULL`
    while (this.#sentBytes > this.#maxSentBytes) {
      const sql = `SELECT seq, length(body) AS n ${kept} AND seq > ? ORDER BY seq LIMIT ?`
      const oldest = this.#db.all<{ seq: number; n: number }>(sql, this.#sentFrom, PRUNE_ROWS)
      if (oldest.length === 0) {
        this.#countSent()
        return
      }
      for (const { seq, n } of oldest) {
        if (this.#sentBytes <= this.#maxSentBytes) return
        this.#db.run('UPDATE outbox SET body = NULL WHERE seq = ?', seq)
        this.#sentBytes -= n
        this.#sentFrom = seq
      }
    }
  }
  #countSent(): void {
    const sql = `SELECT sum(length(body)) AS n FROM outbox WHERE state >= ${FIRST_ENDED} AND body IS NOT NULL`
    this.#sentBytes = this.#db.get<{ n: number | null }>(sql)?.n ?? 0
    this.#sentFrom = 0
  }
  sentBody(id: string): JsonObject | undefined {
    const key = uuidToBytes(id)
    const body = this.#db.get<{ body: Uint8Array | null }>('SELECT body FROM outbox WHERE id = ?', key)?.body
    return body ? this.#bodies.open(body, key) : undefined
  }

  outgoing(id: string): OutboxRow | undefined {
    const row = this.#db.get<OutRow>(`${OUT} WHERE o.id = ?`, uuidToBytes(id))
    return row && outboxRow(row)
  }
  outbox(limit: number, type?: MessageType): OutboxRow[] {
    return this.#db.all<OutRow>(`${OUT} WHERE (?1 IS NULL OR type = ?1) ORDER BY seq DESC LIMIT ?2`, type ?? null, limit).map(outboxRow)
  }
  waiting(to: EntityId, priority: Priority, after: number, limit: number): WaitingMessage[] {
    const peer = this.#knownPeer(to)
    if (peer === undefined) return []
    return this.#db
      .all<OutRow & { readonly body: Uint8Array | null }>(
        `SELECT seq, id, type, lane, state, bytes, created, attempts, body FROM outbox WHERE peer = ? AND lane = ? AND seq > ? AND state < ${FIRST_ENDED} ORDER BY seq LIMIT ?`,
        ...[peer, laneOf(priority), after, limit]
      )
      .map(r => ({ ...outboxRow(r), relayed: r.state === 1, body: r.body ? this.#bodies.read(r.body, r.id) : EMPTY_OBJECT }))
  }
  waitingTotals(): WaitingTotal[] {
    return this.#db.all<{ to: string; messages: number; bytes: number }>(
      `SELECT did AS "to", count(*) AS messages, sum(bytes) AS bytes FROM outbox o JOIN entities e ON e.id = o.peer WHERE state < ${FIRST_ENDED} GROUP BY peer`
    )
  }
  expired(now: number, limit: number): OutboxRow[] {
    return this.#db.all<OutRow>(`${OUT} WHERE state < ${FIRST_ENDED} AND expires <= ? ORDER BY expires LIMIT ?`, now, limit).map(outboxRow)
  }
  nextExpiry(): number | undefined {
    return this.#db.get<{ at: number | null }>(`SELECT min(expires) AS at FROM outbox WHERE state < ${FIRST_ENDED}`)?.at ?? undefined
  }

  addReceived(m: IncomingMessage): number | undefined {
    if (this.#volatile) return this.#isNew(`${m.from} ${m.id}`, this.#volatile) ? ++this.#inSeq : undefined
    const id = uuidToBytes(m.id)
    const body = utf8(JSON.stringify(m.body))
    this.#log.wrote(body.length)
    const { changes } = this.#db.run(
      'INSERT OR IGNORE INTO inbox (seq, peer, id, type, lane, sent, received, via, done, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)',
      ...[++this.#inSeq, this.#peerOf(m.from), id, m.type, laneOf(m.priority), m.sentAt, m.receivedAt, m.via],
      this.#bodies.seal(body, id)
    )
    return changes === 0 ? undefined : this.#inSeq
  }
  #isNew(key: string, ids: Set<string>): boolean {
    if (ids.has(key)) return false
    ids.add(key)
    if (ids.size > MAX_INBOX) for (const oldest of ids) return ids.delete(oldest)
    return true
  }
  setDone(seq: number): void {
    if (this.#volatile) return
    this.#db.run('UPDATE inbox SET done = 1 WHERE seq = ?', seq)
  }
  undone(type: MessageType, after: number, limit: number): ReceivedRow[] {
    return this.#db
      .all<InRow>(`${IN} WHERE done = 0 AND type = ? AND seq > ? ORDER BY seq LIMIT ?`, type, after, limit)
      .map(r => this.#received(r))
  }
  received(id: string): IncomingMessage | undefined {
    const row = this.#db.get<InRow>(`${IN} WHERE i.id = ? AND body IS NOT NULL ORDER BY seq DESC LIMIT 1`, uuidToBytes(id))
    return row && this.#received(row)
  }
  inbox({ limit, type, types = type === undefined ? [] : [type], from, maxBytes }: InboxQuery): IncomingMessage[] {
    const isType = types.length === 0 ? '' : `AND type IN (${types.map(() => '?').join(', ')})`
    const sql = `${IN} WHERE body IS NOT NULL ${isType} AND (did = ? OR ? IS NULL) AND length(body) <= ? ORDER BY seq DESC LIMIT ?`
    const max = maxBytes === undefined ? Number.MAX_SAFE_INTEGER : maxBytes
    return this.#db.all<InRow>(sql, ...types, from ?? null, from ?? null, max, limit).map(r => this.#received(r))
  }

  hasReceived(from: EntityId, id: string): boolean {
    const peer = this.#knownPeer(from)
    return peer !== undefined && this.#db.get('SELECT 1 FROM inbox WHERE peer = ? AND id = ?', peer, uuidToBytes(id)) !== undefined
  }

  prune(now: number): void {
    const [inbox, outbox] = [this.#inSeq - MAX_INBOX, this.#outSeq - MAX_FINISHED]
    this.#db.run(
      'DELETE FROM inbox WHERE seq IN (SELECT seq FROM inbox WHERE seq <= ? AND received < ? LIMIT ?)',
      ...[inbox, now - REMEMBER_IDS_MS, PRUNE_ROWS]
    )
    this.#db.run(
      'UPDATE inbox SET body = NULL WHERE seq IN (SELECT seq FROM inbox WHERE seq <= ? AND done = 1 AND body IS NOT NULL LIMIT ?)',
      ...[inbox, PRUNE_ROWS]
    )
    this.#dropOldest()
    this.#db.run(
      `UPDATE outbox SET body = NULL WHERE seq IN (SELECT seq FROM outbox WHERE state >= ${FIRST_ENDED} AND changed < ? AND body IS NOT NULL LIMIT ?)`,
      ...[now - KEEP_SENT_MS, PRUNE_ROWS]
    )
    this.#countSent()
    this.#dropSent()
    this.#db.run(
      `DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE seq <= ? AND state >= ${FIRST_ENDED} LIMIT ?)`,
      ...[outbox, PRUNE_ROWS]
    )
  }

  /** Keeps what others sent below a number of bytes, also what nobody has acted on. */
  #dropOldest(): void {
    const held = this.#db.get<{ n: number | null }>('SELECT sum(length(body)) AS n FROM inbox WHERE body IS NOT NULL')?.n ?? 0
    let over = held - this.#inboxBytes
    if (over <= 0) return
    let upTo = 0
    const oldest = 'SELECT seq, length(body) AS n FROM inbox WHERE body IS NOT NULL ORDER BY seq LIMIT ?'
    for (const { seq, n } of this.#db.all<{ seq: number; n: number }>(oldest, PRUNE_ROWS)) {
      if (over <= 0) break
      over -= n
      upTo = seq
    }
    this.#db.run('UPDATE inbox SET body = NULL, done = 1 WHERE seq <= ? AND body IS NOT NULL', upTo)
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#group.flush()
    try {
      // After a failure those who wait are told of that, and of nothing else.
      if (!this.#log.failure) {
        this.#log.syncNow()
        this.#group.allDurable()
      }
    } finally {
      this.#log[Symbol.dispose]()
      this.#db[Symbol.dispose]()
    }
  }

  #top(table: 'inbox' | 'outbox'): number {
    return this.#db.get<{ n: number | null }>(`SELECT max(seq) AS n FROM ${table}`)?.n ?? 0
  }

  #knownPeer(did: EntityId): number | undefined {
    const known = this.#peers.get(did) ?? this.#db.get<{ id: number }>('SELECT id FROM entities WHERE did = ?', did)?.id
    if (known !== undefined) this.#peers.set(did, known)
    return known
  }
  #peerOf(did: EntityId): number {
    const known = this.#knownPeer(did)
    if (known !== undefined) return known
    this.#db.run('INSERT INTO entities (did) VALUES (?)', did)
    return this.#knownPeer(did)!
  }

  #received(row: InRow): ReceivedRow {
    const { seq, did: from, type, lane, sent: sentAt, received: receivedAt, via } = row
    const body = this.#bodies.open(row.body, row.id)
    return { seq, id: bytesToUuid(row.id), from, type, body, priority: LANES[lane]!, sentAt, receivedAt, via }
  }

  /** A wrong key must be noticed now, not at the first message. */
  #checkKey(): void {
    const check = utf8('kith messages.db')
    const stored = this.#db.get<{ value: Uint8Array }>("SELECT value FROM meta WHERE key = 'check'")
    if (stored) this.#bodies.read(stored.value, check)
    else this.#db.run("INSERT INTO meta (key, value) VALUES ('check', ?)", this.#bodies.seal(check, check))
  }
}

function outboxRow(row: OutRow): OutboxRow {
  const { seq, did: to, type, lane, bytes, attempts, created: createdAt, changed: changedAt, expires: expiresAt } = row
  const reason = row.code === null || row.code === undefined ? undefined : { code: row.code, message: row.reason ?? '' }
  const state = STATES[row.state]!
  return { seq, id: bytesToUuid(row.id), to, type, state, reason, createdAt, changedAt, attempts, priority: LANES[lane]!, expiresAt, bytes }
}

/** By Buffer, which does it natively. */
const uuidToBytes = (text: string): Uint8Array => Buffer.from(text.replaceAll('-', ''), 'hex')
function bytesToUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

const closed = (): KithError => new KithError('MESSENGER_CLOSED', 'the messages are closed')

const NONCE_BYTES = 12
const EMPTY_OBJECT = utf8('{}')

/** Bodies at rest: nonce ‖ AES-256-GCM ciphertext, bound to the id of their message. */
class Bodies {
  readonly #aead: ReturnType<typeof openAead>
  /** Random nonces, made many at a time. */
  readonly #pool = new Uint8Array(NONCE_BYTES * 256)
  #at = this.#pool.length

  constructor(key: Uint8Array) {
    this.#aead = openAead(key)
  }

  seal(plain: Uint8Array, of: Uint8Array): Uint8Array {
    if (this.#at === this.#pool.length) {
      randomFillSync(this.#pool)
      this.#at = 0
    }
    const out = new Uint8Array(NONCE_BYTES + plain.length + AEAD_TAG_BYTES)
    const nonce = out.subarray(0, NONCE_BYTES)
    nonce.set(this.#pool.subarray(this.#at, (this.#at += NONCE_BYTES)))
    this.#aead.sealInto(out.subarray(NONCE_BYTES), nonce, plain, of)
    return out
  }
  read(sealed: Uint8Array, of: Uint8Array): Uint8Array {
    const plain = this.#aead.open(sealed.subarray(0, NONCE_BYTES), sealed.subarray(NONCE_BYTES), of)
    if (plain) return plain
    throw new KithError('STORE_CORRUPT', 'messages.db was written with another key', {}, { hint: 'restore the identity it belongs to' })
  }
  open(sealed: Uint8Array | null, of: Uint8Array): JsonObject {
    return sealed ? (JSON.parse(fromUtf8(this.read(sealed, of))) as JsonObject) : {}
  }
}
