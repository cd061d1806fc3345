/**
 * What becomes of a task. The giver's states and the worker's are the same; each side keeps its own.
 *
 * PENDING: on this disk, no worker has it yet (giver), or it waits for its turn (worker) · ASSIGNED: the worker has it on its disk ·
 * IN_PROGRESS: it runs · the others are final. A task goes back to PENDING when its worker is lost, or stopped in the middle of it.
 */
import { KithError } from '../base/errors.ts'

export type TaskState = 'PENDING' | 'ASSIGNED' | 'IN_PROGRESS' | 'COMPLETED' | 'FAILED' | 'CANCELLED' | 'REFUSED'

const FINAL = ['COMPLETED', 'FAILED', 'CANCELLED', 'REFUSED'] as const
export type FinalState = (typeof FINAL)[number]

/** News may overtake each other: a result may be the first that a giver hears. What is final stays. */
const NEXT: Readonly<Record<TaskState, readonly TaskState[]>> = {
  PENDING: ['ASSIGNED', 'IN_PROGRESS', ...FINAL],
  ASSIGNED: ['PENDING', 'IN_PROGRESS', ...FINAL],
  IN_PROGRESS: ['PENDING', ...FINAL],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  REFUSED: []
}

export const TASK_STATES: readonly TaskState[] = Object.keys(NEXT) as TaskState[]

export const isFinal = (state: TaskState): state is FinalState => NEXT[state].length === 0

export const mayBecome = (from: TaskState, to: TaskState): boolean => NEXT[from].includes(to)

/** @returns `to` @throws TASK_STATE */
export function nextState<S extends TaskState>(from: TaskState, to: S): S {
  if (!mayBecome(from, to)) throw new KithError('TASK_STATE', `a task cannot go from ${from} to ${to}`, { from, to })
  return to
}
