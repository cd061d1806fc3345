import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { TestSigner } from '../../test/kits/agent-messages.ts'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import { openHost } from '../net/host.node.ts'
import type { Host } from '../net/host.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import type { AgentContent } from '../wire/agent-communication.ts'
import { type ChaosPayload, chaosBytesToSign, writeChaosMessage } from '../wire/chaos-message.ts'
import {
  GOSSIP_DEAF_POINTS,
  GOSSIP_MESSAGES_BURST,
  MAX_GOSSIP_POINTS,
  MAX_SEEN_MESSAGES,
  MAX_TOPIC_BYTES,
  MAX_TOPICS,
  MAX_TOPICS_PER_PEER,
  TOPIC_MESSAGES_BURST,
  TOPIC_WINDOW_MS
} from './limits.ts'
import { GossipBook, guardFrames } from './topics/guard.ts'
import { AGENTS_TOPIC, isTopic, topicOf } from './topics/name.ts'
import { SeenMessages } from './topics/seen.ts'
import { openTopics } from './topics.ts'
import { GOSSIP_PROTOCOL, gossipService } from './topics-service.ts'
import type { PubSub, TopicMessage, Topics, Verdict } from './topics-types.ts'

const said = (text: string, agentId = 'scout'): ChaosPayload => ({
  kind: 'agent_comm',
  body: { agentId, targetId: '', content: { kind: 'announcement', body: { title: text, text: '', link: '' } } satisfies AgentContent }
})
const titleOf = ({ payload }: TopicMessage): string =>
  payload.kind === 'agent_comm' && payload.body.content.kind === 'announcement' ? payload.body.content.body.title : payload.kind

/** A gossip network that keeps what is published, and hands in what a test says. */
class MemoryPubSub implements PubSub {
  readonly topicValidators: PubSub['topicValidators'] = new Map()
  readonly published: { topic: string; data: Uint8Array }[] = []
  readonly topics = new Set<string>()
  readonly penalties = new Map<string, number>()
  subscribe(topic: string): void {
    this.topics.add(topic)
  }
  unsubscribe(topic: string): void {
    this.topics.delete(topic)
  }
  async publish(topic: string, data: Uint8Array): Promise<{ recipients: string[] }> {
    this.published.push({ topic, data })
    return { recipients: ['x'] }
  }
  getSubscribers(): string[] {
    return ['x']
  }
  penalise(peerId: string, points: number): void {
    this.penalties.set(peerId, this.penaltyOf(peerId) + points)
  }
  penaltyOf(peerId: string): number {
    return this.penalties.get(peerId) ?? 0
  }
  receive(data: Uint8Array, from = 'relay', topic = AGENTS_TOPIC): Promise<Verdict> {
    return this.topicValidators.get(topic)!(from, { data })
  }
}

function rig(t: TestContext) {
  const [pubsub, clock, self] = [new MemoryPubSub(), new FakeClock(), new TestSigner()]
  const topics = openTopics({ pubsub, self, clock, log: silentLogger })
  t.after(() => topics[Symbol.asyncDispose]())
  const heard: TopicMessage[] = []
  const codes: string[] = []
  topics.events.on('message', m => void heard.push(m))
  topics.events.on('message:refused', ({ code, verdict }) => void codes.push(`${verdict} ${code}`))
  return { pubsub, clock, self, topics, heard, codes }
}

test('what is published is signed and dated, and another node shows it once', async t => {
  const [a, b] = [rig(t), rig(t)]
  const { id, topic, recipients } = await a.topics.publish(said('hello'))
  assert.deepEqual([topic, recipients], [AGENTS_TOPIC, 1])
  const { data } = a.pubsub.published[0]!
  assert.equal(await b.pubsub.receive(data), 'accept')
  assert.deepEqual(b.heard, [
    {
      id,
      topic: AGENTS_TOPIC,
      from: didOfKey(a.self.publicKey),
      relayedBy: 'relay',
      sentAt: a.clock.now(),
      receivedAt: b.clock.now(),
      payload: said('hello')
    }
  ])
  assert.equal(await b.pubsub.receive(data), 'ignore')
  assert.equal(await a.pubsub.receive(data), 'ignore', 'our own comes back')
  await a.topics.publish(said('hello'), { id })
  assert.equal(a.pubsub.published.length, 1, 'one id is published once')
  assert.deepEqual([b.codes, b.heard.length, b.pubsub.penalties.size], [['ignore REPLAY_DETECTED'], 1, 0])
  assert.deepEqual(b.topics.stats(), { accepted: 1, ignored: 1, rejected: 0, published: 0 })
})

