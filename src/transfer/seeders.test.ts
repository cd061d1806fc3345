/** Spec 004 §10 "Protocol Failure Handling": which way to a seeder is tried when another fails. Protocols are stubs, decisions are real. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import { ticketAnswer } from '../wire/transfer-rpc.ts'
import { makeGrid } from './grid.ts'
import type { FetchedOffer } from './offers.ts'
import { freeGate } from './payment-gate.ts'
import type { Endpoint, Source, TransferProtocol } from './protocol.ts'
import { type ProtocolChoice, Seeders, type SeedersContext } from './seeders.ts'
import { TicketBook } from './tickets.ts'

const PEER_A = '12D3KooWGJ1MHTPTUzXoYRy3hbcyXxNXvRZhXL94jMQHgmsyhQFL'

interface World {
  readonly seeders: Seeders
  /** "http A": what was opened, in order. */
  readonly opened: string[]
  readonly endpoints: Endpoint[]
  /** Sources in use. */
  readonly live: Map<string, Source>
  readonly askedAgain: string[]
  readonly notes: string[]
  /** What a source has brought. */
  readonly facts: Map<string, { chunks: number; rate: number }>
  readonly tickets: { asked: number }
  use(peer: string, names: readonly string[], price?: bigint): void
  drop(key: string, code: string): void
}

/** @param fails keys ("http A") that cannot be opened, and with which code */
function openWorld(
  fails: Readonly<Record<string, string>> = {},
  options: { choice?: ProtocolChoice; host?: string; addressOf?: () => string | undefined } = {}
): World {
  const opened: string[] = []
  const endpoints: Endpoint[] = []
  const live = new Map<string, Source>()
  const facts: World['facts'] = new Map()
  const askedAgain: string[] = []
  const notes: string[] = []
  const tickets = { asked: 0 }
  const protocol = (name: string): TransferProtocol => ({
    name,
    openSource: async endpoint => {
      const key = `${name} ${endpoint.seeder}`
      opened.push(key)
      endpoints.push(endpoint)
      await Promise.resolve()
      const code = fails[key] ?? fails[name]
      if (code) throw new KithError(code, `${key} failed`)
      assert.ok(!live.has(endpoint.seeder!), 'never two sources of one seeder')
      return {
        key,
        protocol: name,
        seeder: endpoint.seeder,
        parallel: 1,
        maxRun: 1,
        has: () => true,
        fetch: async () => {},
        onChange: () => {},
        [Symbol.asyncDispose]: async () => {}
      }
    },
    [Symbol.asyncDispose]: async () => {}
  })
  const rpc: Rpc = {
    handle: () => ({ [Symbol.dispose]: () => {} }),
    request: async () => {
      tickets.asked++
      return encode(ticketAnswer, { id: new Uint8Array(16), key: new Uint8Array(32), expiresAt: Date.now() + 3_600_000 })
    },
    addressOf: options.addressOf ?? (() => options.host ?? '192.0.2.1')
  }
  const sign = async (_: string, body: Uint8Array) => ({ body, signer: new Uint8Array(32), signature: new Uint8Array(64) })
  const signer = { instanceKey: new Uint8Array(32), peerId: PEER_A, certificate: new Uint8Array(), sign }
  const context: SeedersContext = {
    grid: makeGrid(1000),
    wantsMore: () => true,
    admit: () => {},
    note: text => notes.push(text),
    add: source => {
      live.set(source.seeder!, source)
      return true
    },
    statsOf: source => {
      const known = facts.get(source.key)
      return known && { source, state: 'active', bytes: 0, latencyMs: undefined, badChunks: 0, wastedBytes: 0, note: undefined, ...known }
    },
    retire: async source => {
      await new Promise(resolve => setImmediate(resolve))
      live.delete(source.seeder!)
    }
  }
  const seeders: Seeders = new Seeders(
    {
      rpc,
      clock: systemClock,
      log: silentLogger,
      signer,
      tickets: new TicketBook(systemClock),
      payments: freeGate,
      finder: { find: async function* () {}, announce: async () => {}, withdraw: async () => {} },
      protocols: ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith'].map(protocol),
      choice: options.choice
    },
    context,
    peer => askedAgain.push(peer),
    new AbortController().signal
  )
  return {
    ...{ seeders, opened, endpoints, live, askedAgain, notes, facts, tickets },
    use: (peer, names, price = 0n) => seeders.use(offerOf(peer, names, price)),
    drop: (key, code) => {
      const source = [...live.values()].find(s => s.key === key)!
      live.delete(source.seeder!)
      seeders.onDropped(source, code)
    }
  }
}

function offerOf(peer: string, names: readonly string[], pricePerMb: bigint, ports: Readonly<Record<string, number>> = {}): FetchedOffer {
  const offer = {
    fileId: new Uint8Array(32),
    root: new Uint8Array(32),
    size: 1000,
    peerId: new Uint8Array(),
    sequence: 1,
    expiresAt: 0,
    creditBytes: 0,
    pricePerMb,
    chainId: 0,
    wallet: new Uint8Array(20),
    chunks: undefined,
    protocols: names.map(name => ({
      name,
      port: name === 'kith' || name === 'webtorrent' ? 0 : (ports[name] ?? 4001),
      extra: new Uint8Array()
    }))
  }
  const peerId = pricePerMb === 0n ? peer : PEER_A
  return { offer, seeder: peer, hash: new Uint8Array(), peerId, addresses: [], manifest: undefined, raw: new Uint8Array() }
}

const opens = (world: World, key: string): Promise<void> =>
  eventually(`${key} is in use`, () => [...world.live.values()].some(s => s.key === key))

