/**
 * Tasks that this node was given. Each is on disk before its message counts as acted on, runs when its skill has a free slot, and its
 * result is on disk before it is told. One idempotency key of one giver is one task: a second delegation hears of the first's result.
 */

import { hasCode, KithError, textOf, toldMessageOf } from '../base/errors.ts'
import type { EntityId, IncomingMessage } from '../messaging/types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { Admission } from './admission.ts'
import type { Board } from './board.ts'
import type { Courier } from './courier.ts'
import type { Failpoint, TasksDeps } from './deps.ts'
import { CLOSE_WAIT_MS, DEADLINE_SKEW_MS, MAX_DEADLINE_MS, MAX_ERROR_CHARS, MAX_PATH, MAX_RUNS } from './limits.ts'
import { readCancel, readDelegate, refuseBody, type TaskDelegate } from './payloads.ts'
import { fixRequest, signOutcome } from './result-signature.ts'
import { SkillSlots } from './skill-slots.ts'
import { type FinalState, isFinal, mayBecome } from './states.ts'
import type { Outcome, OwedMessage, TaskRow, TaskStore } from './store.ts'
import type { Skill, SkillView, TaskError } from './types.ts'
import type { Worker } from './worker.ts'

/** A result is offered to its giver for so long. */
const RESULT_KEPT_MS: number = MAX_DEADLINE_MS

type FixedRequest = ReturnType<typeof fixRequest>

export class ReceivedTasks {
  readonly #deps: TasksDeps
  readonly #store: TaskStore
  readonly #failpoint: Failpoint
  readonly #board: Board
  readonly #courier: Courier
  readonly #worker: Worker
  readonly #planned: (dueAt: number) => void
  readonly #admission: Admission
  readonly #skills = new Map<string, SkillSlots>()
  /** Skills that were served before and may be served again: tasks for them are taken, and wait. */
  readonly #remembered: Set<string>
  #isClosed = false

  constructor(deps: TasksDeps, board: Board, courier: Courier, worker: Worker, planned: (dueAt: number) => void) {
    this.#deps = deps
    this.#store = deps.store
    this.#failpoint = deps.failpoint ?? (() => {})
    this.#board = board
    this.#courier = courier
    this.#worker = worker
    this.#planned = planned
    this.#admission = new Admission(deps.mayDelegate, deps.clock)
    this.#remembered = new Set(deps.store.skills())
  }

