/**
 * Many writes, one transaction: whoever wants something durable while a commit runs, or right after one, shares the next. When little goes
 * on a commit begins at once; the more was in the last one, the longer the next collects, up to an eighth of the time for commits.
 */

/** Pause after a commit, in times of what it took, for so many writes in it beyond a few; and at most. */
const FEW_WRITES = 3
const WRITES_PER_REST = 2
const MAX_RESTS = 7
/** Timers are not finer than this. */
const TIMER_MS = 0.5
const MAX_REST_MS = 10
/** How long that which nobody waits for waits for others to share a transaction with. */
const LATER_MS = 5

interface Item {
  readonly work: () => unknown
  readonly written: ((value: never) => void) | undefined
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

export interface GroupCommitDeps {
  /** Runs its argument so that all of it is committed, or throws and nothing happened. */
  readonly transaction: (work: () => void) => void
  /** Resolves when everything that was committed before the call is on disk. Absent: `transaction` returns when it is. */
  readonly sync?: () => Promise<void>
}

export class GroupCommit {
  readonly #deps: GroupCommitDeps
  #items: Item[] = []
  /** Due at once; or later, by a timer. */
  #isDue = false
  #timer: NodeJS.Timeout | undefined
  #nextAt = 0
  /** Committed, and to be told of when they are on disk. */
  #committed: { readonly item: Item; readonly value: unknown }[] = []
  #isSyncing = false

  constructor(deps: GroupCommitDeps) {
    this.#deps = deps
  }

  /**
   * Resolves with what `work` returned when it is durable. `written` is called before that, when it is committed: what follows from it can be
   * lost with it in a power cut.
   */
  run<T>(work: () => T, written?: (value: T) => void): Promise<T> {
    const durable = this.#add(work, written)
    if (!this.#isDue) this.#schedule(0)
    return durable
  }
  /** As `run`, for what nobody waits for: a few ms later, with what comes until then. */
  later<T>(work: () => T, written?: (value: T) => void): Promise<T> {
    const durable = this.#add(work, written)
    if (!this.#isDue && !this.#timer) this.#schedule(LATER_MS)
    return durable
  }

  /** Commits what waits now. */
  flush(): void {
    this.#isDue = false
    clearTimeout(this.#timer)
    this.#timer = undefined
    const items = this.#items
    if (items.length === 0) return
    this.#items = []
    const begun = performance.now()
    this.#commit(items)
    const ended = performance.now()
    const rests = Math.min(MAX_RESTS, Math.max(0, items.length - FEW_WRITES) / WRITES_PER_REST)
    this.#nextAt = ended + Math.min(MAX_REST_MS, (ended - begun) * rests)
    if (this.#committed.length > 0 && !this.#isSyncing) void this.#syncAll()
  }

  /** Tells everybody of what was committed; to be called when the caller has made it durable otherwise. */
  allDurable(): void {
    for (const { item, value } of this.#committed.splice(0)) item.resolve(value as never)
  }

  #add<T>(work: () => T, written: ((value: T) => void) | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => this.#items.push({ work, written, resolve, reject }))
  }

  #schedule(leastMs: number): void {
    const restMs = Math.max(leastMs, this.#nextAt - performance.now())
    this.#isDue = leastMs === 0
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (restMs < TIMER_MS) setImmediate(() => this.flush())
    else this.#timer = setTimeout(() => this.flush(), restMs)
  }

  #commit(items: readonly Item[]): void {
    const values: unknown[] = []
    try {
      this.#deps.transaction(() => {
        for (const item of items) values.push(item.work())
      })
    } catch (error) {
      // One that fails must not take the others with it.
      if (items.length > 1) for (const item of items) this.#commit([item])
      else items[0]!.reject(error)
      return
    }
    for (const [i, item] of items.entries()) {
      try {
        item.written?.(values[i] as never)
      } catch (error) {
        item.reject(error)
        continue
      }
      if (this.#deps.sync) this.#committed.push({ item, value: values[i] })
      else item.resolve(values[i] as never)
    }
  }

  /** One sync at a time, for all that was committed before it began. Never rejects. */
  async #syncAll(): Promise<void> {
    this.#isSyncing = true
    while (this.#committed.length > 0) {
      const committed = this.#committed
      this.#committed = []
      try {
        await this.#deps.sync!()
        for (const { item, value } of committed) item.resolve(value as never)
      } catch (error) {
        for (const { item } of committed) item.reject(error)
      }
    }
    this.#isSyncing = false
  }
}
