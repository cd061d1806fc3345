/** Encrypting a file before it is shared, and decrypting one while it arrives; the work is done in encrypt-worker.node.ts. */
import { rmSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { randomBytes } from '#crypto'
import { KithError } from '../../base/errors.ts'
import type { SealedHead } from '../../wire/encrypted-file.ts'
import { MIN_KDF_ITERATIONS } from '../../wire/limits.ts'
import type { FileSecret } from '../file-cipher.node.ts'
import { sameStamp, stampOf } from '../hash-file.node.ts'
import { workerUrl } from '../worker-url.node.ts'
import type { CipherMessage, DecryptJob, EncryptJob } from './decryption.node.ts'

export interface EncryptRequest {
  /** Regular file of the user; it is only read. */
  readonly from: string
  /** File to write, mode 0600; must not exist. Removed again when anything fails. */
  readonly to: string
  readonly secret: FileSecret
  readonly name: string
  readonly mime: string
}

/**
 * Encrypts a whole file, durably.
 * @param onProgress bytes of plaintext done
 * @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, FILE_TOO_LARGE, FILE_CHANGED, DISK_FULL, CANCELLED
 */
export async function encryptFile(request: EncryptRequest, onProgress: (bytes: number) => void, signal?: AbortSignal): Promise<void> {
  const stamp = stampOf(request.from)
  const job: EncryptJob = { ...request, work: 'encrypt', size: stamp.size, salt: randomBytes(16), iterations: MIN_KDF_ITERATIONS }
  const worker = startWorker(job)
  const ended = Promise.withResolvers<void>()
  const stop = (): void => ended.reject(new KithError('CANCELLED', 'encrypting was stopped'))
  listen(worker, m => ('progress' in m ? onProgress(m.progress) : 'done' in m ? ended.resolve() : undefined), ended.reject)
  if (signal?.aborted) stop()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    await ended.promise
    if (!sameStamp(stampOf(request.from), stamp)) throw new KithError('FILE_CHANGED', `${request.from} changed while it was read`)
  } catch (error) {
    await worker.terminate()
    rmSync(request.to, { force: true })
    throw error
  } finally {
    signal?.removeEventListener('abort', stop)
    await worker.terminate()
  }
}

/** The worker is told of so many new bytes at once. */
const STEP_BYTES = 4 * 1024 * 1024

/** Decrypts behind a download. Dispose it in any case: what it wrote is removed unless `keep` was called. */
export class Decrypter implements AsyncDisposable {
  /** The name and size inside; resolves with the first chunk. Rejects with WRONG_KEY, NOT_ENCRYPTED, BAD_KDF, DECRYPTION_FAILED. */
  readonly head: Promise<SealedHead>
  /** Resolves when the plaintext is complete, checked and durable. */
  readonly done: Promise<void>
  readonly path: string
  readonly #worker: Worker
  readonly #size: number
  #followed = 0
  #kept = false

  /** @param size bytes of the encrypted file @param to a path that is free, or holds what an earlier run left */
  constructor(from: string, size: number, to: string, secret: FileSecret) {
    rmSync(to, { force: true })
    this.path = to
    this.#size = size
    const job: DecryptJob = { work: 'decrypt', from, size, to, secret }
    this.#worker = startWorker(job)
    const head = Promise.withResolvers<SealedHead>()
    const done = Promise.withResolvers<void>()
    this.head = head.promise
    this.done = done.promise
    for (const p of [head.promise, done.promise]) p.catch(() => {})
    const fail = (error: unknown): void => {
      head.reject(error)
      done.reject(error)
    }
    listen(this.#worker, m => ('head' in m ? head.resolve(m.head) : 'done' in m ? done.resolve() : undefined), fail)
  }

  /** Says that the first `bytes` bytes of the encrypted file are verified and written. */
  follow(bytes: number): void {
    if (this.#followed > 0 && bytes - this.#followed < STEP_BYTES && bytes < this.#size) return
    this.#followed = bytes
    this.#worker.postMessage(bytes)
  }
  /** The plaintext has found its place: disposal leaves it. */
  keep(): void {
    this.#kept = true
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
    if (!this.#kept) rmSync(this.path, { force: true })
  }
}

function startWorker(job: EncryptJob | DecryptJob): Worker {
  return new Worker(workerUrl('encrypt-worker'), {
    workerData: job,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 }
  })
}

function listen(worker: Worker, onMessage: (m: CipherMessage) => void, fail: (error: unknown) => void): void {
  worker.on('message', (m: CipherMessage) => ('code' in m ? fail(errorOf(m)) : onMessage(m)))
  worker.on('error', fail)
  worker.on('exit', () => fail(new KithError('CANCELLED', 'encryption has ended')))
}

function errorOf({ code, message, hint }: Extract<CipherMessage, { code: string }>): KithError {
  if (code === 'ENOSPC' || code === 'EDQUOT') return new KithError('DISK_FULL', 'no space left for the decrypted or encrypted file')
  if (code === 'ENOENT') return new KithError('FILE_NOT_FOUND', 'the file is gone')
  if (/^E[A-Z]+$/.test(code)) return new KithError('WRITE_FAILED', 'the file could not be read or written', { error: code })
  return new KithError(code, message, {}, hint === undefined ? {} : { hint })
}