test('forged, foreign, stale and malformed messages go no further, and only what is a lie is blamed on who brought it', async t => {
  const { pubsub, clock, heard, codes } = rig(t)
  const [signer, other] = [new TestSigner(), new TestSigner()]
  const now = clock.now()
  const good = await signer.message(said('x'), now)
  const forged = Uint8Array.from(good)
  forged[forged.length - 60]! ^= 1
  const unsigned = { messageId: randomUUID(), createdAt: now, payload: said('x'), senderKey: signer.publicKey }
  const borrowed = writeChaosMessage({ ...unsigned, signature: await other.signBytes(chaosBytesToSign(unsigned)) })
  const cases: readonly (readonly [string, Uint8Array])[] = [
    ['reject WIRE_SIGNATURE', forged],
    ['reject WIRE_SIGNATURE', borrowed],
    ['reject IDENTITY_MISMATCH', await signer.message(said('x', didOfKey(other.publicKey)), now)],
    ['ignore CLOCK_SKEW', await signer.message(said('x'), now + TOPIC_WINDOW_MS + 1)],
    ['ignore CLOCK_SKEW', await signer.message(said('x'), now - TOPIC_WINDOW_MS - 1)],
    ['ignore WIRE_VERSION', Uint8Array.of(8, 2)],
    ['reject WIRE_TRUNCATED', good.subarray(0, 50)],
    ['reject WIRE_RANGE', new Uint8Array(70_000)]
  ]
  for (const [, bytes] of cases) await pubsub.receive(bytes)
  assert.deepEqual(
    codes,
    cases.map(([code]) => code)
  )
  assert.deepEqual([heard, pubsub.penalties.get('relay')], [[], 50])
  assert.equal(await pubsub.receive(good), 'accept', 'the forgery did not use up its id')
  assert.equal(await pubsub.receive(await signer.message(said('own', didOfKey(signer.publicKey)), now)), 'accept')
})

test('an author above the rate is ignored, others are heard; our own rate is kept before others have to', async t => {
  const { pubsub, clock, topics, heard, codes } = rig(t)
  const [loud, calm] = [new TestSigner(), new TestSigner()]
  for (let i = 0; i <= TOPIC_MESSAGES_BURST; i++) await pubsub.receive(await loud.message(said('x'), clock.now()))
  await pubsub.receive(await calm.message(said('calm'), clock.now()))
  assert.deepEqual([codes, titleOf(heard.at(-1)!)], [['ignore RATE_LIMITED'], 'calm'])
  for (let i = 0; i < TOPIC_MESSAGES_BURST; i++) await topics.publish(said('x'))
  await assert.rejects(topics.publish(said('x')), { code: 'RATE_LIMITED' })
  await clock.advance(1000)
  await topics.publish(said('x'))
  await assert.rejects(topics.publish(said('x', 'did:key:zNobody')), { code: 'IDENTITY_MISMATCH' })
  await assert.rejects(topics.publish(said('x'.repeat(300))), { code: 'WIRE_RANGE' })
  const agent = new TestSigner()
  await topics.publish(said('x', didOfKey(agent.publicKey)), { signer: agent, topic: 'lab' })
  assert.equal(pubsub.published.at(-1)!.topic, '/kith/agents/1/lab')
})

test('BL6: names of topics and their number are bounded, on both sides', async t => {
  const { topics, pubsub } = rig(t)
  for (let i = 1; i < MAX_TOPICS; i++) topics.subscribe(`t${i}`)
  assert.throws(() => topics.subscribe('one-more'), { code: 'TOO_MANY_TOPICS' })
  assert.ok(topics.unsubscribe('t1') && !topics.unsubscribe('t1') && !pubsub.topicValidators.has(topicOf('t1')))
  topics.subscribe('one-more')
  assert.deepEqual([topics.list().length, topics.list()[0]!.name], [MAX_TOPICS, ''])
  for (const bad of ['/', 'A', 'a b', 'ä', '-a', '../x', 'a/b', 'x'.repeat(MAX_TOPIC_BYTES)])
    assert.throws(() => topics.subscribe(bad), { code: 'BAD_TOPIC' }, bad)
  assert.ok(
    !isTopic('/other') &&
      !isTopic(`${AGENTS_TOPIC}/`) &&
      isTopic(`${AGENTS_TOPIC}/${'x'.repeat(MAX_TOPIC_BYTES - AGENTS_TOPIC.length - 1)}`)
  )
})

