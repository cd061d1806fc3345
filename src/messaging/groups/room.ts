/** One group in memory: its operations, its keys, and what others know that is not known here. */

import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { GroupRole } from '../../wire/group-op.ts'
import type { GroupView } from '../groups-types.ts'
import { GROUP_SYNCS_BURST, GROUP_SYNCS_PER_MINUTE, MAX_GROUP_EPOCHS, MAX_GROUP_MEMBERS, MAX_WAITING_OPS } from '../limits.ts'
import type { EntityId } from '../types.ts'
import type { Members } from './fold.ts'
import type { GroupLog } from './log.ts'
import type { StoredEpoch } from './store.ts'

export class GroupRoom {
  log: GroupLog
  /** By id, oldest first. */
  readonly epochs: Map<string, StoredEpoch> = new Map()
  /** Operations that somebody referred to and nobody has shown yet, with who did. */
  readonly #unknown = new Map<string, EntityId>()
  readonly #syncs = new Map<EntityId, TokenBucket>()

  constructor(log: GroupLog, epochs: readonly StoredEpoch[] = []) {
    this.log = log
    for (const e of epochs) this.epochs.set(e.id, e)
  }

  get members(): Members {
    return this.log.fold.members
  }
  get isSplit(): boolean {
    return this.#unknown.size > 0
  }
  /** Who referred to what is not known. */
  get ahead(): EntityId[] {
    return [...new Set(this.#unknown.values())]
  }

  /** Notes what somebody refers to. @returns whether something of it is not known here */
  refers(heads: readonly string[], by: EntityId): boolean {
    const missing = heads.filter(h => !this.log.fold.has(h))
    for (const h of missing) {
      this.#unknown.set(h, by)
      if (this.#unknown.size > MAX_WAITING_OPS) this.#unknown.delete(this.#unknown.keys().next().value!)
    }
    return missing.length > 0
  }

  /** Looks again after operations have come. @returns whether everything is known now that was not before */
  heals(): boolean {
    if (!this.isSplit) return false
    for (const h of this.#unknown.keys()) if (this.log.fold.has(h)) this.#unknown.delete(h)
    return !this.isSplit
  }

  /** The newest key that was made after everything that is known here. */
  currentEpoch(): StoredEpoch | undefined {
    const heads = this.log.fold.heads.join()
    return [...this.epochs.values()].findLast(e => e.heads.join() === heads)
  }

  /** @returns ids of keys that made room */
  addEpoch(epoch: StoredEpoch): string[] {
    this.epochs.set(epoch.id, epoch)
    const dropped = [...this.epochs.keys()].slice(0, Math.max(0, this.epochs.size - MAX_GROUP_EPOCHS))
    for (const id of dropped) this.epochs.delete(id)
    return dropped
  }

  /** Members that somebody added. */
  broughtInBy(who: EntityId): EntityId[] {
    const { order, members } = this.log.fold
    return [...members].filter(([m, { joined }]) => m !== who && order[joined]?.author === who).map(([m]) => m)
  }

  /** The newest keys that a member may have: made when both of us were members. */
  epochsFor(member: EntityId, max: number): StoredEpoch[] {
    return [...this.epochs.values()].filter(e => this.log.fold.membersAt(e.heads)?.has(member)).slice(-max)
  }

  /** Whether a member may be asked, or told, what one of us lacks. */
  maySync(clock: Pick<Clock, 'monotonic' | 'sleep'>, member: EntityId): boolean {
    let bucket = this.#syncs.get(member)
    if (!bucket) {
      bucket = new TokenBucket(clock, GROUP_SYNCS_PER_MINUTE / 60, GROUP_SYNCS_BURST)
      this.#syncs.set(member, bucket)
      if (this.#syncs.size > 2 * MAX_GROUP_MEMBERS) this.#syncs.delete(this.#syncs.keys().next().value!)
    }
    return bucket.tryTake()
  }

  view(self: EntityId): GroupView {
    const { fold } = this.log
    const first = this.log.get(this.log.id)!
    const members = [...fold.members]
      .sort(([, a], [, b]) => a.joined - b.joined)
      .map(([entityId, m]): { entityId: EntityId; role: GroupRole } => ({ entityId, role: m.role }))
    return {
      id: this.log.id,
      name: first.change.kind === 'create' ? first.change.name : '',
      createdBy: first.author,
      epoch: fold.order.at(-1)!.lamport,
      members,
      isMember: fold.members.has(self),
      split: this.isSplit,
      forkedBy: fold.forkedBy(),
      createdAt: first.at
    }
  }
}
