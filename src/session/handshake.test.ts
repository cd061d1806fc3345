import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { again, connect, type Instance, linkTo, openInstance, read } from '../../test/kits/sessions.ts'
import { bytesToHex, fromUtf8, hexToBytes, utf8 } from '../base/bytes.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { writeSecureMessage } from '../wire/secure-message.ts'
import { canonicalJson, type Json, type JsonObject } from '../wire/strict-json.ts'
import { HandshakeGate } from './handshake-gate.ts'
import {
  HANDSHAKE_BURST,
  HANDSHAKE_TIMEOUT_MS,
  HANDSHAKES_PER_SECOND,
  MAX_BAD_ANSWERS,
  MAX_HALF_OPEN,
  MAX_HALF_OPEN_PER_LINK,
  MAX_RATED_LINKS,
  RESERVED_BURST_PER_NETWORK,
  RESERVED_HANDSHAKES_PER_SECOND
} from './limits.ts'
import type { HandshakeLink } from './sessions.ts'

const pair = async (): Promise<[Instance, Instance]> => [await openInstance(1), await openInstance(2)]
const codeFrom = (run: Promise<unknown>): Promise<string> => run.then(() => 'accepted', codeOf)
const payloadOf = (frame: Uint8Array): JsonObject => JSON.parse(fromUtf8(read(frame).data)) as JsonObject

/** The frame with other payload members, signed again by `author`. */
function changed(author: Instance, frame: Uint8Array, members: JsonObject, without: readonly string[] = []): Promise<Uint8Array> {
  const kept = Object.entries({ ...payloadOf(frame), ...members }).filter(([name]) => !without.includes(name))
  return author.write(again(read(frame), { data: utf8(canonicalJson(Object.fromEntries(kept))) }))
}
const begin = async (a: Instance, b: Instance): Promise<Uint8Array> => (await a.sessions.begin(b.self.entityId)).frame
const answer = async (b: Instance, a: Instance, frame: Uint8Array): Promise<Uint8Array> =>
  (await b.sessions.onHandshake(read(frame), linkTo(a)))!

test('after a handshake both sides know each other, and talk', async () => {
  const [a, b] = await pair()
  const { mine, theirs } = await connect(a, b)
  assert.equal(mine.peer.entityId, b.self.entityId)
  assert.equal(theirs.peer.entityId, a.self.entityId)
  assert.equal(theirs.peer.peerId, a.peerId)
  assert.deepEqual([mine.version, mine.id], ['1.1', theirs.id])
  for (const [from, to] of [
    [mine, theirs],
    [theirs, mine]
  ] as const) {
    const [opened] = await to.open(read((await from.seal('ping', utf8('{}'))).frame))
    assert.deepEqual([opened!.type, fromUtf8(opened!.payload), opened!.sequenceNum], ['ping', '{}', 1])
  }
  assert.equal(a.sessions.current(b.self.entityId), mine)
  assert.deepEqual(b.sessions.counts, { sessions: 1, halfOpen: 0, pending: 0 })
})

test('two handshakes of the same two instances have no key in common', async () => {
  const [a, b] = await pair()
  const [first, second] = [await connect(a, b), await connect(a, b)]
  const { frame } = await first.mine.seal('ping', utf8('{}'))
  const moved = await a.write(again(read(frame), { sessionId: second.mine.id }))
  assert.equal(await codeFrom(second.theirs.open(read(moved))), 'DECRYPTION_FAILED')
})

