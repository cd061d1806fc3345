import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { again, openInstance, read } from '../../../test/kits/sessions.ts'
import { codeOf } from '../../base/errors.ts'
import { ALL_STRANGER_CHECKS_PER_SECOND, STRANGER_CHECKS_BURST, STRANGER_CHECKS_PER_SECOND } from '../limits.ts'
import { newUuid } from '../uuid.ts'
import { HttpLinks } from './links.ts'
import { StrangerChecks } from './stranger-checks.ts'

test('HS9: each address has so many signatures checked in a second, and all together', async () => {
  const clock = new FakeClock()
  const checks = new StrangerChecks(clock)
  const allowed = (n: number, from: (i: number) => string): number =>
    Array.from({ length: n }, (_, i) => checks.allow(from(i))).filter(Boolean).length
  assert.equal(
    allowed(1000, () => '192.0.2.1'),
    STRANGER_CHECKS_BURST
  )
  await clock.advance(1000)
  assert.equal(
    allowed(1000, () => '192.0.2.1'),
    STRANGER_CHECKS_PER_SECOND
  )
  await clock.advance(1000)
  assert.equal(
    allowed(2 * ALL_STRANGER_CHECKS_PER_SECOND, i => `address ${i}`),
    ALL_STRANGER_CHECKS_PER_SECOND
  )
})

test('HS9: handshakes over HTTP are checked before there is a link, and so many from one address', async () => {
  const clock = new FakeClock()
  const [a, b] = [await openInstance(1), await openInstance(2)]
  const accepted: unknown[] = []
  await using links = new HttpLinks({ clock, strangers: new StrangerChecks(clock), accept: link => accepted.push(link) })
  const handshake = read((await a.sessions.begin(b.self.entityId)).frame)
  const code = (message: typeof handshake, address: string): Promise<string> =>
    links.linkFor(message, undefined, address).then(() => '', codeOf)
  assert.equal(await code({ ...handshake, signature: new Uint8Array(64) }, '192.0.2.1'), 'INVALID_SIGNATURE')
  assert.deepEqual([accepted.length, links.size], [0, 0])
  for (let i = 1; i < STRANGER_CHECKS_BURST; i++) assert.equal(await code(handshake, '192.0.2.1'), '')
  assert.equal(await code(handshake, '192.0.2.1'), 'RATE_LIMITED')
  assert.equal(await code(handshake, '192.0.2.2'), '')
  assert.equal(accepted.length, 1)
  const later = read(await a.write(again(handshake, { msgType: 'agent_message', sessionId: newUuid() })))
  assert.equal(await code(later, '192.0.2.3'), 'SESSION_EXPIRED', 'a link begins with a handshake')
})
