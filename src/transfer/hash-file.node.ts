/**
 * Everything Kith knows a file by: SHA-256 of the whole and of its chunks, root, and the digests of the other protocols that are wanted.
 * SHA-256 comes first, so that the file can be offered while the rest is made. Two workers share the work (hash-plan.ts).
 */
import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES, MAX_CHUNKS } from '../wire/limits.ts'
import type { DigestWants, ExtraDigests } from './digests.ts'
import { makeHashSet } from './hashing/ed2k-hash.ts'
import type { HashJob, HashMessage } from './hashing/hash-job.node.ts'
import { type HashOutput, type HashPlan, makeOutput, topAt, workOf } from './hashing/hash-plan.ts'
import { workerUrl } from './worker-url.node.ts'

const WORKERS = 2
/** With less to do than this, a second worker would only cost its start. */
const MIN_WORK_EACH: number = 8 * 1024 * 1024
/** With less than this, a few milliseconds, even the first one: a thousand small files would take minutes. */
const MAX_WORK_HERE: number = 2 * 1024 * 1024

/** Tells whether a file was touched. Times are nanoseconds as decimal text. */
export interface FileStamp {
  readonly size: number
  readonly mtime: string
  readonly inode: string
}

/** What comes first: enough for a link, and to seed over HTTP. */
export interface CoreDigest {
  readonly size: number
  /** SHA-256 of the whole. */
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  /** SHA-256 of each 256 KiB chunk, concatenated. */
  readonly chunkHashes: Uint8Array
  /** What the file looked like when it was hashed: a different stamp later means it must be checked again. */
  readonly stamp: FileStamp
}

/** Digests that were neither wanted nor known are undefined. */
export interface FileDigest extends CoreDigest, ExtraDigests {}

export interface HashProgress {
  /** Bytes that went through a digest so far, and will in all: a file of n bytes counts n for each digest that is made of it. Never falls. */
  readonly done: number
  readonly total: number
  /** `done` per second since the start. */
  readonly rate: number
}

export interface HashOptions {
  /** Digests from before; used when the file still has their stamp, so that only what is missing is made. */
  readonly known?: FileDigest | undefined
  /** Called once, as soon as SHA-256 is done, before any other digest need be. */
  readonly onCore?: (core: CoreDigest) => void
  readonly onProgress?: (progress: HashProgress) => void
  readonly signal?: AbortSignal | undefined
}

/** @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, FILE_TOO_LARGE */
export function stampOf(path: string): FileStamp {
  const s = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (!s) throw new KithError('FILE_NOT_FOUND', `there is no file ${path}`, { path }, { hint: 'check the path' })
  if (!s.isFile())
    throw new KithError(
      'NOT_A_FILE',
      `${path} is not a regular file`,
      { path },
      { hint: 'to share a folder, pack it first: tar cf folder.tar folder' }
    )
  if (s.size === 0n) throw new KithError('FILE_EMPTY', `${path} is empty`, { path }, { hint: 'there is nothing to share in an empty file' })
  if (s.size > BigInt(MAX_CHUNKS * CHUNK_BYTES)) throw new KithError('FILE_TOO_LARGE', `${path} is larger than 1 TiB`, { path })
  return { size: Number(s.size), mtime: s.mtimeNs.toString(), inode: s.ino.toString() }
}

export const sameStamp = (a: FileStamp, b: FileStamp): boolean => a.size === b.size && a.mtime === b.mtime && a.inode === b.inode

/** Whether nothing of what is wanted is missing. */
export const hasDigests = (have: ExtraDigests, wants: DigestWants): boolean =>
  !((wants.sha1 && !have.pieces) || (wants.v2 && !have.v2) || (wants.ed2k && !have.ed2k))

/**
 * Hashes a file in workers. SHA-256 of the whole and of the chunks is always made; of the others only what is wanted and not known.
 * @returns with the digests that were known besides
 * @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, FILE_TOO_LARGE, FILE_CHANGED (while it was read), CANCELLED
 */
