/**
 * A message outside any session: for what waits at others, and for what comes alone over HTTP. It is signed, not encrypted (who carries it
 * seals it), has sequence number 0 and a session_id of its own. Its recipient cannot be exchanged; that it counts once is said by its
 * message_id, or by its nonce.
 * Spec: docs/wire/message.md §2
 */
import { openVerifier } from '#crypto'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { checkClock } from '../../session/replay-window.ts'
import type { SessionSelf } from '../../session/types.ts'
import type { MessageType } from '../../wire/message-types.ts'
import { readPayload } from '../../wire/payloads.ts'
import { messageTime, readSecureMessage, writeSecureMessage } from '../../wire/secure-message.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { CLOCK_AHEAD_MS, MAX_TTL_MS } from '../limits.ts'
import type { EntityId } from '../types.ts'
import { newUuid } from '../uuid.ts'

export interface SingleMessageDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly random: (n: number) => Uint8Array
  readonly self: SessionSelf
}

export interface SingleMessage {
  readonly from: EntityId
  readonly type: MessageType
  /** undefined for an `ack`. */
  readonly messageId: string | undefined
  readonly body: JsonObject
  readonly sentAt: number
  /** 64 hex digits. */
  readonly nonce: string
}

/** Writes a whole signed message. @param payload JSON in UTF-8 @throws TOO_LARGE */
export function writeSingleMessage(deps: SingleMessageDeps, to: EntityId, type: MessageType, payload: Uint8Array): Promise<Uint8Array> {
  const { clock, random, self } = deps
  const message = {
    ...({ version: '1.1', msgType: type, senderId: self.entityId, recipientId: to, sessionId: newUuid(), sequenceNum: 0 } as const),
    ...{ timestamp: messageTime(clock.now()), nonce: bytesToHex(random(32)), encrypted: false, data: payload }
  }
  return writeSecureMessage(message, bytes => self.signBytes(bytes))
}

/** Types that only make sense on a link. */
const LINK_TYPES: ReadonlySet<MessageType> = new Set(['handshake', 'handshake_ack', 'handshake_confirm', 'heartbeat', 'chunk'])

/**
 * Reads and verifies a message that came alone. One that was sealed may have waited as long as messages wait; another one may not.
 * @throws MISROUTED, SEQUENCE_ERROR (it belongs into a session), CLOCK_SKEW, EXPIRED, UNSUPPORTED, INVALID_SIGNATURE, any code of wire
 */
export async function readSingleMessage(deps: SingleMessageDeps, bytes: Uint8Array, via: 'sealed' | 'http'): Promise<SingleMessage> {
  const m = readSecureMessage(bytes)
  if (m.recipientId !== deps.self.entityId) throw new KithError('MISROUTED', 'the message is for somebody else')
  if (m.sequenceNum !== 0 || m.encrypted) throw new KithError('SEQUENCE_ERROR', 'the message belongs into a session')
  if (!m.type || LINK_TYPES.has(m.type)) throw new KithError('UNSUPPORTED', 'no message that comes alone', { type: m.msgType })
  if (via === 'http') checkClock(deps.clock, m.sentAt)
  else checkAge(m.sentAt, deps.clock.now())
  if (!(await openVerifier(m.senderKey).verify(m.signedBytes, m.signature)))
    throw new KithError('INVALID_SIGNATURE', 'the message is not signed by its sender')
  return { from: m.senderId, type: m.type, sentAt: m.sentAt, nonce: m.nonce, ...readPayload(m.type, m.data) }
}

function checkAge(sentAt: number, now: number): void {
  if (sentAt > now + CLOCK_AHEAD_MS)
    throw new KithError('CLOCK_SKEW', 'the message is dated in the future', { ours: now, timestamp: sentAt })
  if (sentAt < now - MAX_TTL_MS - CLOCK_AHEAD_MS)
    throw new KithError('EXPIRED', 'the message has waited for too long', { timestamp: sentAt })
}
