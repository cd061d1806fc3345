import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../../test/kits/any-text.ts'
import { KithError } from '../../base/errors.ts'
import { keepAllowed } from './candidates.ts'
import { MAX_CANDIDATES_PER_ADDRESS } from './limits.ts'
import { type Candidate, type Description, readDescription, writeDescription } from './sdp.ts'

const FINGERPRINT = 'E4:20:3B:AD:5E:4A:29:EA:47:22:D6:23:C3:15:4F:CC:B2:20:C9:B7:86:D4:76:BB:28:3F:DE:9A:55:36:61:4B'
/** As Chromium writes it, shortened by nothing that is read. */
const CHROMIUM = `v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=candidate:2999745851 1 udp 2122260223 10.99.0.1 51556 typ host generation 0 network-id 1 network-cost 50
a=candidate:1 1 udp 2122260222 3f2a7c1e-aaaa-4bbb-8ccc-0123456789ab.local 51557 typ host generation 0
a=candidate:2 1 tcp 1518280447 10.99.0.1 9 typ host tcptype active generation 0
a=ice-ufrag:J81K
a=ice-pwd:wqtG+QvXO3PXfa/7IiErntAA
a=ice-options:trickle
a=fingerprint:sha-256 ${FINGERPRINT}
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
`.replaceAll('\n', '\r\n')

const GIVEN = { allowPrivate: true, allowLoopback: true }
const FOUND = { allowPrivate: false, allowLoopback: false }
const refused = (sdp: string, type: 'offer' | 'answer' = 'offer'): void => {
  assert.throws(() => readDescription(sdp, type), { code: 'BAD_SDP' }, sdp.slice(0, 200))
}

test('a description of Chromium is read, and written anew with nothing but what a data channel needs', () => {
  const d = readDescription(CHROMIUM, 'offer')
  assert.equal(d.ufrag, 'J81K')
  assert.equal(d.fingerprint, FINGERPRINT)
  assert.equal(d.maxMessageBytes, 262_144)
  assert.deepEqual(
    d.candidates.map(c => c.address),
    ['10.99.0.1', '3f2a7c1e-aaaa-4bbb-8ccc-0123456789ab.local']
  )
  const written = writeDescription(keepAllowed(d, GIVEN))
  assert.match(written, /a=candidate:2999745851 1 UDP 2122260223 10\.99\.0\.1 51556 typ host\r\n/)
  assert.doesNotMatch(written, /local|tcp|generation|extmap/)
  assert.deepEqual(readDescription(written, 'offer'), keepAllowed(d, GIVEN))
})

test('BT13: a description of a megabyte, a thousand candidates or endless lines is refused', () => {
  refused(CHROMIUM + 'a=x:y\r\n'.repeat(200_000))
  refused(CHROMIUM + 'a=candidate:1 1 UDP 1 8.8.8.8 5000 typ host\r\n'.repeat(1000))
  refused(CHROMIUM + 'a=candidate:1 1 UDP 1 8.8.8.8 5000 typ host\r\n'.repeat(31))
  assert.equal(readDescription(CHROMIUM + 'a=candidate:1 1 UDP 1 8.8.8.8 5000 typ host\r\n'.repeat(30), 'offer').candidates.length, 32)
  refused(`${CHROMIUM}a=${'x'.repeat(2000)}\r\n`)
})

test('BT13: a description does not make us ask many ports of one address', () => {
  const addresses = ['8.8.8.8', '2a00:1450:4001::1', '2a00:1450:4001:0::1']
  const candidates = Array.from({ length: 30 }, (_, i): Candidate => {
    return { foundation: '1', priority: 1, address: addresses[i % 3]!, port: 40_000 + i, kind: 'host' }
  })
  const kept = keepAllowed({ ...readDescription(CHROMIUM, 'offer'), candidates }, FOUND).candidates
  assert.equal(kept.length, 2 * MAX_CANDIDATES_PER_ADDRESS)
})