export async function hashFile(path: string, wants: DigestWants, options: HashOptions = {}): Promise<FileDigest> {
  const { onCore, onProgress, signal } = options
  const stamp = stampOf(path)
  const known = options.known && sameStamp(options.known.stamp, stamp) ? options.known : undefined
  const plan: HashPlan = {
    size: stamp.size,
    core: !known,
    sha1: wants.sha1 && !known?.pieces,
    v2: wants.v2 && !known?.v2,
    ed2k: wants.ed2k && !known?.ed2k
  }
  if (signal?.aborted) throw cancelled()
  if (known) onCore?.(coreOf(known))
  const total = workOf(plan)
  const report = progressReport(total, onProgress)
  if (total === 0 && known) return known
  const output = makeOutput(plan)
  let core: CoreDigest | undefined = known && coreOf(known)
  const made = (): void => {
    if (!sameStamp(stampOf(path), stamp)) throw changed(path)
    core = {
      size: stamp.size,
      fileId: topOf(output, 'fileId'),
      root: topOf(output, 'root'),
      chunkHashes: output.chunkHashes.slice(),
      stamp
    }
    onCore?.(core)
  }
  const job = { path, plan, output }
  if (total <= MAX_WORK_HERE) await runHere(job, made, worked => report(0, worked))
  else await runWorkers(job, Math.min(WORKERS, Math.ceil(total / MIN_WORK_EACH)), made, report, signal)
  if (!core || !sameStamp(stampOf(path), stamp)) throw changed(path)
  return { ...core, ...extrasOf(plan, output, known) }
}

const coreOf = ({ size, fileId, root, chunkHashes, stamp }: CoreDigest): CoreDigest => ({ size, fileId, root, chunkHashes, stamp })

/** A copy outside shared memory. */
const topOf = (output: HashOutput, name: keyof typeof topAt): Uint8Array => output.tops.slice(...topAt[name])

const extrasOf = (plan: HashPlan, output: HashOutput, known: FileDigest | undefined): ExtraDigests => ({
  pieces: plan.sha1 ? output.pieces.slice() : known?.pieces,
  v2: plan.v2 ? { root: topOf(output, 'v2'), layer: output.v2Layer.slice() } : known?.v2,
  ed2k: plan.ed2k
    ? {
        hash: topOf(output, 'ed2k'),
        parts: makeHashSet(plan.size, output.partHashes.slice()),
        aich: topOf(output, 'aich'),
        aichParts: output.partTops.slice()
      }
    : known?.ed2k
})

/** @returns to be called with what each worker has done so far */
function progressReport(total: number, onProgress: HashOptions['onProgress']): (worker: number, worked: number) => void {
  const began = performance.now()
  const worked: number[] = []
  return (worker, bytes) => {
    worked[worker] = bytes
    const done = worked.reduce((a, b) => a + (b ?? 0), 0)
    onProgress?.({ done, total, rate: Math.round((done * 1000) / Math.max(1, performance.now() - began)) })
  }
}

/** The same work without a worker. */
async function runHere(job: HashJob, onCore: () => void, onWorked: (worked: number) => void): Promise<void> {
  const { runHashJob } = await import('./hashing/hash-job.node.ts')
  try {
    await runHashJob(job, message => act(message, job.path, onCore, onWorked))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw code === undefined || error instanceof KithError ? error : unreadable(job.path, code)
  }
}

/** What follows from a message. @throws FILE_CHANGED, FILE_NOT_FOUND */
function act(m: HashMessage, path: string, onCore: () => void, onWorked: (worked: number) => void): void {
  if ('error' in m) throw m.error === 'FILE_CHANGED' ? changed(path) : unreadable(path, m.error)
  if ('core' in m) onCore()
  else onWorked(m.worked)
}

/** Resolves when every worker has ended and everything is in the output; whatever goes wrong ends them all, first. */
async function runWorkers(
  job: HashJob,
  count: number,
  onCore: () => void,
  onWorked: (worker: number, worked: number) => void,
  signal: AbortSignal | undefined
): Promise<void> {
  const workers = Array.from({ length: count }, () => startWorker(job))
  try {
    await Promise.all(workers.map((worker, i) => settled(worker, job.path, onCore, worked => onWorked(i, worked), signal)))
  } finally {
    await Promise.all(workers.map(w => w.terminate()))
  }
}

const startWorker = (job: HashJob): Worker =>
  new Worker(workerUrl('hash-worker'), {
    workerData: job,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 }
  })

function settled(
  worker: Worker,
  path: string,
  onCore: () => void,
  onWorked: (worked: number) => void,
  signal: AbortSignal | undefined
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const stop = (): void => reject(cancelled())
  signal?.addEventListener('abort', stop, { once: true })
  worker.on('message', (m: HashMessage) => {
    try {
      if (signal?.aborted && !('error' in m)) return
      act(m, path, onCore, onWorked)
      if ('done' in m) resolve()
    } catch (error) {
      reject(error)
    }
  })
  worker.on('error', reject)
  worker.on('exit', () => reject(cancelled()))
  return promise.finally(() => signal?.removeEventListener('abort', stop))
}

const cancelled = (): KithError => new KithError('CANCELLED', 'hashing was stopped')
const changed = (path: string): KithError =>
  new KithError('FILE_CHANGED', `${path} changed while it was read`, { path }, { hint: 'share it again when nothing writes to it' })
const unreadable = (path: string, error: string): KithError =>
  new KithError('FILE_NOT_FOUND', `the file could not be read (${error})`, { error, path })
