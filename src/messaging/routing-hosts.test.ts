/** Hops and mailboxes between real libp2p hosts on loopback. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { prekeyOf, type Someone, someone } from '../../test/kits/reach.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openBootstrap } from '../discovery/bootstrap.ts'
import { type Dht, dhtService } from '../discovery/dht.ts'
import { DhtFinder } from '../discovery/dht-finder.ts'
import { openPeerRegistry, type PeerRegistry } from '../discovery/peer-registry.ts'
import type { Announcement } from '../discovery/peer-registry-types.ts'
import { openHost } from '../net/host.node.ts'
import type { Host } from '../net/host.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import { MemoryPrekeys } from '../session/prekeys.ts'
import { openMailbox } from './mailbox.ts'
import { openCollector } from './mailbox-collector.ts'
import { openMailboxStore } from './mailbox-store.node.ts'
import { openRouting, type Routing } from './routing.ts'
import type { Deposits } from './routing-types.ts'

const base = { clock: systemClock, log: silentLogger }

interface Options {
  readonly self?: Someone
  readonly prekeys?: MemoryPrekeys
  readonly listen?: boolean
  readonly dial?: readonly string[]
  readonly told?: Announcement
  readonly dht?: boolean
  readonly deposits?: Deposits
}
interface Node {
  readonly self: Someone
  readonly host: Host
  readonly registry: PeerRegistry
  readonly routing: Routing
  readonly received: string[]
  readonly prekeys: MemoryPrekeys
  close(): Promise<void>
}

/** A node as `node/` wires it. */
async function openNode(t: TestContext, options: Options = {}): Promise<Node> {
  const { self = await someone(), prekeys = new MemoryPrekeys(), dial = [], told = {} } = options
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const gate = new ScopeGate()
  const services = options.dht ? { dht: await dhtService({ gate }) } : {}
  const listen = options.listen === false ? [] : ['/ip4/127.0.0.1/tcp/0']
  const host: Host = stack.use(await openHost({ ...base, gate, peerPrivateKey: self.peerSeed }, { listen, services }))
  const finder = options.dht && stack.use(new DhtFinder({ ...base, gate, dht: host.services['dht'] as Dht, peerId: host.peerId }))
  const prekey = await prekeyOf(self, prekeys)
  const deps = { ...base, rpc: host.rpc, self, network: host }
  const registry = stack.use(await openPeerRegistry({ ...deps, ...(finder ? { finder } : {}) }, { prekey, ...told }))
  const received: string[] = []
  const routing = stack.use(
    openRouting({
      ...base,
      rpc: host.rpc,
      self,
      random: randomBytes,
      peers: registry,
      prekeys,
      receive: async m => void received.push(Buffer.from(m).toString()),
      mayRelay: () => told.relaysFor === 'everyone',
      deposits: options.deposits
    })
  )
  const joining = stack.use(openBootstrap({ ...base, gate, host }, dial))
  await within(10_000, 'the first dials', joining.firstRound)
  return { self, host, registry, routing, received, prekeys, close: () => stack.disposeAsync() }
}
const acquainted = (a: Node, b: Node): Promise<void> =>
  eventually('both know each other', () => !!a.registry.known(b.self.entityId) && !!b.registry.known(a.self.entityId), 10_000)

test('a message from A hops over R1 and R2 to B, where A and B know only their own relay', async t => {
  const told: Announcement = { relaysFor: 'everyone' }
  const r1 = await openNode(t, { told })
  const r2 = await openNode(t, { told, dial: r1.host.addresses() })
  const a = await openNode(t, { listen: false, dial: r1.host.addresses() })
  const b = await openNode(t, { listen: false, dial: r2.host.addresses() })
  await Promise.all([acquainted(a, r1), acquainted(r1, r2), acquainted(r2, b)])
  const answer = await within(20_000, 'an answer', a.routing.send(b.self.entityId, utf8('over the hills')))
  assert.deepEqual(answer, { outcome: 'delivered', hops: 2, code: '' })
  assert.deepEqual(b.received, ['over the hills'])
  assert.deepEqual(
    a.host.peers().map(p => p.peerId),
    [r1.self.peerId]
  )
})

test('a message for who is away is left at its mailbox, which the DHT names, and collected when it is back', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-mailbox-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const store = openMailboxStore(join(folder, 'mailbox.db'))
  t.after(() => store[Symbol.dispose]())
  const owner = { self: await someone(), prekeys: new MemoryPrekeys() }
  const mayKeep = (id: string): boolean => id === owner.self.entityId
  const deposits = { accepts: mayKeep, deposit: (id: string, e: Uint8Array, at: number) => store.add(id, e, at) }
  const keeper = await openNode(t, { dht: true, deposits })
  const mailbox = openMailbox({ ...base, rpc: keeper.host.rpc, store, mayKeep })
  t.after(() => mailbox[Symbol.asyncDispose]())
  const told = { via: [{ peerId: keeper.self.peerId, entityId: keeper.self.entityId }] }
  const back = { ...owner, told, listen: false, dial: keeper.host.addresses() }
  const before = await openNode(t, back)
  await acquainted(keeper, before)
  await keeper.registry.keep(owner.self.entityId, { answerFor: true })
  await before.close()
  const sender = await openNode(t, { dht: true, dial: keeper.host.addresses() })
  await acquainted(sender, keeper)
  const answer = await within(30_000, 'an answer', sender.routing.send(owner.self.entityId, utf8('for later')))
  assert.deepEqual(answer, { outcome: 'deposited', hops: 0, code: '' })
  await sender.close()

  const after = await openNode(t, back)
  const collector = openCollector({
    ...base,
    rpc: after.host.rpc,
    certificate: owner.self.certificate,
    network: after.host,
    mailboxes: () => [keeper.self.peerId],
    open: e => after.routing.open(e)
  })
  t.after(() => collector[Symbol.asyncDispose]())
  await eventually('it is collected and gone', () => after.received.length === 1 && store.totals().length === 0, 10_000)
  assert.deepEqual(after.received, ['for later'])
})