test('an ephemeral key that gives no secret is refused by both sides: all 31 of Wycheproof (threats HS1)', async () => {
  interface File {
    readonly testGroups: readonly { readonly tests: readonly { readonly public: string; readonly shared: string }[] }[]
  }
  const path = join(import.meta.dirname, '../../test/vectors/wycheproof/x25519_test.json')
  const { testGroups } = JSON.parse(readFileSync(path, 'utf8')) as File
  const zero = testGroups.flatMap(g => g.tests).filter(t => /^0*$/.test(t.shared))
  assert.equal(zero.length, 31)
  const [a, b] = await pair()
  for (const { public: point } of zero) {
    const bad = await changed(a, await begin(a, b), { ephemeral_key: point })
    assert.equal(await codeFrom(b.sessions.onHandshake(read(bad), linkTo(a))), 'DECRYPTION_FAILED')
    assert.equal(b.sessions.counts.halfOpen, 0)
    for (const { clock } of [a, b]) await clock.advance(1000)
  }
  const ack = await changed(b, await answer(b, a, await begin(a, b)), { ephemeral_key: zero[0]!.public })
  // The responder's answer is over its payload, so a changed one fails before its key is looked at.
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(ack), linkTo(b))), 'INVALID_SIGNATURE')
})

test('a handshake that is sent again gets no session, and nothing is kept for more than ten seconds (threats HS3)', async () => {
  const [a, b] = await pair()
  const frame = await begin(a, b)
  const first = await answer(b, a, frame)
  assert.equal(await codeFrom(b.sessions.onHandshake(read(frame), linkTo(a))), 'REPLAY_DETECTED')
  await b.clock.advance(HANDSHAKE_TIMEOUT_MS)
  assert.equal(b.sessions.counts.halfOpen, 0)
  const second = await answer(b, a, frame)
  assert.notEqual(payloadOf(second)['ephemeral_key'], payloadOf(first)['ephemeral_key'])
  // What was answered to the first does not fit the second.
  const { frame: confirm } = await a.sessions.onHandshakeAck(read(first), linkTo(b))
  assert.equal(await codeFrom(b.sessions.onHandshakeConfirm(read(confirm))), 'INVALID_SIGNATURE')
  assert.equal(b.sessions.counts.sessions, 0)
})

/** As `begin` of somebody who keeps nothing of it. */
async function beginAndForget(a: Instance, b: Instance): Promise<Uint8Array> {
  const pending = await a.sessions.begin(b.self.entityId)
  pending.cancel()
  return pending.frame
}

test('of unfinished handshakes there are four of one link, and 256 (threats HS3)', async () => {
  const b = await openInstance(2)
  const a = await openInstance(10)
  const flood = async (link: HandshakeLink, n: number): Promise<string[]> => {
    const codes: string[] = []
    for (let i = 0; i < n; i++) codes.push(await codeFrom(b.sessions.onHandshake(read(await beginAndForget(a, b)), link)))
    return codes
  }
  assert.deepEqual(await flood(linkTo(a), MAX_HALF_OPEN_PER_LINK + 1), [...Array(MAX_HALF_OPEN_PER_LINK).fill('accepted'), 'RATE_LIMITED'])
  for (let at = 0; at <= MAX_HALF_OPEN; at += MAX_HALF_OPEN_PER_LINK) {
    await flood({ ...linkTo(a), key: `8.8.8.${at}`, network: '8.8.8' }, MAX_HALF_OPEN_PER_LINK)
    await Promise.all([a.clock.advance(100), b.clock.advance(100)])
  }
  assert.equal(b.sessions.counts.halfOpen, MAX_HALF_OPEN)
  await b.clock.advance(HANDSHAKE_TIMEOUT_MS)
  assert.equal(b.sessions.counts.halfOpen, 0)
})

