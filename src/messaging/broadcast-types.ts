/** Messages of agents as the rest of Kith sees them, whichever way and in whichever encoding they came. */
import type { Emitter } from '../base/events.ts'
import type { AgentContent, AgentContents } from '../wire/agent-communication.ts'
import type { BlockProposal, ConsensusVote } from '../wire/chaos-block.ts'
import type { NetworkState } from '../wire/chaos-network-state.ts'
import type { Variant } from '../wire/protobuf-fields.ts'
import type { Published, TopicSigner } from './topics-types.ts'
import type { EntityId, SentMessage } from './types.ts'

export interface AgentMessageBodies extends AgentContents {
  readonly network_state: NetworkState
  readonly block_proposal: BlockProposal
  readonly consensus_vote: ConsensusVote
}
/** `{kind, body}`: alliance, discussion, meme, status, announcement, network_state, block_proposal or consensus_vote. */
export type AgentMessageContent = Variant<AgentMessageBodies>

export interface AgentMessageEvent {
  /** The sender's UUID; (from, id) is stable. A direct message may be told again after a crash. */
  readonly id: string
  /** did:key that signed. Trust this one; `agentId` may be a nickname. */
  readonly from: EntityId
  /** Who speaks: a did:key that has been proved, or a name that `from` gave itself. */
  readonly agentId: string
  /** To whom; undefined: to all. */
  readonly targetId: string | undefined
  readonly via: 'gossip' | 'direct'
  /** Short name of the topic; undefined for a direct message. '' is the topic of all agents. */
  readonly topic: string | undefined
  /** ms since 1970: the sender's clock, and ours. */
  readonly sentAt: number
  readonly receivedAt: number
  readonly content: AgentMessageContent
}

export type BroadcastEvents = { readonly 'agent:message': AgentMessageEvent }

export interface SayOptions {
  /** Who speaks; absent: the did:key that signs. */
  readonly agentId?: string
  /** Short name of a topic; absent: the one of all agents. */
  readonly topic?: string
  /** An agent's own keys; absent: this instance's. */
  readonly signer?: TopicSigner
}

export interface TellOptions {
  /** Who speaks; absent: this instance's did:key. */
  readonly agentId?: string
  /** The agent at the recipient; absent: the recipient itself. null: a network_broadcast to this one peer, for those that gossip does not reach. */
  readonly targetId?: string | null
}

export interface NodeState {
  readonly from: EntityId
  readonly state: NetworkState
  /** ms since 1970, by the sender's clock. */
  readonly at: number
}

export interface Broadcasts extends AsyncDisposable {
  readonly events: Emitter<BroadcastEvents>
  /** Says something to all who listen to a topic now. @throws what Topics.publish does */
  say(content: AgentMessageContent, options?: SayOptions): Promise<Published>
  /** Says something to one entity, durably: it waits when the entity is away. @throws NOT_CONNECTED without a messenger, what Messenger.send does */
  tell(to: EntityId, content: AgentContent, options?: TellOptions): Promise<SentMessage>
  /** The newest network state of each node that told one, newest first; at most MAX_NETWORK_STATES. */
  states(): NodeState[]
  /** How many agents of each kind those nodes have together. */
  agentDistribution(): ReadonlyMap<string, number>
}
