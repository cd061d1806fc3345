import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { meet, openReachPeer, prekeyOf, ReachNetwork, type ReachPeer, someone } from '../../test/kits/reach.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { codeOf, hasCode, KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import type { Rpc } from '../net/rpc.ts'
import { ed25519Sign } from '../platform/crypto.node.ts'
import { collectAnswer, collectRequest, MAILBOX_COLLECT_METHOD } from '../wire/mailbox-collect.ts'
import { knownRequest, MAILBOX_KNOWN_METHOD } from '../wire/mailbox-known.ts'
import { MAILBOX_PRUNE_MS, PREKEY_CHECK_MS } from './limits.ts'
import { openMailbox } from './mailbox.ts'
import { openCollector } from './mailbox-collector.ts'
import { type MailboxLimits, openMailboxStore, type SqliteMailbox } from './mailbox-store.node.ts'
import { openPrekeyRotation } from './prekey-rotation.ts'
import { openPrekeyStore } from './prekey-store.node.ts'

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-mailbox-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
function storeOf(t: TestContext, limits: MailboxLimits = {}): SqliteMailbox {
  const store = openMailboxStore(join(folderOf(t), 'mailbox.db'), limits)
  t.after(() => store[Symbol.dispose]())
  return store
}
const full = (e: unknown): boolean => hasCode(e, 'QUEUE_FULL')
const FAR = 4e12

test('RT8: one envelope too many, or one byte, is QUEUE_FULL for this owner alone', async t => {
  const store = storeOf(t, { maxEnvelopes: 10, maxBytes: 1000 })
  for (let i = 0; i < 10; i++) await store.add('did:a', Uint8Array.of(i), FAR)
  await assert.rejects(store.add('did:a', Uint8Array.of(10), FAR), full)
  await store.add('did:a', Uint8Array.of(3), FAR)
  await store.add('did:b', randomBytes(1000), FAR)
  await assert.rejects(store.add('did:b', Uint8Array.of(1), FAR), full)
  await store.add('did:c', randomBytes(999), FAR)
  await Promise.all([store.add('did:c', Uint8Array.of(1), FAR), assert.rejects(store.add('did:c', Uint8Array.of(2), FAR), full)])
  assert.deepEqual(
    store.totals().map(x => [x.owner, x.envelopes, x.bytes]),
    [
      ['did:a', 10, 10],
      ['did:b', 1, 1000],
      ['did:c', 2, 1000]
    ]
  )
  const [first] = store.oldest('did:a', 0, 1, 1)
  await store.remove('did:b', [first!.number])
  assert.equal(store.count('did:a', 0), 10, 'nobody removes what is another’s')
  await store.remove('did:a', [first!.number])
  await store.add('did:a', Uint8Array.of(10), FAR)
  assert.equal(store.prune(FAR), 13)
  assert.deepEqual(store.totals(), [])
})

test('RT8: strangers fill neither the room of an owner nor that of all: those whom it knows always find some', async t => {
  const store = storeOf(t, { maxEnvelopes: 160, maxBytes: 16_000, maxTotalBytes: 40_000 })
  let n = 0
  const leave = (owner: string, from?: { peerId: string; network: string }): Promise<boolean> =>
    store.add(owner, Buffer.concat([Buffer.from(`${owner} ${n++}`), Buffer.alloc(80)]).subarray(0, 80), FAR, from).then(
      () => true,
      e => full(e) && false
    )
  const flood = async (owner: string, peers: number, network: (i: number) => string): Promise<number> => {
    let left = 0
    for (let i = 0; i < peers; i++) while (await leave(owner, { peerId: `${network(i)} ${i}`, network: network(i) })) left++
    return left
  }
  assert.equal(await flood('did:a', 1, () => 'x'), 20, 'one peer')
  assert.equal(await flood('did:a', 9, () => 'y'), 40, 'one network')
  assert.equal(await flood('did:a', 9, i => `z${i}`), 20, 'all strangers')
  let known = 0
  while (await leave('did:a')) known++
  assert.equal(known, 80)
  // Whoever collects makes room for others.
  await store.remove(
    'did:a',
    store.oldest('did:a', 0, 20, 1e9).map(k => k.number)
  )
  assert.equal(await leave('did:a', { peerId: 'x 0', network: 'x' }), true)
  store.clear('did:a')
  for (const owner of ['did:b', 'did:c', 'did:d', 'did:e']) await flood(owner, 30, i => `n${i}`)
  assert.ok(store.totals().reduce((sum, o) => sum + o.bytes, 0) <= 20_000)
  assert.equal(await leave('did:e'), true)
  await store.setKnown('did:e', [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)])
  assert.equal(store.isKnown('did:e', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)), true)
  assert.equal(store.isKnown('did:d', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)), false)
})

