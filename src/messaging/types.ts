/** What the rest of Kith sees of messaging: sending, receiving, and being told what became of a message. */
import type { Emitter } from '../base/events.ts'
import type { MessageType, Priority } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'

/** did:key of an instance's Ed25519 key: spec 001's sender_id and recipient_id. */
export type EntityId = string

export interface OutgoingMessage {
  readonly to: EntityId
  readonly type: MessageType
  /** Payload of the type (wire/payloads.ts), without `message_id`. */
  readonly body: JsonObject
  /** UUID v4. Sending one id twice sends it once. Absent: a new one. */
  readonly id?: string
  /** Absent: the type's own. */
  readonly priority?: Priority
  /** How long it may wait; then it has failed with EXPIRED. Default 7 days. */
  readonly ttlMs?: number
  /** It answers somebody who may be anybody: it is refused long before those of the user would be. */
  readonly isAnswer?: boolean
}

/**
 * waiting: on this disk, to be tried again · sent: given to the recipient, who has not acknowledged it yet · relayed: sealed, with a peer
 * who keeps or carries it · delivered: the recipient has it on disk · failed: see `reason`, it is not tried again.
 */
export type DeliveryState = 'waiting' | 'sent' | 'relayed' | 'delivered' | 'failed'

export interface SentMessage {
  readonly id: string
  readonly to: EntityId
  readonly type: MessageType
  readonly state: DeliveryState
  /** Why it failed, or waits: a code for programs, and plain words. */
  readonly reason: { readonly code: string; readonly message: string } | undefined
  /** While it waits because it could not be delivered: since when, and when it is tried again (ms since 1970). */
  readonly retry?: { readonly since: number; readonly at: number } | undefined
  /** ms since 1970. */
  readonly createdAt: number
  readonly changedAt: number
  readonly attempts: number
}

export interface IncomingMessage {
  /** The sender's UUID. (from, id) is stable: whoever acts on a message more than once can tell by it. */
  readonly id: string
  readonly from: EntityId
  readonly type: MessageType
  readonly body: JsonObject
  readonly priority: Priority
  /** ms since 1970: the sender's clock, and ours. */
  readonly sentAt: number
  readonly receivedAt: number
  /** legacy: in the form of before version 1.1, signed and not encrypted. */
  readonly via: 'direct' | 'http' | 'sealed' | 'legacy'
}

/**
 * Acts on a message that is already durable. It runs at least once, and again after a crash until it has resolved once. One that throws a
 * KithError makes the sender see an `error` message with its code; it is not run again.
 */
export type MessageHandler = (message: IncomingMessage) => Promise<void>

export type MessengerEvents = {
  /** A message was committed to the inbox. */
  readonly 'message:received': { readonly message: IncomingMessage }
  /** The state of one of our own has changed. */
  readonly 'message:changed': { readonly message: SentMessage }
  readonly 'peer:connected': { readonly entityId: EntityId; readonly peerId: string | undefined }
  /** The last link to a peer has ended, or its heartbeats have. */
  readonly 'peer:lost': { readonly entityId: EntityId; readonly reason: string }
}

export interface Messenger extends AsyncDisposable {
  readonly self: EntityId
  readonly events: Emitter<MessengerEvents>
  /**
   * Resolves when the message is on disk; what becomes of it is told by `message:changed`.
   * @throws QUEUE_FULL, TOO_LARGE, BAD_ENTITY, BAD_PAYLOAD, DISK_FULL
   */
  send(message: OutgoingMessage): Promise<SentMessage>
  /** Sends if there is a session, else not at all: for what is worth nothing later (heartbeat, progress). @returns whether it was sent */
  sendNow(message: OutgoingMessage): Promise<boolean>
  /** One handler for each type. Messages of a type without one stay in the inbox for whoever lists it. */
  handle(type: MessageType, handler: MessageHandler): Disposable
  /** One of our own; undefined: not known (any more). */
  sent(id: string): SentMessage | undefined
  /** Our own, newest first. */
  outbox(limit?: number): SentMessage[]
  /** What was received, newest first. */
  inbox(options?: { readonly limit?: number; readonly type?: MessageType; readonly from?: EntityId }): IncomingMessage[]
  /** Takes back a message that was not acknowledged yet. @returns whether there was one */
  cancel(id: string): boolean
}
