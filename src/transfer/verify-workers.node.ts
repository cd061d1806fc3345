/**
 * The two threads of a download: one checks chunks and writes them (disk/verify-worker.node.ts), the other hashes the whole file behind it
 * (disk/follow-worker.node.ts). A thread takes a tenth of a second to begin, so they are started while seeders are still being looked for.
 */
import { Worker } from 'node:worker_threads'
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

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.verify.terminate(), this.follow.terminate()])
  }
}

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
