/** What the rest of Kith sees of tasks: giving them, serving skills, and being told what became of them. */
import type { Emitter } from '../base/events.ts'
import type { EntityId } from '../messaging/types.ts'
import type { Priority } from '../wire/message-types.ts'
import type { Json } from '../wire/strict-json.ts'
import type { TaskState } from './states.ts'

/** A file of a task: a link that anybody may try to fetch, and what the sender calls it. */
export interface TaskFile {
  readonly link: string
  /** Display text, never a path. */
  readonly name: string
  readonly size: number
}

export interface TaskError {
  readonly code: string
  readonly message: string
}

export interface TaskView {
  /** UUID v4, chosen by the giver: the same on both sides. */
  readonly id: string
  readonly role: 'given' | 'received'
  /** given: whom it is with now, or was at the end; received: who gave it. */
  readonly peer: EntityId
  readonly skill: string
  readonly description: string
  readonly priority: Priority
  readonly state: TaskState
  /** 0 to 1, as the worker said. */
  readonly progress: number
  readonly note: string
  /** ms since 1970. */
  readonly createdAt: number
  readonly deadline: number
  readonly finishedAt: number | undefined
  /** Absent in lists. */
  readonly output?: Json
  /** An output that was too large for a message. */
  readonly outputFile?: TaskFile
  readonly error?: TaskError
  /** given: how often it was offered; received: how often it was started. */
  readonly attempts: number
  readonly idempotencyKey: string
  /** given: who may do it, in the order in which they are asked. */
  readonly candidates?: readonly EntityId[]
}

export interface Delegation {
  /** Who shall do it; several: one after the other, until one does. Absent: whoever the finder knows for the skill, best first. */
  readonly to?: EntityId | readonly EntityId[]
  readonly skill: string
  readonly description?: string
  readonly input?: Json
  /** Files that go with it: paths of this machine, or links. */
  readonly files?: readonly (string | TaskFile)[]
  /** From now until it has failed with EXPIRED. Default and most: 7 days. */
  readonly deadlineMs?: number
  /** How long one candidate may have it before the next is asked. Default: an equal part of what is left, if there are others. */
  readonly attemptMs?: number
  readonly priority?: Priority
  /** A second delegation with the same key is the same task. Absent: a new one. */
  readonly idempotencyKey?: string
  /** Id of a received task that this one is a part of: the nodes it has been at are told, so that it cannot go in circles. */
  readonly parent?: string
}

/** What a skill is given to do. */
export interface TaskWork {
  readonly id: string
  readonly skill: string
  readonly from: EntityId
  readonly description: string
  readonly input: Json
  /** An input that was too large for a message: JSON in a file of this machine. */
  readonly inputFile: string | undefined
  /** Fetched already: paths of this machine. */
  readonly files: readonly (TaskFile & { readonly path: string })[]
  readonly idempotencyKey: string
  /** 1, or more when an earlier run ended with the process. */
  readonly attempt: number
  /** ms since 1970. */
  readonly deadline: number
}

export interface TaskControl {
  /** Aborted when the task is cancelled, its deadline has passed, or the node stops. */
  readonly signal: AbortSignal
  /** @param part 0 to 1 */
  progress(part: number, note?: string): void
}

/** Does one task. What it throws is the task's failure: a KithError's code and message are told to the giver, of others only that it failed. */
export type SkillRun = (task: TaskWork, control: TaskControl) => Promise<Json | TaskOutputFile>

/** An output that is a file rather than JSON. It is given to `putFile` as soon as the run has ended. */
export class TaskOutputFile {
  readonly content: FileContent
  constructor(content: FileContent) {
    this.content = content
  }
}

export interface Skill {
  /** Letters, digits and `._:/-`. */
  readonly name: string
  readonly description?: string
  /** Tasks of it that run at once. Default 1. */
  readonly concurrency?: number
  /** A task that was running when the process ended: run it again, or let it fail with INTERRUPTED. Default again. */
  readonly afterCrash?: 'again' | 'fail'
  readonly run: SkillRun
}

