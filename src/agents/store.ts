/** What tasks need of a disk. SQLite: task-store.node.ts. */
import type { EntityId } from '../messaging/types.ts'
import type { Priority } from '../wire/message-types.ts'
import type { Json } from '../wire/strict-json.ts'
import type { TaskState } from './states.ts'
import type { TaskError, TaskFile } from './types.ts'

export type Role = 'given' | 'received'

/** How a task ended. */
export interface Outcome {
  readonly output?: Json
  readonly outputFile?: TaskFile
  readonly error?: TaskError
}

export interface NewTask {
  readonly role: Role
  readonly id: string
  /** given: whom it is with; received: the giver. */
  readonly peer: EntityId
  readonly skill: string
  readonly idempotencyKey: string
  readonly requestHash: string
  readonly description: string
  readonly priority: Priority
  readonly path: readonly EntityId[]
  readonly state: TaskState
  readonly createdAt: number
  readonly deadline: number
  /** When something must be done about it at the latest. */
  readonly dueAt: number
  readonly attempts: number
  /** given only. */
  readonly candidates: readonly EntityId[]
  readonly attemptMs: number | undefined
  /** Id of the task_delegate that counts: given: the one that is open; received: the latest. undefined: none. */
  readonly offer: string | undefined
}

export interface TaskRow extends NewTask {
  readonly key: number
  readonly progress: number
  readonly note: string
  readonly finishedAt: number | undefined
}

/** What may change. */
export type TaskChange = Partial<
  Pick<
    TaskRow,
    'id' | 'peer' | 'state' | 'progress' | 'note' | 'deadline' | 'dueAt' | 'finishedAt' | 'attempts' | 'offer' | 'priority' | 'path'
  >
> & { readonly outcome?: Outcome }

/** open: with the worker · busy: it may be asked again later · refused: it is not asked again · left: it was lost or too slow. */
export type OfferState = 'open' | 'busy' | 'refused' | 'left'

export interface Offer {
  readonly task: number
  readonly peer: EntityId
  /** Id of the task_delegate. */
  readonly message: string
  readonly state: OfferState
}

/** A message that has to be handed to the messenger, whatever happens: noted in the same transaction as the reason for it. */
export interface OwedMessage {
  /** Id of the message. */
  readonly message: string
  readonly to: EntityId
  readonly type: 'task_delegate' | 'task_result' | 'task_cancel'
  /** The task whose request or outcome it carries; undefined: `body` is all. */
  readonly task: number | undefined
  /** Canonical JSON; '' for what is made from the task. */
  readonly body: string
  /** ms since 1970: pointless afterwards. */
  readonly until: number
}

export interface TaskQuery {
  readonly role?: Role | undefined
  readonly state?: TaskState | undefined
  readonly peer?: EntityId | undefined
  readonly limit: number
}

export interface TaskStore extends AsyncDisposable {
  /** Runs `work` in one transaction, now; it survives the end of the process when this returns. @throws DISK_FULL, STORE_*, or what `work` throws */
  write<T>(work: () => T): T
  /** Resolves when all that was written so far survives a power cut. @throws DISK_FULL, DISK_FAILED */
  durable(): Promise<void>

  /** @param request canonical JSON (payloads.ts, requestBody) @returns the new row */
  insert(task: NewTask, request: string): TaskRow
  update(key: number, change: TaskChange): void
  remove(key: number): void
  get(key: number): TaskRow | undefined
  /** `giver` only for received tasks: ids are chosen by givers. */
  find(role: Role, id: string, giver?: EntityId): TaskRow | undefined
  byIdempotencyKey(role: Role, idempotencyKey: string, giver?: EntityId): TaskRow | undefined
  request(key: number): string
  outcome(key: number): Outcome
  /** Newest first. */
  list(query: TaskQuery): TaskRow[]
  unfinished(role: Role): TaskRow[]
  /** Unfinished tasks whose time has come, at most `limit`. */
  due(now: number, limit: number): TaskRow[]
  nextDue(): number | undefined

  addOffer(offer: Offer): void
  setOffer(message: string, state: OfferState): void
  offer(message: string): Offer | undefined
  /** In the order in which they were made. */
  offers(task: number): Offer[]

  owe(message: OwedMessage): void
  settle(message: string): void
  owed(): OwedMessage[]

  /** Skills that were served when the process ended: tasks for them are still taken. */
  rememberSkill(name: string): void
  forgetSkill(name: string): void
  skills(): string[]

  /** A task_delegate that was taken back before it came. The oldest go when there are too many. */
  bury(giver: EntityId, offer: string, at: number): void
  isBuried(giver: EntityId, offer: string): boolean

  /** Forgets finished tasks that are too old or too many. */
  prune(now: number): void
}
