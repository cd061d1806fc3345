import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { createThrottle } from './throttle.ts'

const never = new AbortController().signal

test('over any time no more than the limit flows, and no less when somebody always asks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1_000, max: 50_000_000 }),
      fc.array(fc.integer({ min: 16_384, max: 262_144 }), { minLength: 1, maxLength: 6 }),
      async (rate, sizes) => {
        const clock = new FakeClock()
        const throttle = createThrottle(clock, rate)
        const stop = new AbortController()
        let flowed = 0
        const readers = sizes.map(async bytes => {
          while (!stop.signal.aborted) {
            await throttle.take(bytes, stop.signal)
            flowed += bytes
          }
        })
        const ended = Promise.allSettled(readers)
        const seconds = 20
        for (let ms = 0; ms < seconds * 1000; ms += 20) await clock.advance(20)
        stop.abort()
        await ended
        assert.ok(flowed <= rate * (seconds + 0.25), `${flowed} bytes in ${seconds} s at ${rate}`)
        assert.ok(flowed >= 0.99 * rate * seconds - Math.max(...sizes), `${flowed} bytes in ${seconds} s at ${rate}`)
      }
    ),
    { numRuns: 12 }
  )
})

test('what late timers missed is made up for, also when one chunk is more than a quarter of a second', async () => {
  const clock = new FakeClock()
  const throttle = createThrottle(clock, 28_135)
  let flowed = 0
  const stop = new AbortController()
  const reader = (async () => {
    for (;;) {
      await throttle.take(16_384, stop.signal)
      flowed += 16_384
    }
  })().catch(() => {})
  for (let ms = 0; ms < 60_000; ms += 200) await clock.advance(200)
  stop.abort()
  await reader
  assert.ok(flowed > 28_135 * 60 - 2 * 16_384, `${flowed} bytes in 60 s`)
})

test('who gives up waiting takes nothing and leaves no timer', async () => {
  const clock = new FakeClock()
  const throttle = createThrottle(clock, 1000)
  const stop = new AbortController()
  const waits = throttle.take(1000, stop.signal)
  assert.ok(throttle.isBusy)
  stop.abort(new Error('enough'))
  await assert.rejects(async () => waits, /enough/)
  assert.equal(throttle.isBusy, false)
  await clock.advance(1000)
  const next = throttle.take(250, never)
  assert.equal(next, undefined, 'a quarter of a second was saved up, and no more')
  await assert.rejects(async () => throttle.take(1, stop.signal), /enough/)
})

test('what did not arrive is given back', () => {
  const throttle = createThrottle(new FakeClock(), 1000)
  throttle.giveBack(500)
  assert.equal(throttle.take(500, never), undefined)
})
