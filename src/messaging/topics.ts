/**
 * Gossip topics of agents: whoever publishes signs, whoever passes on has checked the signature, date and sender of each message first, so
 * that nothing bad goes further than one node. Spec: docs/wire/agent-message.md §7
 */
import { ed25519Verify } from '#crypto'
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import {
  type ChaosMessage,
  type ChaosPayload,
  chaosBytesToSign,
  chaosSignedBytes,
  readChaosMessage,
  writeChaosMessage
} from '../wire/chaos-message.ts'
import {
  GOSSIP_BAD_MESSAGE_POINTS,
  MAX_RATED_AUTHORS,
  MAX_TOPICS,
  TOPIC_MESSAGES_BURST,
  TOPIC_MESSAGES_PER_SECOND,
  TOPIC_WINDOW_MS
} from './limits.ts'
import { RatedNames } from './rated.ts'
import { nameOfTopic, topicOf } from './topics/name.ts'
import { SeenMessages } from './topics/seen.ts'
import type { Published, PublishOptions, PubSub, TopicEvents, TopicSigner, TopicStats, Topics, TopicView, Verdict } from './topics-types.ts'
import { newUuid } from './uuid.ts'

export interface TopicsDeps {
  readonly pubsub: PubSub
  readonly self: TopicSigner
  readonly clock: Clock
  readonly log: Logger
}

export interface TopicsOptions {
  /** Short names to listen to from the beginning; default: the topic of all agents. */
  readonly subscribe?: readonly string[]
  /** Messages of one author that are taken in a second, and our own that are sent. */
  readonly messagesPerSecond?: number
}

/** Listens to the topics of the options until it is disposed. @throws BAD_TOPIC, TOO_MANY_TOPICS */
export function openTopics(deps: TopicsDeps, options: TopicsOptions = {}): Topics {
  const topics = new GossipTopics(deps, options)
  for (const name of options.subscribe ?? ['']) topics.subscribe(name)
  return topics
}

/** What a message that is not shown says about who passed it on. Another version, another clock and a repetition are nobody's fault. */
const BLAMELESS: ReadonlySet<string> = new Set(['WIRE_VERSION', 'CLOCK_SKEW', 'REPLAY_DETECTED', 'RATE_LIMITED'])

class GossipTopics implements Topics {
  readonly events: Emitter<TopicEvents>
  readonly #deps: TopicsDeps
  readonly #subscribed = new Set<string>()
  readonly #seen = new SeenMessages()
  readonly #rates: RatedNames
  readonly #counts = { accepted: 0, ignored: 0, rejected: 0, published: 0 }

  constructor(deps: TopicsDeps, options: TopicsOptions) {
    this.#deps = deps
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    const perSecond = options.messagesPerSecond ?? TOPIC_MESSAGES_PER_SECOND
    const rate = { perSecond, burst: Math.max(perSecond, TOPIC_MESSAGES_BURST) }
    this.#rates = new RatedNames(deps.clock, rate, MAX_RATED_AUTHORS)
  }

