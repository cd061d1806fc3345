/**
 * The worker that hashes chunks in their slots and writes to the part file those that are right. Started by chunk-verifier.node.ts with
 * {path, buffer, chunkBytes}; speaks the messages below. One worker is enough: on two cores a second one made downloads slower.
 */
import { hash } from 'node:crypto'
import { constants, openSync, writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { equalBytes } from '../base/bytes.ts'
import { ChunkHasher } from './chunk-hasher.node.ts'

export interface VerifyJob {
  readonly id: number
  readonly slot: number
  readonly length: number
  readonly offset: number
  readonly algorithm: 'sha256' | 'sha1' | 'none'
  readonly expected: Uint8Array | undefined
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
}

if (parentPort) {
  const port = parentPort
  const { path, buffer, chunkBytes, recorded } = workerData as VerifyData
  const recordedMessages = new Int32Array(recorded)
  let written = 0
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW) // closed with the worker
  const hasher = new ChunkHasher()

  const bytesOf = (job: VerifyJob): Uint8Array => new Uint8Array(buffer, job.slot * chunkBytes, job.length)

  const digestsOf = (jobs: readonly VerifyJob[]): (Uint8Array | undefined)[] => {
    const algorithm = jobs[0]?.algorithm ?? 'none'
    return algorithm === 'none' ? [] : hasher.hash(algorithm, jobs.map(bytesOf))
  }
  const write = (job: VerifyJob): VerifyDone => {
    try {
      for (let at = 0; at < job.length; ) at += writeSync(fd, bytesOf(job), at, job.length - at, job.offset + at)
      return { id: job.id, good: true }
    } catch (error) {
      return { id: job.id, good: false, error: (error as NodeJS.ErrnoException).code ?? 'EIO' }
    }
  }
  port.on('message', (jobs: readonly VerifyJob[]) => {
    const digests = digestsOf(jobs)
    // What is written and not recorded is what a kill costs: one message at most. Hashing goes on meanwhile.
    for (let n = Atomics.load(recordedMessages, 0); n < written; n = Atomics.load(recordedMessages, 0)) Atomics.wait(recordedMessages, 0, n)
    written++
    port.postMessage(jobs.map((job, i): VerifyDone => (isRight(job, bytesOf(job), digests[i]) ? write(job) : { id: job.id, good: false })))
  })
}

/** Nobody is blamed for a wrong chunk before OpenSSL has said so too. */
function isRight(job: VerifyJob, bytes: Uint8Array, digest: Uint8Array | undefined): boolean {
  if (job.algorithm === 'none') return true
  if (!job.expected || !digest) return false
  return equalBytes(digest, job.expected) || equalBytes(hash(job.algorithm, bytes, 'buffer'), job.expected)
}
