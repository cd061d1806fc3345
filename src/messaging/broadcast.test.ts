import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { TestSigner } from '../../test/kits/agent-messages.ts'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import type { AgentContent } from '../wire/agent-communication.ts'
import type { MessageType } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { openBroadcasts } from './broadcast.ts'
import type { AgentMessageContent, AgentMessageEvent } from './broadcast-types.ts'
import { MAX_NETWORK_STATES } from './limits.ts'
import { AGENTS_TOPIC } from './topics/name.ts'
import { openTopics } from './topics.ts'
import type { PubSub, Verdict } from './topics-types.ts'
import type { IncomingMessage, MessageHandler, OutgoingMessage } from './types.ts'

/** Gossip among the rigs of one test: what one publishes the others get, if they listen. */
class Air {
  readonly nodes: Map<string, PubSub['topicValidators']> = new Map()
  pubsub(name: string): PubSub {
    const topicValidators: PubSub['topicValidators'] = new Map()
    this.nodes.set(name, topicValidators)
    const others = (topic: string) => [...this.nodes].filter(([other, v]) => other !== name && v.has(topic))
    return {
      topicValidators,
      subscribe: () => {},
      unsubscribe: () => {},
      publish: async (topic, data) => {
        const verdicts: Verdict[] = []
        for (const [, validators] of others(topic)) verdicts.push(await validators.get(topic)!(name, { data }))
        return { recipients: verdicts }
      },
      getSubscribers: topic => others(topic).map(([other]) => other),
      penalise: () => {},
      penaltyOf: () => 0
    }
  }
}

const clock = new FakeClock()
function rig(t: TestContext, air: Air, options: { speaksFor?: (agentId: string) => boolean; load?: number } = {}) {
  const self = new TestSigner()
  const topics = openTopics({ pubsub: air.pubsub(didOfKey(self.publicKey)), self, clock, log: silentLogger })
  const handlers = new Map<MessageType, MessageHandler>()
  const sent: OutgoingMessage[] = []
  const messenger = {
    self: didOfKey(self.publicKey),
    send: async (m: OutgoingMessage) => {
      sent.push(m)
      const now = clock.now()
      return {
        id: randomUUID(),
        to: m.to,
        type: m.type,
        state: 'waiting' as const,
        reason: undefined,
        createdAt: now,
        changedAt: now,
        attempts: 0
      }
    },
    handle: (type: MessageType, handler: MessageHandler) => {
      handlers.set(type, handler)
      return { [Symbol.dispose]: () => void handlers.delete(type) }
    }
  }
  const { load, speaksFor } = options
  const readState = () => ({ ...state, load: load ?? 0 })
  const deps = {
    topics,
    messenger,
    self,
    clock,
    log: silentLogger,
    ...(speaksFor ? { speaksFor } : {}),
    ...(load === undefined ? {} : { readState })
  }
  const broadcasts = openBroadcasts(deps)
  t.after(async () => {
    await broadcasts[Symbol.asyncDispose]()
    await topics[Symbol.asyncDispose]()
  })
  const heard: AgentMessageEvent[] = []
  broadcasts.events.on('agent:message', m => void heard.push(m))
  const receive = async (type: MessageType, body: JsonObject, from = 'did:key:zFrom'): Promise<void> => {
    const message: IncomingMessage = { id: randomUUID(), from, type, body, priority: 'normal', sentAt: 1, receivedAt: 2, via: 'direct' }
    await handlers.get(type)!(message)
  }
  return { self, did: didOfKey(self.publicKey), topics, broadcasts, heard, sent, handlers, receive }
}

const meme = { title: 'cat', mime: 'image/png', data: Uint8Array.of(1, 2), link: '', author: '', tags: ['cat'] }
const state = {
  nodeType: 'full_node' as const,
  connectedPeers: 3,
  agents: 2,
  messageLatencyUs: 900,
  bytesIn: 10,
  bytesOut: 20,
  agentDistribution: [{ kind: 'summarise', count: 2 }],
  load: 5,
  height: 0,
  stateRoot: undefined
}
const CONTENTS: readonly AgentMessageContent[] = [
  { kind: 'alliance', body: { proposalId: 'p', name: 'north', purpose: '', members: ['x'], terms: '', expiresAt: undefined } },
  { kind: 'discussion', body: { subject: 's', text: 't', replyTo: '', blockHash: undefined, stance: 'support' } },
  { kind: 'meme', body: { meme, comment: 'ha' } },
  { kind: 'status', body: { state: 'busy', text: '', mood: 'calm', capabilities: ['a'], tasksRunning: 1, load: 10 } },
  { kind: 'announcement', body: { title: 'hi', text: 'all', link: '' } },
  { kind: 'network_state', body: state },
  {
    kind: 'consensus_vote',
    body: {
      blockHash: new Uint8Array(32),
      height: 1,
      round: 0,
      validator: 'v',
      choice: 'approve',
      reason: '',
      timestamp: 5,
      signature: undefined
    }
  }
]

