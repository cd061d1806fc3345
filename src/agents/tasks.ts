/**
 * Tasks between peers. `openTasks` joins the two roles of a node: what it gave (given.ts) and what it was given (received.ts), over one
 * store, one alarm for all deadlines, and one courier to the messenger. Nothing polls.
 */

import { utf8 } from '../base/bytes.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Emitter } from '../base/events.ts'
import { backoffMs } from '../base/retry.ts'
import { Alarm } from '../messaging/alarm.ts'
import type { EntityId, IncomingMessage } from '../messaging/types.ts'
import type { MessageType } from '../wire/message-types.ts'
import { parseJsonObject } from '../wire/strict-json.ts'
import { Board } from './board.ts'
import { Courier } from './courier.ts'
import { candidatesOf, checkDelegation, type EarlierFiles, prepareRequest } from './delegation.ts'
import type { TasksDeps, TasksOptions } from './deps.ts'
import { GivenTasks } from './given.ts'
import { MAX_CONCURRENCY, MAX_DEADLINE_MS, MAX_DESCRIPTION_CHARS, MAX_GIVEN, RETRY_FIRST_MS, RETRY_MAX_MS } from './limits.ts'
import { delegateBody, isSkillName, readRequest } from './payloads.ts'
import { ReceivedTasks } from './received.ts'
import { fixRequest } from './result-signature.ts'
import { isFinal } from './states.ts'
import type { TaskRow } from './store.ts'
import type { Delegation, Skill, SkillView, TaskError, TaskEvents, TaskFilter, Tasks, TaskView } from './types.ts'
import { Worker } from './worker.ts'

/** Tasks that are looked at when an alarm rings. */
const DUE_AT_ONCE = 256
/** Finished tasks between two clean-ups. */
const PRUNE_EVERY = 256
const LIST_DEFAULT = 100
const LIST_MOST = 1000

/** Opens tasks over a store; what an earlier process left goes on. Dispose it before messenger and store. @throws DISK_FULL, STORE_* */
export async function openTasks(deps: TasksDeps, options: TasksOptions = {}): Promise<Tasks> {
  const tasks = new TaskDesk(deps, options)
  tasks.resume()
  return tasks
}

class TaskDesk implements Tasks {
  readonly events: Emitter<TaskEvents>
  readonly #deps: TasksDeps
  readonly #board: Board
  readonly #courier: Courier
  readonly #given: GivenTasks
  readonly #received: ReceivedTasks
  readonly #alarm: Alarm
  readonly #closed = new AbortController()
  readonly #stack = new DisposableStack()
  readonly #running = new Set<Promise<unknown>>()
  #finished = 0
  #closing: Promise<void> | undefined

  constructor(deps: TasksDeps, options: TasksOptions) {
    this.#deps = deps
    this.#board = new Board(deps)
    this.events = this.#board.events
    const compose: ConstructorParameters<typeof Courier>[2] = async (owed, row) => {
      if (owed.type === 'task_result') {
        const body = await this.#received.compose(row)
        return body && { body, priority: row.priority }
      }
      const asked = this.#given.compose(owed, row)
      return asked && { body: delegateBody(asked), priority: asked.priority }
    }
    this.#courier = new Courier(deps, this.#board, compose, this.#closed.signal)
    this.#alarm = this.#stack.use(new Alarm(deps.clock, () => this.#ring()))
    const planned = (dueAt: number): void => this.#alarm.at(this.#board.monotonic(dueAt))
    this.#given = new GivenTasks(deps, this.#board, this.#courier, planned, options.rebalanceAfterMs)
    this.#received = new ReceivedTasks(deps, this.#board, this.#courier, new Worker(deps, this.#board, this.#courier), planned)
  }

