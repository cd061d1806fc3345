/**
 * Acting on what was received. A message is offered when it is durable, and marked as done when its handler has resolved: after a crash in
 * between it is offered again. Handlers of one type begin in the order in which messages came, several at once; what does not fit in memory
 * is read again from disk.
 */
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { MessageType } from '../wire/message-types.ts'
import type { Failpoint } from './failpoints.ts'
import { HANDLER_QUEUE, HANDLERS_AT_ONCE } from './limits.ts'
import type { MessageStore, ReceivedRow } from './store.ts'
import type { MessageHandler } from './types.ts'

export interface HandlersDeps {
  readonly log: Logger
  readonly store: MessageStore
  readonly failpoint: Failpoint
  /** Makes an `error` message to the sender; called inside the transaction that marks the message as done. @returns what is to be done when that is durable */
  readonly answerError: (message: ReceivedRow, code: string, text: string) => () => void
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
  /** Rows whose mark could not be written, on a full disk say: the next that can be takes them along. */
  #unmarked: number[] = []
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
    const entry = this.#entries.get(row.type)
    if (!entry) return
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
      entry.queue = this.#deps.store.undone(type, entry.readTo, HANDLER_QUEUE)
      entry.hasMore = entry.queue.length === HANDLER_QUEUE
      entry.readTo = entry.queue.at(-1)?.seq ?? entry.readTo
    } catch (cause) {
      entry.hasMore = false
      this.#deps.log.error('received messages could not be read', { type, cause })
    }
  }

  /** Never rejects. A message whose mark could not be written before the process ends is acted on again after a restart. */
  async #act(handler: MessageHandler, row: ReceivedRow): Promise<void> {
    const { store, failpoint, log } = this.#deps
    let failure: { readonly code: string; readonly text: string } | undefined
    failpoint('handler:before')
    try {
      await handler(row)
    } catch (cause) {
      failure = failureOf(cause)
      log.warn('the handler of a message failed', { type: row.type, code: codeOf(cause), cause })
    }
    failpoint('handler:resolved')
    const late = this.#unmarked.splice(0)
    try {
      const then = await store.commit(() => {
        failpoint('done:in-transaction')
        for (const seq of late) store.setDone(seq)
        store.setDone(row.seq)
        return failure && row.type !== 'error' ? this.#deps.answerError(row, failure.code, failure.text) : undefined
      })
      failpoint(then ? 'error:committed' : 'done:committed')
      then?.()
    } catch (cause) {
      // Its sender has not been told of a failure: then it is acted on again.
      this.#unmarked.push(...late, ...(failure ? [] : [row.seq]))
      log.error('a message could not be marked as done', { type: row.type, cause })
    }
  }
}

/** What the sender may know: our own errors say something to it, others tell about this program. */
function failureOf(cause: unknown): { readonly code: string; readonly text: string } {
  return cause instanceof KithError
    ? { code: cause.code, text: textOf(cause) }
    : { code: 'INTERNAL', text: 'the message could not be handled' }
}
