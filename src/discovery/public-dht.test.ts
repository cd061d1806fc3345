/** `--public` against a DHT of plain libp2p nodes with the public prefix, which know nothing of Kith. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { openHost } from '../net/host.node.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import { openBootstrap } from './bootstrap.ts'
import { dhtService } from './dht.ts'
import { cidOfFile, DhtFinder, type FoundProvider } from './dht-finder.ts'
import { PUBLIC_KAD_PROTOCOL, publicDhtServices } from './public-dht.ts'

const base = { clock: systemClock, log: silentLogger }

/** A server of the public network, as others write them. */
async function openServer(t: TestContext) {
  const server = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({ protocol: PUBLIC_KAD_PROTOCOL, clientMode: false, peerInfoMapper: passthroughMapper, initialQuerySelfInterval: 50 })
    }
  })
  t.after(() => server.stop())
  return server
}

interface Options {
  /** Of Kith's own network; undefined: without its DHT. */
  readonly own?: readonly string[]
  /** Of the public one; undefined: without it. */
  readonly open?: readonly string[]
}
async function openNode(t: TestContext, { own, open }: Options) {
  const gate = new ScopeGate()
  const services = { ...(own ? { dht: await dhtService({ gate }) } : {}), ...(open ? await publicDhtServices({ gate }) : {}) }
  const host = await openHost({ ...base, gate, peerPrivateKey: randomBytes(32) }, { listen: ['/ip4/127.0.0.1/tcp/0'], services })
  const { dht, publicDht } = host.services as Partial<Record<'dht' | 'publicDht', ConstructorParameters<typeof DhtFinder>[0]['dht']>>
  const finder = new DhtFinder({ ...base, gate, dht, publicDht, peerId: host.peerId }, { noPeersTimeoutMs: 3000 })
  const bootstrap = openBootstrap({ ...base, gate, host }, [...(own ?? []), ...(open ?? [])])
  t.after(async () => {
    await bootstrap[Symbol.asyncDispose]()
    await finder[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
  })
  return { gate, host, finder }
}
async function findAll(finder: DhtFinder, id: Uint8Array): Promise<FoundProvider[]> {
  const found: FoundProvider[] = []
  for await (const p of finder.find(id, AbortSignal.timeout(15_000))) found.push(p)
  return found
}

test('two nodes that share only the public DHT find each other there; peers that do not speak Kith are found and refuse', async t => {
  const server = await openServer(t)
  const open = server.getMultiaddrs().map(a => a.toString())
  const [a, b] = [await openNode(t, { open }), await openNode(t, { open })]
  const fileId = randomBytes(32)
  await within(15_000, 'the announcement', a.finder.announce(fileId))
  const stranger = await openServer(t)
  await stranger.dial(server.getMultiaddrs())
  await eventually('the stranger has a peer', () => stranger.getPeers().length > 0)
  await stranger.contentRouting.provide(cidOfFile(fileId), { signal: AbortSignal.timeout(10_000) })

  const names = (found: readonly FoundProvider[]): string[] => found.map(p => p.peerId).sort()
  const expected = [a.host.peerId, stranger.peerId.toString()].sort()
  let found: FoundProvider[] = []
  await eventually(
    'both are found',
    async () => {
      found = await findAll(b.finder, fileId)
      return found.length === 2
    },
    20_000
  )
  assert.deepEqual(names(found), expected)

  a.host.rpc.handle('offer', { maxRequestBytes: 9, perSecond: 9 }, async request => request)
  const ask = (peerId: string) =>
    b.host.rpc.request(found.find(p => p.peerId === peerId)!, 'offer', Uint8Array.of(1), { maxResponseBytes: 9 })
  assert.deepEqual(await ask(a.host.peerId), Uint8Array.of(1))
  await assert.rejects(
    ask(stranger.peerId.toString()),
    (e: unknown) => hasCode(e, 'PEER_REFUSED') && (e as KithError).data['code'] === 'UNKNOWN_METHOD'
  )
})

test('both networks are searched at once, each provider comes once, and nothing is stored for strangers', async t => {
  const server = await openServer(t)
  const open = server.getMultiaddrs().map(a => a.toString())
  const first = await openNode(t, { own: [] })
  const own = first.host.addresses()
  const [both, privately, publicly, seeker] = await Promise.all([
    openNode(t, { own, open }),
    openNode(t, { own }),
    openNode(t, { open }),
    openNode(t, { own, open })
  ])
  const fileId = randomBytes(32)
  await within(15_000, 'announcements', Promise.all([both, privately, publicly].map(n => n.finder.announce(fileId))))
  const expected = [both, privately, publicly].map(n => n.host.peerId).sort()
  await eventually(
    'all three',
    async () => {
      const found = await findAll(seeker.finder, fileId)
      assert.equal(new Set(found.map(p => p.peerId)).size, found.length)
      return (
        found
          .map(p => p.peerId)
          .sort()
          .join() === expected.join()
      )
    },
    20_000
  )
  // A client has no handler for the public protocol: others cannot put records here.
  assert.ok(!seeker.host.libp2p.getProtocols().includes(PUBLIC_KAD_PROTOCOL))
  assert.ok(seeker.finder.tableSize >= 2)
  const gone = await findAll(seeker.finder, randomBytes(32))
  assert.deepEqual(gone, [])
})

test('the bootstrap list is followed through names, and what they say opens no address', async t => {
  const server = await openServer(t)
  const peer = server.peerId.toString()
  const gate = new ScopeGate()
  const services = await publicDhtServices({ gate })
  await using host = await openHost({ ...base, gate, peerPrivateKey: randomBytes(32) }, { listen: [], services })
  const records = [...server.getMultiaddrs().map(a => `dnsaddr=${a.toString()}`), `dnsaddr=/ip4/10.0.0.1/tcp/1/p2p/${peer}`]
  const join = () => openBootstrap({ ...base, gate, host, lookupTxt: async () => records }, [`/dnsaddr/boot.example/p2p/${peer}`])
  {
    await using early = join()
    await within(5000, 'the first round', early.firstRound)
    assert.deepEqual(host.peers(), [])
  }
  gate.allow(server.getMultiaddrs()[0]!.toString(), 'user')
  await using joined = join()
  await within(5000, 'the first round', joined.firstRound)
  assert.equal(host.peers()[0]?.peerId, peer)
  assert.ok(!gate.permits('/ip4/10.0.0.1/tcp/1'))
  assert.throws(() => openBootstrap({ ...base, gate, host }, [`/dnsaddr/boot.example/p2p/${peer}`]), { code: 'BAD_BOOTSTRAP' })
})
