/** New sessions on links that live: nothing is lost, doubled or out of order, whoever begins (docs/wire/session.md §5). */
import assert from 'node:assert/strict'
import test from 'node:test'
import { randomBytes } from '#crypto'
import { MemoryNetwork, NETWORK, note, selfOf, type TestPeer, tempFolder } from '../../../test/kits/messaging.ts'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { openSessions } from '../../session/sessions.ts'
import type { Channel, Channels } from '../channel.ts'
import { openHttpLink } from '../http-client.node.ts'
import { openMessageHttp } from '../http-server.node.ts'
import { MAX_BAD_FRAMES } from '../limits.ts'
import { memoryLinkPair } from '../link-memory.ts'
import { sessionChannels } from '../session-channel.ts'
import { newUuid } from '../uuid.ts'

/** Sessions that are worn when `isWorn` says so of the n-th of this side. */
const wearing =
  (isWorn: (n: number) => boolean, made: string[]) =>
  (channels: Channels): Channels => {
    const wear = (channel: Channel): Channel => {
      const n = made.push(channel.sessionId)
      Object.defineProperty(channel, 'worn', { get: () => isWorn(n) })
      return channel
    }
    return {
      connect: async (...args) => wear(await channels.connect(...args)),
      accept: async (...args) => wear(await channels.accept(...args))
    }
  }

interface Pair {
  readonly net: MemoryNetwork
  readonly peers: readonly [TestPeer, TestPeer]
  /** Sessions of each side, in the order in which they began. */
  readonly made: readonly [string[], string[]]
  /** Why links ended. */
  readonly lost: string[]
}

/** @param isWorn of the n-th session of a side */
async function withPair(isWorn: (side: 0 | 1, n: number) => boolean, work: (pair: Pair) => Promise<void>): Promise<void> {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  const made: [string[], string[]] = [[], []]
  net.wrap = wearing(n => isWorn(0, n), made[0])
  await using alice = await net.open(folder.path, 'alice')
  net.wrap = wearing(n => isWorn(1, n), made[1])
  await using bob = await net.open(folder.path, 'bob')
  const lost: string[] = []
  for (const p of [alice, bob]) p.messenger.events.on('peer:lost', e => lost.push(e.reason))
  await work({ net, peers: [alice, bob], made, lost })
}
const say = (from: TestPeer, to: TestPeer, text: string): Promise<unknown> =>
  from.messenger.send({ to: to.id, type: 'agent_message', body: note(text) })
/** Texts that arrived, oldest first. */
const heard = (peer: TestPeer): string[] =>
  peer.messenger
    .inbox({ limit: 1000 })
    .map(m => (m.body as { content: { data: { text: string } } }).content.data.text)
    .reverse()
const numbers = (n: number): string[] => [...Array(n).keys()].map(String)

test('a worn session is replaced by a new one on the same link, without anybody noticing', () => {
  let isOld = false
  return withPair(
    (side, n) => side === 0 && n === 1 && isOld,
    async ({ net, peers: [alice, bob], made, lost }) => {
      for (let i = 0; i < 40; i++) {
        await say(alice, bob, `${i}`)
        if (i === 15) isOld = true
      }
      await eventually('all arrived', () => heard(bob).length === 40)
      assert.deepEqual(heard(bob), numbers(40))
      assert.deepEqual([made[0].length, made[1].length, net.dials, lost], [2, 2, 1, []])
    }
  )
})

test('both sides renew their session at once, again and again, and every message arrives once and in order', () => {
  let wornUpTo = 0
  return withPair(
    (_, n) => n <= wornUpTo,
    async ({ net, peers: [alice, bob], made, lost }) => {
      const count = 60
      for (let i = 0; i < count; i++) {
        await Promise.all([say(alice, bob, `${i}`), say(bob, alice, `${i}`)])
        if (i % 20 === 10) wornUpTo = Math.max(made[0].length, made[1].length)
        if (i % 20 === 19) await eventually('a new session', () => made.every(m => m.length > wornUpTo))
      }
      await eventually('all arrived', () => [alice, bob].every(p => heard(p).length === count))
      for (const p of [alice, bob]) assert.deepEqual(heard(p), numbers(count))
      assert.ok(made[0].length >= 4, `${made[0].length} sessions`)
      assert.deepEqual([...made[0]], [...made[1]], 'they agree about each')
      assert.deepEqual([net.dials, lost], [1, []])
    }
  )
})