  /** After a restart: what ran then waits again. */
  resume(): void {
    this.#store.write(() => {
      for (const row of this.#store.unfinished('received')) {
        this.#admission.count(row.peer, this.#bytesOf(row))
        if (row.state !== 'PENDING') this.#store.update(row.key, { state: 'PENDING' })
      }
    })
  }

  /** @throws SKILL_TAKEN */
  async serve(skill: Skill): Promise<AsyncDisposable> {
    if (this.#skills.has(skill.name)) throw new KithError('SKILL_TAKEN', `the skill ${skill.name} is served already`, { skill: skill.name })
    const slots = new SkillSlots(skill)
    this.#skills.set(skill.name, slots)
    this.#remembered.add(skill.name)
    this.#store.write(() => this.#store.rememberSkill(skill.name))
    const durable = this.#store.durable()
    for (const row of this.#store.unfinished('received')) if (row.skill === skill.name) this.#queue(slots, row)
    this.#fill(slots)
    await durable
    return { [Symbol.asyncDispose]: () => this.#unserve(slots) }
  }
  views(): SkillView[] {
    return [...this.#skills.values()].map(s => s.view())
  }

  /** Resolves when the task is on disk, or refused. @throws BAD_PAYLOAD, TOO_LARGE, NOT_AUTHORISED */
  async onDelegate(message: IncomingMessage): Promise<void> {
    const { from, id, body } = message
    const asked = readDelegate(body)
    // The first thing that is looked at: a stranger costs nothing that lasts (threats TA1).
    if (!this.#admission.isGranted(from, asked.skill))
      throw new KithError('NOT_AUTHORISED', 'no grant lets you delegate this skill', { skill: asked.skill })
    if (asked.path.at(-1) !== from) throw new KithError('BAD_PAYLOAD', 'path must end with the sender')
    if (this.#store.isBuried(from, id)) return
    const known = this.#store.byIdempotencyKey('received', asked.idempotencyKey, from) ?? this.#store.find('received', asked.taskId, from)
    const request = fixRequest(asked)
    await (known ? this.#again(known, asked, request, id) : this.#take(from, asked, request, id))
  }

  /** @throws BAD_PAYLOAD */
  async onCancel({ from, body }: IncomingMessage): Promise<void> {
    const { taskId, offer, reason } = readCancel(body)
    const row = this.#store.find('received', taskId, from)
    if (row && !isFinal(row.state) && (offer === undefined || row.offer === offer)) {
      await this.#finish(row, 'CANCELLED', { error: { code: 'CANCELLED', message: textOf(reason) } }, false)
    } else if (offer !== undefined && row?.offer !== offer && this.#mayGive(from)) {
      // It may have overtaken its task. Those who may give none write nothing here, and push out no cancellation of others (threats TA1).
      this.#store.write(() => this.#store.bury(from, offer, this.#board.now()))
      await this.#store.durable()
    }
  }

  #mayGive(from: EntityId): boolean {
    for (const skill of this.#remembered) if (this.#admission.isGranted(from, skill)) return true
    return false
  }

  /** Ends a task for the user of this node; its giver hears of it. @returns whether it was not finished yet */
  async cancel(row: TaskRow, reason: string): Promise<boolean> {
    if (isFinal(row.state)) return false
    await this.#finish(row, 'CANCELLED', { error: { code: 'CANCELLED', message: reason } }, true)
    return true
  }

  onDue(row: TaskRow): void {
    const error = { code: 'EXPIRED', message: 'the deadline has passed' }
    this.#courier.track(this.#finish(row, 'FAILED', { error }, true))
  }

  /** The payload of a task_result. */
  async compose(row: TaskRow): Promise<JsonObject | undefined> {
    const { state } = row
    if (state !== 'COMPLETED' && state !== 'FAILED' && state !== 'CANCELLED') return undefined
    const { output, outputFile, error } = this.#store.outcome(row.key)
    const { id: taskId, peer: giver, skill, finishedAt = 0 } = row
    const outcome = { taskId, giver, worker: this.#deps.messenger.self, skill, requestHash: row.requestHash, state }
    return signOutcome({ ...outcome, output, outputFile, error, finishedAt }, this.#deps.sign)
  }

  /** Ends what runs; it waits on disk for the next start. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#skills.values()].map(s => this.#stop(s)))
  }

  /** The same key, or the same task, once more. */
  async #again(row: TaskRow, asked: TaskDelegate, request: FixedRequest, offer: string): Promise<void> {
    const sameId = this.#store.find('received', asked.taskId, row.peer) ?? row
    if (row.requestHash !== request.hash || sameId.key !== row.key || row.idempotencyKey !== asked.idempotencyKey)
      return this.#refuse(row.peer, asked, { code: 'TASK_CONFLICT', message: 'the id or the idempotency key was used for something else' })
    if (row.state === 'CANCELLED' || row.state === 'REFUSED') {
      // It never came to an end, and its giver wants it after all.
      this.#store.write(() => this.#store.remove(row.key))
      return this.#take(row.peer, asked, request, offer)
    }
    this.#store.write(() => this.#store.update(row.key, { id: asked.taskId, offer }))
    await this.#store.durable()
    const fresh = this.#store.get(row.key)
    if (!fresh || !isFinal(fresh.state)) return
    const body = await this.compose(fresh)
    if (body) await this.#say(row.peer, 'task_result', body, RESULT_KEPT_MS)
  }

  async #take(from: EntityId, asked: TaskDelegate, { text, hash }: FixedRequest, offer: string): Promise<void> {
    const bytes = text.length
    const refusal = this.#refusal(from, asked) ?? this.#admission.refusal(from, asked.skill, bytes)
    if (refusal) return this.#refuse(from, asked, refusal)
    const now = this.#board.now()
    const slots = this.#skills.get(asked.skill)
    const isStarted = slots !== undefined && slots.queue.size === 0 && this.#hasRoom(slots, from)
    const row = this.#store.write(() =>
      this.#store.insert(
        {
          ...{ role: 'received', id: asked.taskId, peer: from, skill: asked.skill, description: asked.description, requestHash: hash },
          ...{ idempotencyKey: asked.idempotencyKey, priority: asked.priority, path: asked.path, candidates: [], attemptMs: undefined },
          ...{ state: isStarted ? 'IN_PROGRESS' : 'PENDING', attempts: isStarted ? 1 : 0, createdAt: now, deadline: asked.deadline, offer },
          dueAt: Math.min(asked.deadline, now + MAX_DEADLINE_MS) + DEADLINE_SKEW_MS
        },
        text
      )
    )
    this.#admission.count(from, bytes)
    this.#board.changed(row)
    this.#planned(row.dueAt)
    // It runs while the disk still writes: a power cut in between leaves the message, which is acted on again.
    if (isStarted) this.#run(slots, row)
    else if (slots) {
      this.#enqueue(slots, row)
      this.#fill(slots) // those who wait may be held back by their own limits
    }
    await this.#store.durable()
    this.#failpoint('task:taken')
  }

  #refusal(from: EntityId, asked: TaskDelegate): TaskError | undefined {
    const { self } = this.#deps.messenger
    if (!this.#skills.has(asked.skill) && !this.#remembered.has(asked.skill))
      return { code: 'NO_SKILL', message: 'this node does not serve the skill' }
    if (asked.path.includes(self) || new Set(asked.path).size < asked.path.length || asked.path.length >= MAX_PATH)
      return { code: 'TASK_LOOP', message: 'the task has been here before, or was passed on too often' }
    if (asked.deadline + DEADLINE_SKEW_MS <= this.#board.now()) return { code: 'EXPIRED', message: 'the deadline has passed' }
    if (from === self) return { code: 'TASK_LOOP', message: 'the giver is this node' }
    return undefined
  }
  #refuse(to: EntityId, { taskId }: TaskDelegate, error: TaskError): Promise<void> {
    return this.#say(to, 'task_refuse', refuseBody(taskId, error), DEADLINE_SKEW_MS)
  }
  /** From within a handler, which is run again after a crash. */
  async #say(to: EntityId, type: 'task_refuse' | 'task_result', body: JsonObject, ttlMs: number): Promise<void> {
    try {
      await this.#deps.messenger.send({ to, type, body, ttlMs })
    } catch (error) {
      // A peer that does not fetch its answers has no right to more of them.
      if (!hasCode(error, 'QUEUE_FULL')) throw error
      this.#deps.log.debug('an answer about a task was dropped', { type })
    }
  }

  #hasRoom(slots: SkillSlots, peer: EntityId): boolean {
    return !this.#isClosed && !slots.isFull && slots.runningFor(peer) < this.#admission.concurrent(peer, slots.skill.name)
  }
  #enqueue(slots: SkillSlots, { key, peer, priority, createdAt }: TaskRow): void {
    slots.queue.push({ key, peer, priority, since: createdAt })
  }
  /** A task that is left from before. */
  #queue(slots: SkillSlots, row: TaskRow): void {
    const mayRun = row.attempts === 0 || (slots.skill.afterCrash !== 'fail' && row.attempts < MAX_RUNS)
    const error = { code: 'INTERRUPTED', message: 'the worker stopped in the middle of the task' }
    if (mayRun) this.#enqueue(slots, row)
    else this.#courier.track(this.#finish(row, 'FAILED', { error }, true))
  }

  /** Starts what may start. */
  #fill(slots: SkillSlots): void {
    while (!this.#isClosed && this.#skills.get(slots.skill.name) === slots) {
      const next = slots.isFull ? undefined : slots.queue.take(peer => this.#hasRoom(slots, peer))
      const row = next && this.#store.get(next.key)
      if (!next) return
      if (!row || isFinal(row.state)) continue
      if (!this.#admission.isGranted(row.peer, row.skill)) this.#courier.track(this.#revoked(row))
      else {
        const started = { state: 'IN_PROGRESS', attempts: row.attempts + 1 } as const
        this.#store.write(() => this.#store.update(row.key, started))
        this.#board.changed({ ...row, ...started })
        this.#run(slots, { ...row, ...started })
      }
    }
  }
  /** Its grant was taken back while it waited. */
  async #revoked(row: TaskRow): Promise<void> {
    const error = { code: 'NOT_AUTHORISED', message: 'the grant was taken back' }
    await this.#finish(row, 'REFUSED', { error }, false)
    await this.#deps.messenger.send({ to: row.peer, type: 'task_refuse', body: refuseBody(row.id, error) })
  }

  #run(slots: SkillSlots, row: TaskRow): void {
    this.#failpoint('task:started')
    const stop = new AbortController()
    const ended = this.#outcomeOf(slots, row, stop.signal).then(async end => {
      slots.running.delete(row.key)
      this.#fill(slots)
      this.#failpoint('task:run')
      const fresh = this.#store.get(row.key)
      if (end && fresh && !isFinal(fresh.state)) await this.#finish(fresh, end.state, end.outcome, true)
    })
    slots.running.set(row.key, { peer: row.peer, stop, ended })
    // Not waited for by `drained`: a skill that does not end must not keep the node from closing.
    ended.catch(error => this.#deps.log.error('a task was not ended', { error }))
  }
  /** undefined: it was stopped, and somebody else says what becomes of it. */
  async #outcomeOf(slots: SkillSlots, row: TaskRow, signal: AbortSignal): Promise<{ state: FinalState; outcome: Outcome } | undefined> {
    try {
      const outcome = await this.#worker.run(slots.skill, row, signal)
      return signal.aborted ? undefined : { state: 'COMPLETED', outcome }
    } catch (error) {
      if (signal.aborted) return undefined
      // What is not a KithError is a mistake of the skill: its text may tell more about this machine than the giver should know.
      if (!(error instanceof KithError)) {
        this.#deps.log.warn('a skill failed', { skill: row.skill, error })
        return { state: 'FAILED', outcome: { error: { code: 'TASK_FAILED', message: 'the skill failed' } } }
      }
      // What a program complained of is for the giver, as it is; other errors may name files of ours.
      const told = error.code === 'PROGRAM_FAILED' ? error.message : toldMessageOf(error)
      return { state: 'FAILED', outcome: { error: { code: error.code, message: printable(told).slice(-MAX_ERROR_CHARS) } } }
    }
  }

  /** Ends a task for good. Its run, if there is one, is told to stop. */
  async #finish(row: TaskRow, state: FinalState, outcome: Outcome, isTold: boolean): Promise<void> {
    const finishedAt = this.#board.now()
    const done = this.#store.write(() => {
      const fresh = this.#store.get(row.key)
      if (!fresh || !mayBecome(fresh.state, state)) return undefined
      this.#store.update(row.key, { state, outcome, finishedAt })
      const base = { message: this.#board.uuid(), to: row.peer, type: 'task_result', task: row.key, body: '' } as const
      const owed: OwedMessage | undefined = isTold ? { ...base, until: finishedAt + RESULT_KEPT_MS } : undefined
      if (owed) this.#store.owe(owed)
      return { row: { ...fresh, state, finishedAt }, owed }
    })
    if (!done) return
    this.#admission.discount(row.peer, this.#bytesOf(row))
    const slots = this.#skills.get(row.skill)
    slots?.queue.remove(row.peer, row.key)
    slots?.running.get(row.key)?.stop.abort(new KithError('CANCELLED', outcome.error?.message ?? 'over', { state }))
    this.#board.changed(done.row)
    await this.#store.durable()
    this.#failpoint('task:finished')
    if (done.owed) this.#courier.post(done.owed)
  }

  async #unserve(slots: SkillSlots): Promise<void> {
    const { name } = slots.skill
    if (this.#skills.get(name) !== slots) return
    if (!this.#isClosed) {
      this.#skills.delete(name)
      this.#remembered.delete(name)
      this.#store.write(() => this.#store.forgetSkill(name))
    }
    await this.#stop(slots)
  }
  /** Tasks that run go back to the queue; this does not count as one of their runs. */
  async #stop(slots: SkillSlots): Promise<void> {
    const running = [...slots.running]
    this.#store.write(() => {
      for (const [key] of running) {
        const row = this.#store.get(key)
        if (row?.state === 'IN_PROGRESS') this.#store.update(key, { state: 'PENDING', attempts: row.attempts - 1 })
      }
    })
    for (const [key, { stop }] of running) {
      stop.abort(new KithError('TASKS_CLOSED', 'the skill is not served any more'))
      const row = this.#store.get(key)
      if (row) this.#board.changed(row)
    }
    const patience = new AbortController()
    const late = this.#deps.clock.sleep(CLOSE_WAIT_MS, patience.signal).catch(() => {})
    await Promise.race([Promise.all(running.map(([, r]) => r.ended.catch(() => {}))), late])
    patience.abort()
  }

  #bytesOf(row: TaskRow): number {
    return this.#store.request(row.key).length
  }
}

/** Text of a program for a screen: control characters are shown as such, line breaks and tabs stay. */
const printable = (text: string): string =>
  text.replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, c => `\\u${c.codePointAt(0)!.toString(16).padStart(4, '0')}`)
