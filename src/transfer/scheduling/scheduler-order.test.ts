/** Which chunk comes next and from whom: in order, rarest first, the best source first, within a limit. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { aborted, type Behaviour, deliver, run, ScriptedSource, schedulerRig } from '../../../test/kits/scheduler-rig.ts'
import { makeGrid } from '../grid.ts'
import { LOOKS_PER_TICK, MAX_CHANGES_BURST, MAX_CHANGES_PER_SECOND, RARITY_EVERY_MS, RARITY_WINDOW, SEQUENTIAL_WINDOW } from '../limits.ts'
import type { Source } from '../protocol.ts'
import { createThrottle } from '../throttle.ts'

const KIB = 1024

test('a sequential download stays within its window, whoever is slow', async () => {
  const clock = new FakeClock()
  const count = 200
  const have = new Set<number>()
  let lowest = 0
  const { scheduler } = schedulerRig(
    makeGrid(count * 16, 16),
    clock,
    {
      onVerified: chunk => {
        assert.ok(chunk < lowest + SEQUENTIAL_WINDOW, `chunk ${chunk} while ${lowest} is missing`)
        have.add(chunk)
        while (have.has(lowest)) lowest++
      }
    },
    { sequential: true, spread: 0.5 }
  )
  scheduler.add(new ScriptedSource('slow', deliver(clock, 900)))
  scheduler.add(new ScriptedSource('fast', deliver(clock, 10)))
  scheduler.add(new ScriptedSource('half', deliver(clock, 10), c => c % 2 === 0))
  scheduler.add(new ScriptedSource('silent', (_, signal) => aborted(signal)))
  const ms = await run(scheduler, clock, 120_000)
  await scheduler[Symbol.asyncDispose]()
  assert.equal(lowest, count)
  assert.ok(ms < 20_000, `${ms} ms: the fast one races for what the silent one holds`)
})

test('chunks that few have come first, from those who have them', async () => {
  const clock = new FakeClock()
  const isRare = (c: number): boolean => c >= 600 && c < 610
  const { scheduler, verified } = schedulerRig(makeGrid(900 * 16, 16), clock)
  scheduler.add(new ScriptedSource('a', deliver(clock, 10), c => !isRare(c)))
  scheduler.add(new ScriptedSource('b', deliver(clock, 10), c => !isRare(c)))
  scheduler.add(new ScriptedSource('all', deliver(clock, 10)))
  await run(scheduler, clock, 60_000)
  await scheduler[Symbol.asyncDispose]()
  // A tenth of a second passes before they are counted, and the run that it has then is finished first.
  const early = verified.filter(([, key]) => key === 'all').slice(0, 100)
  assert.equal(early.filter(([chunk]) => isRare(chunk)).length, 10)
})

test('two downloads of a file that few have begin at different places, and the front is not left far behind', async () => {
  const orders = []
  for (const spread of [0, 0.5]) {
    const clock = new FakeClock()
    const count = 3 * RARITY_WINDOW
    const have = new Set<number>()
    const order: number[] = []
    let lowest = 0
    const { scheduler } = schedulerRig(
      makeGrid(count * 16, 16),
      clock,
      {
        onVerified: chunk => {
          order.push(chunk)
          have.add(chunk)
          assert.ok(chunk <= lowest + 2 * RARITY_WINDOW, `chunk ${chunk} while ${lowest} is missing`)
          while (have.has(lowest)) lowest++
        }
      },
      { spread }
    )
    scheduler.add(new ScriptedSource('seeder', deliver(clock, 1)))
    scheduler.add(new ScriptedSource('another download', deliver(clock, 1), () => false))
    await run(scheduler, clock, 120_000)
    await scheduler[Symbol.asyncDispose]()
    orders.push(order)
  }
  const [front, middle] = orders.map(o => new Set(o.slice(8, 300)))
  assert.ok([...front!].every(c => !middle!.has(c)))
})

test('all sources together keep to a download limit, and use it', async () => {
  const clock = new FakeClock()
  const rate = 4 * 64 * KIB
  const throttle = createThrottle(clock, rate)
  const all = createThrottle(clock, 10 * rate)
  const grid = makeGrid(400 * 16 * KIB, 16 * KIB)
  const { scheduler } = schedulerRig(grid, clock, { throttles: [throttle, all] })
  for (const ms of [5, 20, 30, 300]) scheduler.add(new ScriptedSource(`every ${ms} ms`, deliver(clock, ms)))
  const ms = await run(scheduler, clock, 120_000)
  await scheduler[Symbol.asyncDispose]()
  const measured = (grid.size / ms) * 1000
  assert.ok(Math.abs(measured / rate - 1) < 0.05, `${measured} instead of ${rate}`)
})

test('waiting for the limit is not silence: nobody is dropped or raced', async () => {
  const clock = new FakeClock()
  const { scheduler, dropped } = schedulerRig(makeGrid(10 * 16, 16), clock, { throttles: [createThrottle(clock, 1)] })
  scheduler.add(new ScriptedSource('a', deliver(clock, 1)))
  scheduler.add(new ScriptedSource('b', deliver(clock, 1)))
  const ms = await run(scheduler, clock, 400_000)
  assert.ok(ms > 150_000 && ms < 180_000, `${ms}`)
  assert.deepEqual(dropped, [])
  assert.equal(
    scheduler.stats().reduce((n, s) => n + s.wastedBytes, 0),
    0
  )
  await scheduler[Symbol.asyncDispose]()
})

test('under a limit the cheapest of equally fast sources comes first, and a slow free one does not', async () => {
  const clock = new FakeClock()
  const shares: Record<string, number> = { cheap: 0.1, dear: 0.9, free: 0 }
  const { scheduler, verified } = schedulerRig(makeGrid(200 * 16 * KIB, 16 * KIB), clock, {
    throttles: [createThrottle(clock, 64 * KIB)], // one run at a time
    shareOfBudget: (s: Source) => shares[s.key]!
  })
  scheduler.add(new ScriptedSource('dear', deliver(clock, 10)))
  scheduler.add(new ScriptedSource('free', deliver(clock, 2_000)))
  scheduler.add(new ScriptedSource('cheap', deliver(clock, 10)))
  await run(scheduler, clock, 200_000)
  await scheduler[Symbol.asyncDispose]()
  const from = (key: string): number => verified.filter(v => v[1] === key).length
  assert.ok(from('cheap') > 180, `${['cheap', 'dear', 'free'].map(from)}`)
})

test('a source that is retired gets no more work, and what it has under way still arrives', async () => {
  const clock = new FakeClock()
  const { scheduler, verified, dropped } = schedulerRig(makeGrid(40 * 16, 16), clock)
  const old = new ScriptedSource('old', deliver(clock, 100))
  scheduler.add(old)
  await clock.advance(50)
  const retired = scheduler.retire(old, 'slow')
  scheduler.add(new ScriptedSource('new', deliver(clock, 10)))
  await run(scheduler, clock, 60_000)
  await retired
  const brought = verified.filter(v => v[1] === 'old').length
  assert.ok(brought >= 1 && brought <= 4, `${brought}`)
  assert.equal(old.fetches, 1)
  assert.equal(old.disposed > 0, true)
  assert.deepEqual(dropped, [])
  await scheduler[Symbol.asyncDispose]()
})

test('a retired source that falls silent is waited for 15 s', async () => {
  const clock = new FakeClock()
  const { scheduler } = schedulerRig(makeGrid(40 * 16, 16), clock)
  const old = new ScriptedSource('old', (_, signal) => aborted(signal))
  scheduler.add(old)
  let retired = false
  const wait = scheduler.retire(old, 'slow').then(() => {
    retired = true
  })
  for (let i = 0; i < 149; i++) await clock.advance(100)
  assert.equal(retired, false)
  for (let i = 0; i < 10; i++) await clock.advance(100)
  await wait
  await scheduler[Symbol.asyncDispose]()
})

test('a source that brings little is told of once; under a limit nobody is', async () => {
  const trickle = (clock: FakeClock, ms: number): Behaviour => {
    const behave = deliver(clock, ms)
    return (delivery, signal, source) => behave(delivery, signal, source)
  }
  for (const limit of [undefined, 64 * KIB]) {
    const clock = new FakeClock()
    const slow: string[] = []
    const { scheduler } = schedulerRig(makeGrid(4_000 * 16 * KIB, 16 * KIB), clock, {
      onSlow: s => slow.push(s.key),
      ...(limit ? { throttles: [createThrottle(clock, limit)] } : {})
    })
    scheduler.add(new ScriptedSource('fast', trickle(clock, 10)))
    scheduler.add(new ScriptedSource('fair', trickle(clock, 40)))
    scheduler.add(new ScriptedSource('slow', trickle(clock, 900)))
    for (let i = 0; i < 250; i++) await clock.advance(100)
    assert.deepEqual(slow, limit ? [] : ['slow'])
    await scheduler[Symbol.asyncDispose]()
  }
})

test('two hundred sources of 100 GiB are asked about few chunks, whatever they say', async () => {
  const clock = new FakeClock()
  const count = 409_600
  const sources = 200
  let looks = 0
  let verified = 0
  const { scheduler } = schedulerRig(makeGrid(count * 16, 16), clock, {
    onVerified: () => {
      verified++
    }
  })
  const empty = Array.from({ length: sources - 1 }, (_, i) => {
    return new ScriptedSource(`empty ${i}`, deliver(clock, 1), c => {
      looks++
      return c % 1_000_003 === 1_000_002
    })
  })
  for (const s of empty) scheduler.add(s)
  scheduler.add(new ScriptedSource('seeder', deliver(clock, 1)))
  for (let ms = 0; ms < 5_000; ms += 10) {
    for (const s of empty) s.changed()
    await clock.advance(10)
  }
  assert.ok(verified > 450, `${verified} chunks in 500 turns`)
  const inSteps = (5_000 / 500 + 2) * LOOKS_PER_TICK
  const changes = MAX_CHANGES_BURST + 5 * MAX_CHANGES_PER_SECOND
  const forRarity = sources * RARITY_WINDOW * (changes + 5_000 / RARITY_EVERY_MS + 2)
  assert.ok(looks <= inSteps + forRarity, `${looks} looks, at most ${inSteps + forRarity}`)
  await scheduler[Symbol.asyncDispose]()
})
