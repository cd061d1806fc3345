/**
 * The JSON forms of spec 003, `agent_message` and `network_broadcast`, to and from the model of its protobuf, so that one handler sees both.
 * Members of `data` are the names of proto/chaoschain.proto; each may be left out where protobuf has a default, and unknown ones are ignored.
 * Bytes are base64, hashes hex, times ISO 8601. What a form says has to fit the protobuf too. Spec: docs/wire/agent-message.md §6
 */
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { encode } from '../base/codec.ts'
import { codeOf, KithError } from '../base/errors.ts'
import {
  type AgentCommunication,
  type AgentContent,
  type AgentContentKind,
  type AgentContents,
  agentCommunication
} from '../wire/agent-communication.ts'
import { agentMessageBody, broadcastBody, readAgentMessage, readBroadcast } from '../wire/agent-payloads.ts'
import type { MemeContent } from '../wire/chaos-meme.ts'
import {
  MAX_AGENT_CAPABILITIES,
  MAX_AGENT_ID_BYTES,
  MAX_AGENT_NAME_BYTES,
  MAX_AGENT_TEXT_BYTES,
  MAX_ALLIANCE_MEMBERS,
  MAX_CHAOS_MESSAGE_BYTES,
  MAX_LINK_CHARS,
  MAX_MEME_TAGS,
  MAX_MIME_BYTES
} from '../wire/limits.ts'
import { badPayload, hex, integer, list, member, object, text, word } from '../wire/payload-fields.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { base64ToBytes, bytesToBase64 } from '../wire/text-bytes.ts'

/** Spec 003's names of the five kinds in JSON. */
const NAMES: { readonly [K in AgentContentKind]: string } = {
  alliance: 'alliance_proposal',
  discussion: 'discussion',
  meme: 'meme',
  status: 'status_update',
  announcement: 'announcement'
}
const KINDS: ReadonlyMap<string, AgentContentKind> = new Map(Object.entries(NAMES).map(([kind, name]) => [name, kind as AgentContentKind]))

export interface AgentForm {
  /** One with a target is an agent_message, one without a network_broadcast. */
  readonly type: 'agent_message' | 'network_broadcast'
  /** As spec 003 shows it, without its `type`. */
  readonly body: JsonObject
}

/** A message of an agent as JSON. */
export function agentForm(m: AgentCommunication): AgentForm {
  const content = { type: NAMES[m.content.kind], data: dataOf(m.content) }
  if (m.targetId === '') return { type: 'network_broadcast', body: broadcastBody({ from: m.agentId, content }) }
  return { type: 'agent_message', body: agentMessageBody({ from: m.agentId, to: m.targetId, content }) }
}

/**
 * Reads a JSON form. Whether `from` may speak for the sender is for the caller to ask.
 * @returns undefined when its content is of a kind that spec 003 does not have @throws BAD_PAYLOAD
 */
export function readAgentForm(type: AgentForm['type'], body: JsonObject): AgentCommunication | undefined {
  const form = type === 'agent_message' ? readAgentMessage(body) : { ...readBroadcast(body), to: '' }
  const kind = KINDS.get(form.content.type)
  if (kind === undefined) return undefined
  const content = { kind, body: READERS[kind](form.content.data) } as AgentContent
  return fitting({ agentId: form.from, targetId: form.to, content })
}

function dataOf(content: AgentContent): JsonObject {
  switch (content.kind) {
    case 'alliance': {
      const { proposalId, name, purpose, members, terms, expiresAt } = content.body
      return {
        proposal_id: proposalId,
        name,
        purpose,
        members,
        terms,
        ...(expiresAt === undefined ? {} : { expires_at: isoTime(expiresAt) })
      }
    }
    case 'discussion': {
      const { subject, text, replyTo, blockHash, stance } = content.body
      return { subject, text, reply_to: replyTo, stance, ...(blockHash ? { block_hash: bytesToHex(blockHash) } : {}) }
    }
    case 'meme':
      return { meme: memeForm(content.body.meme), comment: content.body.comment }
    case 'status': {
      const { state, text, mood, capabilities, tasksRunning, load } = content.body
      return { state, text, mood, capabilities, tasks_running: tasksRunning, load }
    }
    case 'announcement':
      return { ...content.body }
  }
}

