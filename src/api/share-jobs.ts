/**
 * Hashing a large file takes longer than HTTP clients wait. A job outlives the request that began it: the same request sent again joins
 * it, and a job that nobody asks about any more is stopped.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { ShareRequest, ShareView } from '../node/types.ts'
import { MAX_SHARE_JOBS, SHARE_ABANDONED_MS, SHARE_WAIT_MS } from './limits.ts'
import type { NodeClient } from './node-client.ts'

interface Job {
  readonly result: Promise<ShareView>
  readonly abort: AbortController
  waiters: number
  settled: boolean
  /** Aborted when somebody joins again. */
  abandoned: AbortController | undefined
}

export interface ShareJobsOptions {
  readonly waitMs?: number
  readonly abandonedMs?: number
}

export class ShareJobs implements AsyncDisposable {
  readonly #deps: { readonly client: Pick<NodeClient, 'share'>; readonly clock: Pick<Clock, 'sleep'> }
  readonly #waitMs: number
  readonly #abandonedMs: number
  readonly #jobs = new Map<string, Job>()
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(deps: { readonly client: Pick<NodeClient, 'share'>; readonly clock: Pick<Clock, 'sleep'> }, options: ShareJobsOptions = {}) {
    this.#deps = deps
    this.#waitMs = options.waitMs ?? SHARE_WAIT_MS
    this.#abandonedMs = options.abandonedMs ?? SHARE_ABANDONED_MS
  }

  /** The share, or undefined when hashing goes on and the caller should ask again. @throws API_BUSY and what `share` throws */
  async join(request: ShareRequest, signal: AbortSignal): Promise<ShareView | undefined> {
    const key = JSON.stringify(request)
    const job = this.#jobs.get(key) ?? this.#begin(key, request)
    job.waiters++
    job.abandoned?.abort()
    job.abandoned = undefined
    const leave = new AbortController()
    const either = AbortSignal.any([signal, leave.signal])
    try {
      return await Promise.race([job.result, this.#deps.clock.sleep(this.#waitMs, either).then(() => undefined)])
    } finally {
      leave.abort()
      job.waiters--
      if (job.settled) this.#forget(job)
      else if (job.waiters === 0) this.#watch(job)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const job of this.#jobs.values()) {
      job.abort.abort()
      job.abandoned?.abort()
    }
    await Promise.allSettled([...this.#tasks])
  }

  #begin(key: string, request: ShareRequest): Job {
    if (this.#jobs.size >= MAX_SHARE_JOBS) {
      throw new KithError('API_BUSY', 'too many files are being hashed', { jobs: this.#jobs.size }, { hint: 'wait for them' })
    }
    const abort = new AbortController()
    const result = this.#deps.client.share(request, abort.signal)
    const job: Job = { result, abort, waiters: 0, settled: false, abandoned: undefined }
    this.#jobs.set(key, job)
    // A result that comes while nobody waits is kept until somebody asks or the job counts as abandoned.
    const settle = (): void => {
      job.settled = true
    }
    this.#keep(result.then(settle, settle))
    return job
  }

  /** Ends the job unless somebody joins in time. */
  #watch(job: Job): void {
    const rejoined = (job.abandoned = new AbortController())
    const end = (): void => {
      job.abort.abort()
      this.#forget(job)
    }
    this.#keep(this.#deps.clock.sleep(this.#abandonedMs, rejoined.signal).then(end, () => {}))
  }

  #forget(job: Job): void {
    for (const [key, j] of this.#jobs) if (j === job) this.#jobs.delete(key)
  }

  #keep(task: Promise<unknown>): void {
    const kept = task.finally(() => this.#tasks.delete(kept))
    this.#tasks.add(kept)
  }
}
