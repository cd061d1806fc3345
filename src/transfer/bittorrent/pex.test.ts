import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { concatBytes } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { bdict, encodeBencode } from './bencode.ts'
import { packPeer } from './compact.ts'
import type { ExtendedHandshake } from './extensions.ts'
import { peerPriority } from './peer-priority.ts'
import { decodePex, encodePex, type PexMessage } from './pex.ts'
import { PeerExchange, type PexSession } from './pex-exchange.ts'
import { TrackerTiers } from './tiers.ts'
import type { PeerAddress } from './urls.ts'

const infoHash = new Uint8Array(20).fill(4)
const peerAt = (n: number): PeerAddress => ({ host: `8.0.${n >> 8}.${n & 255}`, port: 7000 })

/** A session that keeps what it is sent. */
class Session implements PexSession {
  readonly wire: PexSession['wire']
  readonly torrent = { infoHash }
  readonly extended: ExtendedHandshake | undefined
  readonly sent: PexMessage[] = []
  constructor(host: string, options: { incoming?: boolean; listenPort?: number; pex?: boolean; yourIp?: string } = {}) {
    const { incoming = false, listenPort, pex = true, yourIp } = options
    this.wire = { address: `${host}:7000`, incoming }
    const none = { version: undefined, requestQueue: undefined, metadataSize: undefined, nonce: undefined, maxBlock: undefined }
    this.extended = { ...none, ids: pex ? { ut_pex: 1 } : {}, listenPort, yourIp, uploadOnly: false }
  }
  sendExtension(_: 'ut_pex', payload: Uint8Array): boolean {
    this.sent.push(decodePex(payload))
    return true
  }
}
const told = (s: Session): string[] => s.sent.flatMap(m => m.added.map(p => `${p.host}:${p.port}`)).sort()

test('everybody hears of the others, of changes once a minute, and never of itself', async () => {
  const clock = new FakeClock()
  await using exchange = new PeerExchange<Session>(clock)
  const a = new Session('8.8.8.1')
  const b = new Session('8.8.8.2')
  exchange.extended(a)
  exchange.extended(b)
  await clock.advance(1)
  assert.deepEqual([told(a), told(b)], [['8.8.8.2:7000'], ['8.8.8.1:7000']])
  const c = new Session('8.8.8.3', { incoming: true, listenPort: 9 })
  const mute = new Session('8.8.8.4', { incoming: true }) // says no port: nobody could connect to it
  const deaf = new Session('8.8.8.5', { pex: false })
  for (const s of [c, mute, deaf]) exchange.extended(s)
  await clock.advance(1)
  assert.deepEqual(told(c), ['8.8.8.1:7000', '8.8.8.2:7000', '8.8.8.5:7000'])
  assert.equal(a.sent.length, 1)
  await clock.advance(60_000)
  await clock.advance(60_000)
  assert.deepEqual(told(a), ['8.8.8.2:7000', '8.8.8.3:9', '8.8.8.5:7000'])
  assert.equal(deaf.sent.length, 0)
  exchange.closed(b)
  await clock.advance(60_000)
  await clock.advance(60_000)
  assert.deepEqual(a.sent.at(-1)?.dropped, [{ host: '8.8.8.2', port: 7000 }])
})
test('BT7: fifty peers of a message, one message a minute, and nothing of our own network to outsiders', async () => {
  const clock = new FakeClock()
  await using exchange = new PeerExchange<Session>(clock)
  const heard: PeerAddress[] = []
  using _ = exchange.listen(infoHash, peers => void heard.push(...peers))
  const flooder = new Session('8.8.8.1')
  const lan = new Session('192.168.1.5')
  exchange.extended(flooder)
  exchange.extended(lan)
  const many = concatBytes(...Array.from({ length: 9000 }, (_, i) => packPeer(peerAt(i))!))
  const huge = encodeBencode(bdict({ added: many, 'added.f': new Uint8Array(9000) }))
  for (let i = 0; i < 100; i++) exchange.received(flooder, huge)
  assert.equal(heard.length, 100) // two messages: the first, and one that came early
  await clock.advance(60_000)
  exchange.received(flooder, huge)
  exchange.received(flooder, huge)
  assert.equal(heard.length, 150)
  assert.deepEqual(told(flooder), [])
  assert.deepEqual(told(lan), ['8.8.8.1:7000'])
  const crowd = Array.from({ length: 120 }, (_, i) => new Session(peerAt(i).host))
  for (const s of crowd) exchange.extended(s)
  await clock.advance(60_000)
  assert.ok(flooder.sent.every(m => m.added.length <= 50))
  exchange.closed(flooder)
  exchange.received(flooder, huge)
  assert.equal(heard.length, 150)
})
test('our address is what peers at five addresses say', async () => {
  await using exchange = new PeerExchange<Session>(new FakeClock())
  for (let i = 0; i < 5; i++) {
    assert.equal(exchange.votes.address, undefined)
    exchange.extended(new Session(`8.8.4.${i}`, { yourIp: '9.9.9.9' }))
  }
  assert.equal(exchange.votes.address, '9.9.9.9')
})
test('what is written is read back; any bytes are read or refused; port 0 and cut lists are left out', () => {
  const port = fc.integer({ min: 1, max: 65_535 })
  const v4 = fc.array(
    fc.tuple(fc.ipV4(), port).map(([host, port]) => ({ host, port })),
    { maxLength: 50 }
  )
  fc.assert(fc.property(v4, v4, (added, dropped) => assert.deepEqual(decodePex(encodePex({ added, dropped })), { added, dropped })))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), b => {
      try {
        decodePex(b)
      } catch (e) {
        assert.ok(hasCode(e, 'PEER_WIRE'))
      }
    })
  )
  const odd = encodeBencode(bdict({ added: Uint8Array.of(1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 9, 1, 1), added6: new Uint8Array(17) }))
  assert.deepEqual(decodePex(odd).added, [{ host: '5.6.7.8', port: 9 }])
})

test('peer priority is that of the examples of BEP 40, and the same from both sides', () => {
  const at = (host: string, port = 1): PeerAddress => ({ host, port })
  assert.equal(peerPriority(at('123.213.32.10'), at('98.76.54.32')), 0xec2d7224)
  assert.equal(peerPriority(at('123.213.32.10'), at('123.213.32.234')), 0x99568189)
  assert.equal(peerPriority(at('name.test'), at('1.2.3.4')), 0)
  const address = fc.tuple(fc.oneof(fc.ipV4(), fc.constant('2001:db9::7')), fc.integer({ min: 1, max: 65_535 })).map(([h, p]) => at(h, p))
  fc.assert(fc.property(address, address, (a, b) => peerPriority(a, b) === peerPriority(b, a)))
})
test('tiers: shuffled within, asked in order, and whoever answers comes first in its tier', () => {
  const tiers = new TrackerTiers([['a', 'b', 'c'], [], ['d']], () => 0)
  assert.deepEqual(tiers.order, ['b', 'c', 'a', 'd'])
  tiers.promote('a')
  assert.deepEqual(tiers.order, ['a', 'b', 'c', 'd'])
  tiers.promote('d')
  assert.deepEqual(tiers.order, ['a', 'b', 'c', 'd'])
  const seen = new Set(Array.from({ length: 200 }, () => new TrackerTiers([['a', 'b', 'c']]).order.join('')))
  assert.equal(seen.size, 6)
})
