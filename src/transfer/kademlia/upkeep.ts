/** What runs beside a node of a DHT until the node ends: its own upkeep, searches, announcements. */
import type { Clock } from '../../base/clock.ts'

export interface UpkeepDeps {
  readonly clock: Clock
  /** A node that has just come is given so long to settle before searches and announcements turn to it. */
  readonly settleMs: number
  /** A task has failed; nobody else is told. */
  onFailed(error: unknown): void
}

export class Upkeep implements AsyncDisposable {
  readonly #deps: UpkeepDeps
  readonly #stop = new AbortController()
  readonly #tasks = new Set<Promise<void>>()
  /** Those who wait for the table to grow. */
  readonly #growth = new Set<() => void>()

  constructor(deps: UpkeepDeps) {
    this.#deps = deps
  }

  /** Aborts when the node ends. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  /** Lets a task run on; the node's end waits for it. */
  track(task: Promise<void>): void {
    const tracked = task.catch(error => this.#deps.onFailed(error)).finally(() => this.#tasks.delete(tracked))
    this.#tasks.add(tracked)
  }

  /** A task that ends with its handle or with the node. */
  run(work: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
    const stop = new AbortController()
    const task = work(AbortSignal.any([stop.signal, this.#stop.signal]))
    this.track(task)
    return {
      [Symbol.asyncDispose]: async () => {
        stop.abort()
        await task.catch(() => {})
      }
    }
  }

  /** Sleeps; with `orGrowth` only until a node joins the table. */
  async pause(ms: number, orGrowth: boolean, signal: AbortSignal): Promise<void> {
    const { clock, settleMs } = this.#deps
    const over = new AbortController()
    const grown = Promise.withResolvers<void>()
    if (orGrowth) this.#growth.add(grown.resolve)
    const slept = clock.sleep(ms, AbortSignal.any([signal, over.signal])).catch(() => {})
    await Promise.race([slept, grown.promise.then(() => clock.sleep(settleMs, signal).catch(() => {}))])
    this.#growth.delete(grown.resolve)
    over.abort()
  }

  /** A node has joined the table. */
  grew(): void {
    for (const wake of [...this.#growth]) wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }
}