test('a flood of handshakes from whole networks does not keep others from theirs (threats HS3, HS9)', async () => {
  const [a, b] = await pair()
  const attacker = await openInstance(10)
  const taken = new Map<string, number>()
  let n = 0
  /** As many as it likes, from eight networks with 256 addresses each, in the time of a round trip. */
  const flood = async (): Promise<void> => {
    for (let i = 0; i < 160; i++) {
      const network = `8.8.${n % 8}`
      const link = { ...linkTo(attacker), key: `${network}.${Math.floor(n++ / 8) % 256}`, network }
      if ((await codeFrom(b.sessions.onHandshake(read(await beginAndForget(attacker, b)), link))) === 'accepted')
        taken.set(network, (taken.get(network) ?? 0) + 1)
    }
    await Promise.all([a.clock.advance(500), b.clock.advance(500), attacker.clock.advance(500)])
  }
  for (let i = 0; i < 8; i++) await flood()
  assert.ok([...taken.values()].reduce((x, y) => x + y) >= MAX_HALF_OPEN, 'all places were taken')
  for (let i = 0; i < 3; i++) {
    const honest = { ...linkTo(a), key: '9.9.9.9', network: '9.9.9' }
    const ack = await b.sessions.onHandshake(read(await begin(a, b)), honest)
    await flood()
    const { frame } = await a.sessions.onHandshakeAck(read(ack!), linkTo(b))
    await flood()
    await b.sessions.onHandshakeConfirm(read(frame))
  }
  assert.equal(b.sessions.of(a.self.entityId).length, 3)
})

test('an answer to another challenge, by another role or peer, is refused and leaves the handshake as it was (threats HS4)', async () => {
  const [a, b] = await pair()
  const c = await openInstance(3)
  const other = await answer(b, a, await begin(a, b)) // signed over another challenge and session
  const frame = await begin(a, b)
  const ack = await answer(b, a, frame)
  for (const challenge_response of [payloadOf(other)['challenge_response']!, '00'.repeat(64)]) {
    const wrong = await changed(b, ack, { challenge_response })
    assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(wrong), linkTo(b))), 'INVALID_SIGNATURE')
  }
  const asC = await c.write(again(read(ack), { senderId: c.self.entityId }))
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(asC), linkTo(c))), 'SEQUENCE_ERROR')
  const byC = await c.write(again(read(ack)))
  // Two wrong ones were within bounds, a third would end it: so a fresh one for the rest.
  const fresh = await begin(a, b)
  const freshAck = await answer(b, a, fresh)
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(byC), linkTo(b))), 'INVALID_SIGNATURE')
  const { frame: confirm, session } = await a.sessions.onHandshakeAck(read(freshAck), linkTo(b))
  // The responder's own answer sent back to it: the role is in what is signed.
  const reflected = await changed(a, confirm, { challenge_response: payloadOf(freshAck)['challenge_response']! })
  assert.equal(await codeFrom(b.sessions.onHandshakeConfirm(read(reflected))), 'INVALID_SIGNATURE')
  assert.equal((await b.sessions.onHandshakeConfirm(read(confirm))).id, session.id)
})

test('after three wrong answers a handshake has ended', async () => {
  const [a, b] = await pair()
  const ack = await answer(b, a, await begin(a, b))
  const wrong = await changed(b, ack, { challenge_response: '00'.repeat(64) })
  for (let i = 0; i < MAX_BAD_ANSWERS; i++)
    assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(wrong), linkTo(b))), 'INVALID_SIGNATURE')
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(ack), linkTo(b))), 'SEQUENCE_ERROR')
})

test('nobody on the way can take versions out of the offer, and 0.3 is not among them (threats HS5)', async () => {
  const [a, b] = await pair()
  const frame = await begin(a, b)
  const m = read(frame)
  const data = utf8(canonicalJson({ ...payloadOf(frame), versions: ['1.0'] }))
  const stripped = await writeSecureMessage(again(m, { data }), async () => m.signature)
  assert.equal(await codeFrom(b.sessions.onHandshake(read(stripped), linkTo(a))), 'INVALID_SIGNATURE')
  for (const versions of [['0.3'], ['2.0'], ['0.3', 'none']]) {
    const old = await changed(a, await begin(a, b), { versions })
    assert.equal(await codeFrom(b.sessions.onHandshake(read(old), linkTo(a))), 'INVALID_VERSION')
  }
  const plain = await changed(a, await begin(a, b), {}, ['ephemeral_key'])
  assert.equal(await codeFrom(b.sessions.onHandshake(read(plain), linkTo(a))), 'DOWNGRADE')
  const ack = await changed(b, await answer(b, a, await begin(a, b)), { selected_version: '0.3' })
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(ack), linkTo(b))), 'INVALID_VERSION')
  assert.throws(() => b.sessions.checkLegacy(a.self.entityId), { code: 'INVALID_VERSION' })
  const allowing = await openInstance(2, { allowsLegacy: id => id === a.self.entityId })
  allowing.sessions.checkLegacy(a.self.entityId)
})