interface Rig {
  readonly net: ReachNetwork
  readonly sender: ReachPeer
  readonly keeper: ReachPeer
  readonly owner: ReachPeer
  readonly store: SqliteMailbox
}
/** A sender and an owner who never meet, and a peer between them that keeps messages for the owner. */
async function rig(t: TestContext, clock?: FakeClock): Promise<Rig> {
  const net = clock ? new ReachNetwork(clock) : new ReachNetwork()
  const store = storeOf(t)
  const me = await someone()
  const owned: { id?: string } = {}
  const deposits = { accepts: (id: string) => id === owned.id, deposit: (id: string, e: Uint8Array, at: number) => store.add(id, e, at) }
  const keeper = await openReachPeer(net, {}, { deposits, mayRelay: () => false }, me)
  const owner = await openReachPeer(net, { via: [{ peerId: me.peerId, entityId: me.entityId }] })
  const sender = await openReachPeer(net)
  owned.id = owner.self.entityId
  const mailbox = openMailbox({ clock: net.clock, log: silentLogger, rpc: keeper.rpc, store, mayKeep: deposits.accepts })
  await keeper.registry.keep(owner.self.entityId, { answerFor: true })
  await meet(net, keeper, owner)
  await meet(net, keeper, sender)
  t.after(async () => {
    await mailbox[Symbol.asyncDispose]()
    for (const p of [sender, keeper, owner]) await p[Symbol.asyncDispose]()
  })
  return { net, sender, keeper, owner, store }
}
const collectorOf = (t: TestContext, r: Rig, rpc: Rpc = r.owner.rpc) => {
  const { self, network, routing } = r.owner
  const mailboxes = (): string[] => [r.keeper.self.peerId]
  const open = routing.open.bind(routing)
  const collector = openCollector({ log: silentLogger, rpc, certificate: self.certificate, network, mailboxes, open })
  t.after(() => collector[Symbol.asyncDispose]())
  return collector
}
const send = (r: Rig, text: string) => within(20_000, 'an answer', r.sender.routing.send(r.owner.self.entityId, utf8(text)))

test('messages for who is away wait at a mailbox that cannot read them, and arrive once when it is back', async t => {
  const r = await rig(t)
  r.net.disconnect(r.keeper.self.peerId, r.owner.self.peerId)
  const canary = randomBytes(24).toString('hex')
  for (let i = 0; i < 5; i++) assert.deepEqual(await send(r, `${canary} ${i}`), { outcome: 'deposited', hops: 0, code: '' })
  assert.equal(r.store.totals()[0]?.envelopes, 5)
  const kept = r.store.oldest(r.owner.self.entityId, 0, 9, 1e9).map(k => Buffer.from(k.envelope))
  for (const k of kept) assert.ok(!k.includes(canary) && k.indexOf(r.sender.self.key) < 0 && !k.includes(Buffer.from(canary, 'hex')))
  const collector = collectorOf(t, r)
  assert.deepEqual(r.owner.received, [])
  r.net.connect(r.keeper.self.peerId, r.owner.self.peerId)
  await eventually('everything has arrived', () => r.owner.received.length === 5 && r.store.totals().length === 0)
  assert.deepEqual(
    r.owner.received,
    [0, 1, 2, 3, 4].map(i => `${canary} ${i}`)
  )
  assert.equal(await collector.collect(r.keeper.self), 0)
})

test('who leaves more of a type than it may does not keep back what others left behind it', async t => {
  const r = await rig(t)
  r.net.disconnect(r.keeper.self.peerId, r.owner.self.peerId)
  for (const text of ['too much', 'too much', 'hello']) await send(r, text)
  const { self, network, rpc } = r.owner
  let opened = 0
  const open = async (): Promise<void> => {
    if (++opened < 3) throw new KithError('RATE_LIMITED', 'the message is not taken now')
  }
  const collector = openCollector({ log: silentLogger, rpc, certificate: self.certificate, network, mailboxes: () => [], open })
  t.after(() => collector[Symbol.asyncDispose]())
  r.net.connect(r.keeper.self.peerId, self.peerId)
  assert.equal(await collector.collect(r.keeper.self), 3)
  assert.deepEqual([opened, r.store.totals().length], [3, 0])
})