test('BL7: frames are thinned before the library looks, and a peer that goes on is not heard at all', async () => {
  const clock = new FakeClock()
  const book = new GossipBook(clock)
  const seen: number[] = []
  const service = {
    handleReceivedRpc: async (_: unknown, f: { messages?: unknown[]; subscriptions?: unknown[] }) =>
      void seen.push(f.messages?.length ?? 0, f.subscriptions?.length ?? 0)
  }
  guardFrames(service, book)
  const message = { topic: AGENTS_TOPIC, data: new Uint8Array(10) }
  await service.handleReceivedRpc('a', {
    messages: [message, { ...message, topic: '/x' }, { ...message, data: new Uint8Array(70_000) }],
    subscriptions: [{ topic: AGENTS_TOPIC }, { topic: 'x' }]
  })
  assert.deepEqual(seen.splice(0), [1, 1])
  assert.ok(book.points('a') > 0 && book.points('b') === 0)
  await service.handleReceivedRpc('b', { messages: Array.from({ length: GOSSIP_MESSAGES_BURST + 10 }, () => message) })
  assert.deepEqual(seen.splice(0), [GOSSIP_MESSAGES_BURST, 0])
  await service.handleReceivedRpc('b', { messages: Array.from({ length: 20 * GOSSIP_DEAF_POINTS }, () => message) })
  assert.ok(book.isDeaf('b') && !book.isDeaf('a'))
  await service.handleReceivedRpc('b', { messages: [message] })
  assert.deepEqual(seen.splice(0), [], 'nothing of it is looked at')
  await service.handleReceivedRpc('a', { messages: [message] })
  assert.deepEqual(seen.splice(0), [1, 0])
  await clock.advance(1000 * MAX_GOSSIP_POINTS)
  await service.handleReceivedRpc('b', { messages: [message] })
  assert.deepEqual(seen, [1, 0], 'points are forgiven')
  assert.throws(() => guardFrames({}, book), /has changed/)
})

test('the memory for what was seen is bounded and forgets what is too old first', () => {
  const seen = new SeenMessages()
  for (let i = 0; i < MAX_SEEN_MESSAGES; i++) seen.add('a', `${i}`, 0, 10)
  assert.ok(seen.has('a', '0') && !seen.add('a', '5', 0, 10))
  seen.add('a', 'new', 0, 10)
  assert.deepEqual([seen.has('a', '0'), seen.has('a', '1')], [false, true])
  seen.add('a', 'later', 11, 20)
  assert.deepEqual([seen.has('a', '1'), seen.has('a', 'new'), seen.has('a', 'later')], [false, false, true])
})

interface Node {
  readonly host: Host<{ pubsub: PubSub }>
  readonly topics: Topics
  readonly gate: ScopeGate
  readonly heard: string[]
}
async function node(t: TestContext): Promise<Node> {
  const gate = new ScopeGate()
  const services = { pubsub: await gossipService({ clock: systemClock }, { heartbeatMs: 200 }) }
  const host = await openHost(
    { clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) },
    { listen: ['/ip4/127.0.0.1/tcp/0'], services }
  )
  t.after(() => host[Symbol.asyncDispose]())
  const topics = openTopics({ pubsub: host.services.pubsub, self: new TestSigner(), clock: systemClock, log: silentLogger })
  const heard: string[] = []
  topics.events.on('message', m => void heard.push(titleOf(m)))
  return { host, topics, gate, heard }
}
async function join(from: Node, to: Node): Promise<void> {
  const [address] = to.host.addresses() as [string]
  from.gate.allow(address, 'user')
  await from.host.dial(address, AbortSignal.timeout(30_000))
}
const listeners = (n: Node): number => n.topics.list()[0]!.subscribers.length

