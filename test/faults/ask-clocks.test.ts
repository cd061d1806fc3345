/**
 * Two nodes whose clocks differ, and clocks that are set while nodes run (threats C10, ST3, SM10): 299 s make no difference; at 301 s the
 * sender is told in words, and what it sent waits; a day forth and back expires nothing.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type AskNode, allArrivedOnce, CAMPAIGN, numbered, openNode, sendTexts, sent, until } from '../kits/ask-nodes.ts'
import { FakeClock } from '../kits/fake-clock.ts'
import { Lab } from '../kits/lab.ts'
import { MemoryNetwork, note, tempFolder } from '../kits/messaging.ts'

const CLOCK = join(import.meta.dirname, '../kits/ask-clock.ts')
const [SECOND, DAY] = [1000, 24 * 3_600_000]
/** Steps of a running clock that come back. */
const STEPS = CAMPAIGN ? [DAY, -DAY, 90 * DAY, -90 * DAY, 3_600_000] : [DAY]

test('clocks that differ, and clocks that jump: told in words, nothing is lost and nothing expires', { timeout: 600_000 }, async t => {
  const lab = new Lab(t)
  const clock = join(lab.folder, 'clock')
  const set = async (node: AskNode, ms: number): Promise<void> => {
    writeFileSync(clock, String(ms))
    const told = node.process.err.length
    node.process.kill('SIGUSR2')
    await until('the clock is set', async () => node.process.err.slice(told).includes(`clock ${ms}`))
  }
  const start = (ms: number, b: AskNode): Promise<AskNode> => {
    writeFileSync(clock, String(ms))
    const env = { NODE_OPTIONS: `--import=${CLOCK}`, KITH_TEST_CLOCK: clock }
    return openNode(t, lab, 'a', ['--bootstrap', b.address], undefined, env)
  }
  const b = await openNode(t, lab, 'b')
  let a = await start(299 * SECOND, b)
  const first = numbered('299 s:', 5)
  await b.api.ask.send({ to: a.address, text: 'hello' })
  await sendTexts(a, b.address, first)
  await allArrivedOnce(a, b, first)

  // A new handshake is needed after a restart.
  await a.process.destroy()
  a = await start(301 * SECOND, b)
  const second = numbered('301 s:', 5)
  await sendTexts(a, b.entityId, second)
  const waiting = async () => (await sent(a)).filter(m => m.state === 'waiting')
  await until('the reason is told', async () => (await waiting()).every(m => m.reason?.code === 'CLOCK_SKEW'))
  assert.equal((await waiting()).length, second.length)
  assert.match((await waiting())[0]?.reason?.message ?? '', /clocks of the two sides/)
  await set(a, 0)
  await allArrivedOnce(a, b, second)

  for (const step of STEPS) {
    const texts = numbered(`${step}:`, 60)
    await sendTexts(a, b.entityId, texts.slice(0, 20))
    // Stopped, so that some wait while the clock is wrong.
    b.process.kill('SIGSTOP')
    await sendTexts(a, b.entityId, texts.slice(20, 40))
    await set(a, step)
    await sendTexts(a, b.entityId, texts.slice(40))
    await set(a, 0)
    b.process.kill('SIGCONT')
    await allArrivedOnce(a, b, texts)
  }
  assert.ok(
    (await sent(a)).every(m => m.state === 'delivered'),
    'nothing has expired'
  )
})

test('a wall clock that is set ahead expires nothing at once: only when it stays there', async () => {
  using folder = tempFolder()
  const clock = new SteppedClock()
  const net = new MemoryNetwork(clock)
  net.isUp = false
  await using alice = await net.open(folder.path, 'alice')
  const state = (id: string): string | undefined => alice.messenger.sent(id)?.state
  const send = async (ttlMs: number): Promise<string> =>
    (await alice.messenger.send({ to: NOBODY, type: 'agent_message', body: note('x'), ttlMs })).id
  const hour = await send(3_600_000)
  const later = async (ms: number): Promise<void> => {
    for (let i = 0; i < 20; i++) await clock.advance(ms / 20)
    await alice.messenger.send({ to: NOBODY, type: 'agent_message', body: note('committed') })
  }
  clock.step = DAY
  await later(300_000)
  assert.equal(state(hour), 'waiting')
  clock.step = 0
  await later(300_000)
  assert.equal(state(hour), 'waiting')
  const short = await send(60_000)
  await later(120_000)
  assert.deepEqual([state(hour), state(short)], ['waiting', 'failed'], 'a clock that is right again is believed')
  clock.step = DAY
  await later(1_200_000)
  assert.equal(state(hour), 'failed', 'a clock that stays is believed')
})

const NOBODY = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'

class SteppedClock extends FakeClock {
  step = 0
  override now(): number {
    return super.now() + this.step
  }
}