test('whom the owner knows has room in its mailbox, and the mailbox is told no names', async t => {
  const net = new ReachNetwork()
  const store = storeOf(t, { maxEnvelopes: 8 })
  const [owner, friend, stranger, other] = await Promise.all([someone(), someone(), someone(), someone()])
  const place = (await someone()).peerId
  const mailbox = openMailbox({
    clock: net.clock,
    log: silentLogger,
    rpc: net.join(place).rpc,
    store,
    mayKeep: id => id === owner.entityId
  })
  t.after(() => mailbox[Symbol.asyncDispose]())
  const joined = net.join(owner.peerId)
  net.connect(place, owner.peerId)
  const knows: string[] = []
  const collector = openCollector({
    ...{ log: silentLogger, rpc: joined.rpc, certificate: owner.certificate, network: joined.network, mailboxes: () => [] },
    known: { key: owner.key, peers: () => knows },
    open: async () => {}
  })
  t.after(() => collector[Symbol.asyncDispose]())
  let n = 0
  const leave = (peerId: string): Promise<string> =>
    mailbox.deposit(owner.entityId, Uint8Array.of(n++), FAR, { peerId, address: '8.8.8.8' }).then(() => 'kept', codeOf)
  assert.deepEqual([await leave(friend.peerId), await leave(friend.peerId)], ['kept', 'QUEUE_FULL'], 'one of eight')
  knows.push(friend.peerId)
  await collector.collect({ peerId: place })
  for (let i = 0; i < 4; i++) assert.equal(await leave(friend.peerId), 'kept')
  assert.deepEqual([await leave(stranger.peerId), await leave(stranger.peerId)], ['kept', 'QUEUE_FULL'])
  const told = net.frames.filter(f => f.method === MAILBOX_KNOWN_METHOD)
  assert.equal(told.length, 1)
  assert.equal(Buffer.from(told[0]!.body).indexOf(peerIdToBytes(friend.peerId)), -1)
  const joinedOther = net.join(other.peerId)
  net.connect(place, other.peerId)
  const request = encode(knownRequest, { certificate: other.certificate, tags: [] })
  const refused = joinedOther.rpc.request({ peerId: place }, MAILBOX_KNOWN_METHOD, request, { maxResponseBytes: 0 })
  await assert.rejects(refused, (e: unknown) => e instanceof KithError && e.data.code === 'NOT_AUTHORISED')
})

test('a mailbox gives and deletes only for the owner that the connection and the certificate prove', async t => {
  const r = await rig(t)
  r.net.disconnect(r.keeper.self.peerId, r.owner.self.peerId)
  await send(r, 'x')
  const ask = (from: ReachPeer, certificate: Uint8Array, done: number[] = []): Promise<Uint8Array> =>
    from.rpc.request(r.keeper.self, MAILBOX_COLLECT_METHOD, encode(collectRequest, { certificate, done }), { maxResponseBytes: 1e7 })
  const { number } = r.store.oldest(r.owner.self.entityId, 0, 1, 1)[0]!
  await assert.rejects(
    ask(r.sender, r.owner.self.certificate, [number]),
    (e: unknown) => e instanceof KithError && e.data.code === 'INVALID_CERTIFICATE'
  )
  assert.deepEqual(decode(collectAnswer, await ask(r.sender, r.sender.self.certificate, [number])), { left: 0, waiting: [] })
  assert.equal(r.store.totals()[0]?.envelopes, 1)
})

test('RT10: what has expired is neither taken nor handed out', async t => {
  const clock = new FakeClock()
  const store = storeOf(t)
  const stranger = await someone()
  const rpc = new ReachNetwork(clock).join((await someone()).peerId).rpc
  const mailbox = openMailbox({ clock, log: silentLogger, rpc, store, mayKeep: id => id === 'did:a' })
  t.after(() => mailbox[Symbol.asyncDispose]())
  const refusal = (owner: string, at: number): Promise<string> =>
    mailbox.deposit(owner, Uint8Array.of(1), at, { peerId: stranger.peerId, address: undefined }).then(() => 'kept', codeOf)
  assert.equal(await refusal('did:b', clock.now() + 9), 'NOT_AUTHORISED')
  assert.equal(await refusal('did:a', clock.now()), 'EXPIRED')
  assert.equal(await refusal('did:a', clock.now() + 1000), 'kept')
  await clock.advance(2000)
  assert.deepEqual(store.oldest('did:a', clock.now(), 9, 9), [])
  await clock.advance(MAILBOX_PRUNE_MS)
  await eventually('removed', () => mailbox.totals().length === 0)
})

