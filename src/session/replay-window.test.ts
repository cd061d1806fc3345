import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { codeOf } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_NONCE_PEERS, MAX_NONCES_PER_PEER } from './limits.ts'
import { MemoryNonces } from './memory-nonces.ts'
import { ReplayWindow } from './replay-window.ts'

const nonce = (n: number): string => n.toString(16).padStart(64, '0')
const setup = (isDurable = true): { clock: FakeClock; store: MemoryNonces; window: ReplayWindow } => {
  const [clock, store] = [new FakeClock(), new MemoryNonces(isDurable)]
  return { clock, store, window: new ReplayWindow({ clock, store }) }
}
const code = (run: () => void): string => {
  try {
    run()
    return 'accepted'
  } catch (error) {
    return codeOf(error)
  }
}

test('a message counts once: now, after 299 s, after a restart, over another link (threats SM12, SM13)', async () => {
  const { clock, store, window } = setup()
  const sentAt = clock.now()
  window.check('a', nonce(1), sentAt)
  window.record('a', nonce(1), sentAt)
  const replayed = (w: ReplayWindow): string => code(() => w.check('a', nonce(1), sentAt))
  assert.equal(replayed(window), 'REPLAY_DETECTED')
  assert.equal(
    code(() => window.record('a', nonce(1), sentAt + 1)),
    'REPLAY_DETECTED'
  ) // the same nonce, another message
  await clock.advance(299_000)
  window.record('a', nonce(2), clock.now())
  assert.equal(replayed(window), 'REPLAY_DETECTED')
  assert.equal(replayed(new ReplayWindow({ clock, store })), 'REPLAY_DETECTED')
  await clock.advance(2000)
  assert.equal(replayed(window), 'CLOCK_SKEW')
  window.check('b', nonce(1), clock.now()) // another sender's nonce is another nonce
})

test('a date 301 s away is refused, and our time is told (threats SM10)', async () => {
  const { clock, window } = setup()
  for (const away of [-301_000, 301_000])
    assert.throws(() => window.check('a', nonce(1), clock.now() + away), {
      code: 'CLOCK_SKEW',
      data: { ours: clock.now(), timestamp: clock.now() + away }
    })
  for (const away of [-299_000, 299_000]) window.check('a', nonce(1), clock.now() + away)
})

test('a store that forgets refuses all that was sent before it began (threats SM12)', async () => {
  const clock = new FakeClock()
  await clock.advance(1000)
  const window = new ReplayWindow({ clock, store: new MemoryNonces() })
  assert.equal(
    code(() => window.check('a', nonce(1), clock.now() - 1)),
    'REPLAY_DETECTED'
  )
  window.record('a', nonce(1), clock.now())
})

test('a flood of one sender stays within its 4096, and costs nobody else anything (threats SM14)', () => {
  const { clock, store, window } = setup()
  window.record('honest', nonce(1), clock.now() - 10)
  const begin = clock.now() - 200_000
  for (let i = 0; i < 100_000; i++) window.record('flood', nonce(i), begin + i)
  assert.equal(store.count('flood'), MAX_NONCES_PER_PEER)
  assert.equal(store.markOf('flood'), begin + 100_000 - MAX_NONCES_PER_PEER - 1)
  // Nothing of it can be replayed: not what is remembered, nor what no longer is.
  for (const i of [0, 1000, 95_000, 99_999])
    assert.equal(
      code(() => window.check('flood', nonce(i), begin + i)),
      'REPLAY_DETECTED'
    )
  assert.equal(
    code(() => window.check('honest', nonce(1), clock.now() - 10)),
    'REPLAY_DETECTED'
  )
  window.record('honest', nonce(2), clock.now() - 20)
})

test('all nonces of one date do not open a hole when they are full', () => {
  const { clock, window } = setup()
  const now = clock.now()
  for (let i = 0; i < MAX_NONCES_PER_PEER; i++) window.record('a', nonce(i), now)
  assert.equal(
    code(() => window.record('a', nonce(5000), now)),
    'REPLAY_DETECTED'
  )
  for (const i of [0, 1, 4095])
    assert.equal(
      code(() => window.record('a', nonce(i), now)),
      'REPLAY_DETECTED'
    )
  window.record('a', nonce(5001), now + 1)
})

test('more senders than there are places wait until others are forgotten; nobody is pushed out', async () => {
  const { clock, store, window } = setup()
  for (let i = 0; i < MAX_NONCE_PEERS; i++) window.record(`peer ${i}`, nonce(1), clock.now())
  assert.equal(
    code(() => window.record('one more', nonce(1), clock.now())),
    'RATE_LIMITED'
  )
  assert.equal(
    code(() => window.record('peer 0', nonce(1), clock.now())),
    'REPLAY_DETECTED'
  )
  window.record('peer 0', nonce(2), clock.now())
  await clock.advance(CLOCK_WINDOW_MS + 1)
  window.record('peer 0', nonce(3), clock.now())
  assert.equal(store.senders(), 1)
  window.record('one more', nonce(1), clock.now())
})
