/** One peer sends junk beside an honest one: it is off within twenty frames, stays off, and nobody else notices (threats T1). */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import test from 'node:test'
import { randomBytes } from '#crypto'
import { MemoryNetwork, NETWORK, note, selfOf, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openSessions } from '../session/sessions.ts'
import { openPeerBook } from '../trust/peer-book.node.ts'
import { MAX_ACCEPTING } from './limits.ts'
import type { MessageLink } from './link.ts'
import { memoryLinkPair } from './link-memory.ts'
import { openLinkPool } from './link-pool.ts'
import { PeerGuard } from './peer-guard.ts'
import { sessionChannels } from './session-channel.ts'

const junk = (n: number): Uint8Array => new TextEncoder().encode(`{"msg_type":"agent_message","n":${n}}`)

test('a peer that floods with junk is banned within twenty frames, and honest messages arrive meanwhile', async () => {
  using folder = tempFolder()
  await using book = openPeerBook({ clock: systemClock, log: silentLogger }, `${folder.path}/peers.db`)
  const bannedFor: string[] = []
  let bad = 0
  const counted = new PeerGuard({
    clock: systemClock,
    scores: book.scores,
    isTrusted: () => false,
    onBanned: (_, code) => void bannedFor.push(code)
  })
  const guard = {
    admit: counted.admit.bind(counted),
    report: (...args: Parameters<PeerGuard['report']>) => {
      bad++
      counted.report(...args)
    }
  }
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim', { guard })
  await using honest = await net.open(folder.path, 'honest')
  await using pool = openLinkPool(
    { clock: systemClock, random: Math.random, guard, isActive: () => false },
    { open: () => Promise.reject(new Error('unused')) }
  )
  const attacker = await selfOf('attacker')
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self: attacker, network: NETWORK })
  const channels = sessionChannels(sessions)
  /** @returns undefined when the victim does not even take the link */
  const attack = async (): Promise<MessageLink | undefined> => {
    const [ours, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: 'attacker', address: '192.0.2.66' })
    const taken = await pool.admit(theirs)
    if (!taken) return undefined
    void victim.messenger.accept(taken)
    await channels.connect(ours, victim.id, AbortSignal.timeout(5000))
    return ours
  }

  const ids = Promise.all(
    [...Array(200)].map((_, i) => honest.messenger.send({ to: victim.id, type: 'agent_message', body: note(`${i}`) }))
  )
  let links = 0
  let sent = 0
  for (let link = await attack(); link; link = await attack().catch(() => undefined)) {
    links++
    while (!link.closed.aborted && sent < 10_000) await link.send(junk(sent++)).catch(() => {})
    if (sent >= 10_000) break
  }
  assert.ok(sent < 10_000 && bad <= 20, `${bad} bad frames were looked at, on ${links} links`)
  assert.equal(book.scores.isBanned({ entityId: attacker.entityId }), true)
  assert.ok(bannedFor.length > 0)
  assert.equal(await attack(), undefined, 'it is not let in again')
  const all = await ids
  await eventually('delivered', () => all.every(m => honest.messenger.sent(m.id)?.state === 'delivered'))
  assert.equal(book.scores.view({ entityId: honest.id }).score, 0)
})

test('what an attacker repeats of a peer, or says in its name, costs the attacker', async () => {
  using folder = tempFolder()
  await using book = openPeerBook({ clock: systemClock, log: silentLogger }, `${folder.path}/peers.db`)
  const guard = new PeerGuard({ clock: systemClock, scores: book.scores, isTrusted: () => false })
  const net = new MemoryNetwork()
  const overheard: Uint8Array[] = []
  net.tamper = frame => {
    overheard.push(Uint8Array.from(frame))
    return [frame]
  }
  await using victim = await net.open(folder.path, 'victim', { guard })
  await using honest = await net.open(folder.path, 'honest')
  const { id } = await honest.messenger.send({ to: victim.id, type: 'agent_message', body: note('once') })
  await eventually('delivered', () => honest.messenger.sent(id)?.state === 'delivered')
  for (let i = 0; i < 30; i++) {
    const [ours, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: `sybil ${i % 3}`, address: '192.0.2.66' })
    const served = victim.messenger.accept(theirs)
    for (const frame of overheard) await ours.send(frame).catch(() => {})
    await ours[Symbol.asyncDispose]()
    await served
  }
  assert.equal(book.scores.view({ entityId: honest.id }).score, 0)
  const again = await honest.messenger.send({ to: victim.id, type: 'agent_message', body: note('twice') })
  await eventually('delivered', () => honest.messenger.sent(again.id)?.state === 'delivered')
  assert.equal(victim.messenger.inbox().length, 2)
})

test('silent links from one place do not keep others out, under however many names they come (threats HS3)', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim')
  await using honest = await net.open(folder.path, 'honest')
  for (let i = 0; i < 100; i++) {
    const [, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: `sybil ${i}`, address: '8.8.8.8' })
    void victim.messenger.accept(theirs)
    assert.equal(theirs.closed.aborted, i >= 8)
  }
  const { id } = await honest.messenger.send({ to: victim.id, type: 'agent_message', body: note('hello') })
  await eventually('delivered', () => honest.messenger.sent(id)?.state === 'delivered')
})

test('silent links from whole networks do not keep others out, and cost an honest peer that has to make room nothing (threats HS3)', async () => {
  using folder = tempFolder()
  await using book = openPeerBook({ clock: systemClock, log: silentLogger }, `${folder.path}/peers.db`)
  const guard = new PeerGuard({ clock: systemClock, scores: book.scores, isTrusted: () => false })
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim', { guard })
  await using honest = await net.open(folder.path, 'honest')
  const silent = (address: string): MessageLink => {
    const [, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: `at ${address}`, address })
    void victim.messenger.accept(theirs)
    return theirs
  }
  const patient = silent('9.9.9.9')
  const flood = Array.from({ length: 2 * MAX_ACCEPTING }, (_, i) => silent(`8.8.${i % 4}.${i >> 2}`))
  assert.equal(patient.closed.aborted, false, 'the networks that come in numbers make room among themselves')
  assert.equal(flood.filter(l => !l.closed.aborted).length, MAX_ACCEPTING - 1)
  const { id } = await honest.messenger.send({ to: victim.id, type: 'agent_message', body: note('hello') })
  await eventually('delivered', () => honest.messenger.sent(id)?.state === 'delivered')
  await eventually('ended', () => flood.filter(l => l.closed.aborted).length > MAX_ACCEPTING)
  assert.equal(book.scores.view({ addressKey: 'peer at 8.8.0.0' }).score, 0)
})

test('greeting leaves no listeners behind', async t => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using victim = await net.open(folder.path, 'victim')
  await using honest = await net.open(folder.path, 'honest')
  const any = t.mock.method(AbortSignal, 'any')
  const { id } = await honest.messenger.send({ to: victim.id, type: 'agent_message', body: note('hello') })
  await eventually('delivered', () => honest.messenger.sent(id)?.state === 'delivered')
  for (let i = 0; i < 5; i++) {
    const [ours, theirs] = memoryLinkPair({ peerId: 'victim' }, { peerId: `peer ${i}`, address: `192.0.2.${i}` })
    const served = victim.messenger.accept(theirs)
    await ours[Symbol.asyncDispose]()
    await served
  }
  const joined = any.mock.calls.flatMap(c => (c.result ? [c.result] : []))
  assert.ok(joined.length >= 7)
  for (const signal of joined) assert.equal(getEventListeners(signal, 'abort').length, 0)
})