  subscribe(name = ''): void {
    const topic = topicOf(name)
    if (this.#subscribed.has(topic)) return
    if (this.#subscribed.size >= MAX_TOPICS) throw new KithError('TOO_MANY_TOPICS', 'too many topics', { max: MAX_TOPICS })
    this.#subscribed.add(topic)
    this.#deps.pubsub.topicValidators.set(topic, (from, { data }) => this.#validate(topic, from.toString(), data))
    this.#deps.pubsub.subscribe(topic)
  }

  unsubscribe(name = ''): boolean {
    const topic = topicOf(name)
    if (!this.#subscribed.delete(topic)) return false
    this.#deps.pubsub.unsubscribe(topic)
    this.#deps.pubsub.topicValidators.delete(topic)
    return true
  }

  list(): TopicView[] {
    return [...this.#subscribed].map(topic => ({
      name: nameOfTopic(topic),
      topic,
      subscribers: this.#deps.pubsub.getSubscribers(topic).map(p => p.toString())
    }))
  }

  async publish(payload: ChaosPayload, options: PublishOptions = {}): Promise<Published> {
    const topic = topicOf(options.topic ?? '')
    const { publicKey: senderKey, signBytes } = bound(options.signer ?? this.#deps.self)
    const from = didOfKey(senderKey)
    checkSpeaker(payload, from)
    const unsigned = { messageId: options.id ?? newUuid(), createdAt: this.#deps.clock.now(), payload, senderKey }
    // Before the rate is charged: what is not a message costs nothing.
    const toSign = chaosBytesToSign(unsigned)
    if (this.#seen.has(from, unsigned.messageId)) return { id: unsigned.messageId, topic, recipients: 0 }
    if (!this.#rates.tryTake(from))
      throw new KithError('RATE_LIMITED', 'others would ignore so many messages of one author', {}, { hint: 'wait a moment' })
    const bytes = writeChaosMessage({ ...unsigned, signature: await signBytes(toSign) })
    this.#remember(from, unsigned)
    try {
      const { recipients } = await this.#deps.pubsub.publish(topic, bytes)
      this.#counts.published++
      return { id: unsigned.messageId, topic, recipients: recipients.length }
    } catch (cause) {
      throw new KithError('PUBLISH_FAILED', 'the gossip network took no message', { topic }, { cause })
    }
  }

  stats(): TopicStats {
    return { ...this.#counts }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const topic of [...this.#subscribed]) this.unsubscribe(nameOfTopic(topic))
  }

  async #validate(topic: string, relayedBy: string, data: Uint8Array): Promise<Verdict> {
    try {
      const message = await this.#check(data)
      this.#counts.accepted++
      const { messageId: id, createdAt: sentAt, payload } = message
      const receivedAt = this.#deps.clock.now()
      this.events.emit('message', { id, topic, from: didOfKey(message.senderKey), relayedBy, sentAt, receivedAt, payload })
      return 'accept'
    } catch (cause) {
      return this.#refused(topic, relayedBy, codeOf(cause))
    }
  }

  #refused(topic: string, relayedBy: string, code: string): Verdict {
    const verdict = BLAMELESS.has(code) ? 'ignore' : 'reject'
    this.#counts[verdict === 'ignore' ? 'ignored' : 'rejected']++
    if (verdict === 'reject') this.#deps.pubsub.penalise(relayedBy, GOSSIP_BAD_MESSAGE_POINTS)
    this.#deps.log.debug('gossip message refused', { topic, peer: relayedBy, code })
    this.events.emit('message:refused', { topic, relayedBy, code, verdict })
    return verdict
  }

  /** Cheap checks first, then the signature; what costs the author something only after it. @throws the reason */
  async #check(data: Uint8Array): Promise<ChaosMessage> {
    const message = readChaosMessage(data)
    const from = didOfKey(message.senderKey)
    if (Math.abs(this.#deps.clock.now() - message.createdAt) > TOPIC_WINDOW_MS) throw new KithError('CLOCK_SKEW', 'too old or too new')
    if (this.#seen.has(from, message.messageId)) throw new KithError('REPLAY_DETECTED', 'seen before')
    checkSpeaker(message.payload, from)
    if (!(await ed25519Verify(message.senderKey, chaosSignedBytes(data), message.signature)))
      throw new KithError('WIRE_SIGNATURE', 'the signature does not match')
    if (!this.#rates.tryTake(from)) throw new KithError('RATE_LIMITED', 'too many messages of one author')
    if (!this.#remember(from, message)) throw new KithError('REPLAY_DETECTED', 'seen before')
    return message
  }

  /** Remembers a message until its date is out of the window. @returns false when it was known */
  #remember(from: string, { messageId, createdAt }: { readonly messageId: string; readonly createdAt: number }): boolean {
    return this.#seen.add(from, messageId, this.#deps.clock.now(), createdAt + TOPIC_WINDOW_MS)
  }
}

/** An agent with a did:key signs by that key; any other name is a nickname, and `from` says who really speaks. @throws IDENTITY_MISMATCH */
function checkSpeaker(payload: ChaosPayload, from: string): void {
  if (payload.kind !== 'agent_comm') return
  const { agentId } = payload.body
  if (agentId.startsWith('did:') && agentId !== from)
    throw new KithError('IDENTITY_MISMATCH', 'the agent id belongs to another key than the one that signs')
}

const bound = (signer: TopicSigner): TopicSigner => ({ publicKey: signer.publicKey, signBytes: bytes => signer.signBytes(bytes) })
