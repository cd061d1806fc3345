/**
 * What delivery needs of a disk: SQLite in message-store.node.ts, memory in memory-store.ts. Writes are made inside `commit`, many at a time
 * in one transaction; nothing is acknowledged before it resolved.
 */
import type { NonceStore } from '../session/replay-window.ts'
import type { MessageType, Priority } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import type { DeliveryState, EntityId, IncomingMessage, SentMessage } from './types.ts'

/** A message of our own. `seq` orders them as they were sent. */
export interface OutboxRow extends SentMessage {
  readonly seq: number
  readonly priority: Priority
  readonly expiresAt: number
  /** Bytes of the body as JSON. */
  readonly bytes: number
}

export interface NewOutgoing {
  readonly id: string
  readonly to: EntityId
  readonly type: MessageType
  readonly priority: Priority
  readonly createdAt: number
  readonly expiresAt: number
  /** The body as JSON in UTF-8. */
  readonly body: Uint8Array
}

/** A message that waits, with what is to be sent. */
export interface WaitingMessage {
  readonly seq: number
  readonly id: string
  readonly type: MessageType
  readonly priority: Priority
  readonly bytes: number
  readonly createdAt: number
  readonly attempts: number
  readonly relayed: boolean
  /** JSON in UTF-8, as it was given to `send`. */
  readonly body: Uint8Array
}

export interface WaitingTotal {
  readonly to: EntityId
  readonly messages: number
  readonly bytes: number
}

export interface ReceivedRow extends IncomingMessage {
  readonly seq: number
}

/** Which received messages. */
export interface InboxQuery {
  readonly limit: number
  readonly type?: MessageType
  /** Any of these, instead of `type`. */
  readonly types?: readonly MessageType[]
  readonly from?: EntityId
  /** Only those whose body takes no more at rest. */
  readonly maxBytes?: number
}

export interface MessageStore extends Disposable {
  /**
   * Runs `work` in the next transaction, with what others gave; resolves when all of that is durable. `work` must be synchronous.
   * `written` is called before, when it is committed: what follows from it can be lost with it, in a power cut.
   * @throws DISK_FULL, STORE_CORRUPT, STORE_READ_ONLY, or what `work` throws (then only its own writes are missing)
   */
  commit<T>(work: () => T, written?: (value: T) => void): Promise<T>
  /** As `commit`, for what nobody waits for: a moment later, so that it shares a transaction with more. */
  commitLater<T>(work: () => T, written?: (value: T) => void): Promise<T>

  /** @returns the row's seq; undefined when there is a message with this id already */
  addOutgoing(message: NewOutgoing): number | undefined
  /** Ends or changes one of our own. @returns false when it is not known or has ended already */
  setState(seq: number, state: DeliveryState, changedAt: number, attempts: number, reason: SentMessage['reason']): boolean
  outgoing(id: string): OutboxRow | undefined
  outbox(limit: number, type?: MessageType): OutboxRow[]
  /** What it says; undefined when that is not kept (any more). */
  sentBody(id: string): JsonObject | undefined
  /** What is not delivered yet for `to` in one lane, oldest first, with seq above `after`. */
  waiting(to: EntityId, priority: Priority, after: number, limit: number): WaitingMessage[]
  waitingTotals(): WaitingTotal[]
  /** Ids of what should have been delivered before `now`, at most `limit`. */
  expired(now: number, limit: number): OutboxRow[]
  /** When the next message expires; undefined when none waits. */
  nextExpiry(): number | undefined

  /** @returns the row's seq; undefined when this message was received before. */
  addReceived(message: IncomingMessage): number | undefined
  setDone(seq: number): void
  /** What no handler has finished yet, oldest first. */
  undone(type: MessageType, after: number, limit: number): ReceivedRow[]
  /** One that was received, by its sender's id; the newest, if several senders chose the same. */
  received(id: string): IncomingMessage | undefined
  inbox(query: InboxQuery): IncomingMessage[]

  /** Whether this message was received before. */
  hasReceived(from: EntityId, id: string): boolean
  /** Of messages outside a session. */
  readonly nonces: NonceStore
  /** Forgets what is older than its time. */
  prune(now: number): void
}
