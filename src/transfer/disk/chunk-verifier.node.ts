/**
 * Checks chunks against their hashes and writes the right ones, in a worker; follows with the whole file's SHA-256 in another.
 * `verify` resolves once the chunk is in the file (page cache): only then may a bitmap say so.
 */
import type { Worker } from 'node:worker_threads'
import { KithError } from '../../base/errors.ts'
import { chunkLength, chunkOffset, type Grid } from '../grid.ts'
import { pieceHeight } from '../hashing/bep52-tree.ts'
import type { PoolSlot } from '../scheduling/slot-pool.ts'
import { VerifyWorkers } from '../verify-workers.node.ts'
import type { FollowData } from './follow-worker.node.ts'
import type { TreeShape, VerifyData, VerifyDone, VerifyJob } from './verify-worker.node.ts'

export type ChunkHashes =
  /** md4: the chunks are ed2k parts. */
  | { readonly algorithm: 'sha256' | 'sha1' | 'md4'; readonly of: (chunk: number) => Uint8Array }
  /** BEP 52: the chunks are pieces. Without `shape` they are those of one file. */
  | { readonly algorithm: 'sha256-tree'; readonly of: (chunk: number) => Uint8Array; readonly shape?: (chunk: number) => TreeShape }
  /** A plain URL without any known hash: bytes are written as they come and only the whole is hashed. */
  | { readonly algorithm: 'none' }

/** Chunks in one message: as many as are hashed together. */
const MESSAGE_CHUNKS = 4

interface Pending {
  readonly resolve: (good: boolean) => void
  readonly reject: (error: unknown) => void
}

export class ChunkVerifier implements AsyncDisposable {
  readonly #grid: Grid
  readonly #hashes: ChunkHashes
  readonly #workers: VerifyWorkers
  readonly #worker: Worker
  readonly #follower: Worker
  /** Tells the worker how many of its messages were recorded. */
  readonly #recorded: Int32Array<SharedArrayBuffer>
  readonly #pending = new Map<number, Pending>()
  readonly #batch: VerifyJob[] = []
  #inFlight = 0
  #nextId = 0
  #followed = 0
  #digest: Promise<Uint8Array> | undefined
  #closed = false
  #failure: unknown

  private constructor(grid: Grid, hashes: ChunkHashes, workers: VerifyWorkers, recorded: Int32Array<SharedArrayBuffer>) {
    this.#recorded = recorded
    this.#grid = grid
    this.#hashes = hashes
    this.#workers = workers
    const { verify: worker, follow } = workers
    this.#worker = worker
    this.#follower = follow
    worker.on('message', (done: readonly VerifyDone[]) => this.#settle(done))
    workers.failed.catch(error => this.#fail(error))
  }

  /** Sets both workers on an existing part file; they end with the verifier. @param workers idle ones, started before */
  static open(
    grid: Grid,
    hashes: ChunkHashes,
    path: string,
    buffer: SharedArrayBuffer,
    workers: VerifyWorkers = new VerifyWorkers()
  ): ChunkVerifier {
    const recorded = new SharedArrayBuffer(4)
    const data: VerifyData = { path, buffer, chunkBytes: grid.chunkBytes, recorded, md4: hashes.algorithm === 'md4' }
    workers.verify.postMessage(data)
    workers.follow.postMessage({ path } satisfies FollowData)
    return new ChunkVerifier(grid, hashes, workers, new Int32Array(recorded))
  }

  /**
   * True: the bytes are right and written. False: they are wrong.
   * @throws DISK_FULL when the write had no space, WRITE_FAILED, EMFILE
   */
  verify(slot: PoolSlot, chunk: number): Promise<boolean> {
    if (this.#closed) return Promise.reject(new KithError('CANCELLED', 'the download has ended'))
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { algorithm } = this.#hashes
    // A copy: a view would take the whole list of hashes to the worker with every message.
    const expected = this.#hashes.algorithm === 'none' ? undefined : this.#hashes.of(chunk).slice()
    const id = this.#nextId++
    const job = {
      id,
      slot: slot.index,
      length: chunkLength(this.#grid, chunk),
      offset: chunkOffset(this.#grid, chunk),
      algorithm,
      expected,
      tree: this.#shapeOf(chunk)
    }
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#batch.push(job)
      this.#flush()
    })
  }

  #shapeOf(chunk: number): TreeShape | undefined {
    if (this.#hashes.algorithm !== 'sha256-tree') return undefined
    const { size, chunkBytes } = this.#grid
    return this.#hashes.shape?.(chunk) ?? { bytes: chunkLength(this.#grid, chunk), height: pieceHeight(size, chunkBytes) }
  }

  /** Says that the first `bytes` bytes of the file are verified and written. */
  follow(bytes: number): void {
    if (bytes - this.#followed < 4 * 1024 * 1024 && bytes < this.#grid.size) return
    this.#followed = bytes
    this.#follower.postMessage(bytes)
  }

  /** SHA-256 of the whole file; call when `follow(size)` was said. */
  digest(): Promise<Uint8Array> {
    this.#digest ??= new Promise((resolve, reject) => {
      this.#follower.once('message', (digest: Uint8Array) => resolve(digest))
      this.#workers.failed.catch(reject)
      this.#follower.once('exit', () => reject(new KithError('CANCELLED', 'the download has ended')))
      this.#follower.postMessage(-1)
    })
    return this.#digest
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#workers[Symbol.asyncDispose]()
  }

  /**
   * Keeps the worker busy: a message to an idle worker goes at once; while it works, the next waits until it is full. What is written
   * but not yet recorded is what a kill costs, so a message is 1 MiB.
   */
  #flush(): void {
    const enough = this.#inFlight === 0 ? 1 : MESSAGE_CHUNKS
    if (this.#inFlight >= 2 || this.#batch.length < enough) return
    this.#inFlight++
    this.#worker.postMessage(this.#batch.splice(0, MESSAGE_CHUNKS))
  }

  #settle(done: readonly VerifyDone[]): void {
    this.#inFlight--
    this.#flush()
    for (const { id, good, error } of done) {
      const pending = this.#pending.get(id)
      this.#pending.delete(id)
      if (error === 'ENOSPC' || error === 'EDQUOT') pending?.reject(new KithError('DISK_FULL', 'no space left for the file'))
      else if (error) pending?.reject(new KithError('WRITE_FAILED', 'the file could not be written', { error }))
      else pending?.resolve(good)
    }
    // Whoever waits for these chunks runs, and records them, before this does.
    queueMicrotask(() => {
      Atomics.add(this.#recorded, 0, 1)
      Atomics.notify(this.#recorded, 0)
    })
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const p of this.#pending.values()) p.reject(error)
    this.#pending.clear()
  }
}
