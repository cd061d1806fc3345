/** What a mailbox keeps, apart from where: mailbox-store.node.ts is SQLite. */
import type { EntityId } from './types.ts'

export interface KeptEnvelope {
  /** Names it in `remove`; never used again. */
  readonly number: number
  /** Encoded sealed envelope. */
  readonly envelope: Uint8Array
}

/** A stranger that leaves envelopes: it has a share of the room of each owner, and so has its network. */
export interface Stranger {
  readonly peerId: string
  readonly network: string
}

export interface MailboxStore extends Disposable {
  /**
   * Resolves when it is durable. The same envelope again is kept once. `from`: absent for those whom the owner or this node knows. @throws QUEUE_FULL (nothing changed; other owners are not affected),
   *   DISK_FULL, DISK_FAILED, STORE_READ_ONLY, STORE_CORRUPT
   */
  add(owner: EntityId, envelope: Uint8Array, expiresAt: number, from?: Stranger): Promise<void>
  /** The oldest that have not expired: at most so many, and so many bytes but at least one. */
  oldest(owner: EntityId, now: number, maxCount: number, maxBytes: number): KeptEnvelope[]
  count(owner: EntityId, now: number): number
  /** Durable when it resolves. */
  remove(owner: EntityId, numbers: readonly number[]): Promise<void>
  /** Removes what has expired. @returns how many */
  prune(now: number): number
  /** By owner. */
  totals(): { readonly owner: EntityId; readonly envelopes: number; readonly bytes: number }[]
  /** Whom the owner knows, as tags (wire/mailbox-known.ts): replaces those before. Durable when it resolves. */
  setKnown(owner: EntityId, tags: readonly Uint8Array[]): Promise<void>
  isKnown(owner: EntityId, tag: Uint8Array): boolean
  /** Everything of an owner goes. */
  clear(owner: EntityId): void
}
