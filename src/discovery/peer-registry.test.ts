import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { type Someone, someone } from '../../test/kits/reach.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import { silentLogger } from '../base/log.ts'
import { issuePeerChain } from '../identity/certificates.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import { openHost } from '../net/host.node.ts'
import type { Host, HostEvents } from '../net/host.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import { MAX_RECORD_AGE_MS } from '../wire/limits.ts'
import { PEER_RECORD_DOMAIN, type PeerRecord, peerRecordCodec } from '../wire/peer-record.ts'
import { PEER_RECORD_METHOD, peerRecordRequest } from '../wire/peer-record-request.ts'
import { signedCodec } from '../wire/signed.ts'
import { openBootstrap } from './bootstrap.ts'
import { type Dht, dhtService } from './dht.ts'
import { DhtFinder } from './dht-finder.ts'
import { capabilityKey, openPeerRegistry, type PeerRegistry, peerKey } from './peer-registry.ts'
import { RecordCache } from './peer-registry-cache.ts'
import { checkPeerRecord } from './peer-registry-check.ts'
import type { Announcement, KeyFinder, Neighbourhood } from './peer-registry-types.ts'

const base = { clock: systemClock, log: silentLogger }
const soon = <T>(work: Promise<T>): Promise<T> => within(15_000, 'the registry', work)

