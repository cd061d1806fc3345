/**
 * What was delivered, on its way to the ledger. Chunks come in bursts of a few; each burst is one transaction, written before the
 * process turns to anything else, so a killed process loses none that was reported. Commits are not synced one by one: that would
 * hold up the download for a hundred waits of the disk. Every 64 chunks the ledger's log is synced beside the work, so a power cut
 * costs at most those and what came meanwhile; whatever is paid is synced with its invoice.
 */
import { close, fdatasync, open } from 'node:fs'
import { promisify } from 'node:util'
import type { Sqlite } from '../store/sqlite.node.ts'

interface Delivery {
  readonly bill: number
  readonly chunk: number
  readonly terms: number
  readonly protocol: string
}

/** Chunks between two syncs: 16 MiB. */
const SYNC_EVERY = 64
const INSERT = 'INSERT INTO deliveries (bill, chunk, terms, protocol) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING'

export class DeliveryLog {
  readonly #db: Sqlite
  /** By "bill chunk". */
  readonly #waiting = new Map<string, Delivery>()
  #scheduled = false
  #unsynced = 0
  #sync: Promise<void> | undefined

  constructor(db: Sqlite) {
    this.#db = db
  }

  /** Notes a chunk; false when it was noted before. @throws DISK_FULL when an earlier burst could not be written: nothing is noted then */
  add(delivery: Delivery): boolean {
    if (this.#waiting.size > 0 && !this.#scheduled) this.flush() // the last attempt failed
    const key = `${delivery.bill} ${delivery.chunk}`
    if (this.#waiting.has(key)) return false
    if (this.#db.get('SELECT 1 FROM deliveries WHERE bill = ? AND chunk = ?', delivery.bill, delivery.chunk)) return false
    this.#waiting.set(key, delivery)
    if (this.#scheduled) return true
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      try {
        this.flush()
      } catch {
        // kept: whoever adds or reads next hears of it
      }
    })
    return true
  }

  /** Writes what waits. @throws DISK_FULL, STORE_CORRUPT: it waits on */
  flush(): void {
    if (this.#waiting.size === 0) return
    this.#db.run('PRAGMA synchronous=NORMAL')
    try {
      this.#db.transaction(() => {
        for (const d of this.#waiting.values()) this.#db.run(INSERT, d.bill, d.chunk, d.terms, d.protocol)
      })
    } finally {
      this.#db.run('PRAGMA synchronous=FULL')
    }
    this.#unsynced += this.#waiting.size
    this.#waiting.clear()
    if (this.#unsynced >= SYNC_EVERY && !this.#sync) this.#sync = this.#syncLog()
  }

  /** Resolves when no sync is under way. */
  async settled(): Promise<void> {
    await this.#sync
  }

  /** Never rejects: a disk that cannot sync fails the next commit, which somebody waits for. */
  async #syncLog(): Promise<void> {
    this.#unsynced = 0
    try {
      const file = await promisify(open)(`${this.#db.path}-wal`, 'r')
      await promisify(fdatasync)(file).finally(() => promisify(close)(file))
    } catch {
      // see above
    }
    this.#sync = undefined
  }
}