/** libp2p and gossipsub as they come, but for the names of our network. */
async function plainPeer(t: TestContext) {
  const [{ createLibp2p }, { tcp }, { noise }, { yamux }, { identify }, { gossipsub }] = await Promise.all([
    import('libp2p'),
    import('@libp2p/tcp'),
    import('@libp2p/noise'),
    import('@libp2p/yamux'),
    import('@libp2p/identify'),
    import('@libp2p/gossipsub')
  ])
  const peer = await createLibp2p({
    start: false,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify({ protocolPrefix: 'kith' }), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }) }
  })
  peer.services.pubsub.protocols = [GOSSIP_PROTOCOL]
  await peer.start()
  t.after(() => peer.stop())
  return peer
}

test('three nodes in a line: a message reaches all, a forged one of a plain gossipsub peer ends at the first', {
  timeout: 180_000
}, async t => {
  const [a, b, c] = [await node(t), await node(t), await node(t)]
  await join(a, b)
  await join(b, c)
  const plain = await plainPeer(t)
  const { multiaddr } = await import('@multiformats/multiaddr')
  const got: Uint8Array[] = []
  plain.services.pubsub.addEventListener('message', event => void got.push(event.detail.data))
  plain.services.pubsub.subscribe(AGENTS_TOPIC)
  await plain.dial(multiaddr(a.host.addresses()[0]))
  await eventually('everybody knows who listens', () => listeners(a) === 2 && listeners(b) === 2 && listeners(c) === 1, 30_000)

  // Before that, who forwards has only its gossip of the last heartbeats to bring it, and on a busy machine they pass.
  const mesh = (n: Node): number =>
    (n.host.services.pubsub as unknown as { getMeshPeers(topic: string): string[] }).getMeshPeers(AGENTS_TOPIC).length
  await eventually('they forward to each other', () => mesh(a) === 2 && mesh(b) === 2 && mesh(c) === 1, 30_000)

  const { recipients } = await a.topics.publish(said('from a'))
  assert.ok(recipients > 0) // a stream that is still being opened brings it a heartbeat later
  await eventually('it reached all', () => b.heard.includes('from a') && c.heard.includes('from a') && got.length === 1, 30_000)

  // The other implementation sends: what is right goes through two of ours, what is forged stops at the first.
  const signer = new TestSigner()
  const forged = Uint8Array.from(await signer.message(said('forged')))
  forged[forged.length - 50]! ^= 1
  const refused: string[] = []
  for (const n of [a, b, c]) n.topics.events.on('message:refused', r => void refused.push(`${n === a ? 'a' : 'later'} ${r.code}`))
  await plain.services.pubsub.publish(AGENTS_TOPIC, forged)
  await plain.services.pubsub.publish(AGENTS_TOPIC, await signer.message(said('from outside')))
  await eventually('the right one reached all', () => [a, b, c].every(n => n.heard.includes('from outside')), 30_000)
  await eventually('the forged one was refused', () => refused.length > 0, 30_000)
  assert.deepEqual([refused, b.heard, c.heard], [['a WIRE_SIGNATURE'], ['from a', 'from outside'], ['from a', 'from outside']])

  // BL6: a peer that subscribes to everything.
  const topics = Array.from({ length: 400 }, (_, i) => topicOf(`flood-${i}`))
  for (const topic of topics) plain.services.pubsub.subscribe(topic)
  const inside = a.host.services.pubsub as unknown as { readonly topics: Map<string, Set<string>> }
  await eventually('it was told', () => inside.topics.size > 100, 30_000)
  await plain.services.pubsub.publish(AGENTS_TOPIC, await signer.message(said('after the flood')))
  await eventually('messages still pass', () => c.heard.includes('after the flood'), 30_000)
  assert.ok(inside.topics.size <= MAX_TOPICS_PER_PEER, `${inside.topics.size}`)

  // A peer that goes on lying is not heard any more.
  for (let i = 0; i < 30; i++) {
    const bad = Uint8Array.from(await signer.message(said(`lie ${i}`)))
    bad[bad.length - 50]! ^= 1
    await plain.services.pubsub.publish(AGENTS_TOPIC, bad)
  }
  const penalty = (): number => a.host.services.pubsub.penaltyOf(plain.peerId.toString())
  await eventually('nothing of it is looked at', () => penalty() >= GOSSIP_DEAF_POINTS, 30_000)
  await plain.services.pubsub.publish(AGENTS_TOPIC, await signer.message(said('too late')))
  await a.topics.publish(said('the end'))
  await eventually('all the others are heard', () => c.heard.includes('the end'), 30_000)
  assert.ok(!a.heard.includes('too late') && !c.heard.includes('too late'))
})
