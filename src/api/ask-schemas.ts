/**
 * zod schemas of messages, peers, groups and tasks (node/ask-types.ts), as schemas.ts has them for files and money. Those of views are not
 * compared with their types: bodies and outputs are any JSON, which costs the compiler minutes.
 */
import * as z from 'zod'
import type * as T from '../node/ask-types.ts'
import * as limits from './limits.ts'

const time = z.number().describe('milliseconds since 1970')
const peer = z
  .string()
  .min(1)
  .max(limits.MAX_PEER_CHARS)
  .describe('a name given to the peer, its did:key, PeerId, multiaddr with /p2p/, or the http(s) URL of its message server')
const uuid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'must be a UUID v4')
const text = z.string().max(limits.MAX_TEXT_CHARS)
const name = z.string().max(limits.MAX_NAME_CHARS)
const path = z.string().min(1).max(limits.MAX_PATH_CHARS)
const reason = z.strictObject({ code: z.string(), message: z.string() })

export const selfView: z.ZodType = z.strictObject({
  entityId: z.string(),
  url: z.string().optional()
})

export const messageView: z.ZodType = z.strictObject({
  id: z.string(),
  direction: z.enum(['in', 'out']),
  peer: z.string(),
  peerName: z.string().optional(),
  type: z.string(),
  text: z.string().optional(),
  textBytes: z.number().optional().describe('of the whole text, when this is only its beginning'),
  body: z.record(z.string(), z.unknown()),
  file: z.strictObject({ link: z.string(), name: z.string(), size: z.number() }).optional(),
  state: z.enum(['received', 'waiting', 'sent', 'relayed', 'delivered', 'failed']),
  reason: reason.optional(),
  retry: z.strictObject({ since: time, at: time }).optional(),
  group: z.string().optional(),
  legacy: z.boolean().describe('in the form of before version 1.1: signed, not encrypted'),
  createdAt: time,
  changedAt: time
})

export const sendMessageRequest: z.ZodType<T.SendMessageRequest> = z.strictObject({
  to: peer,
  text,
  file: z.exactOptional(path),
  id: z.exactOptional(uuid),
  ttlMs: z.exactOptional(z.int().positive().max(limits.MAX_TTL_MS))
})

export const messageQuery: z.ZodType<{ direction?: 'in' | 'out'; limit?: number }> = z.strictObject({
  direction: z.exactOptional(z.enum(['in', 'out'])),
  limit: z.exactOptional(z.coerce.number().int().positive().max(limits.MAX_LISTED))
})

export const knownPeerView: z.ZodType = z.strictObject({
  entityId: z.string(),
  name: z.string().optional(),
  peerIds: z.array(z.string()),
  addresses: z.array(z.string()),
  connected: z.boolean(),
  verified: z.boolean(),
  banned: z.boolean(),
  score: z.number(),
  capabilities: z.array(z.string()),
  status: z.record(z.string(), z.unknown()).optional(),
  firstSeen: time,
  lastSeen: time,
  sentMessages: z.number(),
  receivedMessages: z.number(),
  latencyMs: z.number().optional(),
  grants: z.array(z.string())
})

export const changePeerRequest: z.ZodType<T.ChangePeerRequest> = z.strictObject({
  peer,
  name: z.exactOptional(name),
  verified: z.exactOptional(z.boolean()),
  legacy: z.exactOptional(z.boolean()),
  mailbox: z.exactOptional(z.boolean()),
  banned: z.exactOptional(z.boolean())
})

export const verifyRequest: z.ZodType<{ peer: string }> = z.strictObject({ peer })
export const verifyView: z.ZodType = z.strictObject({
  entityId: z.string(),
  name: z.string().optional(),
  verified: z.boolean(),
  words: z.array(z.string())
})

export const networkView: z.ZodType = z.strictObject({
  connected_peers: z.number(),
  message_latency: z.strictObject({ p50_ms: z.number().optional(), p99_ms: z.number().optional() }),
  bandwidth_usage: z.strictObject({ in_bytes_per_second: z.number(), out_bytes_per_second: z.number() }),
  agent_distribution: z.record(z.string(), z.number()),
  network_load: z.record(z.string(), z.number())
})

const what = z
  .string()
  .max(limits.MAX_NAME_CHARS)
  .regex(/^(?:task:(?:\*|[a-z0-9][a-z0-9._-]*)|relay|mailbox|stats)$/, 'must be task:SKILL, task:*, relay, mailbox or stats')
export const grantRequest: z.ZodType<{ to: string; what: string }> = z.strictObject({ to: peer, what })
export const grantView: z.ZodType = z.strictObject({
  to: z.string(),
  name: z.string().optional(),
  what: z.string(),
  createdAt: time
})

