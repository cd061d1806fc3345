import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { aborted, type Behaviour, deliver, schedulerRig as rig, run, ScriptedSource } from '../../../test/kits/scheduler-rig.ts'
import { KithError } from '../../base/errors.ts'
import { makeGrid } from '../grid.ts'
import { MAX_CHANGES_BURST, RARITY_EVERY_MS, RARITY_WINDOW } from '../limits.ts'

test('every chunk is verified exactly once, whatever sources there are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 60 }),
      fc.array(fc.record({ ms: fc.integer({ min: 1, max: 400 }), good: fc.boolean(), from: fc.nat(30) }), { maxLength: 5 }),
      async (count, others) => {
        const clock = new FakeClock()
        const { scheduler, pool, verified } = rig(makeGrid(count * 16, 16), clock)
        scheduler.add(new ScriptedSource('honest', deliver(clock, 20)))
        others.forEach((o, i) => void scheduler.add(new ScriptedSource(`other ${i}`, deliver(clock, o.ms, o.good), c => c >= o.from)))
        await run(scheduler, clock, 120_000)
        await scheduler[Symbol.asyncDispose]()
        assert.deepEqual(
          verified.map(v => v[0]).sort((a, b) => a - b),
          Array.from({ length: count }, (_, i) => i)
        )
        assert.equal(pool.free, pool.count, 'every slot came back')
      }
    ),
    { numRuns: 60 }
  )
})

test('a source that sends three wrong chunks is dropped, and its chunks come from another', async () => {
  const clock = new FakeClock()
  const { scheduler, verified, dropped } = rig(makeGrid(40 * 16, 16), clock)
  const liar = new ScriptedSource('liar', deliver(clock, 5, false))
  scheduler.add(liar)
  scheduler.add(new ScriptedSource('honest', deliver(clock, 10)))
  await run(scheduler, clock, 60_000)
  await scheduler[Symbol.asyncDispose]()
  assert.deepEqual(dropped, [['liar', 'SOURCE_LIED']])
  assert.ok(verified.every(([, key]) => key === 'honest'))
  assert.equal(liar.disposed > 0, true)
})

test('chunks that were mended are there, and count against who brought them wrong', async () => {
  const clock = new FakeClock()
  const mend = { verify: async () => 'mended' as const }
  const { scheduler, verified, dropped } = rig(makeGrid(3 * 16, 16), clock, mend)
  scheduler.add(new ScriptedSource('liar', deliver(clock, 5, false)))
  await run(scheduler, clock, 60_000)
  assert.equal(scheduler.stats()[0]?.badChunks, 3)
  await scheduler[Symbol.asyncDispose]()
  assert.deepEqual(dropped, [['liar', 'SOURCE_LIED']])
  assert.equal(verified.length, 3)
})

test('one honest source among nine hostile ones needs at most three times as long as alone', async () => {
  const alone = new FakeClock()
  const first = rig(makeGrid(120 * 16, 16), alone)
  first.scheduler.add(new ScriptedSource('honest', deliver(alone, 20)))
  const aloneMs = await run(first.scheduler, alone, 600_000)
  await first.scheduler[Symbol.asyncDispose]()
  const clock = new FakeClock()
  const { scheduler, verified } = rig(makeGrid(120 * 16, 16), clock)
  for (let i = 0; i < 3; i++) scheduler.add(new ScriptedSource(`wrong ${i}`, deliver(clock, 1, false)))
  for (let i = 0; i < 3; i++) scheduler.add(new ScriptedSource(`silent ${i}`, (_, signal) => aborted(signal)))
  for (let i = 0; i < 3; i++)
    scheduler.add(
      new ScriptedSource(`drops ${i}`, async () => {
        throw new KithError('SOURCE_LOST', 'gone')
      })
    )
  scheduler.add(new ScriptedSource('honest', deliver(clock, 20)))
  const ms = await run(scheduler, clock, 600_000)
  await scheduler[Symbol.asyncDispose]()
  assert.ok(ms <= 3 * aloneMs, `${ms} ms against ${aloneMs} ms`)
  assert.ok(verified.every(([, key]) => key === 'honest'))
})

test('sources that hang up or say nothing give no hope, and are left after two tries; those that wait politely do', async () => {
  const clock = new FakeClock()
  const { scheduler, dropped } = rig(makeGrid(8 * 16, 16), clock)
  const hangUp = async (): Promise<never> => {
    throw new KithError('SOURCE_LOST', 'hung up')
  }
  const watch = async (seconds: number): Promise<boolean> => {
    let hope = false
    for (let s = 0; s < seconds; s++) {
      await clock.advance(1_000)
      hope ||= scheduler.isHopeful()
    }
    return hope
  }
  scheduler.add(new ScriptedSource('hangs up', hangUp))
  scheduler.add(new ScriptedSource('silent', (_, signal) => aborted(signal)))
  assert.equal(await watch(60), false)
  assert.deepEqual(dropped, [
    ['hangs up', 'SOURCE_LOST'],
    ['silent', 'SOURCE_STALLED']
  ])
  scheduler.add(
    new ScriptedSource('busy', async () => {
      throw new KithError('SOURCE_BUSY', 'later')
    })
  )
  assert.equal(await watch(2), true)
  scheduler.abort(new Error('enough'))
  await assert.rejects(scheduler.finished, /enough/)
  await scheduler[Symbol.asyncDispose]()
})

