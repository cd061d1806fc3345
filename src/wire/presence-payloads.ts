/**
 * Payloads that say how a peer is. `reply_to` is the `message_id` of what is answered.
 *
 * | type          | members                                                                     |
 * | ------------- | --------------------------------------------------------------------------- |
 * | ping          | reply_to?: without it an answer is wished                                   |
 * | heartbeat     | sequence: 0 to 2^53 - 1, one more each time                                 |
 * | status_report | state, load, uptime_seconds, tasks {waiting, running}                       |
 * | wake_up       | reason?                                                                     |
 * | error         | error_code, error_message, original_message_id?                             |
 *
 * Spec: docs/wire/message.md §4
 */
import { MAX_PAYLOAD_TEXT_CHARS, MAX_STATUS_TASKS } from './limits.ts'
import { errorCode, integer, number, object, optionalUuid, text, word } from './payload-fields.ts'
import type { JsonObject } from './strict-json.ts'

export interface Ping {
  readonly replyTo: string | undefined
}
export const pingBody = (p: Ping): JsonObject => (p.replyTo === undefined ? {} : { reply_to: p.replyTo })
/** @throws BAD_PAYLOAD */
export const readPing = (o: JsonObject): Ping => ({ replyTo: optionalUuid(o, 'reply_to') })

export interface Heartbeat {
  readonly sequence: number
}
export const heartbeatBody = (h: Heartbeat): JsonObject => ({ sequence: h.sequence })
/** @throws BAD_PAYLOAD */
export const readHeartbeat = (o: JsonObject): Heartbeat => ({ sequence: integer(o, 'sequence', 0, Number.MAX_SAFE_INTEGER) })

const STATES = ['READY', 'BUSY', 'STOPPING'] as const
export type PeerState = (typeof STATES)[number]

export interface StatusReport {
  readonly state: PeerState
  /** Used part of what it can do: 0 idle, 1 full. */
  readonly load: number
  readonly uptimeSeconds: number
  readonly tasks: { readonly waiting: number; readonly running: number }
}
export const statusBody = (s: StatusReport): JsonObject => ({
  state: s.state,
  load: s.load,
  uptime_seconds: s.uptimeSeconds,
  tasks: { waiting: s.tasks.waiting, running: s.tasks.running }
})
/** @throws BAD_PAYLOAD */
export function readStatus(o: JsonObject): StatusReport {
  const tasks = object(o, 'tasks') ?? {}
  return {
    state: word(o, 'state', STATES),
    load: number(o, 'load', 0, 1, 0),
    uptimeSeconds: integer(o, 'uptime_seconds', 0, Number.MAX_SAFE_INTEGER, 0),
    tasks: { waiting: integer(tasks, 'waiting', 0, MAX_STATUS_TASKS, 0), running: integer(tasks, 'running', 0, MAX_STATUS_TASKS, 0) }
  }
}

export interface WakeUp {
  /** Display text. */
  readonly reason: string
}
export const wakeUpBody = (w: WakeUp): JsonObject => ({ reason: w.reason })
/** @throws BAD_PAYLOAD */
export const readWakeUp = (o: JsonObject): WakeUp => ({ reason: text(o, 'reason', MAX_PAYLOAD_TEXT_CHARS, '') })

export interface ErrorPayload {
  readonly code: string
  /** Display text. */
  readonly message: string
  /** undefined: what was wrong was not read so far. */
  readonly originalMessageId: string | undefined
}
export const errorBody = (e: ErrorPayload): JsonObject => ({
  error_code: e.code,
  error_message: e.message,
  ...(e.originalMessageId !== undefined && { original_message_id: e.originalMessageId })
})
/** @throws BAD_PAYLOAD */
export function readError(o: JsonObject): ErrorPayload {
  const message = text(o, 'error_message', MAX_PAYLOAD_TEXT_CHARS, '')
  return { code: errorCode(o, 'error_code'), message, originalMessageId: optionalUuid(o, 'original_message_id') }
}
