/**
 * A database whose commits do not wait for the disk: SQLite hands them to the system (synchronous=NORMAL), and `sync` waits for the
 * write-ahead log beside the thread. What was committed before `sync` was called survives a power cut when it resolves, as with
 * synchronous=FULL, which does the same fdatasync inside of COMMIT: each frame of the log carries a checksum over all before it, so what
 * counts after a cut is a prefix, and a log that begins anew has its header synced by SQLite itself, with the folder when the file is new.
 * The order of a checkpoint does not change: SQLite syncs the log, copies its pages, syncs the database, and only then begins the log anew.
 *
 * Nor does the thread copy the pages: another one does, while more is written (checkpoint.node.ts).
 *
 * After a sync that failed nothing counts (file-sync.node.ts), nothing more is written, and the log is not copied: what is read of it may be
 * older than what was written. Whoever opens the database next reads the log by its checksums, and what counts of it goes into the database
 * before anything else is done.
 */
import { close, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { KithError } from '../base/errors.ts'
import { syncFolder } from '../platform/files.node.ts'
import { Checkpointer } from './checkpoint.node.ts'
import { FileSync, type FileSyncOptions } from './file-sync.node.ts'
import type { Sqlite } from './sqlite.node.ts'

/** Pages written to the log until the other thread copies them. */
const CHECKPOINT_PAGES = 1000
/** Pages in the log until a commit copies what the other thread has left: what was written while it worked. */
const CHECKPOINT_HERE_PAGES = 4096
const PAGE_BYTES = 4096

export class SyncedLog implements Disposable {
  readonly #db: Sqlite
  readonly #fd: number
  readonly #file: FileSync
  readonly #checkpointer: Checkpointer
  #pages = 0
  /** What an earlier process left in the log is not in the database yet. */
  #isBehind: boolean
  #running: Promise<unknown> = Promise.resolve()

  /** For a database with nothing uncommitted, opened with synchronous=FULL. Dispose it before the database. */
  constructor(db: Sqlite, { onFailed }: FileSyncOptions = {}) {
    this.#db = db
    this.#isBehind = !isAllInDatabase(db)
    db.get('PRAGMA synchronous=NORMAL')
    db.get(`PRAGMA wal_autocheckpoint=${CHECKPOINT_HERE_PAGES}`)
    this.#fd = openSync(`${db.path}-wal`, 'r+')
    syncFolder(dirname(db.path))
    this.#checkpointer = new Checkpointer(db.path)
    this.#file = new FileSync(db.path, this.#fd, { onFailed: error => this.#onFailed(error, onFailed) })
  }

  /** Why nothing counts any more. */
  get failure(): KithError | undefined {
    return this.#file.failure
  }

  /** To be asked before anything is written. @throws DISK_FAILED */
  check(): void {
    this.#file.check()
  }

  /** Something was written: about so many bytes and their place in an index. */
  wrote(bytes: number): void {
    this.#pages += 1 + bytes / PAGE_BYTES
    if (this.#pages < CHECKPOINT_PAGES) return
    this.#pages = 0
    this.#checkpointer.run()
  }

  /** Resolves when everything that was committed before is on disk. @throws DISK_FAILED, DISK_FULL */
  async sync(): Promise<void> {
    this.#catchUp()
    const syncing = this.#file.sync()
    this.#running = syncing.catch(() => {})
    await syncing
  }
  /** As `sync`, at once. */
  syncNow(): void {
    this.#catchUp()
    this.#file.syncNow()
  }

  [Symbol.dispose](): void {
    this.#checkpointer[Symbol.dispose]()
    void this.#running.then(() => close(this.#fd))
  }

  #catchUp(): void {
    if (!this.#isBehind) return
    this.#isBehind = !isAllInDatabase(this.#db)
    const { path } = this.#db
    if (this.#isBehind) throw new KithError('DISK_FULL', `no space left for ${path}`, { path }, { hint: 'free some space' })
  }

  #onFailed(error: KithError, tell: ((error: KithError) => void) | undefined): void {
    this.#checkpointer[Symbol.dispose]()
    this.#db.get('PRAGMA wal_autocheckpoint=0')
    tell?.(error)
  }
}

/** Copies the whole log into the database and syncs that. */
function isAllInDatabase(db: Sqlite): boolean {
  try {
    const row = db.get<{ busy: number; log: number; checkpointed: number }>('PRAGMA wal_checkpoint(FULL)')
    return row !== undefined && row.busy === 0 && row.log === row.checkpointed
  } catch {
    return false
  }
}
