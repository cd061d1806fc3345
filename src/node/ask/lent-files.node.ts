/**
 * Files that this node shares for messages and tasks, and takes back: each belongs to one or more owners ("message:ID", "given:ID",
 * "received:ID"), and is unshared when the time of all of them is over. Which these are is on disk (lent.db), and so is, with the share
 * itself, that it is lent: what the user shares is another share, also of the same file, and is never touched.
 */
import type { FileContent, TaskFile, TaskFiles } from '../../agents/types.ts'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, hasCode } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { EntityId } from '../../messaging/types.ts'
import { openSqlite, type Sqlite } from '../../store/sqlite.node.ts'
import { parseAddress } from '../../transfer/address.ts'
import { LENT_LOOK_MS, LENT_UNCLAIMED_MS } from '../limits.ts'
import type { KithNode } from '../types.ts'

/** `until`: unshared after this (ms since 1970); NULL: the owner has not ended. */
const SCHEMA = `CREATE TABLE lent (file TEXT NOT NULL, owner TEXT NOT NULL, until INTEGER, PRIMARY KEY (file, owner)) WITHOUT ROWID;
CREATE INDEX lent_owner ON lent (owner)`

/** An owner of a file that has not ended. */
const OPEN = 'SELECT 1 FROM lent WHERE file = ? AND until IS NULL'

export interface LentFilesDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly node: () => Pick<KithNode, 'shares' | 'unshare'>
  /** Shares with `lent`, and fetches. */
  readonly files: TaskFiles
}

export class LentFiles implements TaskFiles, AsyncDisposable {
  readonly #deps: LentFilesDeps
  readonly #db: Sqlite
  /** Owners that have not ended: asked for with each message. */
  readonly #open: Set<string>
  /** Shared and not given to an owner yet, since when (monotonic). */
  readonly #unclaimed = new Map<string, number>()
  readonly #closing = new AbortController()
  #putting = 0
  #tending: Promise<void> | undefined
  #looking: Promise<void> = Promise.resolve()

  /** @throws STORE_ codes */
  constructor(deps: LentFilesDeps, path: string) {
    this.#deps = deps
    this.#db = openSqlite(path, { migrations: [SCHEMA] })
    this.#open = new Set(this.#db.all<{ owner: string }>('SELECT DISTINCT owner FROM lent WHERE until IS NULL').map(r => r.owner))
  }

  /** Goes on with what an earlier run has left. @param endOf for how long what an owner lends stays; undefined: it has not ended */
  start(endOf: (owner: string) => number | undefined): void {
    for (const owner of [...this.#open]) {
      const stayMs = endOf(owner)
      if (stayMs !== undefined) this.ended(owner, stayMs)
    }
    this.#tending ??= this.#tend()
  }

  async putFile(content: FileContent, signal?: AbortSignal): Promise<TaskFile> {
    // The same file again is the same share: it must not be taken back meanwhile.
    this.#putting++
    try {
      const file = await this.#deps.files.putFile(content, signal)
      this.#unclaimed.set(idOf(file), this.#deps.clock.monotonic())
      return file
    } finally {
      this.#putting--
    }
  }
  getFile(file: TaskFile, signal?: AbortSignal, from?: EntityId): Promise<string> {
    return this.#deps.files.getFile(file, signal, from)
  }
  dropFile(path: string): void {
    this.#deps.files.dropFile?.(path)
  }
  isStill(path: string, file: TaskFile, since: number): boolean {
    return this.#deps.files.isStill?.(path, file, since) ?? false
  }

  /** A file from `putFile` is for this owner. */
  belongs(file: TaskFile, owner: string): void {
    const id = idOf(file)
    this.#db.run('INSERT INTO lent (file, owner) VALUES (?, ?) ON CONFLICT DO UPDATE SET until = NULL', id, owner)
    this.#open.add(owner)
    this.#unclaimed.delete(id)
  }

  /** The owner is over: what it lends stays for `stayMs` at most. A second, shorter time counts. */
  ended(owner: string, stayMs: number): void {
    const until = this.#deps.clock.now() + stayMs
    this.#open.delete(owner)
    this.#db.run('UPDATE lent SET until = min(coalesce(until, ?1), ?1) WHERE owner = ?2', until, owner)
    if (stayMs <= 0) this.#look()
  }
  /** Whether `ended` would change something: it costs nothing. */
  isOpen(owner: string): boolean {
    return this.#open.has(owner)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#tending
    await this.#looking
    this.#db[Symbol.dispose]()
  }

  /** Takes back what is over, one after the other; a failure, as of a full disk, is made up for by the next look. */
  #look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#takeBack())
      .catch((cause: unknown) => this.#deps.log.warn('files of messages and tasks are still shared', { code: codeOf(cause), cause }))
    return this.#looking
  }

  async #tend(): Promise<void> {
    const { clock } = this.#deps
    await this.#takeBackUnknown().catch((cause: unknown) => this.#deps.log.warn('shares were not looked through', { cause }))
    while (!this.#closing.signal.aborted) {
      await this.#look()
      await clock.sleep(LENT_LOOK_MS, this.#closing.signal).catch(() => {})
    }
  }
  async #takeBackUnknown(): Promise<void> {
    const { node } = this.#deps
    // Lent, and nobody's: the process ended in between.
    for (const { fileId, lent } of node().shares()) {
      const isKnown = this.#unclaimed.has(fileId) || this.#db.get('SELECT 1 FROM lent WHERE file = ?', fileId)
      if (lent && !isKnown) await this.#unshare(fileId)
    }
  }

  async #takeBack(): Promise<void> {
    if (this.#closing.signal.aborted) return
    const { clock } = this.#deps
    const over = this.#db.all<{ file: string }>(
      'SELECT file FROM lent GROUP BY file HAVING count(*) = count(until) AND max(until) <= ?',
      clock.now()
    )
    for (const { file } of over) if (await this.#unshare(file)) this.#db.run('DELETE FROM lent WHERE file = ? AND until IS NOT NULL', file)
    for (const [file, since] of this.#unclaimed) {
      if (clock.monotonic() - since < LENT_UNCLAIMED_MS) continue
      this.#unclaimed.delete(file)
      if (!this.#db.get('SELECT 1 FROM lent WHERE file = ?', file)) await this.#unshare(file)
    }
  }

  /** @returns whether it is not shared any more */
  async #unshare(fileId: string): Promise<boolean> {
    const { node, log } = this.#deps
    if (this.#putting > 0 || this.#unclaimed.has(fileId) || this.#db.get(OPEN, fileId) !== undefined) return false
    if (
      !node()
        .shares()
        .some(s => s.fileId === fileId && s.lent)
    )
      return true
    try {
      await node().unshare(fileId)
      return !this.#closing.signal.aborted
    } catch (cause) {
      if (!hasCode(cause, 'UNKNOWN_SHARE'))
        log.warn('a file that was shared for a message or task is still shared', { code: codeOf(cause), cause })
      return hasCode(cause, 'UNKNOWN_SHARE')
    }
  }
}

function idOf({ link }: TaskFile): string {
  const address = parseAddress(link)
  return address.kind === 'kith' ? bytesToHex(address.link.fileId) : ''
}
