/** What tasks need from outside. */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { EntityId, Messenger } from '../messaging/types.ts'
import type { TaskStore } from './store.ts'
import type { DelegationLimits, SkillFinder, TaskFiles } from './types.ts'

export interface TasksDeps {
  readonly messenger: Messenger
  /** Closed by whoever opened it, after the tasks. */
  readonly store: TaskStore
  readonly clock: Clock
  readonly random: (bytes: number) => Uint8Array
  readonly log: Logger
  /** Raw Ed25519 signature of this instance over exactly these bytes, which begin with a domain. */
  readonly sign: (bytes: Uint8Array) => Promise<Uint8Array>
  /** Whether a peer may delegate a skill to this node: its grant. */
  readonly mayDelegate: (entity: EntityId, skill: string) => DelegationLimits
  /** Absent: tasks are given by name only. */
  readonly finder?: SkillFinder
  /** Absent: what does not fit a message is TOO_LARGE. */
  readonly files?: TaskFiles
  /** Called at each named step; tests end the process there. */
  readonly failpoint?: Failpoint
}

export const failpointNames = [
  'task:given',
  'task:offered',
  'task:taken',
  'task:started',
  'task:run',
  'task:finished',
  'task:told',
  'task:result-in',
  'task:moved',
  'task:cancelled'
] as const
export type FailpointName = (typeof failpointNames)[number]
/** The step has just become durable or visible. */
export type Failpoint = (step: FailpointName) => void

export interface TasksOptions {
  /** How long a lost worker may be away before its task goes to the next candidate. */
  readonly rebalanceAfterMs?: number
}