const name = (o: JsonObject, field: string): string => text(o, field, MAX_AGENT_NAME_BYTES, '')
const long = (o: JsonObject, field: string): string => text(o, field, MAX_AGENT_TEXT_BYTES, '')
const U32 = 2 ** 32 - 1

const READERS: { readonly [K in AgentContentKind]: (data: JsonObject) => AgentContents[K] } = {
  alliance: o => ({
    proposalId: name(o, 'proposal_id'),
    name: name(o, 'name'),
    purpose: long(o, 'purpose'),
    members: strings(o, 'members', MAX_ALLIANCE_MEMBERS, MAX_AGENT_ID_BYTES),
    terms: long(o, 'terms'),
    expiresAt: member(o, 'expires_at') === undefined ? undefined : readTime(o, 'expires_at')
  }),
  discussion: o => ({
    subject: name(o, 'subject'),
    text: long(o, 'text'),
    replyTo: text(o, 'reply_to', 36, ''),
    blockHash: member(o, 'block_hash') === undefined ? undefined : hexToBytes(hex(o, 'block_hash', 32)),
    stance: word(o, 'stance', ['neutral', 'support', 'oppose'], 'neutral')
  }),
  meme: o => ({ meme: readMemeForm(object(o, 'meme') ?? {}), comment: long(o, 'comment') }),
  status: o => ({
    state: word(o, 'state', ['available', 'busy', 'away', 'offline'], 'available'),
    text: long(o, 'text'),
    mood: name(o, 'mood'),
    capabilities: strings(o, 'capabilities', MAX_AGENT_CAPABILITIES, MAX_AGENT_NAME_BYTES),
    tasksRunning: integer(o, 'tasks_running', 0, U32, 0),
    load: integer(o, 'load', 0, 1000, 0)
  }),
  announcement: o => ({ title: name(o, 'title'), text: long(o, 'text'), link: text(o, 'link', MAX_LINK_CHARS, '') })
}

/** MemeContent as JSON. */
export const memeForm = (m: MemeContent): JsonObject => ({
  title: m.title,
  mime: m.mime,
  data: bytesToBase64(m.data),
  link: m.link,
  author: m.author,
  tags: m.tags
})

/** @throws BAD_PAYLOAD */
export function readMemeForm(o: JsonObject): MemeContent {
  const data = base64ToBytes(text(o, 'data', 2 * MAX_CHAOS_MESSAGE_BYTES, ''))
  if (!data) throw badPayload('data', 'base64')
  return {
    title: name(o, 'title'),
    mime: text(o, 'mime', MAX_MIME_BYTES, ''),
    data,
    link: text(o, 'link', MAX_LINK_CHARS, ''),
    author: name(o, 'author'),
    tags: strings(o, 'tags', MAX_MEME_TAGS, MAX_AGENT_NAME_BYTES)
  }
}

export const isoTime = (ms: number): string => new Date(ms).toISOString()

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/

/** ms since 1970. @throws BAD_PAYLOAD also for days that no month has */
export function readTime(o: JsonObject, field: string): number {
  const value = text(o, field, 24)
  const ms = ISO.test(value) ? Date.parse(value) : Number.NaN
  if (!(ms >= 0) || isoTime(ms) !== (value.length === 24 ? value : `${value.slice(0, 19)}.000Z`))
    throw badPayload(field, 'a time in ISO 8601')
  return ms
}

/** A list of texts, which may be empty. */
function strings(o: JsonObject, field: string, max: number, maxChars: number): readonly string[] {
  return list(o, field, max).map(value => {
    if (typeof value !== 'string' || value.length > maxChars || !value.isWellFormed()) throw badPayload(field, 'a list of texts')
    return value
  })
}

/** Holds what came as JSON to the limits of the protobuf, in bytes. */
function fitting(m: AgentCommunication): AgentCommunication {
  try {
    encode(agentCommunication, m)
    return m
  } catch (cause) {
    throw new KithError('BAD_PAYLOAD', 'a form whose content does not fit the message it stands for', { code: codeOf(cause) }, { cause })
  }
}