/** Neighbours on a network of memory. */
class Links implements Neighbourhood {
  readonly events = new Emitter<HostEvents>()
  readonly #peers = new Set<string>()
  peers(): { peerId: string }[] {
    return [...this.#peers].map(peerId => ({ peerId }))
  }
  connect(peerId: string): void {
    this.#peers.add(peerId)
    this.events.emit('peer:connected', { peerId, address: undefined })
  }
}
interface InMemory {
  readonly self: Someone
  readonly links: Links
  readonly registry: PeerRegistry
}
async function openInMemory(t: TestContext, network: MemoryNetwork, told: Announcement = {}): Promise<InMemory> {
  const self = await someone()
  const links = new Links()
  const registry = await openPeerRegistry({ ...base, rpc: network.join(self.peerId, '127.0.0.1'), self, network: links }, told)
  t.after(() => registry[Symbol.asyncDispose]())
  return { self, links, registry }
}
async function connect(a: InMemory, b: InMemory): Promise<void> {
  a.links.connect(b.self.peerId)
  b.links.connect(a.self.peerId)
  await eventually('the state that was waited for', () =>
    [a.registry.known(b.self.entityId), b.registry.known(a.self.entityId)].every(k => k !== undefined)
  )
}

async function openNode(t: TestContext, bootstrap: readonly string[], told: Announcement) {
  const self = await someone()
  const gate = new ScopeGate()
  const services = { dht: await dhtService({ gate }) }
  const host: Host<{ dht: Dht }> = await openHost(
    { ...base, gate, peerPrivateKey: self.peerSeed },
    { listen: ['/ip4/127.0.0.1/tcp/0'], services }
  )
  const finder = new DhtFinder({ ...base, gate, dht: host.services.dht, peerId: host.peerId })
  const joining = openBootstrap({ ...base, gate, host }, bootstrap)
  const registry = await openPeerRegistry({ ...base, rpc: host.rpc, self, network: host, finder }, told)
  t.after(async () => {
    await joining[Symbol.asyncDispose]()
    await registry[Symbol.asyncDispose]()
    await finder[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
  })
  return { self, host, finder, registry }
}

test('a peer is found in the DHT by what its agent can do, and says who it is', async t => {
  const a = await openNode(t, [], {})
  const told: Announcement = {
    relaysFor: 'everyone',
    agents: [{ key: randomBytes(32), certificate: randomBytes(100), skills: ['übersetzen'] }],
    prekey: randomBytes(108),
    via: [{ peerId: a.self.peerId, entityId: a.self.entityId }]
  }
  const b = await openNode(t, a.host.addresses(), told)
  await soon(b.registry.announced())
  const c = await openNode(t, a.host.addresses(), {})
  await eventually('a DHT', () => c.finder.tableSize > 0)
  const search = c.registry.findByCapability('übersetzen', AbortSignal.timeout(15_000))
  const found = (await soon(search.next())).value
  await search.return()
  assert.ok(found?.isFresh)
  assert.deepEqual([found.entityId, found.peerId, found.relaysFor], [b.self.entityId, b.self.peerId, 'everyone'])
  assert.deepEqual(found.prekey, new Uint8Array(told.prekey!))
  assert.deepEqual(found.via, told.via)
  assert.deepEqual(found.agents[0]?.skills, ['übersetzen'])
})

/** Who has announced what, for all. */
class Directory {
  readonly #keys = new Map<string, Set<string>>()
  of(peerId: string): KeyFinder {
    const at = (key: Uint8Array): Set<string> => {
      const hex = bytesToHex(key)
      const peers = this.#keys.get(hex) ?? new Set()
      this.#keys.set(hex, peers)
      return peers
    }
    return {
      async *find(key) {
        for (const p of at(key)) if (p !== peerId) yield { peerId: p, addresses: ['/ip4/192.0.2.1/tcp/4801'] }
      },
      announce: async key => void at(key).add(peerId),
      withdraw: async key => void at(key).delete(peerId)
    }
  }
}

test('whoever announces an id or a capability is asked, and only those count that sign it; what is not told any more is withdrawn', async t => {
  const [network, directory] = [new MemoryNetwork(), new Directory()]
  const openFound = async (told: Announcement) => {
    const self = await someone()
    const deps = { ...base, rpc: network.join(self.peerId, '127.0.0.1'), self, network: new Links(), finder: directory.of(self.peerId) }
    const registry = await openPeerRegistry(deps, told)
    t.after(() => registry[Symbol.asyncDispose]())
    return { self, registry }
  }
  const a = await openFound({})
  const b = await openFound({ capabilities: ['chat', 'files'] })
  const liar = await openFound({})
  const namesOf = async (name: string): Promise<string[]> => {
    const found: string[] = []
    for await (const p of a.registry.findByCapability(name)) found.push(p.entityId)
    return found
  }
  for (const key of [await peerKey(b.self.entityId), await capabilityKey('chat')]) await directory.of(liar.self.peerId).announce(key)
  const found = await soon(a.registry.find(b.self.entityId))
  assert.deepEqual([found?.peerId, found?.addresses], [b.self.peerId, ['/ip4/192.0.2.1/tcp/4801']])
  for (const name of ['chat', 'files']) assert.deepEqual(await soon(namesOf(name)), [b.self.entityId])
  assert.deepEqual(await soon(namesOf('other')), [])
  await b.registry.publish({ capabilities: ['files'] })
  const left: string[] = []
  for await (const p of directory.of('').find(await capabilityKey('chat'), AbortSignal.timeout(1000))) left.push(p.peerId)
  assert.deepEqual(left, [liar.self.peerId])
})

test('neighbours are known without a DHT, and what they know is found through them', async t => {
  const network = new MemoryNetwork()
  const [a, r1, r2, b] = await Promise.all([0, 1, 2, 3].map(() => openInMemory(t, network)))
  await connect(a!, r1!)
  await connect(r1!, r2!)
  await connect(r2!, b!)
  assert.deepEqual(
    a!.registry.neighbours().map(n => n.entityId),
    [r1!.self.entityId]
  )
  const found = await soon(a!.registry.find(b!.self.entityId))
  assert.equal(found?.peerId, b!.self.peerId)
  assert.equal(await soon(a!.registry.find((await someone()).entityId)), undefined)
  await assert.rejects(a!.registry.find('bob'), (e: unknown) => hasCode(e, 'BAD_ENTITY'))
})

test('who is away is still found with the peer that answers for it, also after that peer has restarted', async t => {
  const network = new MemoryNetwork()
  const owner = await openInMemory(t, network, { prekey: Uint8Array.of(1, 2, 3) })
  const saved = new Map<string, Uint8Array>()
  const memory = {
    records: () => [...saved.values()],
    saveRecord: (id: string, bytes: Uint8Array) => void saved.set(id, bytes),
    removeRecord: (id: string) => void saved.delete(id)
  }
  const mailbox = await someone()
  const deps = { ...base, self: mailbox, network: new Links(), memory }
  const first = await openPeerRegistry({ ...deps, rpc: network.join(mailbox.peerId) })
  await first.keep(owner.self.entityId, { answerFor: true })
  deps.network.connect(owner.self.peerId)
  await eventually('the state that was waited for', () => saved.size === 1)
  await first[Symbol.asyncDispose]()
  network.leave(owner.self.peerId)
  const second = await openPeerRegistry({ ...deps, network: new Links(), rpc: network.join(mailbox.peerId) })
  t.after(() => second[Symbol.asyncDispose]())
  const asker = await openInMemory(t, network)
  asker.links.connect(mailbox.peerId)
  const found = await soon(asker.registry.find(owner.self.entityId))
  assert.deepEqual(found?.prekey, Uint8Array.of(1, 2, 3))
  await second.keep(owner.self.entityId, { keep: false })
  assert.equal(saved.size, 0)
})

test('a change is seen by neighbours, and an older record never replaces a newer one', async t => {
  const network = new MemoryNetwork()
  const [a, b] = [await openInMemory(t, network), await openInMemory(t, network, { capabilities: ['one'] })]
  await connect(a, b)
  const before = a.registry.known(b.self.entityId)!
  await b.registry.publish({ capabilities: ['two'] })
  await eventually('the state that was waited for', () => a.registry.known(b.self.entityId)?.capabilities.includes('two') ?? false)
  const cache = new RecordCache({ maxRecords: 2, maxBytes: 1e6 })
  const make = async (self: Someone, sequence: number) => checkPeerRecord(await signRecord(self, { sequence }), systemClock.now())
  const newer = await make(b.self, before.record.sequence + 9)
  cache.add(newer, true)
  assert.equal(cache.add(await make(b.self, before.record.sequence), false), newer)
  cache.keep(b.self.entityId, true)
  for (let i = 0; i < 4; i++) cache.add(await make(await someone(), 1), true)
  assert.equal(cache.size, 2)
  assert.equal(cache.get(b.self.entityId), newer, 'kept records are not pushed out')
  assert.ok(cache.ofPeer(b.self.peerId))
})

test('an instance that names the PeerId of another in its record is not found by it, whoever hands that record on', async t => {
  const network = new MemoryNetwork()
  const [a, victim, gossip] = [await openInMemory(t, network), await openInMemory(t, network), await openInMemory(t, network)]
  await connect(a, victim)
  const found: boolean[] = []
  a.registry.events.on('peer:found', ({ isProved }) => void found.push(isProved))
  await connect(a, gossip)
  const thief = await someone()
  const certificate = await issuePeerChain(thief.seed, peerIdToBytes(victim.self.peerId), 1)
  const record = await signRecord({ ...thief, certificate }, { certificate, sequence: 2 ** 40 })
  // A neighbour that hands on what the thief signed.
  const asked = await someone()
  network.join(asked.peerId, '127.0.0.1').handle(PEER_RECORD_METHOD, { maxRequestBytes: 64, perSecond: 100 }, async () => record)
  a.links.connect(asked.peerId)
  const stolen = await a.registry.find(thief.entityId, AbortSignal.timeout(5000))
  assert.equal(stolen?.peerId, victim.self.peerId, 'it may say so')
  assert.equal(a.registry.knownPeer(victim.self.peerId)?.entityId, victim.self.entityId, 'but is not found by it')
  assert.deepEqual(found, [true, false])
})

async function signRecord(self: Someone, change: Partial<PeerRecord>): Promise<Uint8Array> {
  const record: PeerRecord = {
    certificate: self.certificate,
    sequence: 1,
    expiresAt: systemClock.now() + 1000,
    relaysFor: 'nobody',
    agents: [],
    capabilities: [],
    prekey: undefined,
    via: [],
    ...change
  }
  return encode(signedCodec, await self.sign(PEER_RECORD_DOMAIN, encode(peerRecordCodec, record)))
}

test('records that are forged, borrowed or too old are refused', async () => {
  const [a, b] = [await someone(), await someone()]
  const now = systemClock.now()
  const refused = async (bytes: Uint8Array, code: string): Promise<void> =>
    assert.rejects(checkPeerRecord(bytes, now), (e: unknown) => hasCode(e, code) || assert.fail(`${(e as KithError).code}, not ${code}`))
  assert.equal((await checkPeerRecord(await signRecord(a, {}), now)).entityId, a.entityId)
  await refused(await signRecord(a, { certificate: b.certificate }), 'BAD_RECORD')
  await refused(await signRecord(a, { expiresAt: now + 2 * MAX_RECORD_AGE_MS }), 'BAD_RECORD')
  await refused(await signRecord(a, { expiresAt: now - 8 * MAX_RECORD_AGE_MS }), 'BAD_RECORD')
  await refused(new Uint8Array(20_000), 'BAD_RECORD')
  const bytes = await signRecord(a, { capabilities: ['x'] })
  for (let i = 0; i < bytes.length; i += 7) {
    const bad = Uint8Array.from(bytes)
    bad[i]! ^= 1
    await assert.rejects(checkPeerRecord(bad, now), KithError)
  }
})

test('a peer that tells another peer’s record as its own, or answers anything else, is not believed', async t => {
  const network = new MemoryNetwork()
  const [a, victim] = [await openInMemory(t, network), await someone()]
  const stolen = await signRecord(victim, { sequence: 1e15 })
  const liar = await someone()
  let answer: Uint8Array = stolen
  let asked = 0
  network.join(liar.peerId).handle('peer-record', { maxRequestBytes: 64, perSecond: 99 }, async () => {
    asked++
    return answer
  })
  a.links.connect(liar.peerId)
  await eventually('the state that was waited for', () => asked === 1)
  assert.equal(await soon(a.registry.find(liar.entityId)), undefined)
  for (answer of [randomBytes(300), new Uint8Array(), await signRecord(liar, { certificate: victim.certificate })])
    assert.equal(await soon(a.registry.find(liar.entityId)), undefined)
  assert.equal(a.registry.known(liar.entityId), undefined)
})

test('questions that cost others something are limited for all askers together', async t => {
  const network = new MemoryNetwork()
  const [r, n] = [await openInMemory(t, network), await someone()]
  let asked = 0
  network.join(n.peerId).handle('peer-record', { maxRequestBytes: 64, perSecond: 1e6 }, async () => {
    asked++
    return new Uint8Array()
  })
  r.links.connect(n.peerId)
  await eventually('the state that was waited for', () => asked === 1)
  const rpc = network.join((await someone()).peerId)
  for (let i = 0; i < 45; i++)
    await rpc.request({ peerId: r.self.peerId }, 'peer-record', encode(peerRecordRequest, { key: randomBytes(32), depth: 3 }), {
      maxResponseBytes: 1e5
    })
  assert.ok(asked <= 31, `${asked} questions were passed on`)
})

test('what does not fit into a record is not announced', async t => {
  const a = await openInMemory(t, new MemoryNetwork())
  for (const told of [
    { capabilities: ['a', 'a'] },
    { capabilities: ['line\nbreak'] },
    { capabilities: Array.from({ length: 65 }, (_, i) => `c${i}`) },
    { prekey: new Uint8Array(600) },
    { via: [{ peerId: 'nobody', entityId: a.self.entityId }] }
  ])
    await assert.rejects(a.registry.publish(told), (e: unknown) => hasCode(e, 'BAD_ANNOUNCEMENT'))
})

test('any bytes are a record or are refused with a code, and records survive the way', () => {
  const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
    fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
  const name = fc.string({ minLength: 1, maxLength: 16, unit: 'grapheme-ascii' })
  const names = fc.uniqueArray(name, { maxLength: 6 })
  const bytes = (max: number, min = 0): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: min, maxLength: max })
  const record = plain({
    certificate: bytes(512),
    sequence: fc.maxSafeNat(),
    expiresAt: fc.maxSafeNat(),
    relaysFor: fc.constantFrom('nobody', 'contacts', 'everyone'),
    agents: fc.array(plain({ key: bytes(32, 32), certificate: bytes(512), skills: names }), { maxLength: 3 }),
    capabilities: names,
    prekey: fc.option(bytes(512, 1), { nil: undefined }),
    via: fc.array(plain({ peerId: bytes(64, 1), entityKey: bytes(32, 32) }), { maxLength: 4 })
  })
  fc.assert(fc.property(record, r => assert.deepEqual(decode(peerRecordCodec, encode(peerRecordCodec, r as PeerRecord)), r)))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(peerRecordCodec, peerRecordRequest), (b, codec) => {
      try {
        assert.deepEqual(encode<unknown>(codec as typeof peerRecordCodec, decode<unknown>(codec as never, b) as never), b)
      } catch (e) {
        assert.ok(e instanceof KithError, String(e))
      }
    })
  )
})

test('many peers that connect at once are all asked, and one that begins to answer later is known then', async t => {
  const network = new MemoryNetwork()
  const a = await openInMemory(t, network)
  const self = await someone()
  const late = { self, links: new Links() }
  a.links.connect(self.peerId)
  const others = await Promise.all(Array.from({ length: 20 }, () => openInMemory(t, network)))
  for (const o of others) a.links.connect(o.self.peerId)
  await eventually('all are known', () => a.registry.neighbours().length === 20)
  assert.equal(a.registry.known(self.entityId), undefined)
  late.links.connect(a.self.peerId)
  const registry = await openPeerRegistry({ ...base, rpc: network.join(self.peerId, '127.0.0.1'), self, network: late.links })
  t.after(() => registry[Symbol.asyncDispose]())
  await eventually('both know each other', () => !!a.registry.known(self.entityId) && !!registry.known(a.self.entityId))
})
