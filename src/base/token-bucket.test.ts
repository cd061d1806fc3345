import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { RateLimiter, TokenBucket } from './token-bucket.ts'

/** A clock whose timers are late by chance, as those of a busy process are. Time passes only in sleeps. */
class LateClock {
  #ms = 0
  readonly #lateMs: () => number
  constructor(lateMs: () => number) {
    this.#lateMs = lateMs
  }
  monotonic(): number {
    return this.#ms
  }
  async sleep(ms: number): Promise<void> {
    this.#ms += Math.max(1, Math.ceil(ms)) + this.#lateMs() // no timer ends before a millisecond
  }
}

test('a rate from 100 KB/s to 1 GB/s holds within 5 % although timers are late, and is shared evenly', async () => {
  let seed = 7
  const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647
  for (const rate of [1e5, 1e6, 1e7, 1e8, 1e9]) {
    const clock = new LateClock(() => 15 * random())
    const bucket = new TokenBucket(clock, rate, rate / 10)
    const pieceBytes = Math.min(524_288, Math.floor(rate / 16))
    const seconds = rate >= 1e8 ? 2 : 20
    const got = new Array<number>(8).fill(0)
    await Promise.all(
      got.map(async (_, i) => {
        while (clock.monotonic() < seconds * 1000) {
          await bucket.take(pieceBytes)
          got[i]! += pieceBytes
        }
      })
    )
    const total = got.reduce((n, g) => n + g, 0)
    const ratio = total / ((clock.monotonic() / 1000) * rate)
    assert.ok(ratio > 0.95 && ratio < 1.05 + 0.1 / seconds, `${rate}: ${ratio}`)
    assert.ok(Math.max(...got) - Math.min(...got) <= 2 * pieceBytes, `${rate}: ${got}`)
  }
})
test('no order of takes, aborts and changes of rate lets more through than the rate and the burst, or loses a waiter', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('take' as const), n: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ do: fc.constant('abort' as const), n: fc.nat(20) }),
    fc.record({ do: fc.constant('wait' as const), n: fc.integer({ min: 1, max: 2000 }) })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
      const clock = new FakeClock()
      const bucket = new TokenBucket(clock, 100, 50)
      let granted = 0
      const order: number[] = []
      const takes: { readonly stop: AbortController; state: string }[] = []
      for (const s of steps) {
        if (s.do === 'take') {
          const take = { stop: new AbortController(), state: 'waits' }
          const nth = takes.push(take)
          bucket.take(s.n, take.stop.signal).then(
            () => {
              take.state = 'granted'
              granted += s.n
              order.push(nth)
            },
            () => (take.state = 'aborted')
          )
        } else if (s.do === 'abort') takes[s.n]?.stop.abort()
        await clock.advance(s.do === 'wait' ? s.n : 0)
        assert.ok(granted <= 50 + clock.monotonic() / 10 + 1e-6, `${granted} in ${clock.monotonic()} ms`)
        for (const t of takes) if (t.stop.signal.aborted) assert.notEqual(t.state, 'waits', 'an abort is heard at once')
      }
      for (let i = 0; i < 40; i++) await clock.advance(3000)
      assert.ok(takes.every(t => t.state !== 'waits') && bucket.waiting === 0)
      assert.deepEqual(
        order,
        [...order].sort((a, b) => a - b)
      )
      assert.ok(bucket.tryTake(50) && !bucket.tryTake(1), 'what was aborted is there again, and no more')
    }),
    { numRuns: 50 }
  )
})
test('an aborted wait gives its place and its bytes to the next', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 100, 10)
  const stop = new AbortController()
  await bucket.take(10)
  const large = bucket.take(100_000, stop.signal)
  const done: string[] = []
  const small = bucket.take(10).then(() => done.push('small'))
  await clock.advance(50)
  stop.abort(new Error('gone'))
  await assert.rejects(large, /gone/)
  await clock.advance(50)
  assert.deepEqual(done, ['small'])
  await small
  stopTwice(bucket)
  await clock.advance(0)
  await clock.advance(99)
  assert.equal(bucket.waiting, 1, 'in the same turn too: nobody is charged twice or let through early')
  await clock.advance(1)
  assert.equal(bucket.waiting, 0)
  await assert.rejects(bucket.take(1, AbortSignal.abort(new Error('too late'))), /too late/)
})
/** One leaves, and another comes before anybody noticed. */
function stopTwice(bucket: TokenBucket): void {
  const stop = new AbortController()
  bucket.take(50, stop.signal).catch(() => {})
  stop.abort(new Error('gone'))
  void bucket.take(10)
}
test('a limiter can be changed and lifted while others wait', async () => {
  const clock = new FakeClock()
  const limiter = new RateLimiter(clock)
  assert.equal(limiter.take(1e12), undefined)
  assert.equal(limiter.pieceBytes(524_288), 524_288)
  limiter.rate = 1000
  assert.equal(limiter.take(100), undefined, 'a tenth of a second is saved up')
  let done = 0
  for (let i = 0; i < 4; i++) void limiter.take(1000)?.then(() => done++)
  await clock.advance(1000)
  assert.equal(done, 1)
  limiter.rate = 10_000
  await clock.advance(100)
  assert.equal(done, 2)
  limiter.rate = undefined
  await clock.advance(1)
  await clock.advance(1)
  await clock.advance(1)
  assert.equal(done, 4)
  assert.equal(limiter.take(1e12), undefined)
  await assert.rejects(Promise.resolve(new RateLimiter(clock, 5).take(1, AbortSignal.abort(new Error('no')))), /no/)
})
test('pieces shrink with the rate and with the number of takers', () => {
  const limiter = new RateLimiter(new FakeClock(), 1_000_000)
  assert.equal(limiter.pieceBytes(524_288), 61_440)
  for (let i = 0; i < 101; i++) void limiter.take(100_000)
  assert.equal(limiter.pieceBytes(524_288), 8192)
  assert.equal(new RateLimiter(new FakeClock(), 100).pieceBytes(524_288), 4096)
  assert.equal(new RateLimiter(new FakeClock(), 1e9).pieceBytes(524_288), 524_288)
})