test('a silent source loses its run after 15 s, also when it is the only one', async () => {
  const clock = new FakeClock()
  const { scheduler } = rig(makeGrid(4 * 16, 16), clock)
  let first = true
  scheduler.add(
    new ScriptedSource('sleepy', async (delivery, signal) => {
      if (!first) return deliver(clock, 1)(delivery, signal, undefined as never)
      first = false
      return aborted(signal)
    })
  )
  const ms = await run(scheduler, clock, 60_000)
  assert.ok(ms >= 15_000 && ms < 20_000, `${ms}`)
  await scheduler[Symbol.asyncDispose]()
})

test('a seeder that wants to be paid goes on after it was, and is left when it was not', async () => {
  const clock = new FakeClock()
  let paid = 0
  const { scheduler, verified, dropped } = rig(makeGrid(20 * 16, 16), clock, { onUnpaid: async s => s.key === 'paid' && paid++ < 5 })
  let served = 0
  const credit: Behaviour = async (delivery, signal, source) => {
    if (source.key === 'refused' || served >= 4 * (paid + 1)) throw new KithError('PAYMENT_REQUIRED', 'pay first')
    served += delivery.run.count
    return deliver(clock, 5)(delivery, signal, source)
  }
  scheduler.add(new ScriptedSource('paid', credit))
  scheduler.add(new ScriptedSource('refused', credit))
  await run(scheduler, clock, 60_000)
  await scheduler[Symbol.asyncDispose]()
  assert.ok(paid >= 1)
  assert.deepEqual(dropped, [['refused', 'PAYMENT_REQUIRED']])
  assert.equal(verified.length, 20)
})

test('what a seeder served before it asked for money is waited for, so that it can be paid', async () => {
  const clock = new FakeClock()
  const verifiedWhenAsked: number[] = []
  let credit = 4
  let inFlight = 0
  const { scheduler, verified } = rig(makeGrid(12 * 16, 16), clock, {
    verify: async () => {
      await clock.sleep(30)
      return true
    },
    onUnpaid: async () => {
      assert.equal(inFlight, 0, 'no run of it is cut off: what it served would never be owed')
      verifiedWhenAsked.push(verified.length)
      credit = 4
      return true
    }
  })
  const seller = new ScriptedSource('seller', async (delivery, signal) => {
    for (let c = delivery.run.first; c < delivery.run.first + delivery.run.count; c++) {
      if (credit === 0) throw new KithError('PAYMENT_REQUIRED', 'pay first')
      credit--
      inFlight++
      await clock.sleep(20 * (1 + (c % 4)), signal).finally(() => inFlight--)
      await delivery.slot(c)
      delivery.received(delivery.grid.chunkBytes)
      delivery.complete(c)
    }
  })
  Object.assign(seller, { parallel: 6 })
  scheduler.add(seller)
  await run(scheduler, clock, 60_000)
  await scheduler[Symbol.asyncDispose]()
  assert.deepEqual(verifiedWhenAsked, [4, 8])
})

test('a full disk pauses the download, and it goes on by itself', async () => {
  const clock = new FakeClock()
  let fullUntil = 12_000
  const { scheduler } = rig(makeGrid(10 * 16, 16), clock, {
    verify: async () => {
      if (clock.monotonic() < fullUntil) throw new KithError('DISK_FULL', 'no space')
      return true
    }
  })
  scheduler.add(new ScriptedSource('honest', deliver(clock, 1)))
  const ms = await run(scheduler, clock, 60_000)
  assert.ok(ms >= fullUntil)
  fullUntil = 0
  await scheduler[Symbol.asyncDispose]()
})

test('disposal ends every source and rejects finished', async () => {
  const clock = new FakeClock()
  const { scheduler } = rig(makeGrid(10 * 16, 16), clock)
  const source = new ScriptedSource('silent', (_, signal) => aborted(signal))
  scheduler.add(source)
  await scheduler[Symbol.asyncDispose]()
  await assert.rejects(scheduler.finished, { code: 'CANCELLED' })
  assert.ok(source.disposed >= 1)
})

test('sources that have nothing, and say so again and again, cost little', async () => {
  const clock = new FakeClock()
  const count = 2000
  const { scheduler } = rig(makeGrid(count * 16, 16), clock)
  let looks = 0
  const empty = Array.from({ length: 20 }, (_, i) => {
    return new ScriptedSource(`empty ${i}`, deliver(clock, 1), () => {
      looks++
      return false
    })
  })
  for (const s of empty) scheduler.add(s)
  scheduler.add(new ScriptedSource('honest', deliver(clock, 1)))
  for (let i = 0; i < 1000; i++) for (const s of empty) s.changed()
  assert.ok(looks <= empty.length * count * (MAX_CHANGES_BURST + 2), `${looks} looks for ${count} chunks after a flood of changes`)
  looks = 0
  const ms = await run(scheduler, clock, 60_000)
  const counts = Math.ceil(ms / RARITY_EVERY_MS) + 1 // who has what is counted now and then
  assert.ok(
    looks <= empty.length * (count * 4 + counts * RARITY_WINDOW),
    `${looks} looks for ${count} chunks while another source delivered them`
  )
  await scheduler[Symbol.asyncDispose]()
})

test('what a source gets later is fetched from it, also when it tells of it too often', async () => {
  const clock = new FakeClock()
  const { scheduler } = rig(makeGrid(50 * 16, 16), clock)
  let has = 0
  const late = new ScriptedSource('late', deliver(clock, 1), c => c < has)
  scheduler.add(late)
  for (let i = 0; i < 100; i++) late.changed()
  has = 50
  late.changed()
  await run(scheduler, clock, 5_000)
  await scheduler[Symbol.asyncDispose]()
})
