/**
 * The kinds of messages, their priorities and their aliases: spec 001's table, `handshake_confirm` of its flow, `ping` of its handlers,
 * the answers to tasks, the JSON forms of spec 003, and what delivery, groups and acknowledgements need beside them.
 * Spec: docs/wire/message.md §2
 */

/** `high` is spec 003's highest, `normal` its medium. */
export type Priority = 'high' | 'normal' | 'low'

export const MESSAGE_TYPES = {
  handshake: 'high',
  handshake_ack: 'high',
  handshake_confirm: 'high',
  ping: 'high',
  status_report: 'normal',
  heartbeat: 'low',
  capability_query: 'normal',
  capability_response: 'normal',
  wake_up: 'high',
  task_delegate: 'high',
  task_progress: 'normal',
  task_result: 'high',
  task_cancel: 'high',
  task_refuse: 'high',
  discovery: 'normal',
  error: 'high',
  chunk: 'normal',
  agent_message: 'normal',
  network_broadcast: 'normal',
  group_update: 'high',
  group_message: 'normal',
  ack: 'high'
} as const

export type MessageType = keyof typeof MESSAGE_TYPES

/** Short names of spec 001's field list. */
const ALIASES: ReadonlyMap<string, MessageType> = new Map([
  ['status', 'status_report'],
  ['task', 'task_delegate']
])
const TYPES: ReadonlyMap<string, MessageType> = new Map([
  ...ALIASES,
  ...(Object.keys(MESSAGE_TYPES) as MessageType[]).map(t => [t, t] as const)
])

/** The type behind a name on the wire; undefined for one that is not known (threats SM30: never by looking it up in an object). */
export const messageTypeOf = (name: string): MessageType | undefined => TYPES.get(name)
