/**
 * Acting on what was received. A message is offered when it is durable, and marked as done when its handler has resolved: after a crash in
 * between it is offered again. Handlers of one type begin in the order in which messages came, several at once; what does not fit in memory
 * is read again from disk.
 */
import { codeOf, KithError, toldTextOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { MessageType } from '../../wire/message-types.ts'
import type { Failpoint } from '../failpoints.ts'
import { HANDLER_QUEUE, HANDLERS_AT_ONCE } from '../limits.ts'
import type { MessageStore, ReceivedRow } from '../store.ts'
import type { MessageHandler } from '../types.ts'

export interface HandlersDeps {
  readonly log: Logger
  readonly store: MessageStore
  readonly failpoint: Failpoint
  /** Makes an `error` message to the sender; called inside the transaction that marks the message as done. @returns what is to be done when that is durable */
  readonly answerError: (message: ReceivedRow, code: string, text: string) => () => void
}

/** Rows that are done and not marked, at most, before handlers wait. */
const MAX_UNMARKED = 4096

interface Failure {
  readonly code: string
  readonly text: string
}

interface Entry {
  readonly handler: MessageHandler
  queue: ReceivedRow[]
  running: number
  /** seq of the last message that was in memory; those behind it are on disk only. */
  readTo: number
  hasMore: boolean
}

export class Handlers {
  readonly #deps: HandlersDeps
  readonly #entries = new Map<MessageType, Entry>()
  readonly #tasks = new Set<Promise<void>>()
  /** Rows that are done and not marked: the next transaction takes them all along. On a full disk they wait for the next that can be written. */
  #unmarked: number[] = []
  /** seq of the last message that is known to be durable: others can be read already, and could be lost after they were acted on. */
  #durableTo = Number.POSITIVE_INFINITY
  #marking: Promise<void> | undefined
  #isClosed = false

  constructor(deps: HandlersDeps) {
    this.#deps = deps
  }

  /** One handler for each type. What is on disk and not done is offered to it at once. */
  set(type: MessageType, handler: MessageHandler): Disposable {
    if (this.#entries.has(type)) throw new KithError('HANDLER_EXISTS', 'the type has a handler already', { type })
    const entry: Entry = { handler, queue: [], running: 0, readTo: 0, hasMore: true }
    this.#entries.set(type, entry)
    queueMicrotask(() => this.#run(entry, type))
    return {
      [Symbol.dispose]: () => {
        if (this.#entries.get(type) === entry) this.#entries.delete(type)
      }
    }
  }

  /** A message that has just become durable, in the order of `seq`. */
  offer(row: ReceivedRow): void {
    this.#durableTo = row.seq
    const entry = this.#entries.get(row.type)
    // It may have been read from disk meanwhile.
    if (!entry || row.seq <= entry.readTo) return
    if (entry.hasMore || entry.queue.length >= HANDLER_QUEUE) entry.hasMore = true
    else {
      entry.queue.push(row)
      entry.readTo = row.seq
    }
    this.#run(entry, row.type)
  }

  /** Waits for handlers that run; begins no more. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#tasks)
    while (this.#marking) await this.#marking
  }

  #run(entry: Entry, type: MessageType): void {
    while (!this.#isClosed && entry.running < HANDLERS_AT_ONCE && this.#entries.get(type) === entry) {
      if (entry.queue.length === 0 && entry.hasMore) this.#read(entry, type)
      const row = entry.queue.shift()
      if (!row) return
      entry.running++
      const task = this.#act(entry.handler, row).finally(() => {
        this.#tasks.delete(task)
        entry.running--
        this.#run(entry, type)
      })
      this.#tasks.add(task)
    }
  }

  #read(entry: Entry, type: MessageType): void {
    try {
      const all = this.#deps.store.undone(type, entry.readTo, HANDLER_QUEUE)
      const found = all.filter(row => row.seq <= this.#durableTo)
      entry.hasMore = all.length === HANDLER_QUEUE
      entry.readTo = found.at(-1)?.seq ?? entry.readTo
      entry.queue = found.filter(row => !this.#unmarked.includes(row.seq))
    } catch (cause) {
      entry.hasMore = false
      this.#deps.log.error('received messages could not be read', { type, cause })
    }
  }

  /** Never rejects. A message whose mark could not be written before the process ends is acted on again after a restart. */
  async #act(handler: MessageHandler, row: ReceivedRow): Promise<void> {
    const { failpoint, log } = this.#deps
    let failure: Failure | undefined
    failpoint('handler:before')
    try {
      await handler(row)
    } catch (cause) {
      failure = failureOf(cause)
      log.warn('the handler of a message failed', { type: row.type, code: codeOf(cause), cause })
    }
    failpoint('handler:resolved')
    if (failure && row.type !== 'error') return this.#answer(row, failure)
    this.#unmarked.push(row.seq)
    this.#markSoon()
    // Who waits for the disk takes no more.
    if (this.#unmarked.length >= MAX_UNMARKED) await this.#marking
  }

  /** One transaction for all that are done by then. */
  #markSoon(): void {
    this.#marking ??= this.#mark().then(hasMarked => {
      this.#marking = undefined
      // Those that came while it was written.
      if (hasMarked && this.#unmarked.length > 0) this.#markSoon()
    })
  }
  /** Never rejects. */
  async #mark(): Promise<boolean> {
    const { store, failpoint, log } = this.#deps
    let marks: number[] = []
    try {
      await store.commitLater(() => {
        failpoint('done:in-transaction')
        marks = [...marks, ...this.#unmarked.splice(0)]
        for (const seq of marks) store.setDone(seq)
      })
      failpoint('done:committed')
      return true
    } catch (cause) {
      this.#unmarked.push(...marks)
      log.error('messages could not be marked as done', { cause })
      return false
    }
  }

  /** Its sender is told of a failure in the transaction that marks it; when that fails it is acted on again after a restart. Never rejects. */
  async #answer(row: ReceivedRow, failure: Failure): Promise<void> {
    const { store, failpoint, log } = this.#deps
    try {
      const then = await store.commit(() => {
        failpoint('done:in-transaction')
        store.setDone(row.seq)
        return this.#deps.answerError(row, failure.code, failure.text)
      })
      failpoint('error:committed')
      then()
    } catch (cause) {
      log.error('a message could not be marked as done', { type: row.type, cause })
    }
  }
}

/** What the sender may know: our own errors say something to it, others tell about this program. */
function failureOf(cause: unknown): Failure {
  return cause instanceof KithError
    ? { code: cause.code, text: toldTextOf(cause) }
    : { code: 'INTERNAL', text: 'the message could not be handled' }
}
