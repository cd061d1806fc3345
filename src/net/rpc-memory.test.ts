import assert from 'node:assert/strict'
import test from 'node:test'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { MAX_REQUESTS_PER_PEER } from './limits.ts'
import { CallQueue } from './rpc-caller.ts'
import { MemoryNetwork, memoryRpcPair } from './rpc-memory.ts'

const NONE = new Uint8Array()
const small = { maxRequestBytes: 100, perSecond: 1000 }
const code = (name: string, inner?: string) => (e: unknown) =>
  hasCode(e, name) && (inner === undefined || (e as KithError).data.code === inner)

test('a request is answered, with the caller’s PeerId and address', async () => {
  const { a, b } = memoryRpcPair('A', 'B')
  b.handle('who', small, async (_, context) => new TextEncoder().encode(`${context.peerId} ${context.address}`))
  assert.equal(new TextDecoder().decode(await a.request({ peerId: 'B' }, 'who', NONE, { maxResponseBytes: 100 })), 'A 127.0.0.1')
  assert.equal(a.addressOf('B'), '127.0.0.1')
})

test('a handler that throws answers its code and never its message', async () => {
  const { a, b } = memoryRpcPair('A', 'B')
  const errors: Record<string, unknown> = {
    kith: new KithError('OVER_BUDGET', 'secret'),
    plain: new Error('secret'),
    odd: new KithError('lower case', 'secret'),
    text: 'secret'
  }
  for (const [name, error] of Object.entries(errors)) {
    b.handle(name, small, async () => {
      throw error
    })
    await assert.rejects(a.request({ peerId: 'B' }, name, NONE, { maxResponseBytes: 9 }), (e: unknown) => {
      assert.ok(!JSON.stringify([(e as Error).message, (e as KithError).data]).includes('secret'))
      return code('PEER_REFUSED', name === 'kith' ? 'OVER_BUDGET' : 'INTERNAL')(e)
    })
  }
})

test('sizes, unknown methods, absent peers and silence have their codes', async () => {
  const { a, b } = memoryRpcPair('A', 'B')
  b.handle('echo', small, async x => x)
  b.handle('never', small, (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))))
  const ask = (peerId: string, method: string, n: number, max: number, options = {}) =>
    a.request({ peerId }, method, new Uint8Array(n), { maxResponseBytes: max, ...options })
  await assert.rejects(ask('B', 'echo', 101, 1000), code('PEER_REFUSED', 'REQUEST_TOO_LARGE'))
  await assert.rejects(ask('B', 'echo', 100, 99), code('PEER_PROTOCOL'))
  await assert.rejects(ask('B', 'nope', 1, 99), code('PEER_REFUSED', 'UNKNOWN_METHOD'))
  await assert.rejects(ask('C', 'echo', 1, 99), code('PEER_UNREACHABLE'))
  await assert.rejects(ask('B', 'never', 1, 99, { timeoutMs: 20 }), code('PEER_TIMEOUT'))
  const reason = new Error('user gave up')
  await assert.rejects(ask('B', 'never', 1, 99, { signal: AbortSignal.abort(reason) }), e => e === reason)
})

test('a flood is limited by peer, and by address across PeerIds', async () => {
  let now = 0
  const clock: Clock = { ...systemClock, monotonic: () => now }
  const network = new MemoryNetwork(clock)
  const b = network.join('B', '192.0.2.1')
  b.handle('x', { maxRequestBytes: 1, perSecond: 2 }, async () => NONE)
  const flood = async (from: string, address: string, n: number): Promise<number> => {
    const rpc = network.join(from, address)
    let ok = 0
    for (let i = 0; i < n; i++) {
      await rpc.request({ peerId: 'B' }, 'x', NONE, { maxResponseBytes: 0 }).then(
        () => ok++,
        e => assert.ok(hasCode(e, 'RATE_LIMITED'), String(e))
      )
    }
    return ok
  }
  assert.equal(await flood('A', '192.0.2.9', 50), 10, 'a burst is five seconds’ worth')
  now += 1000
  assert.equal(await flood('A', '192.0.2.9', 50), 2)
  let others = 0
  for (let i = 0; i < 30; i++) others += await flood(`S${i}`, '192.0.2.9', 10)
  assert.ok(others <= 80, `an address has 8 times a peer’s burst, not ${others}`)
  assert.equal(await flood('H', '192.0.2.10', 10), 10, 'an honest peer elsewhere is not touched')
})

test('at most 32 requests of a peer are answered at once', async () => {
  const { a, b } = memoryRpcPair('A', 'B')
  const { promise: open, resolve } = Promise.withResolvers<void>()
  b.handle('slow', small, () => open.then(() => NONE))
  const calls = Array.from({ length: MAX_REQUESTS_PER_PEER + 5 }, () => a.request({ peerId: 'B' }, 'slow', NONE, { maxResponseBytes: 0 }))
  const settled = Promise.allSettled(calls)
  await assert.rejects(calls.at(-1)!, code('RATE_LIMITED'))
  resolve()
  assert.equal((await settled).filter(r => r.status === 'fulfilled').length, MAX_REQUESTS_PER_PEER)
  await a.request({ peerId: 'B' }, 'slow', NONE, { maxResponseBytes: 0 })
})

test('a disposed method is unknown; one method has one handler', async () => {
  const { a, b } = memoryRpcPair('A', 'B')
  const handle = b.handle('x', small, async () => NONE)
  assert.throws(() => b.handle('x', small, async () => NONE), code('METHOD_EXISTS'))
  handle[Symbol.dispose]()
  await assert.rejects(a.request({ peerId: 'B' }, 'x', NONE, { maxResponseBytes: 0 }), code('PEER_REFUSED', 'UNKNOWN_METHOD'))
})

test('calls to one peer wait in order; waiting ends with the signal', async () => {
  const queue = new CallQueue()
  const gates = Array.from({ length: 16 }, () => Promise.withResolvers<void>())
  const running = gates.map(g => queue.run('P', () => g.promise, new AbortController().signal))
  const order: string[] = []
  const giveUp = new AbortController()
  const first = queue.run('P', async () => void order.push('first'), new AbortController().signal)
  const gone = queue.run('P', async () => void order.push('gone'), giveUp.signal)
  const second = queue.run('P', async () => void order.push('second'), new AbortController().signal)
  await queue.run('Q', async () => void order.push('other'), new AbortController().signal)
  giveUp.abort(new Error('gave up'))
  await assert.rejects(gone, /gave up/)
  for (const g of gates) g.resolve()
  await Promise.all([...running, first, second])
  assert.deepEqual(order, ['other', 'first', 'second'])
})