test('large messages go on in the new session', () => {
  let isOld = false
  return withPair(
    (_, n) => n === 1 && isOld,
    async ({ net, peers: [alice, bob], made }) => {
      await say(alice, bob, 'small')
      await eventually('linked', () => heard(bob).length === 1)
      const text = 'x'.repeat(1_000_000)
      const sent = Promise.all([say(alice, bob, text), say(bob, alice, text)])
      isOld = true
      await sent
      await eventually('both arrived', () => heard(bob).includes(text) && heard(alice).includes(text), 20_000)
      assert.deepEqual([made[0].length, net.dials], [2, 1])
    }
  )
})

test('a session over HTTP is renewed on its link as well', async () => {
  using folder = tempFolder()
  const made: string[] = []
  let isOld = false
  const net = new MemoryNetwork()
  await using server = await net.open(folder.path, 'server')
  const self = await selfOf('server')
  await using http = await openMessageHttp({
    ...{ clock: systemClock, log: silentLogger, self, accept: link => server.messenger.accept(link) },
    ...{ peers: () => [], stats: () => ({}), isGranted: () => false, isBanned: () => false, penalise: () => {} }
  })
  net.wrap = wearing(n => n === 1 && isOld, made)
  let links = 0
  const open = async () => {
    links++
    return openHttpLink({ random: randomBytes }, { url: http.url })
  }
  await using client = await net.open(folder.path, 'client', { opener: { open } })
  for (let i = 0; i < 40; i++) {
    await say(client, server, `${i}`)
    if (i === 10) await eventually('linked', () => heard(server).length === 11)
    if (i === 15) isOld = true
    if (i > 10) await say(server, client, `${i - 11}`)
  }
  await eventually('all arrived', () => heard(server).length === 40 && heard(client).length === 29)
  assert.deepEqual([heard(server), heard(client)], [numbers(40), numbers(29)])
  assert.deepEqual([made.length, links, http.links], [2, 1, 1])
})

test('handshakes out of turn on a link count as bad frames, and its session goes on until there are too many', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim')
  const self = await selfOf('attacker')
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self, network: NETWORK })
  const [ours, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: 'attacker' })
  void victim.messenger.accept(theirs)
  const channel = await sessionChannels(sessions).connect(ours, victim.id, AbortSignal.timeout(5000))
  for (const type of ['handshake_ack', 'handshake_confirm', 'handshake']) {
    await ours.send(utf8(`{"msg_type":"${type}","x":1}`))
    const { frame } = await channel.seal('agent_message', utf8(JSON.stringify({ message_id: newUuid(), ...note(type) })))
    await ours.send(frame)
  }
  await eventually('three arrived', () => victim.messenger.inbox().length === 3)
  for (let i = 0; i < MAX_BAD_FRAMES; i++) await ours.send(utf8('{"msg_type":"handshake_ack","x":1}')).catch(() => {})
  await eventually('it is off', () => ours.closed.aborted)
})

test('a new session of another peer on the same link is refused, and the old one goes on', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim')
  const instances = await Promise.all(['attacker', 'other'].map(selfOf))
  const [mine, others] = instances.map(self => openSessions({ clock: systemClock, random: randomBytes, self, network: NETWORK }))
  const [ours, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: 'attacker' })
  void victim.messenger.accept(theirs)
  const channel = await sessionChannels(mine!).connect(ours, victim.id, AbortSignal.timeout(5000))
  await sessionChannels(others!).connect(ours, victim.id, AbortSignal.timeout(5000))
  const { frame } = await channel.seal('agent_message', utf8(JSON.stringify({ message_id: newUuid(), ...note('still me') })))
  await ours.send(frame)
  await eventually('arrived', () => victim.messenger.inbox().length === 1)
  assert.equal(victim.messenger.isConnected(instances[1]!.entityId), false)
  await ours[Symbol.asyncDispose]()
})
