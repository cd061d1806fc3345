import assert from 'node:assert/strict'
import test from 'node:test'
import { MAX_ADDRESS_SWARMS, MAX_OPEN_OFFERS, MAX_SOCKET_SWARMS, MAX_TRACKER_SWARM_PEERS } from './limits.ts'
import { type ClientMessage, readTrackerMessage, type TrackerMessage } from './tracker-messages.ts'
import { scrapePage } from './tracker-scrape.ts'
import { type TrackerClient, TrackerSwarms } from './tracker-swarms.ts'

const fill = (n: number): Uint8Array => new Uint8Array(20).fill(n)
const HASH = fill(9)

class TestClient implements TrackerClient {
  readonly address: string
  readonly got: TrackerMessage[] = []
  constructor(address = '192.0.2.1') {
    this.address = address
  }
  send(text: string): void {
    this.got.push(readTrackerMessage(text))
  }
  of(kind: string): TrackerMessage[] {
    return this.got.filter(m => m.kind === kind)
  }
}

const announce = (id: number, more: Partial<Extract<ClientMessage, { kind: 'announce' }>> = {}): ClientMessage => ({
  kind: 'announce',
  infoHash: HASH,
  peerId: fill(id),
  event: undefined,
  left: 1,
  offers: [],
  ...more
})
const answer = (id: number, to: number, offer: number): ClientMessage => ({
  kind: 'answer',
  infoHash: HASH,
  peerId: fill(id),
  toPeerId: fill(to),
  offerId: fill(offer),
  sdp: 'answer'
})
const rig = (): { swarms: TrackerSwarms; clock: { nowMs: number } } => {
  const clock = { nowMs: 0 }
  return { swarms: new TrackerSwarms({ clock: { monotonic: () => clock.nowMs }, random: () => 0.5 }), clock }
}

test('each offer goes to one other peer, and the answer back to who made it, once', () => {
  const { swarms } = rig()
  const [a, b, c] = [new TestClient(), new TestClient(), new TestClient()]
  swarms.handle(a, announce(1))
  swarms.handle(b, announce(2))
  const offers = [10, 11, 12].map(n => ({ offerId: fill(n), sdp: `offer ${n}` }))
  swarms.handle(c, announce(3, { offers }))
  assert.deepEqual(
    [a, b, c].map(x => x.of('offer').length),
    [1, 1, 0],
    'two others, so two offers are passed on'
  )
  const [offer] = a.of('offer')
  assert.ok(offer?.kind === 'offer')
  assert.deepEqual(offer.peerId, fill(3))
  const reply = answer(1, 3, offer.offerId[0]!)
  swarms.handle(a, reply)
  swarms.handle(a, reply)
  assert.deepEqual(c.of('answer'), [{ kind: 'answer', infoHash: HASH, peerId: fill(1), offerId: offer.offerId, sdp: 'answer' }])
})

test('an answer to an offer that was not made, or not to this peer, reaches nobody', () => {
  const { swarms } = rig()
  const [a, b, c] = [new TestClient(), new TestClient(), new TestClient()]
  swarms.handle(a, announce(1))
  swarms.handle(b, announce(2, { offers: [{ offerId: fill(7), sdp: 'x' }] }))
  swarms.handle(c, announce(3))
  swarms.handle(a, answer(1, 2, 8))
  swarms.handle(a, answer(1, 3, 7))
  swarms.handle(c, answer(3, 2, 7))
  swarms.handle(c, answer(1, 2, 7))
  assert.equal(a.of('answer').length + b.of('answer').length + c.of('answer').length, 0)
})

test('a peer id belongs to whose socket announced it; from the same address it may come back', () => {
  const { swarms } = rig()
  const [a, thief, again] = [new TestClient(), new TestClient('198.51.100.1'), new TestClient()]
  swarms.handle(a, announce(1))
  swarms.handle(thief, announce(1))
  assert.equal(thief.of('failure').length, 1)
  swarms.handle(again, announce(1))
  swarms.leave(a)
  assert.deepEqual(swarms.count(HASH), [0, 1], 'the old socket takes nothing along')
  swarms.handle(again, announce(2))
  assert.equal(again.of('failure').length, 1, 'one socket has one peer id in a swarm')
})

test('seeders are counted, who stops or hangs up is gone, empty swarms are forgotten', () => {
  const { swarms } = rig()
  const [a, b] = [new TestClient(), new TestClient()]
  swarms.handle(a, announce(1, { left: 0 }))
  swarms.handle(b, announce(2))
  assert.deepEqual(swarms.count(HASH), [1, 1])
  swarms.handle(b, announce(2, { event: 'completed' }))
  swarms.handle(b, announce(2, { left: undefined }))
  assert.deepEqual(swarms.count(HASH), [2, 0])
  swarms.handle(b, announce(2, { event: 'stopped' }))
  swarms.leave(a)
  assert.deepEqual(swarms.count(HASH), [0, 0])
  assert.equal(swarms.size, 0)
})

