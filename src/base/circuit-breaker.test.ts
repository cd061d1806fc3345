import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { CircuitBreaker } from './circuit-breaker.ts'
import { backoffMs } from './retry.ts'

const setUp = (): { clock: { at: number; monotonic(): number }; breaker: CircuitBreaker } => {
  const clock = { at: 0, monotonic: () => clock.at }
  return { clock, breaker: new CircuitBreaker({ clock, random: () => 0 }, { failures: 3, openMs: 1000, maxOpenMs: 4000 }) }
}
const fail = (breaker: CircuitBreaker): void => {
  const attempt = breaker.attempt()
  assert.ok(attempt, `let through while ${breaker.state}`)
  attempt.failed()
}

test('a breaker opens after failures in a row, tries one at a time when the wait is over, and closes after a success', () => {
  const { clock, breaker } = setUp()
  fail(breaker)
  fail(breaker)
  breaker.attempt()!.succeeded()
  for (let i = 0; i < 3; i++) fail(breaker)
  assert.equal(breaker.state, 'open')
  assert.equal(breaker.attempt(), undefined)
  assert.equal(breaker.retryAfterMs, 1000)
  clock.at = 1000
  assert.equal(breaker.state, 'half-open')
  const trial = breaker.attempt()!
  assert.equal(breaker.attempt(), undefined, 'one trial at a time')
  trial.succeeded()
  trial.failed() // said already
  assert.equal(breaker.state, 'closed')
  fail(breaker)
  assert.equal(breaker.state, 'closed')
})

test('a breaker whose trials fail stays open longer each time, up to the longest', () => {
  const { clock, breaker } = setUp()
  for (let i = 0; i < 3; i++) fail(breaker)
  const waits: number[] = []
  for (let i = 0; i < 4; i++) {
    waits.push(breaker.retryAfterMs)
    clock.at += breaker.retryAfterMs
    fail(breaker)
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 4000])
})

test('an attempt that was given up leaves the place for the next; late failures of one outage open it once', () => {
  const { clock, breaker } = setUp()
  const attempts = Array.from({ length: 6 }, () => breaker.attempt()!)
  for (const a of attempts) a.failed()
  assert.equal(breaker.retryAfterMs, 1000)
  clock.at = 1000
  breaker.attempt()!.abandoned()
  assert.equal(breaker.state, 'half-open')
  breaker.attempt()!.succeeded()
  assert.equal(breaker.state, 'closed')
})

test('waits grow, are never longer than the longest, and never less than what chance may take off', () => {
  fc.assert(
    fc.property(fc.nat(5000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (failures, r) => {
      const ms = backoffMs(failures, { firstMs: 100, maxMs: 60_000 }, () => r)
      const whole = Math.min(60_000, 100 * 2 ** Math.min(failures, 100))
      assert.ok(ms <= whole && ms >= whole * 0.75)
    })
  )
})
