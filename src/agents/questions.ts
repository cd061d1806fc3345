/** Questions of our own that wait for the answer of one peer. */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { ANSWER_TIMEOUT_MS, MAX_QUESTIONS } from './limits.ts'

interface Question {
  readonly peer: EntityId
  /** That the peer has it is all that was asked. */
  readonly orDelivery: boolean
  readonly resolve: (answer: unknown) => void
  readonly reject: (reason: unknown) => void
}

export class Questions implements Disposable {
  readonly #clock: Clock
  readonly #open = new Map<string, Question>()
  readonly #closed = new AbortController()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The answer to message `id`. @throws NO_ANSWER, QUEUE_FULL, or the signal's reason */
  async ask(id: string, peer: EntityId, orDelivery: boolean, signal?: AbortSignal): Promise<unknown> {
    if (this.#open.size >= MAX_QUESTIONS) throw new KithError('QUEUE_FULL', 'too many questions wait for an answer')
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#open.set(id, { peer, orDelivery, resolve, reject })
    const over = new AbortController()
    const end = AbortSignal.any([over.signal, this.#closed.signal])
    const onAbort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
    this.#clock.sleep(ANSWER_TIMEOUT_MS, end).then(
      () => reject(new KithError('NO_ANSWER', 'the peer did not answer in time')),
      () => reject(this.#closed.signal.reason)
    )
    try {
      return await promise
    } finally {
      over.abort()
      signal?.removeEventListener('abort', onAbort)
      this.#open.delete(id)
    }
  }
  give(id: string, peer: EntityId, answer: unknown): void {
    const question = this.#open.get(id)
    if (question?.peer === peer) question.resolve(answer)
  }
  fail(id: string, peer: EntityId, reason: unknown): void {
    const question = this.#open.get(id)
    if (question?.peer === peer) question.reject(reason)
  }
  delivered(id: string): void {
    const question = this.#open.get(id)
    if (question?.orDelivery) question.resolve(true)
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new KithError('TASKS_CLOSED', 'questions are not waited for any more'))
  }
}
