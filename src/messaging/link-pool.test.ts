import assert from 'node:assert/strict'
import test from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { openGuard } from './guard.ts'
import { LINK_IDLE_CHECK_MS, LINK_IDLE_MS } from './limits.ts'
import type { MessageLink } from './link.ts'
import { memoryLinkPair } from './link-memory.ts'
import { type LinkPoolOptions, openLinkPool } from './link-pool.ts'

/** Time that goes on when it is told to; sleepers wake when theirs is over. */
class HandClock {
  at = 0
  readonly #sleepers = new Set<{ until: number; wake(): void }>()
  now = (): number => this.at
  monotonic = (): number => this.at
  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const sleeper = { until: this.at + ms, wake: resolve }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  go(ms: number): void {
    this.at += ms
    for (const s of this.#sleepers) if (s.until <= this.at && this.#sleepers.delete(s)) s.wake()
  }
}

const NEVER = new AbortController().signal
const frame = (text: string): Uint8Array => new TextEncoder().encode(text)

function setUp(options: LinkPoolOptions = {}) {
  const clock = new HandClock()
  const active = new Set<string>()
  const banned = new Set<string>()
  const state = { fails: undefined as string | undefined, dials: 0, address: (n: number): string => `192.0.2.${n % 250}` }
  const others: MessageLink[] = []
  const guard = { ...openGuard, admit: (who: { entityId: string | undefined }) => (banned.has(who.entityId ?? '') ? 'BANNED' : undefined) }
  const pool = openLinkPool(
    { clock, random: () => 0, guard, isActive: id => active.has(id) },
    {
      open: async () => {
        state.dials++
        if (state.fails) throw new KithError(state.fails, 'no')
        const [a, b] = memoryLinkPair({ peerId: undefined, address: state.address(state.dials) }, { peerId: undefined })
        others.push(b)
        return a
      }
    },
    options
  )
  return { clock, active, banned, state, others, pool }
}
const tryOpen = (pool: ReturnType<typeof setUp>['pool'], to: string): Promise<string> => pool.open(to, NEVER).then(() => 'open', codeOf)

test('a peer that cannot be reached is not dialled again and again; one success closes the breaker', async () => {
  const { clock, state, pool } = setUp()
  await using _ = pool
  state.fails = 'PEER_UNREACHABLE'
  for (let i = 0; i < 5; i++) assert.equal(await tryOpen(pool, 'a'), 'PEER_UNREACHABLE')
  assert.equal(await tryOpen(pool, 'a'), 'CIRCUIT_OPEN')
  assert.deepEqual([state.dials, pool.circuit('a').state, pool.circuit('b').state], [5, 'open', 'closed'])
  assert.equal(await tryOpen(pool, 'b'), 'PEER_UNREACHABLE', 'others are dialled')
  clock.go(pool.circuit('a').retryAfterMs)
  state.fails = undefined
  assert.equal(await tryOpen(pool, 'a'), 'open')
  assert.equal(pool.circuit('a').state, 'closed')
})

test('not knowing an address says nothing about a peer; a banned one is not dialled', async () => {
  const { banned, state, pool } = setUp()
  await using _ = pool
  state.fails = 'UNKNOWN_PEER'
  for (let i = 0; i < 20; i++) assert.equal(await tryOpen(pool, 'a'), 'UNKNOWN_PEER')
  banned.add('a')
  assert.equal(await tryOpen(pool, 'a'), 'BANNED')
})

test('three links to a peer, and so many in all: who is idle makes room, who is active stays (threats CO16)', async () => {
  const { clock, active, pool } = setUp({ maxLinks: 5 })
  await using _ = pool
  for (let i = 0; i < 3; i++) assert.equal(await tryOpen(pool, 'a'), 'open')
  assert.equal(await tryOpen(pool, 'a'), 'TOO_MANY_LINKS')
  active.add('a')
  clock.go(1)
  assert.equal(await tryOpen(pool, 'b'), 'open')
  clock.go(1)
  assert.equal(await tryOpen(pool, 'c'), 'open')
  assert.equal(await tryOpen(pool, 'd'), 'open', 'b has gone')
  assert.equal(pool.size, 5)
  for (const id of ['c', 'd']) active.add(id)
  assert.equal(await tryOpen(pool, 'e'), 'TOO_MANY_LINKS')
  assert.equal(await pool.admit(memoryLinkPair({ peerId: 'x' }, { peerId: 'y' })[0]), undefined)
})

test('when all links are taken one of the network that has most makes room, not one of somebody else (threats CO16)', async () => {
  const { clock, pool } = setUp({ maxLinks: 40 })
  await using _ = pool
  const arrive = (address: string): Promise<MessageLink | undefined> => {
    clock.go(1)
    return pool.admit(memoryLinkPair({ peerId: 'x', address }, { peerId: 'y' })[0])
  }
  const honest = await arrive('9.9.9.9')
  for (let i = 0; i < 200; i++) await arrive(`8.8.${i % 5}.${i}`)
  assert.deepEqual([pool.size, honest?.closed.aborted], [40, false])
  assert.ok(await arrive('9.9.8.8'))
})

test('no more than a quarter of all links leads into one network of others', async () => {
  const { state, pool } = setUp({ maxLinks: 40 })
  await using _ = pool
  state.address = () => '203.0.114.7'
  const open = await Promise.all([...Array(20)].map((_x, i) => tryOpen(pool, `peer ${i}`)))
  assert.equal(open.filter(r => r === 'open').length, 10)
  state.address = () => '198.51.101.7'
  assert.equal(await tryOpen(pool, 'elsewhere'), 'open')
  state.address = () => '192.168.1.7'
  for (let i = 0; i < 20; i++) assert.equal(await tryOpen(pool, `at home ${i}`), 'open')
})

test('a link over which only signs of life go is ended after five minutes, unless something is under way', async () => {
  const { clock, active, others, pool } = setUp()
  const [quiet, busy, used] = [await pool.open('quiet', NEVER), await pool.open('busy', NEVER), await pool.open('used', NEVER)]
  active.add('busy')
  for (let ms = 0; ms <= LINK_IDLE_MS; ms += LINK_IDLE_CHECK_MS) {
    clock.go(LINK_IDLE_CHECK_MS)
    await quiet.send(frame('{"msg_type":"heartbeat","nonce":""}'))
    await others[2]!.send(frame('{"msg_type":"agent_message","nonce":""}'))
    await used.next()
    await new Promise(setImmediate)
    if (quiet.closed.aborted) break
  }
  await eventually('ended', () => quiet.closed.aborted)
  assert.deepEqual([busy.closed.aborted, used.closed.aborted, pool.size], [false, false, 2])
  await pool[Symbol.asyncDispose]()
  assert.deepEqual([busy.closed.aborted, pool.size], [true, 0])
})
