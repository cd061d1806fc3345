/**
 * The worker that hashes chunks in their slots and writes to the part file those that are right. Started by verify-workers.node.ts; the first
 * message is VerifyData, all others are lists of VerifyJob. One worker is enough: on two cores a second one made downloads slower.
 */
import { hash } from 'node:crypto'
import { constants, openSync, writeSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { equalBytes } from '../../base/bytes.ts'
import { leavesOf, treeTop, V2_BLOCK_BYTES } from '../hashing/bep52-tree.ts'
import { ChunkHasher } from '../hashing/chunk-hasher.node.ts'

/** The subtree of one BEP 52 piece. */
export interface TreeShape {
  /** Bytes of the piece that belong to its file; padding between files follows. */
  readonly bytes: number
  /** Of the node that is compared: missing leaves below it are padding. */
  readonly height: number
}

export interface VerifyJob {
  readonly id: number
  readonly slot: number
  readonly length: number
  readonly offset: number
  readonly algorithm: 'sha256' | 'sha1' | 'md4' | 'sha256-tree' | 'none'
  readonly expected: Uint8Array | undefined
  /** For sha256-tree. */
  readonly tree: TreeShape | undefined
}
/** `error` is a system error code of the write; then nothing is known about the chunk. */
export interface VerifyDone {
  readonly id: number
  readonly good: boolean
  readonly error?: string
}
export interface VerifyData {
  readonly path: string
  readonly buffer: SharedArrayBuffer
  readonly chunkBytes: number
  /** One Int32: messages whose chunks are recorded. */
  readonly recorded: SharedArrayBuffer
  /** Whether MD4 will be needed: it is loaded only then. */
  readonly md4: boolean
}

if (parentPort) {
  const port = parentPort
  let opened: Promise<(jobs: readonly VerifyJob[]) => VerifyDone[]> | undefined
  port.on('message', async (message: VerifyData | readonly VerifyJob[]) => {
    if ('path' in message) opened = open(message)
    else port.postMessage((await opened!)(message))
  })
}

/** @returns what does the work of one message */
async function open({
  path,
  buffer,
  chunkBytes,
  recorded,
  md4: needsMd4
}: VerifyData): Promise<(jobs: readonly VerifyJob[]) => VerifyDone[]> {
  const recordedMessages = new Int32Array(recorded)
  let written = 0
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW) // closed with the worker
  const hasher = new ChunkHasher()
  const md4 = needsMd4 ? await (await import('../hashing/md4-fast.ts')).FastMd4.open() : undefined

  const bytesOf = (job: VerifyJob): Uint8Array => new Uint8Array(buffer, job.slot * chunkBytes, job.length)

  const digestsOf = (jobs: readonly VerifyJob[]): (Uint8Array | undefined)[] => {
    const algorithm = jobs[0]?.algorithm ?? 'none'
    if (algorithm === 'none') return []
    if (algorithm === 'md4') return jobs.map(job => md4?.hash(bytesOf(job)))
    if (algorithm === 'sha256-tree') return jobs.map(job => pieceTop(hasher, bytesOf(job), job.tree))
    return hasher.hash(algorithm, jobs.map(bytesOf))
  }
  const write = (job: VerifyJob): VerifyDone => {
    try {
      for (let at = 0; at < job.length; ) at += writeSync(fd, bytesOf(job), at, job.length - at, job.offset + at)
      return { id: job.id, good: true }
    } catch (error) {
      return { id: job.id, good: false, error: (error as NodeJS.ErrnoException).code ?? 'EIO' }
    }
  }
  return jobs => {
    const digests = digestsOf(jobs)
    // What is written and not recorded is what a kill costs: one message at most. Hashing goes on meanwhile.
    for (let n = Atomics.load(recordedMessages, 0); n < written; n = Atomics.load(recordedMessages, 0)) Atomics.wait(recordedMessages, 0, n)
    written++
    return jobs.map((job, i): VerifyDone => (isRight(job, bytesOf(job), digests[i]) ? write(job) : { id: job.id, good: false }))
  }
}

function pieceTop(hasher: ChunkHasher, piece: Uint8Array, tree: TreeShape | undefined): Uint8Array | undefined {
  if (!tree) return undefined
  const blocks: Uint8Array[] = []
  for (let at = 0; at < tree.bytes; at += V2_BLOCK_BYTES) blocks.push(piece.subarray(at, Math.min(at + V2_BLOCK_BYTES, tree.bytes)))
  return treeTop(Buffer.concat(hasher.hash('sha256', blocks)), 0, tree.height)
}

/** Nobody is blamed for a wrong chunk before OpenSSL has said so too. (It has no MD4.) */
function isRight(job: VerifyJob, bytes: Uint8Array, digest: Uint8Array | undefined): boolean {
  if (job.algorithm === 'none') return true
  if (!job.expected || !digest) return false
  if (equalBytes(digest, job.expected)) return true
  if (job.algorithm === 'md4') return false
  const { tree } = job
  const again = tree
    ? treeTop(leavesOf(bytes.subarray(0, tree.bytes)), 0, tree.height)
    : hash(job.algorithm === 'sha1' ? 'sha1' : 'sha256', bytes, 'buffer')
  return equalBytes(again, job.expected)
}
