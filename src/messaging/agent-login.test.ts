import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { TestSigner } from '../../test/kits/agent-messages.ts'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import { openHost } from '../net/host.node.ts'
import type { Host } from '../net/host.ts'
import { memoryStreamPair } from '../net/memory-streams.ts'
import type { PeerTarget } from '../net/rpc.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import type { FramedStream, StreamHandlerOptions, Streams } from '../net/streams.ts'
import { type LoginStep, loginSignedBytes, loginStep, MAX_LOGIN_FRAME_BYTES } from '../wire/chaos-login.ts'
import { type AgentLogin, openAgentLogin } from './agent-login.ts'
import { LOGIN_TIMEOUT_MS, LOGINS_BURST, MAX_AGENTS_PER_PEER } from './limits.ts'

/** Joins the streams of named peers in this process. */
class MemoryNet {
  readonly handlers = new Map<string, (stream: FramedStream) => Promise<void>>()
  readonly clock: Clock
  constructor(clock: Clock) {
    this.clock = clock
  }
  streamsOf(self: string): Streams {
    return {
      handle: (_protocol: string, _options: StreamHandlerOptions, handler) => {
        this.handlers.set(self, handler)
        return { [Symbol.dispose]: () => void this.handlers.delete(self) }
      },
      open: async ({ peerId }: PeerTarget) => {
        const at = (name: string) => ({ peerId: name, address: '127.0.0.1', maxFrameBytes: MAX_LOGIN_FRAME_BYTES })
        const [ours, theirs] = memoryStreamPair(this.clock, at(peerId), at(self))
        void this.handlers.get(peerId)!(theirs).finally(() => theirs.close())
        return ours
      }
    }
  }
}

function rig(t: TestContext, clock: Clock = systemClock) {
  const net = new MemoryNet(clock)
  const gone = new Map<string, (peerId: string) => void>()
  const open = (peerId: string): AgentLogin => {
    const onPeerGone = (listener: (peer: string) => void): (() => void) => {
      gone.set(peerId, listener)
      return () => void gone.delete(peerId)
    }
    const logins = openAgentLogin({ streams: net.streamsOf(peerId), peerId, onPeerGone, clock, log: silentLogger })
    t.after(() => logins[Symbol.asyncDispose]())
    return logins
  }
  return { net, gone, a: open('A'), b: open('B') }
}
const refused = (code: string) => (e: unknown) =>
  (hasCode(e, 'LOGIN_REFUSED') && (e as KithError).data['code'] === code) || assert.fail(String((e as KithError).stack))

async function frame(stream: FramedStream): Promise<LoginStep | undefined> {
  const length = await stream.next()
  if (length === undefined) return undefined
  const bytes = new Uint8Array(length)
  await stream.read(bytes)
  return decode(loginStep, bytes)
}

test('an agent is bound to the peer it logs in from until that peer is gone', async t => {
  const { a, b, gone } = rig(t)
  const heard: string[] = []
  b.events.on('agent:connected', e => void heard.push(`+${e.agentId} ${e.peerId}`))
  b.events.on('agent:lost', e => void heard.push(`-${e.agentId} ${e.peerId}`))
  const agent = new TestSigner()
  const id = await a.login({ peerId: 'B' }, agent)
  assert.equal(id, didOfKey(agent.publicKey))
  await a.login({ peerId: 'B' }, agent)
  assert.deepEqual([b.agentsOf('A'), b.peersOf(id), b.agentsOf('B'), a.agentsOf('B')], [[id], ['A'], [], []])
  gone.get('B')!('A')
  gone.get('B')!('A')
  assert.deepEqual([b.agentsOf('A'), b.peersOf(id), heard], [[], [], [`+${id} A`, `-${id} A`]])
})

