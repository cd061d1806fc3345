/**
 * The workers that hash a file to be shared. Two run at once on one file, so that two cores work: `whole` makes the file's SHA-256,
 * `chunks` the SHA-256 of every chunk and, if asked, the SHA-1 of every 256 KiB BitTorrent piece. The second reader gets the page
 * cache, so the disk is read once.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { ChunkHasher } from './chunk-hasher.node.ts'

export interface HashJob {
  readonly path: string
  readonly size: number
  readonly chunkBytes: number
  readonly part: 'whole' | 'chunks'
  readonly sha1: boolean
}
export type HashMessage =
  | { readonly hashed: number }
  | { readonly done: true; readonly size: number; readonly whole?: Uint8Array; readonly chunks?: Uint8Array; readonly pieces?: Uint8Array }
  | { readonly error: string }

const BLOCK = 1024 * 1024

if (parentPort) {
  const port = parentPort
  const job = workerData as HashJob
  try {
    const fd = openSync(job.path, constants.O_RDONLY)
    port.postMessage(run(job, fd, hashed => port.postMessage({ hashed } satisfies HashMessage)))
    closeSync(fd)
  } catch (error) {
    port.postMessage({ error: (error as NodeJS.ErrnoException).code ?? 'EIO' } satisfies HashMessage)
  }
  port.close()
}

function run(job: HashJob, fd: number, progress: (hashed: number) => void): HashMessage {
  const block = Buffer.alloc(BLOCK)
  const whole = job.part === 'whole' ? createHash('sha256') : undefined
  const count = Math.ceil(job.size / job.chunkBytes)
  const chunks = new Uint8Array(job.part === 'chunks' ? count * 32 : 0)
  const pieces = new Uint8Array(job.part === 'chunks' && job.sha1 ? count * 20 : 0)
  const hasher = new ChunkHasher()
  let at = 0
  for (;;) {
    const n = fill(fd, block, at)
    if (n === 0) break
    if (whole) whole.update(n === BLOCK ? block : block.subarray(0, n))
    else {
      const first = at / job.chunkBytes
      const parts: Uint8Array[] = []
      for (let i = 0; i < n; i += job.chunkBytes) parts.push(block.subarray(i, Math.min(n, i + job.chunkBytes)))
      parts.length = Math.max(0, Math.min(parts.length, count - first)) // the file grew: the size no longer matches, which the caller sees
      for (const [i, digest] of hasher.hash('sha256', parts).entries()) chunks.set(digest, (first + i) * 32)
      if (job.sha1) for (const [i, digest] of hasher.hash('sha1', parts).entries()) pieces.set(digest, (first + i) * 20)
    }
    at += n
    if (at % (8 * BLOCK) === 0) progress(at)
  }
  if (whole) return { done: true, size: at, whole: new Uint8Array(whole.digest()) }
  return { done: true, size: at, chunks, ...(job.sha1 ? { pieces } : {}) }
}

function fill(fd: number, block: Buffer, at: number): number {
  let n = 0
  while (n < block.length) {
    const got = readSync(fd, block, n, block.length - n, at + n)
    if (got === 0) break
    n += got
  }
  return n
}