test('a peer that speaks 1.0 only gets an encrypted session of 1.0', async () => {
  const [a, b] = await pair()
  const ack = await answer(b, a, await changed(a, await begin(a, b), { versions: ['1.0'] }))
  assert.deepEqual([payloadOf(ack)['selected_version'], read(ack).version], ['1.0', '1.0'])
})

test('messages of a handshake out of their turn are refused (threats HS6)', async () => {
  const [a, b] = await pair()
  const frame = await begin(a, b)
  const sessionId = read(frame).sessionId
  const data = utf8(canonicalJson({ challenge_response: '00'.repeat(64) }))
  const early = await a.write(again(read(frame), { msgType: 'handshake_confirm', data }))
  assert.equal(await codeFrom(b.sessions.onHandshakeConfirm(read(early))), 'SEQUENCE_ERROR')
  const numbered = await a.write(again(read(await begin(a, b)), { sequenceNum: 1 }))
  assert.equal(await codeFrom(b.sessions.onHandshake(read(numbered), linkTo(a))), 'SEQUENCE_ERROR')
  const other = await a.write(again(read(await begin(a, b)), { msgType: 'handshake_ack' }))
  assert.equal(await codeFrom(b.sessions.onHandshake(read(other), linkTo(a))), 'SEQUENCE_ERROR')
  const hidden = await a.write(again(read(await begin(a, b)), { encrypted: true }))
  assert.equal(await codeFrom(b.sessions.onHandshake(read(hidden), linkTo(a))), 'MALFORMED')
  const ack = await answer(b, a, frame)
  const { session, frame: confirm } = await a.sessions.onHandshakeAck(read(ack), linkTo(b))
  const message = read((await session.seal('ping', utf8('{}'))).frame)
  assert.throws(() => b.sessions.sessionOf(message), { code: 'SEQUENCE_ERROR' }) // data before the confirmation
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(ack), linkTo(b))), 'SEQUENCE_ERROR')
  const theirs = await b.sessions.onHandshakeConfirm(read(confirm))
  assert.equal(await codeFrom(b.sessions.onHandshakeConfirm(read(confirm))), 'SEQUENCE_ERROR')
  assert.equal(await codeFrom(b.sessions.onHandshake(read(frame), linkTo(a))), 'SEQUENCE_ERROR') // of a live session
  const inside = await a.write(again(read(frame), { sequenceNum: 1 }))
  assert.equal(await codeFrom(theirs.open(read(inside))), 'SEQUENCE_ERROR')
  assert.equal(b.sessions.sessionOf(message), theirs)
  assert.equal((await theirs.open(message)).length, 1)
  assert.equal(theirs.id, sessionId)
})

