/**
 * Many writes, one transaction: whoever wants something durable while a commit runs, or right after one, shares the next. When little goes
 * on a commit begins at once; the more was in the last one, the longer the next collects, up to an eighth of the time for commits.
 */

/** Pause after a commit, in times of what it took, for so many writes in it; and at most. */
const WRITES_PER_REST = 8
const MAX_RESTS = 7
/** Timers are not finer than this. */
const TIMER_MS = 0.5
const MAX_REST_MS = 10

interface Item {
  readonly work: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

export class GroupCommit {
  readonly #transaction: (work: () => void) => void
  #items: Item[] = []
  #isScheduled = false
  #nextAt = 0

  /** @param transaction runs its argument so that all of it becomes durable, or throws and nothing happened */
  constructor(transaction: (work: () => void) => void) {
    this.#transaction = transaction
  }

  /** Resolves with what `work` returned when it is durable. */
  run<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#items.push({ work, resolve, reject })
      if (!this.#isScheduled) this.#schedule()
    })
  }

  /** Commits what waits now. */
  flush(): void {
    const items = this.#items
    if (items.length === 0) return
    this.#items = []
    const begun = performance.now()
    this.#commit(items)
    const ended = performance.now()
    this.#nextAt = ended + Math.min(MAX_REST_MS, (ended - begun) * Math.min(MAX_RESTS, items.length / WRITES_PER_REST))
  }

  #schedule(): void {
    this.#isScheduled = true
    const due = (): void => {
      this.#isScheduled = false
      this.flush()
    }
    const restMs = this.#nextAt - performance.now()
    if (restMs < TIMER_MS) setImmediate(due)
    else setTimeout(due, restMs)
  }

  #commit(items: readonly Item[]): void {
    const results: unknown[] = []
    try {
      this.#transaction(() => {
        for (const item of items) results.push(item.work())
      })
    } catch (error) {
      // One that fails must not take the others with it.
      if (items.length > 1) for (const item of items) this.#commit([item])
      else items[0]!.reject(error)
      return
    }
    for (const [i, item] of items.entries()) item.resolve(results[i] as never)
  }
}
