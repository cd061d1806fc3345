/**
 * One event for all messages of agents: those that came over gossip topics as protobuf, and those of the messenger in spec 003's JSON forms.
 * Spec: docs/wire/agent-message.md §6, §7
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import type { AgentContent } from '../wire/agent-communication.ts'
import type { ChaosPayload } from '../wire/chaos-message.ts'
import type { NetworkState } from '../wire/chaos-network-state.ts'
import { isJsonObject, type JsonObject } from '../wire/strict-json.ts'
import { type AgentForm, agentForm, readAgentForm } from './agent-forms.ts'
import type {
  AgentMessageContent,
  AgentMessageEvent,
  BroadcastEvents,
  Broadcasts,
  NodeState,
  SayOptions,
  TellOptions
} from './broadcast-types.ts'
import { MAX_NETWORK_STATES } from './limits.ts'
import { nameOfTopic } from './topics/name.ts'
import type { Published, TopicMessage, TopicSigner, Topics } from './topics-types.ts'
import type { EntityId, IncomingMessage, Messenger, SentMessage } from './types.ts'

export interface BroadcastDeps {
  readonly topics: Topics
  /** Absent: only gossip. */
  readonly messenger?: Pick<Messenger, 'send' | 'handle' | 'self'>
  /** The keys with which `topics` signs. */
  readonly self: Pick<TopicSigner, 'publicKey'>
  readonly clock: Clock
  readonly log: Logger
  /** Whether an agent with a did:key of its own is known to speak for an entity: by a login, a certificate or a grant. Absent: none is. */
  readonly speaksFor?: (agentId: string, entityId: EntityId) => boolean
  /** What this node tells of itself; absent: nothing. */
  readonly readState?: () => NetworkState
}

export interface BroadcastOptions {
  /** Time between two network states of ours. Nothing is sent while nobody listens. */
  readonly stateEveryMs?: number
}

/** Runs until it is disposed; topics and messenger belong to the caller. */
export function openBroadcasts(deps: BroadcastDeps, options: BroadcastOptions = {}): Broadcasts {
  return new AgentBroadcasts(deps, options)
}

class AgentBroadcasts implements Broadcasts {
  readonly events: Emitter<BroadcastEvents>
  readonly #deps: BroadcastDeps
  readonly #self: EntityId
  readonly #closing = new AbortController()
  readonly #handlers = new DisposableStack()
  /** Oldest first. */
  readonly #states = new Map<EntityId, NodeState>()
  readonly #telling: Promise<void>

  constructor(deps: BroadcastDeps, options: BroadcastOptions) {
    this.#deps = deps
    this.#self = didOfKey(deps.self.publicKey)
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    deps.topics.events.on('message', m => this.#onTopic(m), this.#closing.signal)
    for (const type of ['agent_message', 'network_broadcast'] as const) {
      if (deps.messenger) this.#handlers.use(deps.messenger.handle(type, async m => this.#onMessage(type, m)))
    }
    this.#telling = this.#tellState(options.stateEveryMs ?? 60_000).catch(() => {})
  }

  say(content: AgentMessageContent, options: SayOptions = {}): Promise<Published> {
    const { topic, signer } = options
    const agentId = options.agentId ?? (signer ? didOfKey(signer.publicKey) : this.#self)
    return this.#deps.topics.publish(payloadOf(content, agentId), {
      ...(topic === undefined ? {} : { topic }),
      ...(signer ? { signer } : {})
    })
  }

  async tell(to: EntityId, content: AgentContent, options: TellOptions = {}): Promise<SentMessage> {
    const { messenger } = this.#deps
    if (!messenger) throw new KithError('NOT_CONNECTED', 'this node has no messenger')
    const targetId = options.targetId === null ? '' : (options.targetId ?? to)
    return messenger.send({ to, ...agentForm({ agentId: options.agentId ?? messenger.self, targetId, content }) })
  }