test('whoever has not the key, signs for another channel or skips a step is refused, and nothing is kept', async t => {
  const { a, b, net } = rig(t)
  const [agent, thief] = [new TestSigner(), new TestSigner()]
  const agentId = didOfKey(agent.publicKey)
  await assert.rejects(
    a.login({ peerId: 'B' }, { publicKey: agent.publicKey, signBytes: bytes => thief.signBytes(bytes) }),
    refused('INVALID_SIGNATURE')
  )
  const attempt = async (...steps: ((nonce: Uint8Array) => LoginStep | Promise<LoginStep>)[]): Promise<string | undefined> => {
    await using stream = await net.streamsOf('M').open({ peerId: 'B' }, '', { maxFrameBytes: 0, signal: AbortSignal.timeout(30_000) })
    let nonce = new Uint8Array(32)
    for (const step of steps) {
      await stream.send(encode(loginStep, await step(nonce)))
      const answer = await frame(stream)
      if (answer?.kind !== 'challenge') return answer?.kind === 'refused' ? answer.body.code : answer?.kind
      nonce = Uint8Array.from(answer.body.nonce)
    }
    return undefined
  }
  const connect = (): LoginStep => ({ kind: 'connect', body: { agentId, publicKey: agent.publicKey } })
  const respond =
    (from: string, to: string, id = agentId) =>
    async (nonce: Uint8Array): Promise<LoginStep> => ({
      kind: 'response',
      body: { signature: await agent.signBytes(loginSignedBytes({ nonce, agentId: id, from, to })) }
    })
  assert.equal(await attempt(connect, respond('A', 'B')), 'INVALID_SIGNATURE', 'signed for another peer')
  assert.equal(await attempt(connect, respond('M', 'C')), 'INVALID_SIGNATURE', 'signed for another node')
  assert.equal(await attempt(connect, respond('M', 'B', 'other')), 'INVALID_SIGNATURE', 'signed for another agent')
  assert.equal(await attempt(respond('M', 'B')), 'MALFORMED', 'no challenge yet')
  assert.equal(await attempt(() => ({ kind: 'connect', body: { agentId, publicKey: thief.publicKey } })), 'IDENTITY_MISMATCH')
  const stale = new Uint8Array(32).fill(1)
  assert.equal(await attempt(connect, () => respond('M', 'B')(stale)), 'INVALID_SIGNATURE', 'an older nonce')
  await using stream = await net.streamsOf('M').open({ peerId: 'B' }, '', { maxFrameBytes: 0, signal: AbortSignal.timeout(30_000) })
  await stream.send(Uint8Array.of(9, 9, 9))
  assert.deepEqual(await frame(stream), { kind: 'refused', body: { code: 'MALFORMED', message: '' } })
  assert.deepEqual([b.agentsOf('A'), b.agentsOf('M'), b.peersOf(agentId)], [[], [], []])
  assert.equal(await attempt(connect, respond('M', 'B')), 'accepted')
})

test('attempts and agents of a peer are numbered, others are not concerned', async t => {
  const clock = new FakeClock()
  const { a, b, net } = rig(t, clock)
  for (let i = 0; i < LOGINS_BURST; i++) await a.login({ peerId: 'B' }, new TestSigner())
  await assert.rejects(a.login({ peerId: 'B' }, new TestSigner()), refused('RATE_LIMITED'))
  const c = openAgentLogin({ streams: net.streamsOf('C'), peerId: 'C', onPeerGone: () => () => {}, clock, log: silentLogger })
  await c.login({ peerId: 'B' }, new TestSigner())
  for (let i = LOGINS_BURST; i < MAX_AGENTS_PER_PEER; i++) {
    await clock.advance(1000)
    await a.login({ peerId: 'B' }, new TestSigner())
  }
  await clock.advance(1000)
  await assert.rejects(a.login({ peerId: 'B' }, new TestSigner()), refused('TOO_MANY_AGENTS'))
  assert.deepEqual([b.agentsOf('A').length, b.agentsOf('C').length], [MAX_AGENTS_PER_PEER, 1])
  await c[Symbol.asyncDispose]()
})

test('a peer that falls silent in a login is left after the deadline; disposal ends what is under way', async t => {
  const clock = new FakeClock()
  const { a, net } = rig(t, clock)
  const silent = Promise.withResolvers<FramedStream>()
  net.handlers.set('S', stream => new Promise(() => silent.resolve(stream)))
  const first = assert.rejects(a.login({ peerId: 'S' }, new TestSigner()), { code: 'PEER_TIMEOUT' })
  await silent.promise
  await clock.advance(LOGIN_TIMEOUT_MS)
  await first
  const second = assert.rejects(a.login({ peerId: 'S' }, new TestSigner()), { code: 'MESSENGER_CLOSED' })
  await clock.advance(0)
  await a[Symbol.asyncDispose]()
  await second
})

test('over libp2p: the login ends with the connection', async t => {
  const open = async (): Promise<{ host: Host; gate: ScopeGate; logins: AgentLogin }> => {
    const gate = new ScopeGate()
    const host = await openHost(
      { clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) },
      { listen: ['/ip4/127.0.0.1/tcp/0'] }
    )
    t.after(() => host[Symbol.asyncDispose]())
    const onPeerGone = (listener: (peerId: string) => void): (() => void) => host.events.on('peer:disconnected', e => listener(e.peerId))
    const logins = openAgentLogin({ streams: host.streams, peerId: host.peerId, onPeerGone, clock: systemClock, log: silentLogger })
    t.after(() => logins[Symbol.asyncDispose]())
    return { host, gate, logins }
  }
  const [a, b] = [await open(), await open()]
  a.gate.allow(b.host.addresses()[0]!, 'user')
  const id = await a.logins.login({ peerId: b.host.peerId, addresses: b.host.addresses() }, new TestSigner())
  await eventually('it is known', () => b.logins.agentsOf(a.host.peerId)[0] === id, 30_000)
  await a.host[Symbol.asyncDispose]()
  await eventually('it is forgotten', () => b.logins.agentsOf(a.host.peerId).length === 0, 30_000)
})