test('a flood of handshakes costs a token each, before any public-key operation (threats HS9)', async () => {
  const a = await openInstance(1)
  let operations = 0
  const verifier = {
    verify: () => {
      operations++
      return false
    }
  }
  const authentication = { name: 'counting', sign: async () => new Uint8Array(64), verifier: () => verifier }
  const b = await openInstance(2, { authentication })
  const frame = read(await begin(a, b))
  const codes = new Map<string, number>()
  for (let i = 0; i < 1000; i++) {
    const code = await codeFrom(b.sessions.onHandshake(frame, { key: '192.0.2.1', peerId: undefined }))
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  assert.deepEqual(
    [...codes],
    [
      ['INVALID_SIGNATURE', HANDSHAKE_BURST],
      ['RATE_LIMITED', 1000 - HANDSHAKE_BURST]
    ]
  )
  assert.equal(operations, HANDSHAKE_BURST)
  await b.sessions.onHandshake(frame, { key: '192.0.2.2', peerId: undefined }).catch(() => {})
  assert.equal(operations, HANDSHAKE_BURST + 1) // another link is not held up
})

test('beyond what all may begin, a network that took little has a few more, and others do not use them up (threats HS9)', () => {
  const gate = new HandshakeGate(new FakeClock())
  const free = HANDSHAKES_PER_SECOND - RESERVED_HANDSHAKES_PER_SECOND
  for (let i = 0; i < free; i++) assert.ok(gate.admit(`link ${i}`, 'flood'))
  const more = (network: string, n: number): number =>
    Array.from({ length: n }, (_, i) => gate.admit(`${network} ${i}`, network)).filter(Boolean).length
  assert.equal(more('flood', 100), RESERVED_BURST_PER_NETWORK)
  for (let i = 1; i < RESERVED_HANDSHAKES_PER_SECOND / RESERVED_BURST_PER_NETWORK; i++)
    assert.equal(more(`n${i}`, 10), RESERVED_BURST_PER_NETWORK)
  assert.equal(more('last', 1), 0, 'the reserve has an end, too')
})
test('of too many links the one that came least lately is forgotten (threats HS9)', async () => {
  const clock = new FakeClock()
  const gate = new HandshakeGate(clock)
  for (let i = 0; i < HANDSHAKE_BURST; i++) assert.ok(gate.admit('first', 'n'))
  assert.ok(!gate.admit('first', 'n'))
  for (let i = 0; i < MAX_RATED_LINKS; i++) gate.admit(`link ${i}`, `n${i}`)
  await clock.advance(1000)
  for (let i = 0; i < 5; i++) assert.ok(gate.admit('first', 'n'), 'more than the second has brought')
})

test('instances of different networks get no session, by one code (threats HS10)', async () => {
  const a = await openInstance(1)
  const b = await openInstance(2, { network: 'another' })
  assert.equal(await codeFrom(b.sessions.onHandshake(read(await begin(a, b)), linkTo(a))), 'DECRYPTION_FAILED')
  // Without the tag the network is still in what both sign.
  const ack = await answer(b, a, await changed(a, await begin(a, b), {}, ['network']))
  assert.equal(await codeFrom(a.sessions.onHandshakeAck(read(ack), linkTo(b))), 'INVALID_SIGNATURE')
})

test('a handshake dated 301 s away is refused with our time (threats SM10)', async () => {
  const [a, b] = await pair()
  await a.clock.advance(301_000)
  await assert.rejects(b.sessions.onHandshake(read(await begin(a, b)), linkTo(a)), { code: 'CLOCK_SKEW' })
  await b.clock.advance(2000)
  await answer(b, a, await begin(a, b))
})

test('whoever claims another id, key, instance or PeerId is refused (threats SM17, CO22)', async () => {
  const [a, b] = await pair()
  const c = await openInstance(3)
  const frame = await begin(a, b)
  const claimed = await c.write(again(read(frame)))
  assert.equal(await codeFrom(b.sessions.onHandshake(read(claimed), linkTo(a))), 'INVALID_SIGNATURE')
  const asC = async (members: JsonObject): Promise<string> => {
    const own = await changed(c, await begin(c, b), members)
    return codeFrom(b.sessions.onHandshake(read(own), linkTo(c)))
  }
  assert.equal(await asC({ public_key: bytesToHex(a.self.publicKey) }), 'IDENTITY_MISMATCH')
  assert.equal(await asC({ certificate: bytesToHex(a.self.certificate!) }), 'IDENTITY_MISMATCH')
  assert.equal(await asC({ certificate: '00' }), 'IDENTITY_MISMATCH')
  const cut = hexToBytes(bytesToHex(c.self.certificate!))
  cut[60]! ^= 1
  assert.equal(await asC({ certificate: bytesToHex(cut) }), 'IDENTITY_MISMATCH')
  assert.equal(await codeFrom(b.sessions.onHandshake(read(await begin(c, b)), linkTo(a))), 'IDENTITY_MISMATCH')
  // A link that proves no PeerId takes it from the certificate.
  const ack = await b.sessions.onHandshake(read(await begin(c, b)), { key: '192.0.2.1', peerId: undefined })
  const { frame: confirm } = await c.sessions.onHandshakeAck(read(ack!), { peerId: undefined })
  assert.equal((await b.sessions.onHandshakeConfirm(read(confirm))).peer.peerId, c.peerId)
  assert.equal(await codeFrom(b.sessions.onHandshake(read(await begin(b, b)), linkTo(b))), 'IDENTITY_MISMATCH')
  const routed = await c.sessions.begin(a.self.entityId)
  assert.equal(await codeFrom(b.sessions.onHandshake(read(routed.frame), linkTo(c))), 'MISROUTED')
})

test('of two handshakes that cross, the one of the lower id goes on, on both sides (threats CO19)', async () => {
  const instances = await pair()
  const [low, high] = instances.sort((x, y) => (x.self.entityId < y.self.entityId ? -1 : 1)) as [Instance, Instance]
  const [fromLow, fromHigh] = [await low.sessions.begin(high.self.entityId), await high.sessions.begin(low.self.entityId)]
  assert.equal(await low.sessions.onHandshake(read(fromHigh.frame), linkTo(high)), undefined)
  assert.ok(fromLow.isOpen())
  const ack = await high.sessions.onHandshake(read(fromLow.frame), linkTo(low))
  assert.ok(!fromHigh.isOpen())
  const { session, frame } = await low.sessions.onHandshakeAck(read(ack!), linkTo(high))
  assert.equal((await high.sessions.onHandshakeConfirm(read(frame))).id, session.id)
  assert.deepEqual(low.sessions.counts, { sessions: 1, halfOpen: 0, pending: 0 })
  // Given up, it does not stand in the way of the other's.
  const lost = await low.sessions.begin(high.self.entityId)
  lost.cancel()
  assert.ok(await low.sessions.onHandshake(read(await begin(high, low)), linkTo(high)))
})

test('any payload of a handshake message is refused with a code, or is one', async () => {
  const [a, b] = await pair()
  const template = read(await begin(a, b))
  const offer = JSON.parse(fromUtf8(template.data)) as JsonObject
  const members = fc.dictionary(
    fc.constantFrom(...Object.keys(offer), 'challenge_response', 'x'),
    fc.oneof(fc.constantFrom<Json[]>(null, 1, true, '', [], {}, ['1.1'], [1], ['x'.repeat(9)]), fc.string(), fc.constant('00'.repeat(32)))
  )
  let attempts = 0
  await fc.assert(
    fc.asyncProperty(members, fc.constantFrom('handshake', 'handshake_ack', 'handshake_confirm'), async (changes, msgType) => {
      const data = utf8(JSON.stringify({ ...offer, ...changes }))
      const m = read(await a.write(again(template, { msgType, data })))
      const run =
        msgType === 'handshake'
          ? b.sessions.onHandshake(m, { key: `another end ${attempts++}`, peerId: undefined })
          : msgType === 'handshake_ack'
            ? b.sessions.onHandshakeAck(m, linkTo(a))
            : b.sessions.onHandshakeConfirm(m)
      await run.catch(error => assert.ok(error instanceof KithError, String(error)))
      await b.clock.advance(HANDSHAKE_TIMEOUT_MS)
      await a.clock.advance(0)
      assert.equal(b.sessions.counts.halfOpen, 0)
    }),
    { numRuns: 25 }
  )
})
