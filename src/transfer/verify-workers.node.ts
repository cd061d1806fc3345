/**
 * The two threads of a download: one checks chunks and writes them (disk/verify-worker.node.ts), the other hashes the whole file behind it
 * (disk/follow-worker.node.ts). A thread takes a tenth of a second to begin, so they are started while seeders are still being looked for.
 */
import { Worker } from 'node:worker_threads'
import { codeOf, KithError } from '../base/errors.ts'
import { workerUrl } from './worker-url.node.ts'

const OPTIONS = {
  execArgv: [],
  stdout: false,
  stderr: false,
  resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 }
}

/** Idle until each gets its first message: VerifyData and FollowData. */
export class VerifyWorkers implements AsyncDisposable {
  readonly verify: Worker = new Worker(workerUrl('verify-worker'), OPTIONS)
  readonly follow: Worker = new Worker(workerUrl('follow-worker'), OPTIONS)
  /** Rejects with WRITE_FAILED (or the system's own code) when one of them could not start, open the file, or read it; CANCELLED when they were ended. */
  readonly failed: Promise<never>

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>()
    for (const worker of [this.verify, this.follow]) worker.on('error', error => reject(readable(error)))
    this.verify.on('exit', () => reject(new KithError('CANCELLED', 'the verify worker ended')))
    promise.catch(() => {})
    this.failed = promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.verify.terminate(), this.follow.terminate()])
  }
}

/** A thread that cannot be had is most often a matter of open files; the rest is the disk. */
function readable(cause: unknown): unknown {
  const code = codeOf(cause)
  if (code === 'ERR_WORKER_INIT_FAILED') return Object.assign(new Error('no thread could be started', { cause }), { code: 'EMFILE' })
  if (code === 'INTERNAL' || OF_THE_PROCESS.has(code)) return cause
  return new KithError('WRITE_FAILED', 'the file could not be read or written', { error: code }, { cause })
}
const OF_THE_PROCESS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

/** A pair started ahead of the first download. Disposing ends it unless it was taken. */
export class FirstWorkers implements AsyncDisposable {
  #workers: VerifyWorkers | undefined = new VerifyWorkers()

  /** The pair, for whoever asks first. The taker disposes of it. */
  take(): VerifyWorkers | undefined {
    const workers = this.#workers
    this.#workers = undefined
    return workers
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.take()?.[Symbol.asyncDispose]()
  }
}
