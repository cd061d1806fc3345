/**
 * Tasks that this node gave. One candidate at a time has it; the next is asked when that one refuses, cannot be reached, is lost or too
 * slow, always under the same idempotency key. The first result of anybody who was asked counts.
 */
import { utf8 } from '../base/bytes.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import { backoffMs } from '../base/retry.ts'
import type { EntityId, IncomingMessage, Messenger, SentMessage } from '../messaging/types.ts'
import { parseJsonObject } from '../wire/strict-json.ts'
import type { Board } from './board.ts'
import type { Courier } from './courier.ts'
import type { Failpoint, TasksDeps } from './deps.ts'
import { MAX_NOTE_CHARS, MAX_OFFERS, REBALANCE_AFTER_MS, RETRY_FIRST_MS, RETRY_MAX_MS } from './limits.ts'
import { cancelBody, readOutcome, readProgress, readRefuse, readRequest, type TaskDelegate } from './payloads.ts'
import { checkOutcome } from './result-signature.ts'
import { type FinalState, isFinal, mayBecome } from './states.ts'
import type { NewTask, Offer, Outcome, OwedMessage, TaskRow, TaskStore } from './store.ts'
import type { TaskError } from './types.ts'

/** These say that the worker could not, not that the task cannot be done. */
const BUSY: ReadonlySet<string> = new Set(['QUEUE_FULL', 'RATE_LIMITED'])
/** So do these; but that worker is not asked again. */
const TRY_NEXT: ReadonlySet<string> = new Set([
  'INTERRUPTED',
  'FILE_UNAVAILABLE',
  'CANCELLED',
  'PROGRAM_MISSING',
  'DISK_FULL',
  'DISK_FAILED'
])
/** A task_cancel is kept for a worker that is away for so long after the deadline. */
const CANCEL_KEPT_MS = 24 * 60 * 60 * 1000

/** What follows from a write. */
interface Step {
  readonly row: TaskRow
  /** To be handed over. */
  readonly offer?: OwedMessage
  /** Offers that are taken back, each with the task_cancel for it. */
  readonly left?: readonly { readonly message: string; readonly owed: OwedMessage }[]
}

export class GivenTasks {
  readonly #store: TaskStore
  readonly #messenger: Messenger
  readonly #failpoint: Failpoint
  readonly #board: Board
  readonly #courier: Courier
  readonly #rebalanceAfterMs: number
  /** Asks for an alarm. */
  readonly #planned: (dueAt: number) => void
  #unfinished = 0

  constructor(
    deps: TasksDeps,
    board: Board,
    courier: Courier,
    planned: (dueAt: number) => void,
    rebalanceAfterMs: number = REBALANCE_AFTER_MS
  ) {
    this.#store = deps.store
    this.#messenger = deps.messenger
    this.#failpoint = deps.failpoint ?? (() => {})
    this.#board = board
    this.#courier = courier
    this.#planned = planned
    this.#rebalanceAfterMs = rebalanceAfterMs
  }

  get unfinished(): number {
    return this.#unfinished
  }

