/**
 * Tasks of one skill that wait here. Givers take turns, so that nobody waits behind a thousand tasks of somebody else; of one giver the
 * oldest goes first, with a head start by priority that waiting makes up for.
 */
import type { EntityId } from '../messaging/types.ts'
import type { Priority } from '../wire/message-types.ts'

export interface Waiting {
  readonly key: number
  readonly peer: EntityId
  readonly priority: Priority
  /** ms. */
  readonly since: number
}

/** A normal task goes before a high one that came a minute later. */
const HEAD_START_MS: Readonly<Record<Priority, number>> = { high: 120_000, normal: 60_000, low: 0 }

export class WorkQueue {
  /** In the order of their turns; each list is sorted. */
  readonly #peers = new Map<EntityId, Waiting[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  push(task: Waiting): void {
    const tasks = this.#peers.get(task.peer) ?? []
    if (tasks.length === 0) this.#peers.set(task.peer, tasks)
    let at = tasks.length
    while (at > 0 && rank(tasks[at - 1]!) > rank(task)) at--
    tasks.splice(at, 0, task)
    this.#size++
  }

  /** The next task of the first giver in turn that `mayRun`. */
  take(mayRun: (peer: EntityId) => boolean): Waiting | undefined {
    for (const [peer, tasks] of this.#peers) {
      if (!mayRun(peer)) continue
      const task = tasks.shift()!
      this.#size--
      this.#peers.delete(peer)
      if (tasks.length > 0) this.#peers.set(peer, tasks)
      return task
    }
    return undefined
  }

  /** @returns whether it was there */
  remove(peer: EntityId, key: number): boolean {
    const tasks = this.#peers.get(peer)
    const at = tasks?.findIndex(t => t.key === key) ?? -1
    if (!tasks || at < 0) return false
    tasks.splice(at, 1)
    this.#size--
    if (tasks.length === 0) this.#peers.delete(peer)
    return true
  }
}

const rank = (task: Waiting): number => task.since - HEAD_START_MS[task.priority]
