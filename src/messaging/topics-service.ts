/**
 * libp2p's gossipsub as Kith runs it: a network of its own by protocol name, every message signed by the peer that published it, and limits
 * for everything a peer can choose. Spec: docs/wire/agent-message.md §7
 */
import type { GossipSubComponents } from '@libp2p/gossipsub'
import type { Clock } from '../base/clock.ts'
import {
  GOSSIP_DEAF_POINTS,
  GOSSIP_PEERS_PER_ADDRESS,
  MAX_GOSSIP_BUFFER_BYTES,
  MAX_GOSSIP_CONTROLS,
  MAX_GOSSIP_FRAME_BYTES,
  MAX_GOSSIP_IDS,
  MAX_GOSSIP_MESSAGES,
  MAX_TOPICS_PER_PEER,
  TOPIC_OVERHEAD_BYTES
} from './limits.ts'
import { type FrameReceiver, GossipBook, guardFrames } from './topics/guard.ts'
import { AGENTS_TOPIC } from './topics/name.ts'
import type { PubSub, Verdict } from './topics-types.ts'

/** Nodes with another protocol name are another network. What is spoken is gossipsub v1.0 with the library's limits of v1.1. */
export const GOSSIP_PROTOCOL = '/kith/meshsub/1.0.0'

export interface GossipServiceOptions {
  /** Default GOSSIP_PROTOCOL. */
  readonly protocol?: string
  /** Time between two rounds of telling others what is known. */
  readonly heartbeatMs?: number
}

const LOOPBACK = ['127.0.0.1', '::1']

/** Factory of the gossip service for `openHost`. Resolves when the library is loaded. */
export async function gossipService(
  deps: { readonly clock: Pick<Clock, 'monotonic' | 'sleep'> },
  options: GossipServiceOptions = {}
): Promise<(components: GossipSubComponents) => PubSub> {
  const { gossipsub, StrictSign } = await import('@libp2p/gossipsub')
  return components => {
    const book = new GossipBook(deps.clock)
    const service = gossipsub({
      globalSignaturePolicy: StrictSign,
      fallbackToFloodsub: false,
      allowPublishToZeroTopicPeers: true,
      doPX: false,
      emitSelf: false,
      tagMeshPeers: false,
      runOnLimitedConnection: true,
      heartbeatInterval: options.heartbeatMs ?? 1000,
      maxInboundStreams: 2,
      maxOutboundStreams: 2,
      maxInboundDataLength: MAX_GOSSIP_FRAME_BYTES,
      maxOutboundBufferSize: MAX_GOSSIP_BUFFER_BYTES,
      // So many topics of the shortest name. Longer names: fewer of them.
      maxTopicBytesPerPeer: MAX_TOPICS_PER_PEER * (AGENTS_TOPIC.length + TOPIC_OVERHEAD_BYTES),
      decodeRpcLimits: {
        maxSubscriptions: MAX_TOPICS_PER_PEER,
        maxMessages: MAX_GOSSIP_MESSAGES,
        maxControlMessages: MAX_GOSSIP_CONTROLS,
        maxIhaveMessageIDs: MAX_GOSSIP_IDS,
        maxIwantMessageIDs: MAX_GOSSIP_IDS,
        maxIdontwantMessageIDs: MAX_GOSSIP_CONTROLS,
        maxPeerInfos: 16
      },
      scoreParams: {
        appSpecificScore: peer => -book.points(peer),
        appSpecificWeight: 1,
        IPColocationFactorThreshold: GOSSIP_PEERS_PER_ADDRESS,
        IPColocationFactorWhitelist: new Set(LOOPBACK)
      },
      scoreThresholds: {
        gossipThreshold: -GOSSIP_DEAF_POINTS / 4,
        publishThreshold: -GOSSIP_DEAF_POINTS / 2,
        graylistThreshold: -GOSSIP_DEAF_POINTS
      }
    })(components)
    service.protocols = [options.protocol ?? GOSSIP_PROTOCOL]
    service.topicValidators = new Validators() as unknown as typeof service.topicValidators
    guardFrames(service as unknown as FrameReceiver, book)
    const ours: Pick<PubSub, 'penalise' | 'penaltyOf'> = {
      penalise: (peerId, points) => book.penalise(peerId, points),
      penaltyOf: peerId => book.points(peerId)
    }
    return Object.assign(service, ours) as unknown as PubSub
  }
}

/** The library takes every message of a topic that has no validator; nobody here listens to those. */
class Validators extends Map<string, () => Promise<Verdict>> {
  override get(topic: string): () => Promise<Verdict> {
    return super.get(topic) ?? (async () => 'ignore')
  }
}
