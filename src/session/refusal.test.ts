import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { again, linkTo, openInstance, read } from '../../test/kits/sessions.ts'
import { codeOf, KithError } from '../base/errors.ts'

const DATE = Date.UTC(2026, 0, 1)

test('who begins with a wrong clock is told so, by whom it asked and nobody else (threats SM10)', async () => {
  const [a, b, c] = [await openInstance(1, { clock: new FakeClock(DATE + 301_000) }), await openInstance(2), await openInstance(3)]
  const { frame, sessionId } = await a.sessions.begin(b.self.entityId)
  const offer = read(frame)
  await assert.rejects(b.sessions.onHandshake(offer, linkTo(a)), { code: 'CLOCK_SKEW' })
  const refusal = read((await b.sessions.refusal(offer, 'CLOCK_SKEW'))!)
  const why = await a.sessions.onRefusal(refusal)
  assert.equal(why.code, 'CLOCK_SKEW')
  assert.match(why.message, /clocks/)

  // Somebody else, for somebody else, and one whose signature is of somebody else.
  await assert.rejects(a.sessions.onRefusal(read(await c.write(again(refusal, { senderId: c.self.entityId })))), { code: 'SEQUENCE_ERROR' })
  await assert.rejects(c.sessions.onRefusal(refusal), { code: 'SEQUENCE_ERROR' })
  await assert.rejects(a.sessions.onRefusal(read(await c.write(again(refusal)))), { code: 'INVALID_SIGNATURE' })
  assert.equal(sessionId, refusal.sessionId)
})

test('nothing is said of refusals that the peer can do nothing about, nor of what is no handshake', async () => {
  const [a, b, c] = [await openInstance(1), await openInstance(2), await openInstance(3)]
  const offer = read((await a.sessions.begin(b.self.entityId)).frame)
  for (const code of ['INVALID_SIGNATURE', 'IDENTITY_MISMATCH', 'DECRYPTION_FAILED', 'RATE_LIMITED', 'REPLAY_DETECTED'])
    assert.equal(b.sessions.refusal(offer, code), undefined)
  assert.equal(c.sessions.refusal(offer, 'CLOCK_SKEW'), undefined)
  const refusal = read((await b.sessions.refusal(offer, 'CLOCK_SKEW'))!)
  assert.equal(a.sessions.refusal(refusal, 'CLOCK_SKEW'), undefined, 'an error is not answered by an error')
})

test('whatever a refusal holds, only an error with a code comes of it', async () => {
  const [a, b] = [await openInstance(1), await openInstance(2)]
  const json = fc.jsonValue().map(v => JSON.stringify({ error_code: v }))
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 200 }), json.map(Buffer.from)), async data => {
      const offer = read((await a.sessions.begin(b.self.entityId)).frame)
      const refusal = read((await b.sessions.refusal(offer, 'CLOCK_SKEW'))!)
      try {
        assert.ok((await a.sessions.onRefusal(read(await b.write(again(refusal, { data }))))) instanceof KithError)
      } catch (error) {
        assert.ok(['MALFORMED', 'MALFORMED_JSON', 'TOO_DEEP', 'RATE_LIMITED'].includes(codeOf(error)), codeOf(error))
      }
    }),
    { numRuns: 60 }
  )
})
