import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { compareDistance, sharedBits } from '../kademlia/distance.ts'
import { AddressVotes } from './address-votes.ts'
import { ContactScope } from './contact-scope.ts'
import { ProvenAddresses, RateByAddress, Tokens } from './guards.ts'
import { targetOf } from './items.ts'
import type { Contact } from './krpc.ts'
import { MAX_RATED_ADDRESSES, MAX_STORED_PEERS, MAX_STORED_PER_ADDRESS, MAX_STORED_TORRENTS } from './limits.ts'
import { walk } from './lookup.ts'
import { makeNodeId } from './node-id.ts'
import { ItemStore, PeerStore } from './store.ts'
import { RoutingTable } from './table.ts'

const idOf = (n: number): Uint8Array => Uint8Array.from({ length: 20 }, (_, i) => (n * 31 + i * 7 * n + (i === 0 ? n : 0)) & 255)
const own = new Uint8Array(20)
const host = (n: number): string => `8.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
const honest = (n: number): Contact => ({ id: makeNodeId(host(n), idOf(n)), host: host(n), port: 6881 })

test('BT9: one node for each address, whatever ids it makes up', () => {
  const table = new RoutingTable(own)
  for (let i = 1; i <= 100; i++) table.answered({ id: idOf(i), host: '9.9.9.9', port: 1024 + i }, i)
  assert.equal(table.size, 1)
  assert.deepEqual([...table][0]!.id, idOf(1), 'the first keeps its place while it answers')
  table.failed({ id: idOf(1), host: '9.9.9.9', port: 1025 })
  assert.ok(table.answered({ id: idOf(2), host: '9.9.9.9', port: 1026 }, 200))
  assert.deepEqual([...table][0]!.id, idOf(2))
  assert.equal(table.size, 1)
  for (let i = 1; i <= 20; i++) table.answered({ id: idOf(i), host: '127.0.0.1', port: 1024 + i }, i)
  assert.ok(table.size > 2) // this machine may run several
})
test('BT9: ids that are not those of their address make room for those that are, and never push them out', () => {
  const near = Uint8Array.from(own, (_, i) => (i === 0 ? 0x80 : 0)) // all in one bucket: the first bit differs
  const table = new RoutingTable(own)
  for (let i = 0; i < 8; i++) assert.ok(table.answered({ id: near.with(19, i).with(5, i), host: host(i), port: 2000 }, 0))
  const real = Array.from({ length: 400 }, (_, i) => honest(i + 100)).filter(c => sharedBits(own, c.id) === 0)
  for (const c of real.slice(0, 8)) assert.ok(table.answered(c, 1))
  assert.ok([...table].every(n => n.verified))
  assert.ok(!table.answered({ id: near.with(3, 9), host: '9.1.1.1', port: 2000 }, 2))
  assert.ok(!table.wants({ id: near.with(3, 9), host: '9.1.1.1', port: 2000 }, 2))
})
test('old nodes stay, silent ones are dropped after three failures and replaced before', () => {
  const table = new RoutingTable(own)
  const bucket = Array.from({ length: 800 }, (_, i) => honest(i + 1)).filter(c => sharedBits(own, c.id) === 0)
  for (const c of bucket.slice(0, 8)) table.answered(c, 0)
  assert.ok(!table.answered(bucket[8]!, 5))
  table.failed(bucket[3]!)
  assert.ok(table.answered(bucket[8]!, 6))
  assert.ok(![...table].some(n => n.host === bucket[3]!.host))
  for (let i = 0; i < 3; i++) table.failed(bucket[0]!)
  assert.equal(table.size, 7)
  assert.deepEqual(
    table.questionable(20 * 60_000, 2).map(n => n.lastAnswerMs),
    [0, 0]
  )
})
test('the closest nodes are the closest', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.integer({ min: 1, max: 60 }), (target, n) => {
      const table = new RoutingTable(own)
      for (let i = 1; i <= n; i++) table.answered(honest(i), 0)
      const best = table.closest(target, 3)
      for (const node of table) if (!best.includes(node)) assert.ok(compareDistance(target, node.id, best.at(-1)!.id) > 0)
    })
  )
})

test('a walk finds the closest nodes of a network, asks each address once, and ends when led on for ever', async () => {
  const network = Array.from({ length: 300 }, (_, i) => honest(i + 1))
  const byHost = new Map(network.map(c => [c.host, c]))
  const target = idOf(77)
  const near = (t: Uint8Array): Contact[] => network.toSorted((a, b) => compareDistance(t, a.id, b.id))
  const asked: string[] = []
  const nothing = { peers: [], token: new Uint8Array(1), value: undefined, signed: undefined, seq: undefined }
  const found = await walk(
    {
      ask: async c => {
        asked.push(c.host)
        const at = network.indexOf(byHost.get(c.host)!)
        const known = network.filter((_, i) => (i * 7 + at) % 5 === 0)
        return { id: c.id, answer: { ...nothing, nodes: known.toSorted((a, b) => compareDistance(target, a.id, b.id)).slice(0, 8) } }
      },
      mayContact: () => true
    },
    target,
    network.slice(0, 3),
    new AbortController().signal
  )
  assert.deepEqual(
    found.map(f => f.contact.host),
    near(target)
      .slice(0, 8)
      .map(c => c.host)
  )
  assert.equal(new Set(asked).size, asked.length)
  assert.ok(asked.length < 100)
  // Hostile: every answer names nodes that are a little closer, all at addresses of their own, none with an id that fits.
  let n = 0
  const led = await walk(
    {
      ask: async c => ({
        id: c.id,
        answer: {
          ...nothing,
          nodes: [1, 2, 3].map(() => ({ id: target.with(19, (target[19]! ^ ++n) & 255), host: host(5000 + n), port: 2000 }))
        }
      }),
      mayContact: () => true
    },
    target,
    [honest(1)],
    new AbortController().signal
  )
  assert.ok(n <= 128 * 3)
  assert.ok(led.length <= 1) // BT9: none of theirs is asked to keep anything
})

test('tokens are for one address and two periods; what was proved is forgotten in time; rates are for each address', async () => {
  const clock = new FakeClock()
  const tokens = new Tokens(clock)
  const token = tokens.for('1.2.3.4')
  assert.ok(tokens.isFor('1.2.3.4', token))
  assert.ok(!tokens.isFor('1.2.3.5', token))
  await clock.advance(9 * 60_000)
  assert.ok(tokens.isFor('1.2.3.4', token))
  await clock.advance(2 * 60_000)
  assert.ok(!tokens.isFor('1.2.3.4', token))
  const unused = tokens.for('1.2.3.4')
  await clock.advance(11 * 60_000)
  assert.ok(!tokens.isFor('1.2.3.4', unused), 'also when nobody asked in between')
  const proven = new ProvenAddresses(clock)
  proven.prove('1.2.3.4', { host: '5.6.7.8', port: 9 })
  assert.deepEqual(proven.seenAs('1.2.3.4'), { host: '5.6.7.8', port: 9 })
  await clock.advance(16 * 60_000)
  assert.ok(!proven.has('1.2.3.4'))
  const rate = new RateByAddress(clock, 1, 2)
  assert.deepEqual(
    [1, 2, 3].map(n => rate.tryTake(`2001:db8:1:2::${n}`)),
    [true, true, false]
  )
  assert.ok(rate.tryTake('2001:db8:1:3::1'), 'another customer')
  for (let i = 0; i < MAX_RATED_ADDRESSES; i++) rate.tryTake(host(i))
  assert.ok(rate.tryTake('2001:db8:1:2::1'), 'of too many addresses the one unused for longest is forgotten')
})

test('the stores are bounded and forget', async () => {
  const clock = new FakeClock()
  const peers = new PeerStore(clock)
  for (let i = 0; i < MAX_STORED_PEERS + 10; i++) peers.add(own, { host: host(i), port: 1 })
  assert.equal(peers.peers(own, 10_000).length, MAX_STORED_PEERS)
  assert.deepEqual(peers.peers(own, 1), [{ host: host(MAX_STORED_PEERS + 9), port: 1 }])
  for (let i = 0; i < MAX_STORED_TORRENTS + 10; i++)
    peers.add(
      idOf(1)
        .with(0, i & 255)
        .with(1, i >> 8),
      { host: host(i), port: 1 }
    )
  assert.equal(peers.torrents, MAX_STORED_TORRENTS)
  const one = new PeerStore(clock)
  let taken = 0
  for (let i = 0; i < 2 * MAX_STORED_PER_ADDRESS; i++)
    if (
      one.add(
        idOf(1)
          .with(0, i & 255)
          .with(1, i >> 8),
        { host: '1.1.1.1', port: 7 }
      )
    )
      taken++
  assert.equal(taken, MAX_STORED_PER_ADDRESS)
  await clock.advance(31 * 60_000)
  one.sweep()
  assert.equal(one.torrents, 0)
  assert.ok(one.add(own, { host: '1.1.1.1', port: 7 }))
  const items = new ItemStore(clock)
  const itemOf = (i: number) => ({ value: Uint8Array.from(`i${i}e`, c => c.charCodeAt(0)), signed: undefined, salt: new Uint8Array() })
  for (let i = 0; i < 1100; i++) items.put(itemOf(i), host(i))
  assert.equal(items.size, 1000)
  for (let i = 0; i < 5000; i++) items.put(itemOf(10_000 + i), '1.1.1.1')
  const left = Array.from({ length: 1100 }, (_, i) => items.get(targetOf(itemOf(i)))).filter(Boolean).length
  assert.equal(left, 1000 - MAX_STORED_PER_ADDRESS, 'one address takes its share and no more')
  await clock.advance(121 * 60_000)
  items.sweep()
  assert.equal(items.size, 0)
})

test('one node alone cannot say what our address is; private addresses are contacted only where the user pointed', () => {
  const votes = new AddressVotes()
  for (let i = 0; i < 10; i++) votes.vote('8.8.8.8', '4.4.4.4')
  assert.equal(votes.address, undefined)
  for (let i = 0; i < 10; i++) votes.vote(host(i), '10.0.0.1')
  assert.equal(votes.address, undefined)
  for (let i = 0; i < 5; i++) votes.vote(host(i), '6.6.6.6')
  assert.equal(votes.address, '6.6.6.6')
  const scope = new ContactScope(false)
  const lan = { host: '192.168.1.9', port: 6881 }
  assert.ok(scope.allows({ host: '8.8.8.8', port: 6881 }) && !scope.allows(lan) && scope.isUsable(lan))
  assert.ok(!scope.allows({ host: '8.8.8.8', port: 53 }) && !scope.isUsable({ host: '224.0.0.1', port: 6881 }))
  assert.ok(!scope.allows({ host: '2001:4860::1', port: 6881 }))
  scope.widen('192.168.7.7')
  assert.ok(scope.allows(lan) && !scope.allows({ host: '127.0.0.1', port: 6881 }))
})
