/** Generated messages of agents, and signed ones. */
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import fc from 'fast-check'
import type { AgentCommunication, AgentContent } from '../../src/wire/agent-communication.ts'
import type { BlockProposal, ConsensusVote } from '../../src/wire/chaos-block.ts'
import type { MemeContent } from '../../src/wire/chaos-meme.ts'
import { type ChaosMessage, type ChaosPayload, chaosBytesToSign, writeChaosMessage } from '../../src/wire/chaos-message.ts'
import type { NetworkState } from '../../src/wire/chaos-network-state.ts'

const word = fc.string({ unit: 'grapheme', maxLength: 12 })
const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
const maybe = <T>(inner: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(inner, { nil: undefined })
const link = fc.constantFrom('', 'kith:bafkabc', 'kith:x#k=1')
const u32 = fc.nat(2 ** 31 - 1)
const time = fc.oneof(fc.nat(5000), fc.integer({ min: 0, max: 253_402_300_799_999 }))
const perMille = fc.nat(1000)
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record<T>(model, { noNullPrototype: true })

export const anyMeme: fc.Arbitrary<MemeContent> = record<MemeContent>({
  title: word,
  mime: fc.constantFrom('', 'image/png', 'text/plain'),
  data: fc.uint8Array({ maxLength: 300 }),
  link,
  author: word,
  tags: fc.array(word, { maxLength: 4 })
})
export const anyBlock: fc.Arbitrary<BlockProposal> = record<BlockProposal>({
  height: fc.maxSafeNat(),
  parent: bytes(32),
  transactions: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }),
  memes: fc.array(anyMeme, { maxLength: 2 }),
  timestamp: time,
  producerId: word,
  stateRoot: bytes(32),
  innovationLevel: fc.nat(255),
  producerStrategy: word,
  dramaLevel: fc.nat(10),
  producerMood: word,
  producerSignature: maybe(bytes(64))
})
export const anyVote: fc.Arbitrary<ConsensusVote> = record<ConsensusVote>({
  blockHash: bytes(32),
  height: fc.maxSafeNat(),
  round: u32,
  validator: word,
  choice: fc.constantFrom('approve', 'reject'),
  reason: word,
  timestamp: time,
  signature: maybe(bytes(64))
})
export const anyState: fc.Arbitrary<NetworkState> = record<NetworkState>({
  nodeType: fc.constantFrom('validator', 'block_producer', 'full_node', 'light_client'),
  connectedPeers: u32,
  agents: u32,
  messageLatencyUs: fc.maxSafeNat(),
  bytesIn: fc.maxSafeNat(),
  bytesOut: fc.nat(300),
  agentDistribution: fc.array(record({ kind: word, count: u32 }), { maxLength: 3 }),
  load: perMille,
  height: fc.nat(1000),
  stateRoot: maybe(bytes(32))
})
const variant = <K extends string, T>(kind: K, body: fc.Arbitrary<T>): fc.Arbitrary<{ kind: K; body: T }> =>
  body.map(b => ({ kind, body: b }))
export const anyContent: fc.Arbitrary<AgentContent> = fc.oneof(
  variant(
    'alliance',
    fc.record(
      { proposalId: word, name: word, purpose: word, members: fc.array(word, { maxLength: 4 }), terms: word, expiresAt: maybe(time) },
      { noNullPrototype: true }
    )
  ),
  variant(
    'discussion',
    fc.record(
      {
        subject: word,
        text: word,
        replyTo: fc.constantFrom('', 'a7f0c1b2-0000-4000-8000-000000000000'),
        blockHash: maybe(bytes(32)),
        stance: fc.constantFrom('neutral' as const, 'support' as const, 'oppose' as const)
      },
      { noNullPrototype: true }
    )
  ),
  variant('meme', fc.record({ meme: anyMeme, comment: word }, { noNullPrototype: true })),
  variant(
    'status',
    fc.record(
      {
        state: fc.constantFrom('available' as const, 'busy' as const, 'away' as const, 'offline' as const),
        text: word,
        mood: word,
        capabilities: fc.array(word, { maxLength: 3 }),
        tasksRunning: u32,
        load: perMille
      },
      { noNullPrototype: true }
    )
  ),
  variant('announcement', fc.record({ title: word, text: word, link }, { noNullPrototype: true }))
)
export const anyCommunication: fc.Arbitrary<AgentCommunication> = record<AgentCommunication>({
  agentId: fc.constantFrom('scout', 'agent-7', '一郎'),
  targetId: fc.constantFrom('', 'did:key:zOther'),
  content: anyContent
})
export const anyPayload: fc.Arbitrary<ChaosPayload> = fc.oneof(
  variant('block_proposal', anyBlock),
  variant('consensus_vote', anyVote),
  variant('agent_comm', anyCommunication),
  variant('state_update', anyState),
  variant('meme', anyMeme)
)
export const anyMessage: fc.Arbitrary<ChaosMessage> = record<ChaosMessage>({
  messageId: fc.uuid({ version: 4 }),
  createdAt: time,
  payload: anyPayload,
  senderKey: bytes(32),
  signature: bytes(64)
})

/** A key that signs, apart from the code under test. */
export class TestSigner {
  readonly #key: KeyObject
  readonly publicKey: Uint8Array

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    this.#key = privateKey
    this.publicKey = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(12))
  }
  signBytes(data: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(sign(null, data, this.#key)))
  }
  /** A whole signed message. */
  async message(payload: ChaosPayload, createdAt: number = Date.now(), messageId: string = randomUUID()): Promise<Uint8Array> {
    const unsigned = { messageId, createdAt, payload, senderKey: this.publicKey }
    return writeChaosMessage({ ...unsigned, signature: await this.signBytes(chaosBytesToSign(unsigned)) })
  }
}
