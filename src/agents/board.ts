/** What both sides of tasks share: their steady clock, their ids, views, and who is told of changes. */

import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { TasksDeps } from './deps.ts'
import { isFinal } from './states.ts'
import type { TaskRow, TaskStore } from './store.ts'
import type { TaskEvents, TaskView } from './types.ts'

interface Live {
  readonly progress: number
  readonly note: string
}

export class Board {
  readonly events: Emitter<TaskEvents>
  readonly #store: TaskStore
  readonly #clock: TasksDeps['clock']
  readonly #random: TasksDeps['random']
  readonly #epoch: number
  /** Progress is news: it is kept in memory, and on disk when the task changes its state. */
  readonly #live = new Map<number, Live>()
  readonly #waiting = new Map<number, Set<() => void>>()

  constructor({ store, clock, random, log }: TasksDeps) {
    this.#store = store
    this.#clock = clock
    this.#random = random
    this.#epoch = clock.now() - clock.monotonic()
    this.events = new Emitter(error => log.warn('a listener to tasks failed', { error }))
  }

  /** The wall clock as it was at the start, going on evenly: a clock that is set does not make every deadline pass (threats ST3). */
  now(): number {
    return Math.round(this.#epoch + this.#clock.monotonic())
  }
  /** The same moment for timers. */
  monotonic(at: number): number {
    return at - this.#epoch
  }

  uuid(): string {
    const b = this.#random(16)
    b[6] = (b[6]! & 0x0f) | 0x40
    b[8] = (b[8]! & 0x3f) | 0x80
    const hex = Array.from(b, x => x.toString(16).padStart(2, '0')).join('')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }
  /** 0 up to 1. */
  chance(): number {
    const [a = 0, b = 0] = this.#random(2)
    return (a * 256 + b) / 65_536
  }

  /** Progress of a task that runs. */
  live(key: number): Live | undefined {
    return this.#live.get(key)
  }
  setLive(key: number, live: Live): void {
    this.#live.set(key, live)
  }
  forget(key: number): void {
    this.#live.delete(key)
  }

  view(row: TaskRow, withOutput = true): TaskView {
    const live = this.#live.get(row.key) ?? row
    const { output, outputFile, error } = isFinal(row.state) ? this.#store.outcome(row.key) : {}
    return {
      id: row.id,
      role: row.role,
      peer: row.peer,
      skill: row.skill,
      description: row.description,
      priority: row.priority,
      state: row.state,
      progress: row.state === 'COMPLETED' ? 1 : live.progress,
      note: live.note,
      createdAt: row.createdAt,
      deadline: row.deadline,
      finishedAt: row.finishedAt,
      ...(withOutput && output !== undefined ? { output } : {}),
      ...(outputFile ? { outputFile } : {}),
      ...(error ? { error } : {}),
      attempts: row.attempts,
      idempotencyKey: row.idempotencyKey,
      ...(row.role === 'given' ? { candidates: row.candidates } : {})
    }
  }

  /** Tells listeners, and whoever waits for the end. */
  changed(row: TaskRow): void {
    if (isFinal(row.state)) this.#live.delete(row.key)
    this.events.emit('task:changed', { task: this.view(row) })
    if (!isFinal(row.state)) return
    for (const wake of this.#waiting.get(row.key) ?? []) wake()
  }

  /** @throws UNKNOWN_TASK, TASKS_CLOSED, or the signal's reason */
  async finished(key: number, closed: AbortSignal, signal?: AbortSignal): Promise<TaskView> {
    const end = signal ? AbortSignal.any([closed, signal]) : closed
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = (): void => reject(end.reason)
    const wakers = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, wakers.add(resolve))
    end.addEventListener('abort', onAbort, { once: true })
    try {
      end.throwIfAborted()
      const row = this.#store.get(key)
      if (row && !isFinal(row.state)) await promise
      const done = this.#store.get(key)
      if (!done) throw new KithError('UNKNOWN_TASK', 'the task is not known any more')
      return this.view(done)
    } finally {
      end.removeEventListener('abort', onAbort)
      wakers.delete(resolve)
      if (wakers.size === 0) this.#waiting.delete(key)
    }
  }
}