test('a protocol that cannot be opened is followed by the next of the same seeder', async () => {
  const world = openWorld({ http: 'SOURCE_LOST', bittorrent: 'SOURCE_LIED' })
  world.use('A', ['bittorrent', 'http', 'ed2k', 'gopher'])
  await opens(world, 'ed2k A')
  assert.deepEqual(world.opened, ['http A', 'bittorrent A', 'ed2k A'])
  assert.deepEqual(world.askedAgain, [])
})

test('a lost source is followed by the next protocol; when all were lost the seeder is asked again', async () => {
  const world = openWorld()
  world.use('A', ['http', 'bittorrent'])
  await opens(world, 'http A')
  world.drop('http A', 'SOURCE_LOST')
  await opens(world, 'bittorrent A')
  world.drop('bittorrent A', 'SOURCE_STALLED')
  await eventually('it is asked again', () => world.askedAgain.length > 0)
  world.use('A', ['http', 'bittorrent', 'kith'])
  await opens(world, 'kith A') // the one that has not failed yet
  assert.equal(world.opened.length, 3)
})

for (const code of ['SOURCE_LIED', 'PAYMENT_REQUIRED', 'ENCODING_FORBIDDEN']) {
  test(`a seeder that ends with ${code} is left over every protocol`, async () => {
    const world = openWorld()
    world.use('A', ['http', 'bittorrent'])
    await opens(world, 'http A')
    world.drop('http A', code)
    await world.seeders.settled()
    assert.deepEqual([world.opened, world.askedAgain], [['http A'], []])
  })
}

test('what fails with several seeders and works with none is tried last by the others', async () => {
  const world = openWorld({ bittorrent: 'SOURCE_LOST' }, { choice: { prefer: 'bittorrent' } })
  for (const peer of ['A', 'B']) {
    world.use(peer, ['bittorrent', 'http'])
    await opens(world, `http ${peer}`)
  }
  world.use('C', ['bittorrent', 'http', 'ed2k'])
  await opens(world, 'http C')
  assert.deepEqual(world.opened, ['bittorrent A', 'http A', 'bittorrent B', 'http B', 'http C'])
})

test('one that is cut off before it brings anything counts as failing, one that brought a chunk does not', async () => {
  const world = openWorld()
  const names = ['http', 'bittorrent']
  for (const peer of ['A', 'B']) {
    world.use(peer, names)
    await opens(world, `http ${peer}`)
    world.drop(`http ${peer}`, 'SOURCE_LOST')
    await opens(world, `bittorrent ${peer}`)
  }
  world.use('C', names)
  await opens(world, 'bittorrent C')
  world.facts.set('bittorrent C', { chunks: 1, rate: 1 })
  world.drop('bittorrent C', 'SOURCE_LOST')
  await opens(world, 'http C')
  world.facts.set('http C', { chunks: 1, rate: 1 })
  world.use('D', names)
  await opens(world, 'http D')
})

test('a slow source is left for another protocol, never beside it, and gone back to when that is slower still', async () => {
  const world = openWorld()
  world.use('A', ['http', 'bittorrent'])
  await opens(world, 'http A')
  world.facts.set('http A', { chunks: 9, rate: 10_000 })
  world.seeders.onSlow(world.live.get('A')!)
  await opens(world, 'bittorrent A')
  world.facts.set('bittorrent A', { chunks: 1, rate: 100 })
  world.seeders.onSlow(world.live.get('A')!)
  await opens(world, 'http A')
  world.facts.set('http A', { chunks: 9, rate: 9_000 })
  world.seeders.onSlow(world.live.get('A')!)
  await world.seeders.settled()
  assert.deepEqual(world.opened, ['http A', 'bittorrent A', 'http A'])
  assert.deepEqual(world.askedAgain, [])
})

test('a seeder behind a relay is reached by its own stream, or WebTorrent', async () => {
  const world = openWorld({ webtorrent: 'SOURCE_LOST' }, { host: '' })
  world.use('A', ['http', 'bittorrent', 'kith', 'webtorrent'])
  await opens(world, 'kith A')
  assert.deepEqual(world.opened, ['webtorrent A', 'kith A'])
  assert.equal(world.endpoints[0]!.host, '')
})

test('HT8: a seeder that hangs up between two protocols does not lead to this machine', async () => {
  const world: World = openWorld({ http: 'SOURCE_LOST' }, { addressOf: () => (world.opened.length === 0 ? '192.0.2.1' : undefined) })
  world.use('A', ['http', 'bittorrent', 'ed2k'])
  await world.seeders.settled()
  assert.deepEqual(world.opened, ['http A'])
  assert.deepEqual(
    world.endpoints.map(e => e.host),
    ['192.0.2.1']
  )
  assert.deepEqual(world.askedAgain, ['A'])
})

test('HT10: ports of other services are not asked for files over any protocol', async () => {
  const world = openWorld()
  world.seeders.use(offerOf('A', ['http', 'https', 'bittorrent', 'ed2k'], 0n, { http: 25, https: 22, bittorrent: 6379, ed2k: 4003 }))
  await opens(world, 'ed2k A')
  assert.deepEqual(world.opened, ['ed2k A'])
})

test('nothing that may be used is said in words', async () => {
  const world = openWorld({}, { choice: { protocols: ['ed2k'] } })
  world.use('A', ['http'])
  await world.seeders.settled()
  assert.match(world.notes[0]!, /it offers http; this download may only use ed2k/)
})

test('one ticket serves all protocols of a paid seeder', async () => {
  const world = openWorld({ http: 'SOURCE_LOST' })
  world.use('paid', ['http', 'bittorrent'], 5n)
  await opens(world, 'bittorrent paid')
  assert.equal(world.tickets.asked, 1)
  assert.ok(world.endpoints[0]!.ticket)
  assert.equal(world.endpoints[0]!.ticket, world.endpoints[1]!.ticket)
})