test('swarms and torrents per connection are bounded; who fell silent makes room', () => {
  const { swarms, clock } = rig()
  for (let i = 0; i < MAX_TRACKER_SWARM_PEERS; i++) {
    const peerId = fill(0)
    peerId[0] = i >> 8
    peerId[1] = i & 255
    swarms.handle(new TestClient(), announce(0, { peerId }))
  }
  const late = new TestClient()
  swarms.handle(late, announce(77))
  assert.equal(late.of('failure').length, 1)
  clock.nowMs = 3_600_000
  swarms.handle(late, announce(77))
  assert.deepEqual(swarms.count(HASH), [0, 1])
  const many = new TestClient()
  for (let i = 0; i <= MAX_SOCKET_SWARMS; i++) {
    const infoHash = fill(1)
    infoHash[0] = i >> 8
    infoHash[1] = i & 255
    swarms.handle(many, announce(5, { infoHash }))
  }
  assert.equal(many.of('failure').length, 1)
  swarms.leave(many)
  assert.equal(swarms.size, 1)
})

test('an HTTP scrape names its torrents and is answered in bencode', () => {
  const escaped = '%09'.repeat(20)
  const page = scrapePage(`/scrape?info_hash=${escaped}&info_hash=${'a'.repeat(20)}`, hash => (hash[0] === 9 ? [2, 1] : [0, 0]))
  const figures = (c: number, i: number): string => `d8:completei${c}e10:downloadedi${c}e10:incompletei${i}ee`
  assert.equal(
    Buffer.from(page!).toString('latin1'),
    `d5:filesd20:${'\t'.repeat(20)}${figures(2, 1)}20:${'a'.repeat(20)}${figures(0, 0)}ee`
  )
  const bad = ['/', '/scrape', '/scrape?info_hash=x', `/scrape?info_hash=${escaped}&x=1`, `/scrape?${`info_hash=${escaped}&`.repeat(65)}`]
  for (const url of bad)
    assert.equal(
      scrapePage(url, () => [0, 0]),
      undefined,
      url.slice(0, 50)
    )
})

test('BT13: one address cannot fill the tracker, and a client keeps only so many offers however many swarms it is in', () => {
  const { swarms } = rig()
  const hashOf = (n: number): Uint8Array => Uint8Array.from({ length: 20 }, (_, i) => (n >> (8 * (i % 3))) & 255)
  const clients = Array.from({ length: MAX_ADDRESS_SWARMS / MAX_SOCKET_SWARMS + 1 }, () => new TestClient())
  for (let n = 0; n < MAX_ADDRESS_SWARMS; n++)
    swarms.handle(clients[Math.floor(n / MAX_SOCKET_SWARMS)]!, announce(1, { infoHash: hashOf(n) }))
  assert.equal(swarms.size, MAX_ADDRESS_SWARMS)
  const last = clients.at(-1)!
  swarms.handle(last, announce(1, { infoHash: hashOf(MAX_ADDRESS_SWARMS) }))
  assert.equal(last.of('failure').length, 1)
  const other = new TestClient('192.0.2.2')
  swarms.handle(other, announce(2, { infoHash: hashOf(MAX_ADDRESS_SWARMS) }))
  assert.equal(other.of('announced').length, 1)
  // The first client is asked in all its swarms, more often than it keeps; the oldest offer is forgotten, the newest is not.
  const [taker] = clients
  const asker = new TestClient('192.0.2.3')
  for (let n = 0; n <= MAX_OPEN_OFFERS; n++)
    swarms.handle(
      asker,
      announce(3, { infoHash: hashOf(n % (MAX_SOCKET_SWARMS / 2)), offers: [{ offerId: hashOf(n), sdp: `offer ${n}` }] })
    )
  const answerTo = (n: number): number => {
    swarms.handle(taker!, { ...answer(1, 3, 0), infoHash: hashOf(n % (MAX_SOCKET_SWARMS / 2)), offerId: hashOf(n) } as ClientMessage)
    return asker.of('answer').length
  }
  assert.deepEqual([answerTo(0), answerTo(MAX_OPEN_OFFERS)], [0, 1])
  swarms.leave(clients[1]!)
  swarms.handle(last, announce(1, { infoHash: hashOf(MAX_ADDRESS_SWARMS + 1) }))
  assert.equal(last.of('announced').length, 1, 'who leaves makes room')
})