test('every kind that is said reaches the others as one typed event', async t => {
  const air = new Air()
  const [a, b] = [rig(t, air), rig(t, air)]
  for (const content of CONTENTS) {
    assert.equal((await a.broadcasts.say(content)).recipients, 1)
    const event = b.heard.at(-1)!
    assert.deepEqual(
      [event.content, event.from, event.agentId, event.via, event.topic, event.targetId],
      [content, a.did, a.did, 'gossip', '', undefined]
    )
  }
  await a.topics.publish({ kind: 'meme', body: meme })
  assert.deepEqual(b.heard.at(-1)!.content, { kind: 'meme', body: { meme, comment: '' } }, 'both ways to share a meme are one')
  await a.broadcasts.say(CONTENTS[0]!, { agentId: 'scout' })
  assert.deepEqual([b.heard.at(-1)!.agentId, b.heard.at(-1)!.from], ['scout', a.did])
  const agent = new TestSigner()
  await a.broadcasts.say(CONTENTS[0]!, { signer: agent })
  assert.equal(b.heard.at(-1)!.from, didOfKey(agent.publicKey))
  assert.equal(a.heard.length, 0)
  b.topics.subscribe('lab')
  await a.broadcasts.say(CONTENTS[0]!, { topic: 'lab' })
  assert.equal(b.heard.at(-1)!.topic, 'lab')
})

test('JSON forms of the messenger become the same event', async t => {
  const { receive, heard, broadcasts, did, sent } = rig(t, new Air(), { speaksFor: id => id === 'did:key:zAgent' })
  const content = { type: 'announcement', data: { title: 'hi' } }
  const expected: AgentContent = { kind: 'announcement', body: { title: 'hi', text: '', link: '' } }
  await receive('agent_message', { from: 'scout', to: 'me', content })
  assert.deepEqual(
    heard.map(({ id: _, ...m }) => m),
    [
      {
        from: 'did:key:zFrom',
        agentId: 'scout',
        targetId: 'me',
        via: 'direct',
        topic: undefined,
        sentAt: 1,
        receivedAt: 2,
        content: expected
      }
    ]
  )
  await receive('network_broadcast', { from: 'did:key:zAgent', content })
  assert.deepEqual([heard[1]!.targetId, heard[1]!.agentId], [undefined, 'did:key:zAgent'])
  const fails = (code: string, body: JsonObject): Promise<void> =>
    assert.rejects(receive('network_broadcast', body), (e: unknown) => e instanceof KithError && e.code === code)
  await fails('IDENTITY_MISMATCH', { from: 'did:key:zOther', content })
  await fails('UNSUPPORTED', { from: 'x', content: { type: 'dance', data: {} } })
  await fails('BAD_PAYLOAD', { from: 'x', content: { type: 'meme', data: { comment: 3 } } })
  assert.equal(heard.length, 2)

  await broadcasts.tell('did:key:zTo', expected)
  await broadcasts.tell('did:key:zTo', expected, { agentId: 'scout', targetId: null })
  assert.deepEqual(sent, [
    {
      to: 'did:key:zTo',
      type: 'agent_message',
      body: { from: did, to: 'did:key:zTo', content: { type: 'announcement', data: expected.body } }
    },
    { to: 'did:key:zTo', type: 'network_broadcast', body: { from: 'scout', content: { type: 'announcement', data: expected.body } } }
  ])
})

test('the newest state of each node is kept, and agents are counted over all', async t => {
  const air = new Air()
  const [a, b, c] = [rig(t, air), rig(t, air), rig(t, air, { load: 77 })]
  await a.broadcasts.say({ kind: 'network_state', body: { ...state, load: 1 } })
  await clock.advance(1000)
  await a.broadcasts.say({ kind: 'network_state', body: { ...state, load: 2 } })
  await b.broadcasts.say({
    kind: 'network_state',
    body: {
      ...state,
      agentDistribution: [
        { kind: 'paint', count: 1 },
        { kind: 'summarise', count: 5 }
      ]
    }
  })
  assert.deepEqual(
    c.broadcasts.states().map(s => [s.from, s.state.load]),
    [
      [b.did, 5],
      [a.did, 2]
    ]
  )
  assert.deepEqual([...c.broadcasts.agentDistribution()].sort(), [
    ['paint', 1],
    ['summarise', 7]
  ])
  await clock.advance(60_000)
  await clock.advance(0)
  assert.equal(b.broadcasts.states()[0]?.state.load, 77, 'c tells its own by itself')
  for (let i = 0; i < MAX_NETWORK_STATES; i++) {
    const head = { id: randomUUID(), topic: AGENTS_TOPIC, relayedBy: 'x', sentAt: clock.now(), receivedAt: clock.now() }
    c.topics.events.emit('message', { ...head, from: `did:key:z${i}`, payload: { kind: 'state_update', body: state } })
  }
  assert.equal(c.broadcasts.states().length, MAX_NETWORK_STATES, 'the oldest is forgotten')
})

test('after disposal nothing is heard, and handlers are gone', async t => {
  const air = new Air()
  const [a, b] = [rig(t, air), rig(t, air, { load: 1 })]
  await b.broadcasts[Symbol.asyncDispose]()
  await a.broadcasts.say(CONTENTS[0]!)
  assert.deepEqual([b.heard, b.handlers.size], [[], 0])
})
