/**
 * A database whose commits do not wait for the disk: SQLite hands them to the system (synchronous=NORMAL), and `sync` waits for the
 * write-ahead log beside the thread. What was committed before `sync` was called survives a power cut when it resolves, as with
 * synchronous=FULL, which does the same fdatasync inside of COMMIT: each frame of the log carries a checksum over all before it, so what
 * counts after a cut is a prefix, and a log that begins anew has its header synced by SQLite itself, with the folder when the file is new.
 * The order of a checkpoint does not change: SQLite syncs the log, copies its pages, syncs the database, and only then begins the log anew.
 *
 * Nor does the thread copy the pages: another one does, while more is written (checkpoint.node.ts).
 */
import { close, fdatasync, fdatasyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { KithError } from '../base/errors.ts'
import { syncFolder } from '../platform/files.node.ts'
import { Checkpointer } from './checkpoint.node.ts'
import type { Sqlite } from './sqlite.node.ts'

/** Pages written to the log until the other thread copies them. */
const CHECKPOINT_PAGES = 1000
/** Pages in the log until a commit copies what the other thread has left: what was written while it worked. */
const CHECKPOINT_HERE_PAGES = 4096
const PAGE_BYTES = 4096
/** After a sync that failed. */
const RETRY_MS = 1000

const syncFile = promisify(fdatasync)

export class SyncedLog implements Disposable {
  readonly #db: Sqlite
  readonly #fd: number
  readonly #checkpointer: Checkpointer
  readonly #closing = new AbortController()
  #pages = 0
  /** A sync failed: what the log holds is not to be trusted until it is in the database. */
  #isDoubtful = false
  #running: Promise<unknown> = Promise.resolve()

  /** For a database with nothing uncommitted. Dispose it before the database. */
  constructor(db: Sqlite) {
    this.#db = db
    db.get('PRAGMA synchronous=NORMAL')
    db.get(`PRAGMA wal_autocheckpoint=${CHECKPOINT_HERE_PAGES}`)
    this.#fd = openSync(`${db.path}-wal`, 'r+')
    syncFolder(dirname(db.path))
    this.#checkpointer = new Checkpointer(db.path)
  }

  /** Something was written: about so many bytes and their place in an index. */
  wrote(bytes: number): void {
    this.#pages += 1 + bytes / PAGE_BYTES
    if (this.#pages < CHECKPOINT_PAGES) return
    this.#pages = 0
    this.#checkpointer.run()
  }

  /**
   * Resolves when everything that was committed before is on disk. A disk that fails is asked again for as long as the database is open; so
   * nobody is told that something is not there which may be.
   * @throws STORE_READ_ONLY when it is closed before that
   */
  async sync(): Promise<void> {
    if (!this.#isDoubtful) {
      const syncing = syncFile(this.#fd)
      this.#running = syncing.catch(() => {})
      if (await syncing.then(() => true).catch(() => false)) return
      this.#isDoubtful = true
    }
    while (this.#isDoubtful) {
      if (this.#closing.signal.aborted) throw new KithError('STORE_READ_ONLY', `cannot write ${this.#db.path}`, { path: this.#db.path })
      this.#isDoubtful = !this.#isAllInDatabase()
      if (this.#isDoubtful) await this.#pause()
    }
  }
  /** As `sync`, at once. @throws an error of the system */
  syncNow(): void {
    fdatasyncSync(this.#fd)
  }

  [Symbol.dispose](): void {
    this.#closing.abort()
    this.#checkpointer[Symbol.dispose]()
    void this.#running.then(() => close(this.#fd))
  }

  /**
   * The system tells once that it could not write, and may have dropped what it could not: to sync the same file again says nothing. A
   * checkpoint writes all pages to another place and syncs that.
   */
  #isAllInDatabase(): boolean {
    try {
      const row = this.#db.get<{ busy: number; log: number; checkpointed: number }>('PRAGMA wal_checkpoint(FULL)')
      return row !== undefined && row.busy === 0 && row.log === row.checkpointed
    } catch {
      return false
    }
  }
  #pause(): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, RETRY_MS)
      const stop = (): void => {
        clearTimeout(timer)
        resolve()
      }
      this.#closing.signal.addEventListener('abort', stop, { once: true })
    })
  }
}
