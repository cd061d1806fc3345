/**
 * A download on disk: one sparse `.part` file and a journal beside it that says which chunks are right and who brought them.
 *
 * The journal is text, appended to after each write, so a process that is killed loses nothing that was verified:
 *
 *     {"kith":1,"size":…,"chunkBytes":…,…}     header, one line of JSON
 *     b <boot id>                              a process opened the file
 *     s <n> <json>                             source n
 *     c <chunk> <n>                            chunk is verified and written; source n brought it
 *     k <count>                                the first <count> `c` lines survive a power cut (fdatasync done)
 *
 * After a restart without a reboot every `c` line counts; after a reboot only those that a `k` line covers (DESIGN §6).
 */
import {
  close,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { type FileLock, lockFile, writeFileDurably } from '../platform/files.node.ts'
import { placeFile } from './disk/place-file.node.ts'
import { type Grid, makeGrid } from './grid.ts'
import { CHECKPOINT_BYTES, MAX_AT_RISK_BYTES, MAX_JOURNAL_LINE, SPARE_SPACE } from './limits.ts'

export interface PartHeader {
  /** Whatever identifies the content: hex file id, info-hash, or URL with its ETag. A journal with another key is not continued. */
  readonly key: string
  readonly size: number
  readonly chunkBytes: number
  /** Hex; undefined while unknown. */
  readonly root: string | undefined
}
/** Who brought chunks: what the bill needs after a restart. */
export interface PartSource {
  readonly seeder: string | undefined
  readonly protocol: string
  /** base64url of the offer answer under which the chunks were fetched. */
  readonly offer: string | undefined
}

interface Replay {
  readonly sources: PartSource[]
  readonly chunks: [chunk: number, source: number][]
  /** Every chunk in it survives a power cut. */
  readonly survived: boolean
}

export class PartFile implements AsyncDisposable {
  readonly path: string
  readonly grid: Grid
  /** 1 for each chunk that is verified and written. */
  readonly done: Uint8Array
  readonly sources: PartSource[]
  /** What an earlier run had brought: chunk and index into `sources`. */
  readonly resumed: readonly (readonly [number, number])[]
  readonly #journalPath: string
  readonly #data: number
  readonly #journal: number
  /** Bytes of whole lines: nobody else writes to it. */
  #journalBytes: number
  readonly #lock: FileLock
  #records: number
  /** Bytes recorded by this process; those of them that a checkpoint began with; those that survive a power cut. */
  #recorded = 0
  #begun = 0
  #safe = 0
  #checkpoint: Promise<void> = Promise.resolve()
  #closed = false

  constructor(
    path: string,
    journalPath: string,
    grid: Grid,
    replay: Replay,
    open: { readonly data: number; readonly journal: number; readonly lock: FileLock }
  ) {
    this.path = path
    this.grid = grid
    this.sources = replay.sources
    this.resumed = replay.chunks
    this.done = new Uint8Array(grid.count)
    for (const [chunk] of replay.chunks) this.done[chunk] = 1
    this.#records = replay.chunks.length
    this.#journalPath = journalPath
    this.#data = open.data
    this.#journal = open.journal
    this.#journalBytes = fstatSync(open.journal).size
    this.#lock = open.lock
  }

  /** Index for `record`. */
  addSource(source: PartSource): number {
    const known = this.sources.findIndex(
      s => s === source || (s.seeder === source.seeder && s.protocol === source.protocol && s.offer === source.offer)
    )
    if (known >= 0) return known
    this.#append(`s ${this.sources.length} ${JSON.stringify(source)}\n`)
    this.sources.push(source)
    return this.sources.length - 1
  }

  /** Says that a chunk is verified and written. Call after the write. @throws DISK_FULL */
  record(chunk: number, source: number, bytes: number): void {
    if (this.done[chunk] === 1) return
    this.#append(`c ${chunk} ${source}\n`)
    this.done[chunk] = 1
    this.#records++
    this.#recorded += bytes
    if (this.#recorded - this.#begun >= CHECKPOINT_BYTES) this.#startCheckpoint()
  }

  /** Whether little enough would be lost in a power cut that more may be written now; else await `room`. */
  get hasRoom(): boolean {
    return this.#recorded - this.#safe < MAX_AT_RISK_BYTES
  }
  /** Waits for the disk, if it is behind. A checkpoint that fails ends the waiting: `checkpoint` and `finish` tell of it. */
  async room(): Promise<void> {
    while (!this.hasRoom && !this.#closed) {
      const running = this.#checkpoint
      const isDurable = await running.then(
        () => true,
        () => false
      )
      if (!isDurable) return
      if (running === this.#checkpoint && !this.hasRoom) this.#startCheckpoint()
    }
  }

  /** Makes everything recorded so far survive a power cut. */
  async checkpoint(): Promise<void> {
    this.#startCheckpoint()
    await this.#checkpoint
  }

  /**
   * Completes: fsync, then the final name appears at once and whole. An existing file is never overwritten.
   * @returns the path it got: `name`, or `name (2)` …
   */
  async finish(folder: string, name: string): Promise<string> {
    await this.#checkpoint.catch(() => {}) // only the journal's; the file itself is made durable here
    if (fstatSync(this.#data).size > this.grid.size) ftruncateSync(this.#data, this.grid.size)
    fchmodSync(this.#data, 0o666 & ~process.umask())
    await promisify(fsync)(this.#data)
    const target = placeFile(this.path, folder, name)
    rmSync(this.#journalPath, { force: true })
    this.#lock[Symbol.dispose]()
    return target
  }

  /** Deletes part and journal: the content was proven wrong. */
  async discard(): Promise<void> {
    await this[Symbol.asyncDispose]()
    rmSync(this.path, { force: true })
    rmSync(this.#journalPath, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#checkpoint.catch(() => {})
    await Promise.all([promisify(close)(this.#data), promisify(close)(this.#journal)])
    this.#lock[Symbol.dispose]()
  }

  #startCheckpoint(): void {
    const [covered, recorded] = [this.#records, this.#recorded]
    this.#begun = recorded
    const before = this.#checkpoint.catch(() => {}) // one that had no space does not end those that come after
    this.#checkpoint = before.then(async () => {
      if (this.#closed) return
      await promisify(fdatasync)(this.#data)
      this.#append(`k ${covered}\n`)
      await promisify(fdatasync)(this.#journal)
      this.#safe = recorded
    })
    this.#checkpoint.catch(() => {}) // heard by checkpoint()
  }

  /** All of the line or nothing: a part of one would make the journal unreadable together with what is appended later. */
  #append(line: string): void {
    const bytes = Buffer.from(line)
    let cause: unknown
    try {
      if (writeSync(this.#journal, bytes) === bytes.length) {
        this.#journalBytes += bytes.length
        return
      }
    } catch (error) {
      if (!FULL.has((error as NodeJS.ErrnoException).code ?? '')) throw error
      cause = error
    }
    ftruncateSync(this.#journal, this.#journalBytes)
    throw new KithError('DISK_FULL', 'no space left for the record of the download', {}, { cause })
  }
}

/**
 * Opens or creates the part file of `header.key` in `folder`.
 * @throws DOWNLOAD_RUNNING when another process has it, DISK_FULL when the rest of the file plus 5 % would not fit, PART_CORRUPT when the journal is damaged before its last line
 */
export function openPartFile(folder: string, stem: string, header: PartHeader): PartFile {
  const path = join(folder, `.kith-${stem}.part`)
  const journalPath = join(folder, `.kith-${stem}.journal`)
  const grid = makeGrid(header.size, header.chunkBytes)
  const inUse = (pid: number): KithError =>
    new KithError(
      'DOWNLOAD_RUNNING',
      `another kith process (${pid}) downloads this into ${folder}`,
      { pid, folder },
      { hint: 'choose another folder with -o, or wait for it' }
    )
  using stack = new DisposableStack()
  const lock = stack.use(lockFile(join(folder, `.kith-${stem}.lock`), inUse))
  const replay = readJournal(journalPath, path, header, grid)
  const have = replay.chunks.length * header.chunkBytes
  assertSpace(folder, Math.max(0, header.size - have))
  writeFileDurably(journalPath, compact(header, replay))
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  const data = openSync(path, replay.chunks.length > 0 ? flags : flags | constants.O_TRUNC, 0o600)
  try {
    const journal = openSync(journalPath, constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW)
    fsyncSync(data)
    const part = new PartFile(path, journalPath, grid, replay, { data, journal, lock })
    stack.move()
    return part
  } catch (error) {
    closeSync(data)
    throw error
  }
}

/** What the names of the files of a `kith:` download are made of. */
export const kithStem = (fileId: Uint8Array): string => bytesToHex(fileId).slice(0, 16)

/** Where a download that is encrypted puts the plaintext while it runs. */
export const plainPathOf = (partPath: string): string => `${partPath}.plain`

/** Removes plaintext that a download left in `folder` when its process was killed, unless another process works on it now (DOWNLOAD_RUNNING). What arrived stays. */
export function forgetPlaintext(folder: string, stem: string): void {
  const plain = plainPathOf(join(folder, `.kith-${stem}.part`))
  if (!existsSync(plain)) return
  using _lock = lockFile(join(folder, `.kith-${stem}.lock`), pid => new KithError('DOWNLOAD_RUNNING', 'it is being downloaded', { pid }))
  rmSync(plain, { force: true })
}

/** @throws DISK_FULL */
export function assertSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  if (free < bytes * SPARE_SPACE) {
    throw new KithError(
      'DISK_FULL',
      `the file needs ${bytes} bytes and ${folder} has ${free} left`,
      { needed: bytes, free },
      { hint: 'free some space, or choose another folder with -o' }
    )
  }
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

function compact(header: PartHeader, replay: Replay): string {
  const lines = [JSON.stringify({ kith: 1, ...header }), `b ${bootId()}`]
  for (const [i, s] of replay.sources.entries()) lines.push(`s ${i} ${JSON.stringify(s)}`)
  for (const [chunk, source] of replay.chunks) lines.push(`c ${chunk} ${source}`)
  if (replay.survived) lines.push(`k ${replay.chunks.length}`)
  return `${lines.join('\n')}\n`
}

/** Fresh each time: the part file goes on adding to its sources. */
const nothing = (): Replay => ({ sources: [], chunks: [], survived: false })

function readJournal(journalPath: string, path: string, header: PartHeader, grid: Grid): Replay {
  let text: string
  let onDisk: number
  try {
    text = readFileSync(journalPath, 'utf8')
    onDisk = statSync(path).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothing()
    throw error
  }
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n') // a torn last line was never complete
  lines.pop()
  const old = parseJson(lines[0] ?? '')
  if (old?.['kith'] !== 1) throw corrupt(journalPath, 0)
  if (old['key'] !== header.key || old['size'] !== header.size || old['chunkBytes'] !== header.chunkBytes) return nothing()
  return replayLines(lines, journalPath, grid, onDisk)
}

function replayLines(lines: readonly string[], journalPath: string, grid: Grid, onDisk: number): Replay {
  const sources: PartSource[] = []
  const chunks: [number, number][] = []
  let sameBoot = false
  let covered = 0
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!
    if (line.length > MAX_JOURNAL_LINE) throw corrupt(journalPath, i)
    const [kind, a = '', b = ''] = line.split(' ', 3)
    if (kind === 'b') sameBoot = a === bootId()
    else if (kind === 'k') covered = Math.min(Number(a), chunks.length)
    else if (kind === 's') sources.push(readSource(line.slice(line.indexOf(' ', 2) + 1)) ?? fail(journalPath, i))
    else if (kind === 'c' && Number(a) < grid.count && Number(b) < sources.length) chunks.push([Number(a), Number(b)])
    else throw corrupt(journalPath, i)
  }
  const trusted = sameBoot ? chunks : chunks.slice(0, covered)
  const fits = trusted.filter(([c]) => Math.min(grid.size, (c + 1) * grid.chunkBytes) <= onDisk)
  return { sources, chunks: [...new Map(fits).entries()], survived: !sameBoot || covered === chunks.length }
}

function readSource(json: string): PartSource | undefined {
  const s = parseJson(json)
  if (!s || typeof s['protocol'] !== 'string') return undefined
  const text = (v: unknown): string | undefined => (typeof v === 'string' ? v : undefined)
  return { seeder: text(s['seeder']), protocol: s['protocol'], offer: text(s['offer']) }
}

const corrupt = (path: string, line: number): KithError =>
  new KithError(
    'PART_CORRUPT',
    `${path} is damaged in line ${line + 1}`,
    { path, line },
    { hint: 'delete it and its .part file to start this download again' }
  )
const fail = (path: string, line: number): never => {
  throw corrupt(path, line)
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Changes with every boot of the machine. Where the system has none, every start counts as a reboot: safe, only slower. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return `unknown-${process.pid}-${Date.now()}`
  }
}
