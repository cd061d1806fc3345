import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { ALL_STRANGER_CHECKS_PER_SECOND, STRANGER_CHECKS_BURST, STRANGER_CHECKS_PER_SECOND } from '../limits.ts'
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