export const groupView: z.ZodType = z.strictObject({
  id: z.string(),
  name: z.string(),
  epoch: z.number(),
  members: z.array(z.strictObject({ entityId: z.string(), name: z.string().optional(), role: z.enum(['admin', 'member']) })),
  isMember: z.boolean(),
  split: z.boolean()
})
const peers = z.array(peer).max(limits.MAX_GROUP_CHANGE)
export const createGroupRequest: z.ZodType<{ name: string; members: readonly string[] }> = z.strictObject({
  name: name.min(1),
  members: peers
})
export const changeGroupRequest: z.ZodType<{ add?: readonly string[]; remove?: readonly string[] }> = z.strictObject({
  add: z.exactOptional(peers),
  remove: z.exactOptional(peers)
})
/** Nothing has to be said. */
export const emptyRequest: z.ZodType<Record<string, never>> = z.strictObject({})
export const groupTextRequest: z.ZodType<{ text: string }> = z.strictObject({ text: text.min(1) })

export const agentMessageView: z.ZodType = z.strictObject({
  id: z.string(),
  from: z.string(),
  fromName: z.string().optional(),
  agentId: z.string(),
  to: z.string().optional(),
  via: z.enum(['gossip', 'direct']),
  topic: z.string().optional(),
  kind: z.string(),
  data: z.record(z.string(), z.unknown()),
  sentAt: time
})
export const sayRequest: z.ZodType<T.SayRequest> = z.strictObject({
  kind: z.enum(['alliance_proposal', 'discussion', 'meme', 'status_update', 'announcement']),
  data: z.record(z.string(), z.unknown()),
  topic: z.exactOptional(name),
  to: z.exactOptional(peer)
})
export const saidView: z.ZodType = z.strictObject({ id: z.string(), recipients: z.number() })

const skill = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'must be letters, digits, dots, dashes')
export const skillView: z.ZodType = z.strictObject({
  name: z.string(),
  description: z.string(),
  command: z.array(z.string()),
  concurrency: z.number(),
  running: z.number()
})
export const serveSkillRequest: z.ZodType<T.ServeSkillRequest> = z.strictObject({
  name: skill,
  description: z.exactOptional(text),
  command: z.array(z.string().max(limits.MAX_PATH_CHARS)).min(1).max(limits.MAX_ARGUMENTS),
  cwd: z.exactOptional(path),
  concurrency: z.exactOptional(z.int().positive().max(limits.MAX_CONCURRENCY)),
  timeoutMs: z.exactOptional(z.int().positive().max(limits.MAX_TTL_MS)),
  allow: z.exactOptional(peers)
})

const taskState = z.enum(['PENDING', 'ASSIGNED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'CANCELLED', 'REFUSED'])
export const taskView: z.ZodType = z.strictObject({
  id: z.string(),
  role: z.enum(['given', 'received']),
  peer: z.string(),
  peerName: z.string().optional(),
  skill: z.string(),
  description: z.string(),
  state: taskState,
  progress: z.number().optional(),
  note: z.string().optional(),
  output: z.unknown(),
  file: z.strictObject({ link: z.string(), name: z.string(), size: z.number() }).optional(),
  error: reason.optional(),
  createdAt: time,
  deadline: time.optional(),
  finishedAt: time.optional(),
  attempts: z.number()
})
export const taskOutput: z.ZodType = z.strictObject({ output: z.unknown() })
export const askRequest: z.ZodType<T.AskRequest> = z.strictObject({
  to: z.exactOptional(peer),
  skill: z.exactOptional(skill),
  description: text,
  input: z.exactOptional(z.unknown()),
  files: z.exactOptional(z.array(path).max(limits.MAX_TASK_FILES)),
  deadlineMs: z.exactOptional(z.int().positive().max(limits.MAX_TTL_MS)),
  idempotencyKey: z.exactOptional(name.min(1))
})

export const askEvent: z.ZodType = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('message:received'), message: messageView }),
  z.strictObject({ type: z.literal('message:changed'), message: messageView }),
  z.strictObject({ type: z.literal('agent:message'), message: agentMessageView }),
  z.strictObject({ type: z.literal('task:changed'), task: taskView }),
  z.strictObject({ type: z.literal('group:changed'), group: groupView }),
  z.strictObject({ type: z.literal('peer:connected'), entityId: z.string() }),
  z.strictObject({ type: z.literal('peer:lost'), entityId: z.string(), reason: z.string() })
])

export const askSchemas: Readonly<Record<string, z.ZodType>> = {
  Self: selfView,
  MessageView: messageView,
  SendMessageRequest: sendMessageRequest,
  KnownPeerView: knownPeerView,
  ChangePeerRequest: changePeerRequest,
  VerifyView: verifyView,
  NetworkView: networkView,
  GrantRequest: grantRequest,
  GrantView: grantView,
  GroupView: groupView,
  CreateGroupRequest: createGroupRequest,
  ChangeGroupRequest: changeGroupRequest,
  AgentMessageView: agentMessageView,
  SayRequest: sayRequest,
  SkillView: skillView,
  ServeSkillRequest: serveSkillRequest,
  TaskView: taskView,
  AskRequest: askRequest
}