export interface SkillView {
  readonly name: string
  readonly description: string
  readonly concurrency: number
  readonly running: number
  readonly queued: number
}

/**
 * What a grant allows: true, or numbers that bound it. `concurrent`: tasks that run at once; `queued`: that wait or run; `perHour`: that
 * are taken in an hour. Other names are ignored.
 */
export type DelegationLimits = boolean | Readonly<Record<string, number>>

export interface FoundWorker {
  readonly entityId: EntityId
  /** As measured; absent: not measured. */
  readonly latencyMs?: number
  /** How good it has been: more is better, below 0 is never asked. */
  readonly score?: number
}

/** Finds who serves a skill (the peers' registry has this shape). */
export interface SkillFinder {
  find(skill: string, signal?: AbortSignal): Promise<readonly FoundWorker[]>
}

/** A file of this machine, or bytes that become one. */
export type FileContent = { readonly path: string; readonly name?: string } | { readonly bytes: Uint8Array; readonly name: string }

/** Brings large inputs and outputs to the other side (`kith share` and `kith get`). */
export interface TaskFiles {
  /** Shares it. @returns its link */
  putFile(content: FileContent, signal?: AbortSignal): Promise<TaskFile>
  /** Fetches it. `from`: the peer that named it. @returns a path of this machine */
  getFile(file: TaskFile, signal?: AbortSignal, from?: EntityId): Promise<string>
  /** The file at this path, from `getFile`, is not needed any more. */
  dropFile?(path: string): void
  /** A file from `putFile` is a part of a task, so that it is given for as long as that asks for it. @param owner given:ID or received:ID */
  belongs?(file: TaskFile, owner: string): void
  /** Whether the file at a path is still what was put as `file` at that time (ms since 1970), as far as name, size and dates tell. */
  isStill?(path: string, file: TaskFile, since: number): boolean
}

export type TaskEvents = {
  readonly 'task:changed': { readonly task: TaskView }
  /** A peer that had tasks of ours is gone; they wait for it, or go to the next candidate. */
  readonly 'worker:lost': { readonly peer: EntityId; readonly tasks: readonly string[] }
}

export interface TaskFilter {
  readonly role?: TaskView['role']
  readonly state?: TaskState
  readonly peer?: EntityId
  /** Default 100. */
  readonly limit?: number
}

export interface Tasks extends AsyncDisposable {
  readonly events: Emitter<TaskEvents>
  /**
   * Resolves when the task is on disk and on its way. The same idempotency key again: the same task.
   * @throws BAD_TASK, BAD_ENTITY, NO_WORKER, TASK_LOOP, TASK_CONFLICT, QUEUE_FULL, TOO_LARGE, UNKNOWN_TASK (parent), DISK_FULL
   */
  delegate(task: Delegation, signal?: AbortSignal): Promise<TaskView>
  /** Newest first, without outputs. */
  tasks(filter?: TaskFilter): TaskView[]
  task(id: string): TaskView | undefined
  /** Takes back a task that was given, or ends one that was received. @returns whether it was not finished yet @throws UNKNOWN_TASK */
  cancel(id: string, reason?: string): Promise<boolean>
  /** The task when it has finished, however. @throws UNKNOWN_TASK, or the signal's reason */
  wait(id: string, signal?: AbortSignal): Promise<TaskView>
  /** Path of an output that was too large for a message; undefined: it was not. @throws UNKNOWN_TASK, FILE_UNAVAILABLE */
  fetchOutput(id: string, signal?: AbortSignal): Promise<string | undefined>
  /** Serves a skill until it is disposed; what runs then is ended and waits for whoever serves it next. @throws SKILL_TAKEN, BAD_TASK, QUEUE_FULL */
  serveSkill(skill: Skill): Promise<AsyncDisposable>
  skills(): SkillView[]
  /** Offers again what waits only for a better moment: after a wake_up, or when a network is back. */
  retryNow(): void
  /** An `error` message that names a message of a task: what refused it. @returns whether it did */
  refusedBy(peer: EntityId, messageId: string, error: TaskError): Promise<boolean>
}
