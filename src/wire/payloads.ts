/**
 * The payload of any message: UTF-8 JSON, an object, with the sender's `message_id` beside the members of its type. Members that are not
 * known are kept, and ignored by whoever does not know them. Payloads of tasks, groups, chunks, handshakes and acknowledgements are read by the
 * folders that act on them (agents, messaging, session); here they are held to be objects of a bounded size.
 * Spec: docs/wire/message.md §3
 */
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { readAgentMessage, readBroadcast } from './agent-payloads.ts'
import { readCapabilities, readDiscovery } from './capability-payloads.ts'
import { MAX_SMALL_PAYLOAD_BYTES } from './limits.ts'
import type { MessageType } from './message-types.ts'
import { badPayload } from './payload-fields.ts'
import { readError, readHeartbeat, readPing, readStatus, readWakeUp } from './presence-payloads.ts'
import { isUuidV4 } from './secure-message.ts'
import { canonicalJson, type JsonObject, parseJsonObject } from './strict-json.ts'

export interface ReceivedPayload {
  /** UUID v4, the same on every attempt; undefined only for types that carry none: handshake*, ack, chunk, heartbeat. */
  readonly messageId: string | undefined
  /** All other members, of the form that the type asks for. */
  readonly body: JsonObject
}

/** Types that are part of a link or a session, and so are never delivered twice by id. */
const WITHOUT_ID: ReadonlySet<MessageType> = new Set(['handshake', 'handshake_ack', 'handshake_confirm', 'ack', 'chunk', 'heartbeat'])

/** Types whose payload has no business being large. */
const SMALL: ReadonlySet<MessageType> = new Set([
  'handshake',
  'handshake_ack',
  'handshake_confirm',
  'ping',
  'status_report',
  'heartbeat',
  'capability_query',
  'wake_up',
  'task_progress',
  'task_cancel',
  'task_refuse',
  'error'
])

const READERS: Partial<Record<MessageType, (body: JsonObject) => unknown>> = {
  ping: readPing,
  heartbeat: readHeartbeat,
  status_report: readStatus,
  wake_up: readWakeUp,
  error: readError,
  capability_response: readCapabilities,
  discovery: readDiscovery,
  agent_message: readAgentMessage,
  network_broadcast: readBroadcast
}

/** @throws BAD_PAYLOAD, MALFORMED_JSON, TOO_DEEP, TOO_LARGE */
export function readPayload(type: MessageType, bytes: Uint8Array): ReceivedPayload {
  if (SMALL.has(type) && bytes.length > MAX_SMALL_PAYLOAD_BYTES)
    throw new KithError('TOO_LARGE', 'the payload is too large for its type', { bytes: bytes.length, maxBytes: MAX_SMALL_PAYLOAD_BYTES })
  const { message_id: messageId, ...body } = parseJsonObject(bytes)
  if (!isUuidV4(messageId) && !(messageId === undefined && WITHOUT_ID.has(type))) throw badPayload('message_id', 'a UUID v4')
  READERS[type]?.(body)
  return { messageId, body }
}

/** Whether a body that is to be sent has the form its type asks for. @param bytes its length as JSON @throws BAD_PAYLOAD, TOO_LARGE */
export function checkBody(type: MessageType, body: JsonObject, bytes: number): void {
  if (SMALL.has(type) && bytes > MAX_SMALL_PAYLOAD_BYTES)
    throw new KithError('TOO_LARGE', 'the payload is too large for its type', { bytes, maxBytes: MAX_SMALL_PAYLOAD_BYTES })
  READERS[type]?.(body)
}

/** The payload in canonical form. @throws BAD_PAYLOAD, MALFORMED_JSON (what JSON cannot carry), TOO_DEEP */
export function payloadBytes(body: JsonObject, messageId?: string): Uint8Array<ArrayBuffer> {
  if (Object.hasOwn(body, 'message_id')) throw badPayload('message_id', 'given beside the body')
  return utf8(canonicalJson(messageId === undefined ? body : { ...body, message_id: messageId }))
}
