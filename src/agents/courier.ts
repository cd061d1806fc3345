/**
 * Hands messages about tasks to the messenger. What must arrive is noted in the transaction that makes it necessary, and crossed out when
 * the messenger has it on its own disk; after a crash it is handed over again under the same id, which the messenger takes as one.
 */

import { codeOf } from '../base/errors.ts'
import { backoffMs } from '../base/retry.ts'
import type { EntityId } from '../messaging/types.ts'
import type { MessageType, Priority } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import type { Board } from './board.ts'
import type { TasksDeps } from './deps.ts'
import { RETRY_FIRST_MS, RETRY_MAX_MS } from './limits.ts'
import type { OwedMessage, TaskRow } from './store.ts'

/** Makes the body of what carries a request or an outcome. undefined: it has become pointless. */
export type Compose = (owed: OwedMessage, row: TaskRow) => Promise<{ readonly body: JsonObject; readonly priority?: Priority } | undefined>

/** These pass when there is room again; with others a message would never be taken. */
const LATER: ReadonlySet<string> = new Set(['QUEUE_FULL', 'DISK_FULL', 'DISK_FAILED', 'STORE_READ_ONLY'])

/** Messages are crossed out together: so many, or after so long. */
const SETTLE_AT_ONCE = 64
const SETTLE_AFTER_MS = 500

export class Courier {
  readonly #deps: TasksDeps
  readonly #board: Board
  readonly #compose: Compose
  readonly #closed: AbortSignal
  readonly #busy = new Set<Promise<void>>()
  readonly #settled: string[] = []

  constructor(deps: TasksDeps, board: Board, compose: Compose, closed: AbortSignal) {
    this.#deps = deps
    this.#board = board
    this.#compose = compose
    this.#closed = closed
  }

  /** What an earlier process did not get to; offers are the giver's matter. */
  resume(): void {
    for (const owed of this.#deps.store.owed()) if (owed.type !== 'task_delegate') this.post(owed)
  }

  /** Hands over what was noted; tried again until it is taken, or pointless. Never throws. */
  post(owed: OwedMessage): void {
    this.track(this.#untilTaken(owed))
  }

  /** Work that `drained` waits for. */
  track(work: Promise<void>): void {
    const ended = work.catch(error => this.#deps.log.error('a step of a task failed', { error }))
    this.#busy.add(ended)
    void ended.then(() => this.#busy.delete(ended))
  }

  /** Hands it over once. @throws what the messenger throws */
  async hand(owed: OwedMessage): Promise<void> {
    const { store, messenger } = this.#deps
    const { message: id, to, type, until } = owed
    const row = owed.task === undefined ? undefined : store.get(owed.task)
    const ttlMs = until - this.#board.now()
    const made = owed.task === undefined ? { body: JSON.parse(owed.body) as JsonObject } : row && (await this.#compose(owed, row))
    if (made && ttlMs > 0) await messenger.send({ id, to, type, ttlMs, ...made })
    if (type === 'task_result') this.#deps.failpoint?.('task:told')
    this.settle(id)
  }

  /** Crosses a message out. This may wait: one that is handed over twice is one. */
  settle(message: string): void {
    this.#settled.push(message)
    if (this.#settled.length >= SETTLE_AT_ONCE) this.#writeSettled()
    else if (this.#settled.length === 1)
      this.#deps.clock.sleep(SETTLE_AFTER_MS, this.#closed).then(
        () => this.#writeSettled(),
        () => {}
      )
  }

  /** For what is worth nothing later. */
  tell(to: EntityId, type: MessageType, body: JsonObject): void {
    const work = this.#deps.messenger.sendNow({ to, type, body })
    this.track(work.then(() => {}).catch(error => this.#deps.log.debug('news of a task were not sent', { error })))
  }

  async drained(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy)
    this.#writeSettled()
  }

  #writeSettled(): void {
    const { store, log } = this.#deps
    const messages = this.#settled.splice(0)
    if (messages.length === 0) return
    try {
      store.write(() => {
        for (const message of messages) store.settle(message)
      })
    } catch (error) {
      log.warn('messages that were sent were not crossed out', { error })
    }
  }

  async #untilTaken(owed: OwedMessage): Promise<void> {
    const { clock, log } = this.#deps
    for (let failures = 0; !this.#closed.aborted; failures++) {
      try {
        return await this.hand(owed)
      } catch (error) {
        if (this.#closed.aborted) return
        if (!LATER.has(codeOf(error))) {
          log.warn('a message about a task cannot be sent', { type: owed.type, error })
          this.settle(owed.message)
          return
        }
        const wait = backoffMs(failures, { firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS }, () => this.#board.chance())
        await clock.sleep(wait, this.#closed).catch(() => {})
      }
    }
  }
}
