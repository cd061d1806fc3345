/**
 * The JSON forms of spec 003: what agents say to one another, and to everybody.
 *
 * | type              | members                                                                       |
 * | ----------------- | ----------------------------------------------------------------------------- |
 * | agent_message     | from, to: ids of agents; content {type, data}                                 |
 * | network_broadcast | from: id of an agent; content {type, data}                                    |
 *
 * `type` is alliance_proposal, meme or discussion for one, status_update or announcement for all, or another word. Whether `from` is an
 * agent of the sender is for the reader to ask.
 * Spec: docs/wire/message.md §4
 */
import { MAX_AGENT_ID_BYTES } from './limits.ts'
import { badPayload, object, text } from './payload-fields.ts'
import type { JsonObject } from './strict-json.ts'

export interface AgentContent {
  readonly type: string
  readonly data: JsonObject
}
export interface Broadcast {
  readonly from: string
  readonly content: AgentContent
}
export interface AgentMessage extends Broadcast {
  readonly to: string
}

const WORD = /^[a-z][a-z0-9_]{0,63}$/

export const broadcastBody = (b: Broadcast): JsonObject => ({ from: b.from, content: { type: b.content.type, data: b.content.data } })
export const agentMessageBody = (m: AgentMessage): JsonObject => ({ ...broadcastBody(m), to: m.to })

/** @throws BAD_PAYLOAD */
export function readBroadcast(o: JsonObject): Broadcast {
  const content = object(o, 'content') ?? {}
  const type = text(content, 'type', 64)
  if (!WORD.test(type)) throw badPayload('content.type', 'a word')
  return { from: agentId(o, 'from'), content: { type, data: object(content, 'data') ?? {} } }
}

/** @throws BAD_PAYLOAD */
export const readAgentMessage = (o: JsonObject): AgentMessage => ({ ...readBroadcast(o), to: agentId(o, 'to') })

function agentId(o: JsonObject, field: string): string {
  const id = text(o, field, MAX_AGENT_ID_BYTES)
  if (id === '') throw badPayload(field, 'the id of an agent')
  return id
}