  states(): NodeState[] {
    return [...this.#states.values()].reverse()
  }

  agentDistribution(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const { state } of this.#states.values())
      for (const { kind, count } of state.agentDistribution) counts.set(kind, (counts.get(kind) ?? 0) + count)
    return counts
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new KithError('MESSENGER_CLOSED', 'broadcasts are over'))
    this.#handlers[Symbol.dispose]()
    await this.#telling
  }

  #onTopic({ id, from, topic, sentAt, receivedAt, payload }: TopicMessage): void {
    const { agentId, targetId, content } = readPayload(payload, from)
    if (content.kind === 'network_state') this.#keep({ from, state: content.body, at: sentAt })
    this.#emit({ id, from, agentId, targetId, via: 'gossip', topic: nameOfTopic(topic), sentAt, receivedAt, content })
  }

  /** Texts are for the people who read the inbox. @throws BAD_PAYLOAD, UNSUPPORTED, IDENTITY_MISMATCH: the sender is told */
  #onMessage(type: AgentForm['type'], { id, from, body, sentAt, receivedAt }: IncomingMessage): void {
    if (isForPeople(body)) return
    const form = readAgentForm(type, body)
    if (!form) throw new KithError('UNSUPPORTED', 'no such kind of content')
    const { agentId, targetId, content } = form
    if (agentId.startsWith('did:') && agentId !== from && !this.#deps.speaksFor?.(agentId, from))
      throw new KithError('IDENTITY_MISMATCH', 'the agent is not known to speak for the sender')
    this.#emit({ id, from, agentId, targetId: targetId || undefined, via: 'direct', topic: undefined, sentAt, receivedAt, content })
  }

  #emit(message: AgentMessageEvent): void {
    this.events.emit('agent:message', message)
  }

  #keep(state: NodeState): void {
    if ((this.#states.get(state.from)?.at ?? 0) > state.at) return
    this.#states.delete(state.from)
    this.#states.set(state.from, state)
    if (this.#states.size > MAX_NETWORK_STATES) this.#states.delete(this.#states.keys().next().value!)
  }

  /** Tells our state now and then, while somebody listens. */
  async #tellState(everyMs: number): Promise<void> {
    const { readState, clock, topics, log } = this.#deps
    if (!readState) return
    for (;;) {
      await clock.sleep(everyMs, this.#closing.signal)
      const general = topics.list().find(t => t.name === '')
      if (!general || general.subscribers.length === 0) continue
      await this.say({ kind: 'network_state', body: readState() }).catch(cause => log.debug('network state not told', { cause }))
    }
  }
}

/** Texts, and that a file which came with one was fetched: docs/wire/message.md. */
const isForPeople = (body: JsonObject): boolean =>
  isJsonObject(body['content']) && (body['content']['type'] === 'text' || body['content']['type'] === 'file_fetched')

/** What a message is on the wire: five kinds are an agent's words, the others stand for themselves. */
function payloadOf(content: AgentMessageContent, agentId: string): ChaosPayload {
  switch (content.kind) {
    case 'network_state':
      return { kind: 'state_update', body: content.body }
    case 'block_proposal':
    case 'consensus_vote':
      return content
    default:
      return { kind: 'agent_comm', body: { agentId, targetId: '', content } }
  }
}

function readPayload(payload: ChaosPayload, from: EntityId): Pick<AgentMessageEvent, 'agentId' | 'targetId' | 'content'> {
  const own = { agentId: from, targetId: undefined }
  switch (payload.kind) {
    case 'agent_comm':
      return { agentId: payload.body.agentId, targetId: payload.body.targetId || undefined, content: payload.body.content }
    case 'state_update':
      return { ...own, content: { kind: 'network_state', body: payload.body } }
    case 'meme':
      return { ...own, content: { kind: 'meme', body: { meme: payload.body, comment: '' } } }
    default:
      return { ...own, content: payload }
  }
}