test('BT13: names, loopback, private and forbidden addresses are tried only when the peer was named by the user or is there itself', () => {
  const at = (address: string, port = 40_000): Candidate => ({ foundation: '1', priority: 1, address, port, kind: 'host' })
  const candidates = [
    '8.8.8.8',
    '2a00:1450:4001::1',
    '10.0.0.1',
    '192.168.1.1',
    'fd00::1',
    '127.0.0.1',
    '::1',
    '169.254.169.254',
    '0.0.0.0',
    '224.0.0.1',
    '::ffff:127.0.0.1',
    'host.local'
  ].map(a => at(a))
  const d = { ...readDescription(CHROMIUM, 'offer'), candidates: [...candidates, at('8.8.8.8', 22), at('8.8.8.8', 6379)] }
  const kept = (policy: typeof GIVEN): string[] => keepAllowed(d, policy).candidates.map(c => c.address)
  assert.deepEqual(kept(FOUND), ['8.8.8.8', '2a00:1450:4001::1'])
  assert.deepEqual(kept({ allowPrivate: true, allowLoopback: false }), [
    '8.8.8.8',
    '2a00:1450:4001::1',
    '10.0.0.1',
    '192.168.1.1',
    'fd00::1'
  ])
  assert.equal(kept(GIVEN).length, 8)
})

test('what contradicts a data channel, is missing, malformed or there twice is refused', () => {
  refused('')
  refused(CHROMIUM, 'answer')
  refused(CHROMIUM.replace('v=0', 'v=1'))
  refused(CHROMIUM.replace(/m=application.*/, 'm=audio 9 UDP/TLS/RTP/SAVPF 111'))
  refused(CHROMIUM + 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n')
  refused(CHROMIUM.replace(/a=fingerprint.*\r\n/, ''))
  refused(CHROMIUM.replace('sha-256', 'sha-1'))
  refused(CHROMIUM.replace('E4:20', 'E4:2'))
  refused(CHROMIUM.replace('a=sctp-port:5000', 'a=sctp-port:0'))
  refused(CHROMIUM.replace('size:262144', 'size:10'))
  refused(CHROMIUM.replace('J81K', 'J8 K'))
  refused(CHROMIUM + 'a=ice-pwd:otherotherotherotherother\r\n')
  assert.equal(readDescription(`${CHROMIUM}a=mid:0\r\n`, 'offer').mid, '0')
})

const hex = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map(b => [...b].map(x => x.toString(16).padStart(2, '0').toUpperCase()).join(':'))
const iceText = (min: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'abzAZ09+/'), minLength: min, maxLength: min + 8 })
const candidate: fc.Arbitrary<Candidate> = fc.record({
  foundation: fc.integer({ min: 1, max: 2 ** 31 }).map(String),
  priority: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  address: fc.oneof(fc.ipV4(), fc.constantFrom('2a00:1450:4001::1', 'fe80::1', 'a1-b2.local')),
  port: fc.integer({ min: 1, max: 65_535 }),
  kind: fc.constantFrom('host', 'srflx', 'prflx', 'relay')
})
const description: fc.Arbitrary<Description> = fc.record({
  ufrag: iceText(4),
  pwd: iceText(22),
  fingerprint: hex,
  setup: fc.constantFrom('active', 'passive'),
  mid: fc.constantFrom('0', 'data', 'a-b'),
  sctpPort: fc.integer({ min: 1, max: 65_535 }),
  maxMessageBytes: fc.oneof(fc.constant(0), fc.integer({ min: 1024, max: 2 ** 31 })),
  candidates: fc.array(candidate, { maxLength: 32 })
})

/** Generated records have no prototype. */
const plain = <T>(value: T): T => structuredClone(value)

test('what is written is read back', () => {
  fc.assert(fc.property(description, d => assert.deepEqual(readDescription(writeDescription(d), 'answer'), plain(d))))
})

test('any text, and any damage to a good one, is read or refused with BAD_SDP', () => {
  const line = fc.oneof(
    anyText(),
    fc.constantFrom(...CHROMIUM.split('\r\n')),
    fc.string().map(s => `a=candidate:${s}`)
  )
  const damaged = fc
    .tuple(fc.nat(CHROMIUM.length - 1), fc.string({ maxLength: 3 }))
    .map(([i, s]) => CHROMIUM.slice(0, i) + s + CHROMIUM.slice(i + 1))
  const text = fc.oneof(
    fc.string(),
    fc.array(line).map(lines => lines.join('\r\n')),
    damaged
  )
  fc.assert(
    fc.property(text, fc.constantFrom('offer', 'answer'), (sdp, type) => {
      try {
        const d = readDescription(sdp, type)
        assert.deepEqual(readDescription(writeDescription(d), type), d)
      } catch (error) {
        assert.ok(error instanceof KithError && error.code === 'BAD_SDP', String(error))
      }
    }),
    { numRuns: 200 }
  )
})
