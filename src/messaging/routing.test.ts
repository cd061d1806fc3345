import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { meet, openReachPeer, prekeyOf, ReachNetwork, type ReachPeer, someone } from '../../test/kits/reach.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { type Codec, decode, encode } from '../base/codec.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Announcement } from '../discovery/peer-registry-types.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import { readPrekey } from '../session/prekeys.ts'
import { sealTo } from '../session/sealed.ts'
import { MAX_ENVELOPE_AGE_MS } from '../wire/limits.ts'
import { collectAnswer, collectRequest } from '../wire/mailbox-collect.ts'
import { MESSAGE_RELAY_METHOD, type RelayAnswer, relayAnswerCodec } from '../wire/relay-answer.ts'
import { envelopeHeadBytes, type SealedEnvelope, sealedEnvelopeCodec } from '../wire/sealed-envelope.ts'
import type { RoutingDeps } from './routing-types.ts'

const RELAY: Announcement = { relaysFor: 'everyone' }

async function open(t: TestContext, net: ReachNetwork, told: Announcement = {}, change: Partial<RoutingDeps> = {}): Promise<ReachPeer> {
  const peer = await openReachPeer(net, told, change)
  t.after(() => peer[Symbol.asyncDispose]())
  return peer
}
const send = (from: ReachPeer, to: ReachPeer, text: string): Promise<RelayAnswer> =>
  within(10_000, 'an answer', from.routing.send(to.self.entityId, utf8(text)))
const relayed = (net: ReachNetwork, to?: ReachPeer) =>
  net.frames.filter(f => f.method === MESSAGE_RELAY_METHOD && (!to || f.to === to.self.peerId))

/** An envelope as an honest sender makes it. */
async function envelopeTo(to: ReachPeer, net: ReachNetwork, text: string, change: Partial<SealedEnvelope> = {}): Promise<SealedEnvelope> {
  const head = { id: randomBytes(16), to: to.self.key, expiresAt: net.clock.now() + 60_000, ...change }
  const prekey = await readPrekey(to.prekeys.list()[0]!.signed, to.self.entityId, net.clock)
  const sealed = await sealTo({ random: randomBytes }, to.self.entityId, prekey, utf8(text), envelopeHeadBytes(head))
  return { ...head, sealed, hops: [], ...change }
}
const hand = async (from: ReachPeer, to: ReachPeer, envelope: SealedEnvelope): Promise<RelayAnswer> =>
  decode(
    relayAnswerCodec,
    await from.rpc.request(to.self, MESSAGE_RELAY_METHOD, encode(sealedEnvelopeCodec, envelope), { maxResponseBytes: 128 })
  )
const refused = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'taken',
    (e: unknown) => (e instanceof KithError && e.code === 'PEER_REFUSED' ? String(e.data.code) : codeOf(e))
  )

test('a message hops over two relays that cannot read it, and the sender learns that it was delivered', async t => {
  const net = new ReachNetwork()
  const a = await open(t, net)
  const r1 = await open(t, net, RELAY)
  const r2 = await open(t, net, RELAY)
  const b = await open(t, net)
  await meet(net, a, r1)
  await meet(net, r1, r2)
  await meet(net, r2, b)
  const canary = randomBytes(32).toString('hex')
  assert.deepEqual(await send(a, b, canary), { outcome: 'delivered', hops: 2, code: '' })
  assert.deepEqual(b.received, [canary])
  const passed = Buffer.concat(net.frames.map(f => f.body))
  for (const form of [canary, Buffer.from(canary, 'hex'), Buffer.from(canary).toString('base64')]) assert.equal(passed.indexOf(form), -1)
  assert.equal(passed.indexOf(a.self.key), -1, 'nor who wrote it')
  assert.equal(decode(sealedEnvelopeCodec, relayed(net, r1)[0]!.body).hops.length, 0)
})

test('a direct way comes first, then the peers that the recipient named', async t => {
  const net = new ReachNetwork()
  const a = await open(t, net)
  const r = await open(t, net, RELAY)
  const b = await open(t, net, { via: [{ peerId: r.self.peerId, entityId: r.self.entityId }] })
  await meet(net, a, b)
  await meet(net, r, b)
  net.connect(a.self.peerId, r.self.peerId)
  assert.equal((await send(a, b, 'one')).outcome, 'delivered')
  assert.equal(relayed(net, r).length, 0)
  net.disconnect(a.self.peerId, b.self.peerId)
  assert.deepEqual(await send(a, b, 'two'), { outcome: 'delivered', hops: 1, code: '' })
  assert.deepEqual(b.received, ['one', 'two'])
})

