import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes, equalBytes, utf8 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { MAX_MSE_PAYLOAD_BYTES } from './limits.ts'
import { type MseHandshake, MseInitiator, type MseMethod, MseResponder, type MseResult, markOf, mseMethods } from './mse.ts'

const { plaintext, rc4 } = mseMethods
const infoHash = new Uint8Array(randomBytes(20))
const responder = (accept: readonly MseMethod[] = [plaintext, rc4]): MseResponder =>
  new MseResponder({ accept, find: mark => (mark === markOf(infoHash) ? infoHash : undefined) })

/** Gives bytes to a handshake in pieces. @returns what it sent, and its result */
function feed(to: MseHandshake, bytes: Uint8Array, pieces: readonly number[]): { sent: Uint8Array; done: MseResult | undefined } {
  const sent: Uint8Array[] = []
  let done: MseResult | undefined
  for (let at = 0, i = 0; at < bytes.length && !done; i++) {
    const n = Math.max(1, pieces[i] ?? bytes.length)
    const step = to.push(bytes.slice(at, at + n))
    if (step.send) sent.push(step.send)
    done = step.done && { ...step.done, rest: concatBytes(step.done.rest, clear(step.done, bytes.slice(at + n))) }
    at += n
  }
  return { sent: concatBytes(...sent), done }
}
const clear = (done: MseResult, bytes: Uint8Array): Uint8Array => done.decrypt?.apply(bytes) ?? bytes
const pieces = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 12 })

test('both sides agree on keys and method however the bytes are cut, and what follows is read on both sides', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<readonly MseMethod[]>([plaintext], [rc4], [plaintext, rc4]),
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }),
      pieces,
      pieces,
      (provide, first, after, cutsA, cutsB) => {
        const a = new MseInitiator(infoHash, provide, () => first)
        const b = responder()
        const hello = feed(b, a.start(), cutsB)
        const request = feed(a, hello.sent, [hello.sent.length]) // padding ends with the write
        const answer = feed(b, request.sent, cutsB)
        assert.ok(answer.done)
        assert.ok(equalBytes(answer.done.infoHash, infoHash) && equalBytes(answer.done.rest, first))
        assert.equal(answer.done.encrypt === undefined, provide.includes(plaintext))
        const payload = answer.done.encrypt?.apply(Uint8Array.from(after)) ?? after
        const end = feed(a, concatBytes(answer.sent, payload), cutsA)
        assert.ok(end.done && equalBytes(end.done.rest, after))
        const back = end.done.encrypt?.apply(utf8('back')) ?? utf8('back')
        assert.deepEqual(clear(answer.done, back), utf8('back'))
      }
    ),
    { numRuns: 40 }
  )
})

test('a torrent that is not here, a method that is not taken, and weak keys are refused', () => {
  const refused = (work: () => unknown): void => assert.throws(work, e => hasCode(e, 'PEER_WIRE'))
  const run = (a: MseInitiator, b: MseResponder): void => {
    const hello = feed(b, a.start(), [])
    feed(b, feed(a, hello.sent, []).sent, [])
  }
  refused(() => run(new MseInitiator(new Uint8Array(20), [rc4]), responder()))
  refused(() => run(new MseInitiator(infoHash, [plaintext]), responder([rc4])))
  refused(() => feed(responder(), new Uint8Array(96), []))
  refused(() => feed(responder(), new Uint8Array(96).fill(255), []))
  refused(() => feed(new MseInitiator(infoHash, [rc4]), new Uint8Array(96).with(95, 1), []))
})

test('bytes that lead nowhere are refused within the longest handshake, and nothing but PEER_WIRE escapes', () => {
  const LONGEST = 96 + 512 + 40 + 16 + 512 + MAX_MSE_PAYLOAD_BYTES
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 96, maxLength: 2000 }), fc.boolean(), pieces, (noise, initiates, cuts) => {
      const to = initiates ? new MseInitiator(infoHash, [plaintext, rc4]) : responder()
      try {
        assert.equal(feed(to, noise, cuts).done, undefined)
        feed(to, new Uint8Array(LONGEST).fill(7), [])
        assert.fail('it still waits')
      } catch (e) {
        assert.ok(hasCode(e, 'PEER_WIRE'), String(e))
      }
    }),
    { numRuns: 40 }
  )
})
test('a handshake that was recorded and changed is refused or waits', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(255), (at, value) => {
      const a = new MseInitiator(infoHash, [rc4], () => utf8('payload'))
      const b = responder()
      const request = feed(a, feed(b, a.start(), []).sent, []).sent
      const i = at % request.length
      if (request[i] === value) return
      request[i] = value
      try {
        feed(b, request, [])
      } catch (e) {
        assert.ok(hasCode(e, 'PEER_WIRE'))
      }
    }),
    { numRuns: 40 }
  )
})
