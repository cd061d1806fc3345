/** Gossip topics as the rest of Kith sees them, and the gossip network as topics see it. */
import type { Emitter } from '../base/events.ts'
import type { ChaosPayload } from '../wire/chaos-message.ts'
import type { EntityId } from './types.ts'

/** accept: shown here and passed on · ignore: neither, but nobody is to blame · reject: neither, and whoever passed it on is listened to less. */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** What is used of a gossip library (topics-service.ts makes one of libp2p's). */
export interface PubSub {
  /** Asked once for each message of a topic, after the network's own signature was checked. */
  readonly topicValidators: Map<string, (from: { toString(): string }, message: { readonly data: Uint8Array }) => Promise<Verdict>>
  subscribe(topic: string): void
  unsubscribe(topic: string): void
  publish(topic: string, data: Uint8Array): Promise<{ readonly recipients: readonly unknown[] }>
  getSubscribers(topic: string): readonly { toString(): string }[]
  /** Listens less to a peer: above GOSSIP_DEAF_POINTS not at all, until enough are forgiven. */
  penalise(peerId: string, points: number): void
  /** Points that are not forgiven yet. */
  penaltyOf(peerId: string): number
}

/** The keys that speak: session's SessionSelf is one, an agent's own keys are another. */
export interface TopicSigner {
  /** Ed25519. */
  readonly publicKey: Uint8Array
  /** Raw Ed25519 signature over exactly these bytes, which begin with a domain. */
  signBytes(bytes: Uint8Array): Promise<Uint8Array>
}

export interface TopicMessage {
  /** UUID v4 of the sender; (from, id) is unique. */
  readonly id: string
  /** Full name of the topic. */
  readonly topic: string
  /** did:key of the key that signed. */
  readonly from: EntityId
  /** PeerId of who passed it on to us. */
  readonly relayedBy: string
  /** ms since 1970: the sender's clock, and ours. */
  readonly sentAt: number
  readonly receivedAt: number
  readonly payload: ChaosPayload
}

export type TopicEvents = {
  readonly message: TopicMessage
  /** A message was not shown and not passed on. `code`: why. */
  readonly 'message:refused': { readonly topic: string; readonly relayedBy: string; readonly code: string; readonly verdict: Verdict }
}

export interface PublishOptions {
  /** Short name of a topic (topics/name.ts); absent: the one of all agents. It need not be subscribed. */
  readonly topic?: string
  /** Whose message it is; absent: this instance's. */
  readonly signer?: TopicSigner
  /** UUID v4; absent: a new one. Publishing one id twice publishes it once. */
  readonly id?: string
}

export interface Published {
  readonly id: string
  readonly topic: string
  /** Peers that it was handed to at once; 0: nobody who listens is connected. */
  readonly recipients: number
}

export interface TopicView {
  /** Short name; '' is the topic of all agents. */
  readonly name: string
  readonly topic: string
  /** PeerIds of connected peers that listen. */
  readonly subscribers: readonly string[]
}

export interface TopicStats {
  readonly accepted: number
  readonly ignored: number
  readonly rejected: number
  readonly published: number
}

export interface Topics extends AsyncDisposable {
  readonly events: Emitter<TopicEvents>
  /** Listens to a topic. Twice is once. @throws BAD_TOPIC, TOO_MANY_TOPICS */
  subscribe(name?: string): void
  /** @throws BAD_TOPIC @returns whether it was subscribed */
  unsubscribe(name?: string): boolean
  /** What is subscribed. */
  list(): TopicView[]
  /**
   * Signs a message and gives it to everybody who listens. It is not kept: whoever is not there does not get it.
   * @throws BAD_TOPIC, RATE_LIMITED, IDENTITY_MISMATCH (agent_id is somebody else's did:key), PUBLISH_FAILED, WIRE_RANGE (too large), WIRE_TEXT, BAD_TEXT
   */
  publish(payload: ChaosPayload, options?: PublishOptions): Promise<Published>
  stats(): TopicStats
}
