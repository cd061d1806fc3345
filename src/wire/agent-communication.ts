/**
 * AgentCommunication of spec 003: what an agent says to one other or to all. Fields 1 to 7 are the spec's; `announcement` is added because
 * its JSON form has one.
 *
 * | tag | type                | field        | notes                                                            |
 * | --: | ------------------- | ------------ | ---------------------------------------------------------------- |
 * |   1 | string              | agent_id     | who speaks, ≤ 256 bytes, not empty                               |
 * |   2 | string              | target_id    | to whom; empty: to all                                           |
 * |   3 | enum                | type         | 1 alliance, 2 discussion, 3 meme, 4 status, 5 announcement       |
 * |   4 | AllianceProposal    | alliance     | one of 4 to 8, the one that `type` says                          |
 * |   5 | ConsensusDiscussion | discussion   |                                                                  |
 * |   6 | MemeShare           | meme         |                                                                  |
 * |   7 | AgentStatus         | status       |                                                                  |
 * |   8 | Announcement        | announcement |                                                                  |
 *
 * The fields of those five are in the order of the interfaces below.
 * Spec: docs/wire/agent-message.md §3, proto/chaoschain.proto
 */
import type { Codec } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { type MemeContent, memeContent } from './chaos-meme.ts'
import {
  MAX_AGENT_CAPABILITIES,
  MAX_AGENT_ID_BYTES,
  MAX_AGENT_NAME_BYTES,
  MAX_AGENT_TEXT_BYTES,
  MAX_ALLIANCE_MEMBERS,
  MAX_CHAOS_MESSAGE_BYTES,
  MAX_LINK_CHARS
} from './limits.ts'
import {
  choice,
  fixed,
  layout,
  list,
  nested,
  oneof,
  optional,
  text,
  textElement,
  timestamp,
  uint,
  type Variant
} from './protobuf-fields.ts'

export interface AllianceProposal {
  /** Chosen by who proposes; an answer names it. */
  readonly proposalId: string
  readonly name: string
  readonly purpose: string
  /** Ids of entities or agents. */
  readonly members: readonly string[]
  readonly terms: string
  /** ms since 1970; undefined: no end. */
  readonly expiresAt: number | undefined
}

export interface ConsensusDiscussion {
  readonly subject: string
  readonly text: string
  /** message_id of what this answers, or ''. */
  readonly replyTo: string
  /** The block it is about, 32 bytes. */
  readonly blockHash: Uint8Array | undefined
  readonly stance: 'neutral' | 'support' | 'oppose'
}

export interface MemeShare {
  readonly meme: MemeContent
  readonly comment: string
}

export interface AgentStatus {
  readonly state: 'available' | 'busy' | 'away' | 'offline'
  readonly text: string
  readonly mood: string
  readonly capabilities: readonly string[]
  readonly tasksRunning: number
  /** Per mille. */
  readonly load: number
}

export interface Announcement {
  readonly title: string
  readonly text: string
  /** `kith:` link, or ''. */
  readonly link: string
}

export interface AgentContents {
  readonly alliance: AllianceProposal
  readonly discussion: ConsensusDiscussion
  readonly meme: MemeShare
  readonly status: AgentStatus
  readonly announcement: Announcement
}
export type AgentContent = Variant<AgentContents>
export type AgentContentKind = keyof AgentContents

export interface AgentCommunication {
  readonly agentId: string
  /** '' for everybody. */
  readonly targetId: string
  readonly content: AgentContent
}

const alliance = layout<AllianceProposal>({
  proposalId: text(1, MAX_AGENT_NAME_BYTES),
  name: text(2, MAX_AGENT_NAME_BYTES),
  purpose: text(3, MAX_AGENT_TEXT_BYTES),
  members: list(4, textElement, MAX_ALLIANCE_MEMBERS, MAX_AGENT_ID_BYTES),
  terms: text(5, MAX_AGENT_TEXT_BYTES),
  expiresAt: optional(6, timestamp(6))
})
const discussion = layout<ConsensusDiscussion>({
  subject: text(1, MAX_AGENT_NAME_BYTES),
  text: text(2, MAX_AGENT_TEXT_BYTES),
  replyTo: text(3, 36),
  blockHash: optional(4, fixed(4, 32)),
  stance: choice(5, ['neutral', 'support', 'oppose'])
})
const meme = layout<MemeShare>({ meme: nested(1, memeContent, MAX_CHAOS_MESSAGE_BYTES), comment: text(2, MAX_AGENT_TEXT_BYTES) })
const status = layout<AgentStatus>({
  state: choice(1, ['available', 'busy', 'away', 'offline']),
  text: text(2, MAX_AGENT_TEXT_BYTES),
  mood: text(3, MAX_AGENT_NAME_BYTES),
  capabilities: list(4, textElement, MAX_AGENT_CAPABILITIES, MAX_AGENT_NAME_BYTES),
  tasksRunning: uint(5, 2 ** 32 - 1),
  load: uint(6, 1000)
})
const announcement = layout<Announcement>({
  title: text(1, MAX_AGENT_NAME_BYTES),
  text: text(2, MAX_AGENT_TEXT_BYTES),
  link: text(3, MAX_LINK_CHARS, /^(?:kith:[\x21-\x7e]+)?$/)
})

/** Every kind with its layout, in the order of the fields and of the enum. */
export const AGENT_CONTENTS: { readonly [K in AgentContentKind]: readonly [number, Codec<AgentContents[K]>] } = {
  alliance: [4, alliance],
  discussion: [5, discussion],
  meme: [6, meme],
  status: [7, status],
  announcement: [8, announcement]
}
const KINDS = Object.keys(AGENT_CONTENTS) as AgentContentKind[]

const fields = layout<AgentCommunication & { readonly type: AgentContentKind }>({
  agentId: text(1, MAX_AGENT_ID_BYTES, /./s),
  targetId: text(2, MAX_AGENT_ID_BYTES),
  type: choice(3, KINDS),
  content: oneof<AgentContents>(AGENT_CONTENTS, MAX_CHAOS_MESSAGE_BYTES)
})

export const agentCommunication: Codec<AgentCommunication> = {
  write: (w, m) => fields.write(w, { ...m, type: m.content.kind }),
  read(r) {
    const { type, ...rest } = fields.read(r)
    if (type !== rest.content.kind) throw new KithError('WIRE_RANGE', 'the type and the content differ', { type })
    return rest
  }
}