test('RT9: whenever the connection or the owner breaks while it collects, each message has one effect', async t => {
  const r = await rig(t)
  r.net.disconnect(r.keeper.self.peerId, r.owner.self.peerId)
  for (let i = 0; i < 3; i++) await send(r, `m${i}`)
  r.net.connect(r.keeper.self.peerId, r.owner.self.peerId)
  // The answer is lost after the n-th request; the owner fails at the n-th message, before or after it is on disk.
  const onDisk = new Set<string>()
  let effects = 0
  for (let n = 0; n < 6; n++) {
    let [requests, messages] = [0, 0]
    const rpc: Rpc = {
      ...r.owner.rpc,
      request: async (target, method, body, options) => {
        const answer = await r.owner.rpc.request(target, method, body, options)
        if (n < 2 && requests++ === n) throw new KithError('PEER_TIMEOUT', 'the answer is lost')
        return answer
      }
    }
    const collector = openCollector({
      log: silentLogger,
      rpc,
      certificate: r.owner.self.certificate,
      network: r.owner.network,
      mailboxes: () => [],
      open: async envelope => {
        const at = messages++
        if (n === 2 && at === 0) throw new KithError('DISK_FULL', 'no space')
        const id = Buffer.from(envelope.id).toString('hex')
        if (!onDisk.has(id)) effects++
        onDisk.add(id)
        if (n === 3 && at === 1) throw new KithError('INTERNAL', 'ended after the commit')
      }
    })
    await within(10_000, 'a round', collector.collect(r.keeper.self))
    await collector[Symbol.asyncDispose]()
    assert.ok(r.store.count(r.owner.self.entityId, 0) >= 3 - onDisk.size, 'nothing is deleted that is not on disk')
  }
  assert.deepEqual([effects, r.store.totals().length], [3, 0])
})

test('a mailbox that is killed while it acknowledges has lost nothing that it acknowledged', async t => {
  const path = join(folderOf(t), 'mailbox.db')
  openMailboxStore(path)[Symbol.dispose]()
  let known = 0
  for (const target of [1, 40]) {
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../test/kits/mailbox-child.ts'), path, `did:${target}`])
    t.after(() => child.kill('SIGKILL'))
    let out = ''
    child.stdout.on('data', d => {
      out += d
      if (out.split('\n').length > target) child.kill('SIGKILL')
    })
    await within(30_000, 'the child to be killed', new Promise(resolve => child.once('close', resolve)))
    const acknowledged = out.split('\n').length - 1
    assert.ok(acknowledged >= target)
    using store = openMailboxStore(path)
    const kept = store.oldest(`did:${target}`, 0, 1e6, 1e9).map(k => Buffer.from(k.envelope).toString())
    for (let i = 0; i < acknowledged; i++) assert.equal(kept[i], `envelope ${i}`)
    known += kept.length
    assert.equal(
      store.totals().reduce((n, x) => n + x.envelopes, 0),
      known
    )
  }
})

test('prekeys are renewed weekly, published, and their secrets leave the disk after two weeks', async t => {
  const path = join(folderOf(t), 'prekeys.db')
  const clock = new FakeClock()
  const self = await someone()
  const signing = {
    entityId: self.entityId,
    publicKey: self.key,
    certificate: undefined,
    signBytes: (b: Uint8Array) => ed25519Sign(self.seed, b)
  }
  const day = 24 * 3_600_000
  const secrets: Buffer[] = []
  {
    using store = openPrekeyStore(path)
    const published: Uint8Array[] = []
    const deps = { clock, log: silentLogger, random: randomBytes, self: signing, store }
    await using rotation = await openPrekeyRotation({ ...deps, onChange: async s => void published.push(s) })
    const first = rotation.signed
    secrets.push(Buffer.from(store.list()[0]!.secret))
    await clock.advance(7 * day + PREKEY_CHECK_MS)
    await eventually('a new one', () => published.length === 1)
    assert.notDeepEqual(published[0], first)
    assert.equal(store.list().length, 2)
  }
  using store = openPrekeyStore(path)
  assert.equal(store.list().length, 2, 'they outlive the process')
  await clock.advance(8 * day)
  assert.ok(await prekeyOf(self, store, clock))
  assert.ok(!store.list().some(p => secrets[0]!.equals(Buffer.from(p.secret))))
  for (const suffix of ['', '-wal']) assert.equal(readFileSync(path + suffix).indexOf(secrets[0]!), -1, 'the secret is gone from the disk')
})