  resume(): void {
    const { store, messenger } = this.#deps
    store.write(() => store.prune(this.#board.now()))
    this.#received.resume()
    this.#given.resume()
    this.#courier.resume()
    this.#listen()
    const handle = (type: MessageType, act: (message: IncomingMessage) => Promise<void>): void => {
      this.#stack.use(messenger.handle(type, message => this.#during(this.#whenRoom(() => act(message)))))
    }
    handle('task_delegate', m => this.#received.onDelegate(m))
    handle('task_cancel', m => this.#received.onCancel(m))
    handle('task_result', m => this.#given.onResult(m))
    handle('task_refuse', m => this.#given.onRefuse(m))
    handle('task_progress', async m => this.#given.onProgress(m))
    this.#setAlarm()
  }

  delegate(asked: Delegation, signal?: AbortSignal): Promise<TaskView> {
    return this.#during(this.#delegate(asked, signal))
  }
  async #delegate(asked: Delegation, signal?: AbortSignal): Promise<TaskView> {
    this.#closed.signal.throwIfAborted()
    checkDelegation(asked)
    const key = asked.idempotencyKey ?? this.#board.uuid()
    const path = [...this.#pathOf(asked.parent), this.#deps.messenger.self]
    const earlier = asked.idempotencyKey === undefined ? undefined : this.#deps.store.byIdempotencyKey('given', key)
    const request = await prepareRequest(this.#deps, asked, key, earlier && this.#filesOf(earlier), signal)
    const { text, hash } = fixRequest(request)
    const known = this.#known(key, hash)
    if (known) return known
    const candidates = await candidatesOf(this.#deps, asked, path, signal)
    this.#closed.signal.throwIfAborted()
    if (this.#given.unfinished >= MAX_GIVEN) throw new KithError('QUEUE_FULL', 'too many tasks were given and are not finished')
    const createdAt = this.#board.now()
    const id = this.#board.uuid()
    const files = request.inputFile ? [...request.files, request.inputFile] : request.files
    const again = this.#known(key, hash)
    // Before anybody hears of them.
    if (!again) for (const file of files) this.#deps.files?.belongs?.(file, `given:${id}`)
    const row =
      again ??
      this.#board.view(
        await this.#given.add(
          {
            ...{ id, skill: asked.skill, idempotencyKey: key, requestHash: hash, description: request.description },
            ...{ priority: asked.priority ?? 'normal', path, createdAt, deadline: createdAt + (asked.deadlineMs ?? MAX_DEADLINE_MS) },
            ...{ candidates, attemptMs: asked.attemptMs }
          },
          text
        )
      )
    return row
  }

  tasks({ role, state, peer, limit = LIST_DEFAULT }: TaskFilter = {}): TaskView[] {
    const rows = this.#deps.store.list({ role, state, peer, limit: Math.min(limit, LIST_MOST) })
    return rows.map(row => this.#board.view(row, false))
  }
  task(id: string): TaskView | undefined {
    const row = this.#find(id)
    return row && this.#board.view(row)
  }
  async cancel(id: string, reason = 'taken back'): Promise<boolean> {
    const row = this.#need(id)
    return this.#during(row.role === 'given' ? this.#given.cancel(row, reason) : this.#received.cancel(row, reason))
  }
  async wait(id: string, signal?: AbortSignal): Promise<TaskView> {
    return this.#board.finished(this.#need(id).key, this.#closed.signal, signal)
  }
  async fetchOutput(id: string, signal?: AbortSignal): Promise<string | undefined> {
    const { key, peer } = this.#need(id)
    const { outputFile } = this.#deps.store.outcome(key)
    if (!outputFile) return undefined
    if (!this.#deps.files) throw new KithError('FILE_UNAVAILABLE', 'this node cannot fetch files')
    return this.#deps.files.getFile(outputFile, signal, peer)
  }

  async serveSkill(skill: Skill): Promise<AsyncDisposable> {
    this.#closed.signal.throwIfAborted()
    const { name, description = '', concurrency = 1 } = skill
    const isNumber = Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= MAX_CONCURRENCY
    if (!isSkillName(name) || description.length > MAX_DESCRIPTION_CHARS || !isNumber)
      throw new KithError('BAD_TASK', 'a skill has a name of letters, digits and ._:/-, and runs 1 to 256 tasks at once')
    return this.#received.serve(skill)
  }
  skills(): SkillView[] {
    return this.#received.views()
  }
  retryNow(): void {
    this.#given.retryNow()
  }
  refusedBy(peer: EntityId, messageId: string, error: TaskError): Promise<boolean> {
    return this.#given.refusedBy(peer, messageId, error)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }
  async #close(): Promise<void> {
    this.#stack.dispose()
    this.#closed.abort(new KithError('TASKS_CLOSED', 'tasks are being closed'))
    await this.#received.close()
    await Promise.allSettled(this.#running)
    await this.#courier.drained()
  }

  /** Work that must have ended before the store may be closed. */
  async #during<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    try {
      return await work
    } finally {
      this.#running.delete(work)
    }
  }
  /** A message that cannot be acted on because the disk is full is acted on when there is room, or after a restart: it counts as done once its handler ends. */
  async #whenRoom(act: () => Promise<void>): Promise<void> {
    for (let failures = 0; ; failures++) {
      try {
        return await act()
      } catch (error) {
        if (!['DISK_FULL', 'DISK_FAILED'].includes(codeOf(error)) || this.#closed.signal.aborted) throw error
        const wait = backoffMs(failures, { firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS }, () => this.#board.chance())
        await this.#deps.clock.sleep(wait, this.#closed.signal).catch(() => {})
      }
    }
  }

  #listen(): void {
    const { messenger } = this.#deps
    const { signal } = this.#closed
    messenger.events.on('message:changed', ({ message }) => this.#given.onSent(message), signal)
    messenger.events.on('peer:connected', ({ entityId }) => this.#given.onConnected(entityId), signal)
    messenger.events.on(
      'peer:lost',
      ({ entityId: peer }) => {
        const tasks = this.#given.onLost(peer)
        if (tasks.length > 0) this.events.emit('worker:lost', { peer, tasks })
      },
      signal
    )
    this.events.on('task:changed', ({ task }) => {
      if (isFinal(task.state) && ++this.#finished % PRUNE_EVERY === 0) queueMicrotask(() => this.#prune())
    })
  }
  #prune(): void {
    const { store, log } = this.#deps
    if (this.#closed.signal.aborted) return
    try {
      store.write(() => store.prune(this.#board.now()))
    } catch (error) {
      log.warn('old tasks were not removed', { error })
    }
  }

  #ring(): void {
    try {
      for (const row of this.#deps.store.due(this.#board.now(), DUE_AT_ONCE)) {
        if (row.role === 'given') this.#given.onDue(row)
        else this.#received.onDue(row)
      }
      this.#setAlarm()
    } catch (error) {
      // A disk that is full: the next change of any task sets the alarm again.
      this.#deps.log.error('a deadline was not acted on', { error })
    }
  }
  /** For the first of all; `planned` sees to those that are new. */
  #setAlarm(): void {
    const next = this.#closed.signal.aborted ? undefined : this.#deps.store.nextDue()
    if (next !== undefined) this.#alarm.at(this.#board.monotonic(next))
  }

  /** @throws TASK_CONFLICT */
  #known(key: string, hash: string): TaskView | undefined {
    const row = this.#deps.store.byIdempotencyKey('given', key)
    if (row && row.requestHash !== hash) throw new KithError('TASK_CONFLICT', 'the idempotency key was used for something else')
    return row && this.#board.view(row)
  }
  #filesOf(row: TaskRow): EarlierFiles {
    return { files: readRequest(parseJsonObject(utf8(this.#deps.store.request(row.key)))).files, at: row.createdAt }
  }
  #pathOf(parent: string | undefined): readonly EntityId[] {
    if (parent === undefined) return []
    const row = this.#deps.store.find('received', parent)
    if (!row) throw new KithError('UNKNOWN_TASK', 'the task that this one is a part of is not known')
    return row.path
  }
  #find(id: string): TaskRow | undefined {
    return this.#deps.store.find('given', id) ?? this.#deps.store.find('received', id)
  }
  #need(id: string): TaskRow {
    const row = this.#find(id)
    if (!row) throw new KithError('UNKNOWN_TASK', 'no such task', { id: id.slice(0, 64) })
    return row
  }
}