test('without a way the sender is told, with the reason', async t => {
  const net = new ReachNetwork()
  const a = await open(t, net)
  const closed = await open(t, net, RELAY, { mayRelay: () => false })
  const b = await open(t, net, { prekey: undefined })
  const c = await open(t, net)
  await meet(net, a, closed)
  await meet(net, closed, b)
  await meet(net, closed, c)
  assert.deepEqual(await send(a, b, 'x'), { outcome: 'no-route', hops: 0, code: 'NO_PREKEY' })
  assert.equal((await send(a, c, 'x')).code, 'NOT_AUTHORISED')
  assert.equal(await a.routing.carry(c.self.entityId, utf8('x'), AbortSignal.timeout(5000)), 'NOT_AUTHORISED')
  assert.equal((await within(30_000, 'nobody', a.routing.send((await someone()).entityId, utf8('x')))).code, 'UNKNOWN_PEER')
  await assert.rejects(a.routing.carry(c.self.entityId, utf8('x'), AbortSignal.abort()))
})

test('RT11: in a circle of relays each envelope passes each of them once', async t => {
  const net = new ReachNetwork()
  const relays = await Promise.all(Array.from({ length: 5 }, () => open(t, net, RELAY)))
  const [a, b] = [await open(t, net), await open(t, net)]
  for (const [i, x] of relays.entries()) for (const y of relays.slice(i + 1)) await meet(net, x, y)
  await meet(net, a, relays[0]!)
  await meet(net, b, relays[4]!)
  net.frames.length = 0
  assert.equal((await send(a, b, 'through')).outcome, 'delivered')
  assert.deepEqual(b.received, ['through'])
  net.disconnect(b.self.peerId, relays[4]!.self.peerId)
  net.frames.length = 0
  assert.equal((await send(a, b, 'nowhere')).outcome, 'no-route')
  const forwards = new Map<string, number>()
  for (const f of relayed(net)) forwards.set(f.from, (forwards.get(f.from) ?? 0) + 1)
  for (const [from, n] of forwards) assert.ok(n <= 4, `${from} sent it ${n} times`)
  const paths = relayed(net).map(f => decode(sealedEnvelopeCodec, f.body).hops.map(h => Buffer.from(h).toString('hex')))
  for (const hops of paths) assert.equal(new Set(hops).size, hops.length)
})

test('RT11: hop lists that are forged, too long, or hold the relay itself are refused', async t => {
  const net = new ReachNetwork()
  const [a, r, b] = [await open(t, net), await open(t, net, RELAY), await open(t, net)]
  await meet(net, a, r)
  await meet(net, r, b)
  const ids = await Promise.all(Array.from({ length: 9 }, async () => peerIdToBytes((await someone()).peerId)))
  const own = peerIdToBytes(a.self.peerId)
  const withHops = async (hops: readonly Uint8Array[]): Promise<SealedEnvelope> => ({ ...(await envelopeTo(b, net, 'forged')), hops })
  assert.equal(await refused(hand(a, r, await withHops([ids[0]!]))), 'MISROUTED')
  assert.equal(await refused(hand(a, r, await withHops([...ids.slice(0, 8), own]))), 'TOO_MANY_HOPS')
  assert.equal(await refused(hand(a, r, await withHops([own, ids[1]!, own]))), 'WIRE_RANGE')
  assert.equal((await hand(a, r, await withHops([...ids.slice(0, 7), own]))).code, 'TOO_MANY_HOPS', 'it would be the ninth')
  assert.equal((await hand(a, r, await withHops([peerIdToBytes(r.self.peerId), own]))).code, 'LOOP')
  assert.deepEqual(b.received, [])
  assert.equal((await hand(a, r, await withHops([...ids.slice(0, 6), own]))).outcome, 'delivered')
  assert.deepEqual(b.received, ['forged'])
})

test('RT11: a head that somebody changed on the way does not open', async t => {
  const net = new ReachNetwork()
  const [a, b] = [await open(t, net), await open(t, net)]
  await meet(net, a, b)
  const envelope = await envelopeTo(b, net, 'hello')
  assert.equal(await refused(hand(a, b, { ...envelope, id: randomBytes(16) })), 'DECRYPTION_FAILED')
  assert.equal(await refused(hand(a, b, { ...envelope, expiresAt: envelope.expiresAt + 1 })), 'DECRYPTION_FAILED')
  assert.equal(await refused(hand(a, b, { ...envelope, sealed: randomBytes(100) })), 'WIRE_VERSION')
  await assert.rejects(a.routing.open(envelope), { code: 'MISROUTED' }, 'also from a mailbox')
  assert.equal((await hand(a, b, envelope)).outcome, 'delivered')
  assert.equal((await hand(a, b, envelope)).outcome, 'delivered', 'again: the same answer')
  assert.deepEqual(b.received, ['hello'])
})

