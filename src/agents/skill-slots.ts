/** One served skill: what waits for it, what runs, and how much of both belongs to whom. */
import type { EntityId } from '../messaging/types.ts'
import type { Skill, SkillView } from './types.ts'
import { WorkQueue } from './work-queue.ts'

interface Running {
  readonly peer: EntityId
  readonly stop: AbortController
  readonly ended: Promise<void>
}

export class SkillSlots {
  readonly skill: Skill
  readonly concurrency: number
  readonly queue: WorkQueue = new WorkQueue()
  /** By the key of the task. Aborting one ends it. */
  readonly running: Map<number, Running> = new Map()

  constructor(skill: Skill) {
    this.skill = skill
    this.concurrency = skill.concurrency ?? 1
  }

  get isFull(): boolean {
    return this.running.size >= this.concurrency
  }
  runningFor(peer: EntityId): number {
    let n = 0
    for (const r of this.running.values()) if (r.peer === peer) n++
    return n
  }
  view(): SkillView {
    const { name, description = '' } = this.skill
    return { name, description, concurrency: this.concurrency, running: this.running.size, queued: this.queue.size }
  }
}
