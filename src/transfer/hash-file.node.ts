/** Everything Kith knows a file by, from one read of the disk: SHA-256, chunk hashes, root, and BitTorrent pieces if asked. */
import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES, MAX_CHUNKS } from '../wire/limits.ts'
import type { HashJob, HashMessage } from './hash-worker.node.ts'
import { merkleRoot } from './merkle.ts'
import { workerUrl } from './worker-url.node.ts'

export interface FileDigest {
  readonly size: number
  /** SHA-256 of the whole. */
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  /** SHA-256 of each 256 KiB chunk, concatenated. */
  readonly chunkHashes: Uint8Array
  /** SHA-1 of each 256 KiB piece, concatenated; undefined unless asked for. */
  readonly pieces: Uint8Array | undefined
  /** What the file looked like when it was hashed: a different stamp later means it must be checked again. */
  readonly stamp: FileStamp
}

/** Tells whether a file was touched. Times are nanoseconds as decimal text. */
export interface FileStamp {
  readonly size: number
  readonly mtime: string
  readonly inode: string
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

/**
 * Hashes a file in two workers.
 * @param onProgress bytes hashed so far, by the slower worker
 * @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, FILE_TOO_LARGE, FILE_CHANGED (while it was read), CANCELLED
 */
export async function hashFile(
  path: string,
  options: { readonly sha1: boolean },
  onProgress: (bytes: number) => void,
  signal?: AbortSignal
): Promise<FileDigest> {
  const stamp = stampOf(path)
  const job = { path, size: stamp.size, chunkBytes: CHUNK_BYTES, sha1: options.sha1 }
  const hashed = [0, 0]
  const report = (i: number) => (n: number) => {
    hashed[i] = n
    onProgress(Math.min(hashed[0]!, hashed[1]!))
  }
  const ended = new AbortController()
  const both = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal
  try {
    const [whole, parts] = await Promise.all([
      runWorker({ ...job, part: 'whole' }, report(0), both),
      runWorker({ ...job, part: 'chunks' }, report(1), both)
    ])
    if (whole.size !== stamp.size || parts.size !== stamp.size || !sameStamp(stampOf(path), stamp) || !whole.whole || !parts.chunks) {
      throw new KithError(
        'FILE_CHANGED',
        `${path} changed while it was read`,
        { path },
        { hint: 'share it again when nothing writes to it' }
      )
    }
    onProgress(stamp.size)
    const root = merkleRoot(stamp.size, parts.chunks)
    return { size: stamp.size, fileId: whole.whole, root, chunkHashes: parts.chunks, pieces: parts.pieces, stamp }
  } finally {
    ended.abort()
  }
}

type Done = Extract<HashMessage, { done: true }>

function runWorker(job: HashJob, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<Done> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerUrl('hash-worker'), {
      workerData: job,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 }
    })
    const stop = (): void => {
      void worker.terminate()
      reject(new KithError('CANCELLED', 'hashing was stopped'))
    }
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    worker.on('message', (m: HashMessage) => {
      if ('hashed' in m) onProgress(m.hashed)
      else if ('done' in m) resolve(m)
      else reject(new KithError('FILE_NOT_FOUND', `the file could not be read (${m.error})`, { error: m.error, path: job.path }))
    })
    worker.on('error', reject)
    worker.on('exit', () => {
      signal.removeEventListener('abort', stop)
      reject(new KithError('CANCELLED', 'hashing was stopped'))
    })
  })
}
