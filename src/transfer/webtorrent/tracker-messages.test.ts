import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { KithError } from '../../base/errors.ts'
import {
  type ClientMessage,
  readClientMessage,
  readTrackerMessage,
  type TrackerMessage,
  writeClientMessage,
  writeScrape,
  writeTrackerMessage
} from './tracker-messages.ts'

const fill = (n: number): Uint8Array => new Uint8Array(20).fill(n)
const text = (n: number): string => String.fromCharCode(n).repeat(20)

test('an announcement as the standard client writes it', () => {
  const said = {
    numwant: 1,
    uploaded: 0,
    downloaded: 0,
    left: 5,
    event: 'started',
    action: 'announce',
    info_hash: text(0xe9),
    peer_id: '-WW0100-abcdefghijkl',
    offers: [{ offer: { type: 'offer', sdp: 'v=0' }, offer_id: text(0x01) }]
  }
  assert.deepEqual(readClientMessage(JSON.stringify(said)), {
    kind: 'announce',
    infoHash: fill(0xe9),
    peerId: new TextEncoder().encode('-WW0100-abcdefghijkl'),
    event: 'started',
    left: 5,
    offers: [{ offerId: fill(1), sdp: 'v=0' }]
  })
})

test('an answer and an interval as the standard tracker writes them', () => {
  const head = { action: 'announce', info_hash: text(2) }
  const answer = { ...head, peer_id: text(3), offer_id: text(4), answer: { type: 'answer', sdp: 'v=0' } }
  const said = { kind: 'answer', infoHash: fill(2), peerId: fill(3), offerId: fill(4), sdp: 'v=0' }
  assert.deepEqual(readTrackerMessage(JSON.stringify(answer)), said)
  const announced = { kind: 'announced', infoHash: fill(2), intervalSeconds: 120, complete: 1, incomplete: 0 }
  assert.deepEqual(readTrackerMessage(JSON.stringify({ ...head, interval: 120, complete: 1, incomplete: 0 })), announced)
  assert.deepEqual(readTrackerMessage('{"action":"scrape","files":{}}'), { kind: 'unknown' })
})

const bad = [
  '',
  'null',
  '[]',
  '"x"',
  '{}',
  '{"action":"announce"}',
  JSON.stringify({ action: 'announce', info_hash: 'Ā'.repeat(20), peer_id: text(1) }),
  JSON.stringify({ action: 'announce', info_hash: text(1), peer_id: text(1).slice(1) }),
  JSON.stringify({ action: 'announce', info_hash: text(1), peer_id: text(1), offers: [null] }),
  JSON.stringify({
    action: 'announce',
    info_hash: text(1),
    peer_id: text(1),
    offers: [{ offer_id: text(1), offer: { type: 'offer', sdp: 7 } }]
  }),
  JSON.stringify({ action: 'announce', info_hash: text(1), peer_id: text(1), answer: { type: 'answer', sdp: 'x' } }),
  JSON.stringify({
    action: 'announce',
    info_hash: text(1),
    peer_id: text(1),
    to_peer_id: text(1),
    offer_id: text(1),
    answer: { type: 'answer', sdp: 'x'.repeat(65_536) }
  }),
  JSON.stringify({ action: 'scrape', info_hash: Array.from({ length: 65 }, () => text(1)) }),
  `{"__proto__":{"action":"announce","info_hash":"${'a'.repeat(20)}","peer_id":"${'b'.repeat(20)}"}}`
]
test('malformed messages are refused', () => {
  for (const message of bad) assert.throws(() => readClientMessage(message), { code: 'TRACKER_MESSAGE' }, message.slice(0, 100))
})

const bytes = fc.uint8Array({ minLength: 20, maxLength: 20 })
const sdp = fc.string({ minLength: 1 })
const client: fc.Arbitrary<ClientMessage> = fc.oneof(
  fc.record({
    kind: fc.constant('announce' as const),
    infoHash: bytes,
    peerId: bytes,
    event: fc.constantFrom('started', 'stopped', 'completed', undefined),
    left: fc.option(fc.maxSafeNat(), { nil: undefined }),
    offers: fc.array(fc.record({ offerId: bytes, sdp }), { maxLength: 5 })
  }),
  fc.record({ kind: fc.constant('answer' as const), infoHash: bytes, peerId: bytes, toPeerId: bytes, offerId: bytes, sdp }),
  fc.record({ kind: fc.constant('scrape' as const), infoHashes: fc.array(bytes, { maxLength: 5 }) })
)
const tracker: fc.Arbitrary<Exclude<TrackerMessage, { kind: 'unknown' }>> = fc.oneof(
  fc.record({ kind: fc.constantFrom('offer' as const, 'answer' as const), infoHash: bytes, peerId: bytes, offerId: bytes, sdp }),
  fc.record({
    kind: fc.constant('failure' as const),
    infoHash: fc.option(bytes, { nil: undefined }),
    reason: fc.string({ maxLength: 50 })
  }),
  fc.record({
    kind: fc.constant('announced' as const),
    infoHash: bytes,
    intervalSeconds: fc.option(fc.nat(), { nil: undefined }),
    complete: fc.nat(),
    incomplete: fc.nat()
  })
)

/** Generated records have no prototype. */
const plain = <T>(value: T): T => structuredClone(value)

test('what is written is read back', () => {
  fc.assert(fc.property(client, m => assert.deepEqual(readClientMessage(writeClientMessage(m)), plain(m))))
  fc.assert(fc.property(tracker, m => assert.deepEqual(readTrackerMessage(writeTrackerMessage(m)), plain(m))))
  assert.deepEqual(JSON.parse(writeScrape([[fill(0xe9), 2, 3]])), {
    action: 'scrape',
    files: { [text(0xe9)]: { complete: 2, incomplete: 3, downloaded: 2 } }
  })
})

test('any text is read or refused with TRACKER_MESSAGE', () => {
  const names = ['action', 'info_hash', 'peer_id', 'offers', 'offer', 'answer', 'offer_id', 'to_peer_id', 'sdp', 'type', 'left', 'interval']
  const value = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom('announce', 'scrape', text(1), text(200)))
  const object = fc.dictionary(fc.constantFrom(...names), value).map(o => JSON.stringify(o))
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), object), said => {
      for (const read of [readClientMessage, readTrackerMessage]) {
        try {
          read(said)
        } catch (error) {
          assert.ok(error instanceof KithError && error.code === 'TRACKER_MESSAGE', String(error))
        }
      }
    }),
    { numRuns: 500 }
  )
})
