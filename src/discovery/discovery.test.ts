import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { systemClock } from '../base/clock.ts'
import { hasCode } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { peerIdOfKey, peerIdToText } from '../identity/peer-id.ts'
import type { BoundedDatastore } from '../net/bounded-datastore.ts'
import { openHost } from '../net/host.node.ts'
import type { Host } from '../net/host.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import { type Bootstrap, openBootstrap } from './bootstrap.ts'
import { type Dht, dhtService } from './dht.ts'
import { cidOfFile, DhtFinder, type DhtFinderOptions, type FoundProvider } from './dht-finder.ts'

interface Node {
  readonly gate: ScopeGate
  readonly host: Host<{ dht: Dht }>
  readonly finder: DhtFinder
  readonly bootstrap: Bootstrap
}

const base = { clock: systemClock, log: silentLogger }

/** A node as `node/` wires it, on a free loopback port. */
async function openNode(
  t: TestContext,
  bootstrap: readonly string[] = [],
  options: DhtFinderOptions & { listen?: string } = {}
): Promise<Node> {
  const gate = new ScopeGate()
  const services = { dht: await dhtService({ gate }) }
  const deps = { ...base, gate, peerPrivateKey: randomBytes(32) }
  const host = await openHost(deps, { listen: [options.listen ?? '/ip4/127.0.0.1/tcp/0'], services })
  const finder = new DhtFinder({ ...base, gate, dht: host.services.dht, peerId: host.peerId }, options)
  const joining = openBootstrap({ ...base, gate, host }, bootstrap)
  t.after(async () => {
    await joining[Symbol.asyncDispose]()
    await finder[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
  })
  return { gate, host, finder, bootstrap: joining }
}

async function findAll(finder: DhtFinder, id: Uint8Array, signal = AbortSignal.timeout(15_000)): Promise<FoundProvider[]> {
  const found: FoundProvider[] = []
  for await (const p of finder.find(id, signal)) found.push(p)
  return found
}

test('a seeder announced through a bootstrap node is found by a third node, which then calls it', async t => {
  const a = await openNode(t)
  const [b, c] = await Promise.all([openNode(t, a.host.addresses()), openNode(t, a.host.addresses())])
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  const found = await findAll(c.finder, fileId)
  assert.deepEqual(
    found.map(p => p.peerId),
    [b.host.peerId]
  )
  assert.ok(
    found[0]!.addresses.some(x => x.startsWith('/ip4/127.0.0.1/tcp/')),
    found[0]!.addresses.join()
  )
  b.host.rpc.handle('offer', { maxRequestBytes: 64, perSecond: 10 }, async request => Uint8Array.from(request, x => x + 1))
  const answer = await c.host.rpc.request(found[0]!, 'offer', Uint8Array.of(1, 2), { maxResponseBytes: 64 })
  assert.deepEqual(answer, Uint8Array.of(2, 3))
  assert.equal(c.host.rpc.addressOf(b.host.peerId), '127.0.0.1')

  await t.test('nobody has another file', async () => {
    assert.deepEqual(await findAll(c.finder, randomBytes(32)), [])
  })
  await t.test('a node does not find itself', async () => {
    assert.deepEqual(await findAll(b.finder, fileId), [])
  })
  await t.test('a withdrawn file leaves the seeder’s own store', async () => {
    await b.finder.withdraw(fileId)
    const cid = cidOfFile(fileId)
    assert.equal(await has(b, cid.toString(), b.host.peerId), false)
  })
})

const has = async (node: Node, cid: string, peer: string): Promise<boolean> => {
  const { providers } = node.host.services.dht as unknown as {
    providers: { getProviders(cid: unknown): Promise<{ toString(): string }[]> }
  }
  const { CID } = await import('multiformats/cid')
  return (await providers.getProviders(CID.parse(cid))).some(p => p.toString() === peer)
}

test('an announcement made alone is published when the first peer comes', async t => {
  const b = await openNode(t)
  const fileId = randomBytes(32)
  let published = false
  const announced = b.finder.announce(fileId).then(() => (published = true))
  const a = await openNode(t)
  assert.equal(published, false)
  b.gate.allow(a.host.addresses()[0]!, 'user')
  await b.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000))
  await announced
  assert.deepEqual(
    (await findAll(a.finder, fileId)).map(p => p.peerId),
    [b.host.peerId]
  )
})

test('a seeder is found by who knows nobody but it, also where its own gate lets nobody dial', async t => {
  // 0.0.0.0 opens nothing, as on a computer with an address of a home network; the record went to a node that is gone.
  const b = await openNode(t, [], { listen: '/ip4/0.0.0.0/tcp/0' })
  const address = b.host.addresses().find(x => x.startsWith('/ip4/127.0.0.1/'))!
  const gone = await openNode(t)
  gone.gate.allow(address, 'user')
  await gone.host.dial(address, AbortSignal.timeout(5000))
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  await gone.host[Symbol.asyncDispose]()
  const c = await openNode(t, [address])
  assert.deepEqual(
    (await findAll(c.finder, fileId)).map(p => p.peerId),
    [b.host.peerId]
  )
})

test('an announcement that is withdrawn before anybody came ends', async t => {
  const b = await openNode(t)
  const fileId = randomBytes(32)
  const announced = b.finder.announce(fileId)
  await b.finder.withdraw(fileId)
  await announced
})

test('a lookup alone ends after its wait, and at once when aborted', async t => {
  const b = await openNode(t, [], { noPeersTimeoutMs: 50 })
  assert.deepEqual(await findAll(b.finder, randomBytes(32)), [])
  assert.deepEqual(await findAll(b.finder, randomBytes(32), AbortSignal.abort()), [])
})

