/** What groups need of a disk: groups-store.node.ts is SQLite. Writes are made inside `commit`. */
import type { MessageType } from '../../wire/message-types.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import type { DeliveryState, EntityId } from '../types.ts'

export interface StoredEpoch {
  /** 32 hex digits. */
  readonly id: string
  readonly key: Uint8Array
  readonly heads: readonly string[]
}

export interface StoredPost {
  readonly id: string
  readonly groupId: string
  readonly from: EntityId
  readonly body: JsonObject
  readonly sentAt: number
  readonly receivedAt: number
}

/** One copy of an own message; `outId` is its id at the messenger. */
export interface StoredDelivery {
  readonly outId: string
  readonly groupId: string
  readonly postId: string
  readonly to: EntityId
  readonly state: DeliveryState
  readonly code: string | undefined
  readonly changedAt: number
}

/** A message that waits for operations or a key. */
export interface HeldPost {
  readonly seq: number
  readonly groupId: string
  readonly from: EntityId
  readonly body: JsonObject
  readonly sentAt: number
  readonly receivedAt: number
}

/** Something to be given to the messenger. */
export interface OutgoingCopy {
  readonly outId: string
  readonly to: EntityId
  readonly type: MessageType
  readonly body: JsonObject
}

export interface GroupStore extends Disposable {
  /**
   * Runs `work` in the next transaction; resolves when all of it is durable. `work` must be synchronous.
   * @throws DISK_FULL, STORE_CORRUPT, STORE_READ_ONLY, or what `work` throws (then none of its writes happened)
   */
  commit<T>(work: () => T): Promise<T>

  /** Every group with its operations, parents first, and keys, oldest first. */
  groups(): { readonly id: string; readonly ops: readonly Uint8Array[]; readonly epochs: readonly StoredEpoch[] }[]
  addOps(groupId: string, ops: readonly { readonly hash: string; readonly bytes: Uint8Array }[]): void
  addEpoch(groupId: string, epoch: StoredEpoch): void
  removeEpochs(groupId: string, ids: readonly string[]): void
  /** Everything of a group goes. */
  forget(groupId: string): void

  /** @returns false when the sender's message is there already */
  addPost(post: StoredPost): boolean
  posts(groupId: string, limit: number): StoredPost[]
  /** `from` absent: the oldest of that id, whoever sent it. */
  post(groupId: string, postId: string, from?: EntityId): StoredPost | undefined

  addDelivery(delivery: StoredDelivery): void
  /** What has failed stays so; what was delivered may still be refused. @returns the row as it is then; undefined: there is none, or nothing has changed */
  setDelivery(outId: string, state: DeliveryState, code: string | undefined, changedAt: number): StoredDelivery | undefined
  deliveries(groupId: string, postId: string): StoredDelivery[]
  /** Whose fate is not known yet. */
  unfinished(): StoredDelivery[]

  /** Keeps at most so many of one group, and of one member of it. @returns false when there is no room */
  hold(post: Omit<HeldPost, 'seq'>, max: number, maxPerMember: number): boolean
  held(groupId: string): HeldPost[]
  unhold(seq: number): void

  addOutgoing(copy: OutgoingCopy): void
  /** Oldest first. */
  outgoing(limit: number): OutgoingCopy[]
  removeOutgoing(outId: string): void
}