test('RT10: an envelope whose time is over is not carried, nor one that wants too much time', async t => {
  const net = new ReachNetwork()
  const [a, r, b] = [await open(t, net), await open(t, net, RELAY), await open(t, net)]
  await meet(net, a, r)
  await meet(net, r, b)
  assert.equal((await hand(a, r, await envelopeTo(b, net, 'x', { expiresAt: net.clock.now() - 1 }))).code, 'EXPIRED')
  const far = net.clock.now() + MAX_ENVELOPE_AGE_MS + 3_600_000
  assert.equal(await refused(hand(a, r, await envelopeTo(b, net, 'x', { expiresAt: far }))), 'WIRE_RANGE')
  assert.deepEqual(b.received, [])
})

test('what the recipient cannot keep is not delivered, and may be tried again', async t => {
  const net = new ReachNetwork()
  let full = true
  const a = await open(t, net)
  const b = await open(
    t,
    net,
    {},
    {
      receive: async () => {
        if (full) throw new KithError('DISK_FULL', 'no space')
      }
    }
  )
  await meet(net, a, b)
  const envelope = await envelopeTo(b, net, 'x')
  assert.equal(await refused(hand(a, b, envelope)), 'DISK_FULL')
  assert.equal((await send(a, b, 'x')).code, 'DISK_FULL')
  full = false
  assert.equal((await hand(a, b, envelope)).outcome, 'delivered')
})

test('a peer that hands over too much is limited, others are not', async t => {
  const net = new ReachNetwork()
  const [a, c, r, b] = [await open(t, net), await open(t, net), await open(t, net, RELAY), await open(t, net)]
  await meet(net, a, r)
  await meet(net, c, r)
  await meet(net, r, b)
  const big = await envelopeTo(b, net, 'y'.repeat(1_000_000))
  let limited = 0
  for (let i = 0; i < 30; i++) if ((await refused(hand(a, r, big))) === 'RATE_LIMITED') limited++
  assert.ok(limited > 5, `${limited} of 30 were refused`)
  assert.equal((await send(c, b, 'small')).outcome, 'delivered')
})

test('any bytes are an envelope, an answer or a request, or are refused with a code; envelopes survive the way', () => {
  const bytes = (max: number, min = 0): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: min, maxLength: max })
  const envelope = fc.record(
    {
      id: bytes(16, 16),
      to: bytes(32, 32),
      expiresAt: fc.maxSafeNat(),
      sealed: bytes(200, 1),
      hops: fc.uniqueArray(bytes(64, 1), { maxLength: 8, selector: h => Buffer.from(h).toString('hex') })
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(envelope, e => assert.deepEqual(decode(sealedEnvelopeCodec, encode(sealedEnvelopeCodec, e)), e)))
  const codecs = [sealedEnvelopeCodec, relayAnswerCodec, collectRequest, collectAnswer] as readonly Codec<unknown>[]
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...codecs), (b, codec) => {
      try {
        assert.deepEqual(encode(codec, decode(codec, b)), b)
      } catch (e) {
        assert.ok(e instanceof KithError, String(e))
      }
    })
  )
})

test('a prekey that has expired in a record that has not is looked up anew', async t => {
  const clock = new FakeClock()
  const net = new ReachNetwork(clock)
  const [a, b] = [await open(t, net), await open(t, net)]
  await meet(net, a, b)
  await clock.advance(7 * 24 * 3_600_000 - 3_600_000)
  await b.registry.publish({ prekey: b.prekeys.list()[0]!.signed })
  await eventually('a knows', () => a.registry.known(b.self.entityId)!.isFresh)
  await clock.advance(2 * 3_600_000)
  // What b tells now has not come to a: it is asked for when it is needed.
  net.disconnect(a.self.peerId, b.self.peerId)
  await b.registry.publish({ prekey: await prekeyOf(b.self, b.prekeys, clock) })
  net.allow(a.self.peerId, b.self.peerId)
  assert.equal((await send(a, b, 'hello')).outcome, 'delivered')
})