test('records are published again and again', async t => {
  const a = await openNode(t)
  const b = await openNode(t, a.host.addresses(), { republishMs: 100 })
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  await a.host.services.dht.cancelReprovide(cidOfFile(fileId)) // a's own entry; b's must come back by itself
  const { providers } = a.host.services.dht as unknown as { providers: { removeProvider(cid: unknown, peer: unknown): Promise<void> } }
  await providers.removeProvider(cidOfFile(fileId), peerIdFromString(b.host.peerId))
  const deadline = Date.now() + 10_000
  while ((await findAll(a.finder, fileId)).length === 0) assert.ok(Date.now() < deadline, 'the record did not come back')
})

test('DH4: many invented providers do not hide the real one, and are bounded', async t => {
  const a = await openNode(t)
  const [b, c] = await Promise.all([openNode(t, a.host.addresses()), openNode(t, a.host.addresses(), { maxProviders: 50 })])
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  const { providers } = a.host.services.dht as unknown as { providers: { addProvider(cid: unknown, peer: unknown): Promise<void> } }
  const fake = async (): Promise<void> => {
    const peer = peerIdFromString(peerIdToText(peerIdOfKey(randomBytes(32))))
    await a.host.libp2p.peerStore.merge(peer, { multiaddrs: [multiaddr('/ip4/127.0.0.1/tcp/9')] })
    await providers.addProvider(cidOfFile(fileId), peer)
  }
  for (let i = 0; i < 30; i++) await fake()
  const found = await findAll(c.finder, fileId)
  assert.equal(found.length, 31, 'all 31, though the library stops at 20')
  assert.ok(found.some(p => p.peerId === b.host.peerId))
  for (let i = 0; i < 40; i++) await fake()
  assert.equal((await findAll(c.finder, fileId)).length, 50)
})

test('addresses that nobody entitled named are neither learnt nor handed on', async t => {
  const a = await openNode(t)
  const [b, c] = await Promise.all([openNode(t, a.host.addresses()), openNode(t, a.host.addresses())])
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  for (const x of ['/ip4/10.1.2.3/tcp/80', '/ip4/169.254.169.254/tcp/80', '/ip4/0.0.0.0/tcp/80', '/dns4/internal/tcp/80'])
    await a.host.libp2p.peerStore.merge(peerIdFromString(b.host.peerId), { multiaddrs: [multiaddr(x)] })
  const [found] = await findAll(c.finder, fileId)
  assert.ok(found!.addresses.length > 0)
  assert.ok(
    found!.addresses.every(x => x.startsWith('/ip4/127.0.0.1/')),
    found!.addresses.join()
  )
})

test('the network stores no values', async t => {
  const a = await openNode(t)
  const b = await openNode(t, a.host.addresses())
  await b.finder.announce(randomBytes(32))
  for (const key of ['/v/hello', '/pk/x', 'plain']) {
    const answers: string[] = []
    try {
      for await (const e of b.host.services.dht.put(new TextEncoder().encode(key), Uint8Array.of(1), { signal: AbortSignal.timeout(5000) }))
        answers.push(e.name)
    } catch {
      answers.push('thrown')
    }
    assert.ok(!answers.includes('PEER_RESPONSE') || answers.includes('QUERY_ERROR'), `${key}: ${answers.join()}`)
  }
  const { datastore } = (a.host.libp2p as unknown as { components: { datastore: BoundedDatastore } }).components
  const records: string[] = []
  for await (const k of datastore.queryKeys({ prefix: '/dht/record' })) records.push(k.toString())
  assert.deepEqual(records, [])
  assert.equal(datastore.size('/dht/provider/'), 1)
})

test('bootstrap goes on until the node comes up, and again after it was lost', async t => {
  const seed = randomBytes(32)
  const gate = new ScopeGate()
  const deps = { ...base, gate, peerPrivateKey: seed }
  const first = await openHost(deps, { listen: ['/ip4/127.0.0.1/tcp/0'] })
  const [address] = first.addresses()
  await first[Symbol.asyncDispose]()
  const b = await openNode(t, [address!])
  await b.bootstrap.firstRound
  assert.equal(b.host.peers().length, 0)
  const connected = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const done = new AbortController()
      const timer = setTimeout(() => reject(new Error('not connected again')), 15_000)
      b.host.events.on(
        'peer:connected',
        () => {
          clearTimeout(timer)
          done.abort()
          resolve()
        },
        done.signal
      )
    })
  const port = address!.split('/p2p/')[0]!
  for (let round = 0; round < 2; round++) {
    const joined = connected()
    await using _again = await openHost(deps, { listen: [port] })
    await joined
  }
})

test('an unreadable bootstrap address is refused in words', async t => {
  const b = await openNode(t)
  for (const bad of ['', 'example.org', '/ip4/127.0.0.1/tcp/4801', '/ip4/127.0.0.1/tcp/0/p2p/x'])
    assert.throws(
      () => openBootstrap({ ...base, gate: b.gate, host: b.host }, [bad]),
      (e: unknown) => hasCode(e, 'BAD_BOOTSTRAP'),
      bad
    )
})

test('nodes that listen on every interface find each other through loopback too', async t => {
  const a = await openNode(t, [], { listen: '/ip4/0.0.0.0/tcp/0' })
  const local = a.host.addresses().filter(x => x.startsWith('/ip4/127.0.0.1/'))
  const [b, c] = await Promise.all([
    openNode(t, local, { listen: '/ip4/0.0.0.0/tcp/0' }),
    openNode(t, local, { listen: '/ip4/0.0.0.0/tcp/0' })
  ])
  const fileId = randomBytes(32)
  await b.finder.announce(fileId)
  assert.deepEqual(
    (await findAll(c.finder, fileId)).map(p => p.peerId),
    [b.host.peerId]
  )
})
