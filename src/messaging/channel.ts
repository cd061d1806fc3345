/**
 * A secure session as delivery sees it: what it counts, encrypts and signs is the session's (session-channel.ts). Where the platform answers
 * at once so does this, because a promise for each message costs more than its bookkeeping.
 */
import type { Eventual } from '../platform/crypto-types.ts'
import type { MessageType } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import type { MessageLink } from './link.ts'
import type { EntityId } from './types.ts'

export interface SealedFrame {
  readonly frame: Uint8Array
  /** Names the message in acknowledgements, within its session. */
  readonly sequence: number
}

export interface OpenedFrame {
  /** undefined: not known here. */
  readonly type: MessageType | undefined
  readonly sequence: number
  /** ms since 1970 by the sender's clock. */
  readonly sentAt: number
  /** UUID v4; undefined for types that carry none, and when there is a fault. */
  readonly messageId?: string | undefined
  /** Payload of the type without its message_id; undefined when there is a fault. */
  readonly body?: JsonObject
  /** Why the message cannot be used, though it is authentic. */
  readonly fault?: string
}

export interface Channel {
  readonly peer: EntityId
  readonly sessionId: string
  /** @param payload JSON in UTF-8 @throws SESSION_EXPIRED, TOO_LARGE */
  seal(type: MessageType, payload: Uint8Array): Eventual<SealedFrame>
  /** What may be acted on now, in order: a frame may wait for one before it. @throws any code of wire or session: the frame is not to be used */
  open(frame: Uint8Array): Eventual<readonly OpenedFrame[]>
  /** Whether a new session must be made before more is sealed. */
  readonly worn: boolean
  close(): void
}

export interface Channels {
  /** Greets on a new link as the one who opened it. @throws IDENTITY_MISMATCH and every code of a handshake */
  connect(link: MessageLink, to: EntityId, signal: AbortSignal): Promise<Channel>
  /** Answers who greets on a link; the peer is known afterwards. */
  accept(link: MessageLink, signal: AbortSignal): Promise<Channel>
}