  /** After a restart: what was not handed over, and what became of what was. */
  resume(): void {
    const rows = this.#store.unfinished('given')
    this.#unfinished = rows.length
    for (const owed of this.#store.owed()) if (owed.type === 'task_delegate') this.#courier.track(this.#hand(owed))
    for (const { offer } of rows) {
      const sent = offer === undefined ? undefined : this.#messenger.sent(offer)
      if (sent) this.onSent(sent)
    }
  }

  /** @returns the task, on disk and with the messenger */
  async add(task: Omit<NewTask, 'role' | 'state' | 'attempts' | 'offer' | 'peer' | 'dueAt'>, request: string): Promise<TaskRow> {
    const step = this.#store.write((): Step => {
      const at = { peer: task.candidates[0]!, dueAt: task.deadline, attempts: 0, offer: undefined }
      return this.#offer(this.#store.insert({ ...task, ...at, role: 'given', state: 'PENDING' }, request), task.candidates[0]!)
    })
    this.#unfinished++
    this.#failpoint('task:given')
    this.#board.changed(step.row)
    this.#planned(step.row.dueAt)
    await Promise.all([this.#store.durable(), this.#hand(step.offer!)])
    this.#failpoint('task:offered')
    return this.#store.get(step.row.key) ?? step.row
  }

  /** The body of a task_delegate. */
  compose(owed: OwedMessage, row: TaskRow): TaskDelegate | undefined {
    if (isFinal(row.state) || row.offer !== owed.message) return undefined
    const request = readRequest(parseJsonObject(utf8(this.#store.request(row.key))))
    return { ...request, taskId: row.id, priority: row.priority, deadline: row.deadline, path: row.path }
  }

  /** News of a message of ours. */
  onSent({ id, type, state, reason }: SentMessage): void {
    if (type !== 'task_delegate' || (state !== 'delivered' && state !== 'failed')) return
    const row = this.#offered(id)
    if (!row) return
    if (state === 'failed') this.#fails(row, id, { code: reason?.code ?? 'EXPIRED', message: reason?.message ?? 'not delivered' })
    else if (row.state === 'PENDING') this.#change(row, { state: 'ASSIGNED' })
  }

  /** @throws UNKNOWN_TASK, BAD_PAYLOAD */
  onProgress({ from, body }: IncomingMessage): void {
    const { taskId, state, progress, note } = readProgress(body)
    const { row, offers } = this.#asked(taskId, from)
    if (isFinal(row.state) || offers.at(-1)?.message !== row.offer) return
    const live = { progress, note: textOf(note).slice(0, MAX_NOTE_CHARS) }
    this.#board.setLive(row.key, live)
    if (mayBecome(row.state, state)) this.#change(row, { state, ...live })
    else this.#board.changed(row)
  }

  /** Resolves when the result is on disk. @throws UNKNOWN_TASK, INVALID_SIGNATURE, BAD_PAYLOAD */
  async onResult({ from, body }: IncomingMessage): Promise<void> {
    const result = readOutcome(body)
    const asked = this.#asked(result.taskId, from)
    await checkOutcome(body, from)
    const isFor = result.giver === this.#messenger.self && result.worker === from && result.requestHash === asked.row.requestHash
    if (!isFor) throw new KithError('INVALID_SIGNATURE', 'the result belongs to another task', { taskId: result.taskId })
    const row = this.#store.get(asked.row.key)
    if (!row || isFinal(row.state)) return
    const { output, outputFile, error } = result
    const isLast = result.state === 'COMPLETED' || !TRY_NEXT.has(error?.code ?? '')
    if (!isLast) return this.#refused(row, asked.offers, error!, result.state as 'FAILED' | 'CANCELLED')
    const outcome = { ...(output === undefined ? {} : { output }), ...(outputFile ? { outputFile } : {}), ...(error ? { error } : {}) }
    await this.#finish(row, result.state, outcome, from)
    this.#failpoint('task:result-in')
  }

  /** @throws UNKNOWN_TASK, BAD_PAYLOAD */
  async onRefuse({ from, body }: IncomingMessage): Promise<void> {
    const { taskId, error } = readRefuse(body)
    const { row, offers } = this.#asked(taskId, from)
    if (!isFinal(row.state)) await this.#refused(row, offers, error)
  }

  /** An error message that names one of our task_delegates. @returns whether it does */
  async refusedBy(peer: EntityId, message: string, error: TaskError): Promise<boolean> {
    const offer = this.#store.offer(message)
    const row = offer && offer.peer === peer ? this.#store.get(offer.task) : undefined
    if (!row) return false
    if (!isFinal(row.state)) await this.#refused(row, [offer!], error)
    return true
  }

  /** The tasks that a lost peer has; those that others could do are not left with it for long. */
  onLost(peer: EntityId): string[] {
    const rows = this.#store.unfinished('given').filter(row => row.peer === peer && row.offer !== undefined)
    for (const row of rows) {
      if (this.#others(row).length > 0) this.#plan(row, Math.min(row.dueAt, this.#board.now() + this.#rebalanceAfterMs))
    }
    return rows.map(row => row.id)
  }
  onConnected(peer: EntityId): void {
    for (const row of this.#store.unfinished('given')) {
      if (row.peer === peer && row.offer !== undefined && row.candidates.length > 1) this.#plan(row, this.#dueAt(row))
    }
  }

  /** The time of a task has come. */
  onDue(row: TaskRow): void {
    if (row.deadline <= this.#board.now()) {
      this.#courier.track(this.#finish(row, 'FAILED', { error: { code: 'EXPIRED', message: 'the deadline has passed' } }))
    } else this.#moveOn(row, this.#others(row))
  }

  /** Offers what waits for a better moment at once. */
  retryNow(): void {
    for (const row of this.#store.unfinished('given')) if (row.offer === undefined) this.#moveOn(row, this.#others(row))
  }

  /** @returns whether it was not finished yet */
  async cancel(row: TaskRow, reason: string): Promise<boolean> {
    if (isFinal(row.state)) return false
    await this.#finish(row, 'CANCELLED', { error: { code: 'CANCELLED', message: reason } })
    this.#failpoint('task:cancelled')
    return true
  }

  /** Ends a task for good. Who has it still is told, but not whoever's answer ended it. */
  async #finish(row: TaskRow, state: FinalState, outcome: Outcome, answeredBy?: EntityId): Promise<void> {
    const finishedAt = this.#board.now()
    const step = this.#store.write((): Step | undefined => {
      const fresh = this.#store.get(row.key)
      if (!fresh || !mayBecome(fresh.state, state)) return undefined
      const live = this.#board.live(row.key) ?? { progress: fresh.progress, note: fresh.note }
      const change = { state, finishedAt, peer: answeredBy ?? fresh.peer, ...live }
      this.#store.update(row.key, { ...change, outcome })
      const open = this.#store.offers(row.key).filter(o => o.state === 'open' && o.peer !== answeredBy)
      return { row: { ...fresh, ...change }, left: open.map(o => this.#takeBack(fresh, o)) }
    })
    if (!step) return
    this.#unfinished--
    this.#after(step)
    await this.#store.durable()
  }

  /** A worker said no, or could not: another one, later, or never. */
  async #refused(row: TaskRow, offers: readonly Offer[], error: TaskError, state: FinalState = 'REFUSED'): Promise<void> {
    const { message } = offers.at(-1)!
    this.#store.write(() => this.#store.setOffer(message, BUSY.has(error.code) ? 'busy' : 'refused'))
    if (row.offer === message) await this.#next(row, error, state)
  }

  /** A message with a task was not delivered. */
  #fails(row: TaskRow, message: string, error: TaskError): void {
    this.#store.write(() => this.#store.setOffer(message, BUSY.has(error.code) ? 'busy' : 'refused'))
    this.#courier.track(this.#next(row, error, 'FAILED'))
  }

  async #next(row: TaskRow, error: TaskError, state: FinalState): Promise<void> {
    const untried = this.#untried(row)
    if (untried.length > 0) return this.#moveOn(row, untried)
    if (this.#others(row, true).length === 0 || row.attempts >= MAX_OFFERS) return this.#finish(row, state, { error }, row.peer)
    // All were busy or away: another round after a while.
    const wait = backoffMs(row.attempts - 1, { firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS }, () => this.#board.chance())
    this.#change(row, { state: 'PENDING', offer: undefined, note: textOf(error.message).slice(0, MAX_NOTE_CHARS) })
    this.#plan(row, Math.min(row.deadline, this.#board.now() + Math.ceil(wait)))
  }

  /** Gives the task to the first of `peers`; nobody, or too often: it stays where it is until its deadline. */
  #moveOn(row: TaskRow, peers: readonly EntityId[]): void {
    const [peer] = peers
    if (peer === undefined || row.attempts >= MAX_OFFERS) {
      this.#plan(row, row.deadline)
      return
    }
    const step = this.#store.write((): Step => {
      const open = this.#store.offers(row.key).filter(o => o.message === row.offer && o.state === 'open')
      const left = open.map(o => this.#takeBack(row, o))
      return { ...this.#offer(row, peer), left }
    })
    this.#failpoint('task:moved')
    this.#board.forget(row.key)
    this.#after(step)
  }

  /** Inside a write: a new offer of a task to one peer. */
  #offer(row: TaskRow, peer: EntityId): Step {
    const message = this.#board.uuid()
    this.#store.addOffer({ task: row.key, peer, message, state: 'open' })
    const offered = { peer, offer: message, attempts: row.attempts + 1, state: 'PENDING', progress: 0, note: '' } as const
    const next = { ...row, ...offered }
    const dueAt = this.#dueAt(next)
    this.#store.update(row.key, { ...offered, dueAt })
    const offer: OwedMessage = { message, to: peer, type: 'task_delegate', task: row.key, body: '', until: row.deadline }
    this.#store.owe(offer)
    return { row: { ...next, dueAt }, offer }
  }

  /** Inside a write: a worker that may have it is told that it is over. */
  #takeBack(row: TaskRow, { message, peer }: Offer): { readonly message: string; readonly owed: OwedMessage } {
    this.#store.setOffer(message, 'left')
    const body = JSON.stringify(cancelBody(row.id, message, 'not needed any more'))
    const until = Math.max(row.deadline, this.#board.now()) + CANCEL_KEPT_MS
    const owed: OwedMessage = { message: this.#board.uuid(), to: peer, type: 'task_cancel', task: undefined, body, until }
    this.#store.owe(owed)
    return { message, owed }
  }

  /** When the one who has it must be done, or the next is asked. */
  #dueAt(row: TaskRow): number {
    const untried = this.#untried(row).length
    const now = this.#board.now()
    const share = untried > 0 ? Math.floor((row.deadline - now) / (untried + 1)) : Number.POSITIVE_INFINITY
    return Math.min(row.deadline, now + (row.attemptMs ?? share))
  }

  /** Candidates that have not refused for good, those after the present one first. */
  #others(row: TaskRow, withPresent = false): EntityId[] {
    const offers = this.#store.offers(row.key)
    const place = row.candidates.indexOf(row.peer)
    const turned = [...row.candidates.slice(place + 1), ...row.candidates.slice(0, place + 1)]
    const isOut = (peer: EntityId): boolean => offers.findLast(o => o.peer === peer)?.state === 'refused'
    return turned.filter(peer => (withPresent || row.offer === undefined || peer !== row.peer) && !isOut(peer))
  }

  #untried(row: TaskRow): EntityId[] {
    if (row.candidates.length === 1) return []
    const asked = new Set(this.#store.offers(row.key).map(o => o.peer))
    return this.#others(row).filter(peer => !asked.has(peer))
  }

  /** A task and what it was offered as to `from`. @throws UNKNOWN_TASK */
  #asked(taskId: string, from: EntityId): { readonly row: TaskRow; readonly offers: readonly Offer[] } {
    const row = this.#store.find('given', taskId)
    const offers = row ? this.#store.offers(row.key).filter(o => o.peer === from) : []
    // One answer for both: whoever asks does not learn which tasks there are (threats TA2).
    if (!row || offers.length === 0) throw new KithError('UNKNOWN_TASK', 'no such task was given to this peer', { taskId })
    return { row, offers }
  }
  #offered(message: string): TaskRow | undefined {
    const offer = this.#store.offer(message)
    const row = offer && this.#store.get(offer.task)
    return row && row.offer === message && !isFinal(row.state) ? row : undefined
  }

  #change(row: TaskRow, change: Partial<Pick<TaskRow, 'state' | 'progress' | 'note' | 'offer'>>): TaskRow {
    this.#store.write(() => this.#store.update(row.key, change))
    const changed = { ...row, ...change }
    this.#board.changed(changed)
    return changed
  }
  #plan(row: TaskRow, dueAt: number): void {
    this.#store.write(() => this.#store.update(row.key, { dueAt }))
    this.#planned(dueAt)
  }
  /** Outside of the write, because the messenger tells at once what becomes of its messages. */
  #after({ row, offer, left = [] }: Step): void {
    this.#board.changed(row)
    if (!isFinal(row.state)) this.#planned(row.dueAt)
    if (offer) this.#courier.track(this.#hand(offer))
    for (const { message, owed } of left) {
      const sent = this.#messenger.sent(message)
      const isUnheard = this.#messenger.cancel(message) && sent?.state === 'waiting' && sent.attempts === 0
      if (isUnheard) this.#courier.settle(owed.message)
      else this.#courier.post(owed)
    }
  }

  /** Hands a task_delegate to the messenger. Never throws: one that is not taken is one that was not delivered. */
  async #hand(owed: OwedMessage): Promise<void> {
    try {
      await this.#courier.hand(owed)
    } catch (error) {
      this.#courier.settle(owed.message)
      const row = this.#offered(owed.message)
      if (row) this.#fails(row, owed.message, { code: codeOf(error), message: textOf(error) })
    }
  }
}
