/** Messengers in one process with real sessions and real SQLite files: what is sent arrives once, is acknowledged, and survives. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { MemoryNetwork, note, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { hasCode, KithError } from '../base/errors.ts'
import type { Guard } from './guard.ts'
import { MAX_MESSAGE_BODY_BYTES, PUT_OFF_MS } from './limits.ts'
import type { IncomingMessage } from './types.ts'
import { newUuid } from './uuid.ts'

const hello = { type: 'agent_message', body: note('hello') } as const

test('a message is delivered, acted on, and told as delivered', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  const got: IncomingMessage[] = []
  bob.messenger.handle('agent_message', async m => void got.push(m))
  const { id } = await alice.messenger.send({ to: bob.id, ...hello })
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered')
  await eventually('handled', () => got.length === 1)
  assert.deepEqual([got[0]!.id, got[0]!.from, got[0]!.body], [id, alice.id, note('hello')])
  assert.deepEqual(
    bob.messenger.inbox().map(m => m.id),
    [id]
  )
  const [stats] = alice.messenger.stats()
  assert.deepEqual([stats?.connected, stats?.queued, stats?.sent, stats?.delivered], [true, 0, 1, 1])
})

test('a message waits while its recipient is away, over a restart, and arrives when it is back', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  let id = ''
  let bobId = ''
  {
    await using bob = await net.open(folder.path, 'bob')
    bobId = bob.id
  }
  {
    await using alice = await net.open(folder.path, 'alice')
    id = (await alice.messenger.send({ to: bobId, ...hello })).id
    assert.equal(alice.messenger.sent(id)?.state, 'waiting')
  }
  await using bob = await net.open(folder.path, 'bob')
  await using alice = await net.open(folder.path, 'alice')
  alice.messenger.wake(bob.id)
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered')
  assert.equal(bob.messenger.inbox().length, 1)
})

test('one id is sent once, whoever asks how often', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  const id = newUuid()
  await Promise.all([1, 2, 3].map(() => alice.messenger.send({ to: bob.id, ...hello, id })))
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered')
  assert.equal((await alice.messenger.send({ to: bob.id, ...hello, id })).state, 'delivered')
  assert.deepEqual([alice.messenger.outbox().length, bob.messenger.inbox().length], [1, 1])
})

test('the sender of a message that its handler refuses sees an error with its code, once', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  bob.messenger.handle('agent_message', () => Promise.reject(new KithError('NOT_AUTHORISED', 'not for you')))
  bob.messenger.handle('error', () => assert.fail('an error was answered'))
  const errors: IncomingMessage[] = []
  alice.messenger.handle('error', async m => {
    errors.push(m)
    throw new KithError('INTERNAL', 'an error is never answered by one')
  })
  const { id } = await alice.messenger.send({ to: bob.id, ...hello })
  await eventually('an error', () => errors.length > 0)
  assert.deepEqual(errors[0]!.body, { error_code: 'NOT_AUTHORISED', error_message: 'not for you', original_message_id: id })
})

test('a large message goes in chunks, and from where it was when its link breaks', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  const text = 'x'.repeat(2_000_000)
  let frames = 0
  net.tamper = frame => {
    if (frame.length > 50_000 && ++frames === 20) throw new Error('the link breaks')
    return [frame]
  }
  const { id } = await alice.messenger.send({ to: bob.id, type: 'agent_message', body: note(text) })
  await eventually('the break', () => frames === 20, 20_000)
  await eventually('lost', () => alice.messenger.sent(id)?.state === 'waiting', 20_000)
  alice.messenger.wake(bob.id)
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered', 20_000)
  assert.deepEqual(bob.messenger.inbox()[0]!.body, note(text))
  assert.ok(frames < 2 * 31, `${frames} parts: it began again`)
})

test('what is too large, badly made, or to oneself is refused at once', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  const to = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'
  const refused = (message: Parameters<typeof alice.messenger.send>[0], code: string): Promise<void> =>
    assert.rejects(alice.messenger.send(message), e => hasCode(e, code))
  await refused({ to, type: 'agent_message', body: note('x'.repeat(MAX_MESSAGE_BODY_BYTES)) }, 'TOO_LARGE')
  await refused({ to: 'bob', ...hello }, 'BAD_ENTITY')
  await refused({ to: alice.id, ...hello }, 'BAD_ENTITY')
  await refused({ to, type: 'ack', body: {} }, 'BAD_PAYLOAD')
  await refused({ to, type: 'agent_message', body: {} }, 'BAD_PAYLOAD')
  await refused({ to, ...hello, id: 'mine' }, 'BAD_PAYLOAD')
  assert.deepEqual(alice.messenger.outbox(), [])
})

test('what cannot be delivered directly goes by the carrier, and its receipt comes back the same way', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  net.isUp = false
  const carried: Uint8Array[] = []
  const receivers = new Map<string, (message: Uint8Array) => Promise<void>>()
  const carrier = {
    async carry(to: string, message: Uint8Array): Promise<boolean> {
      carried.push(message)
      await receivers.get(to)?.(message)
      return true
    }
  }
  await using alice = await net.open(folder.path, 'alice', { carrier })
  await using bob = await net.open(folder.path, 'bob', { carrier })
  for (const peer of [alice, bob]) receivers.set(peer.id, message => peer.messenger.receive(message, { via: 'sealed' }))
  const { id } = await alice.messenger.send({ to: bob.id, ...hello })
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered')
  assert.deepEqual(
    bob.messenger.inbox().map(m => [m.id, m.via]),
    [[id, 'sealed']]
  )
  await bob.messenger.receive(carried[0]!, { via: 'sealed' })
  assert.equal(bob.messenger.inbox().length, 1, 'the same again has no effect')
  const forged = Uint8Array.from(carried[0]!)
  forged[forged.length - 120]! ^= 1
  await assert.rejects(bob.messenger.receive(forged, { via: 'sealed' }), e => e instanceof KithError)
  await assert.rejects(alice.messenger.receive(carried[0]!, { via: 'sealed' }), e => hasCode(e, 'MISROUTED'))
  await assert.rejects(bob.messenger.receive(utf8('{}'), { via: 'http' }), e => e instanceof KithError)
})

test('a message alone over HTTP counts once by its nonce, also after a restart', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  net.isUp = false
  let single: Uint8Array | undefined
  const carrier = {
    carry: async (_: string, message: Uint8Array) => {
      single = message
      return true
    }
  }
  await using alice = await net.open(folder.path, 'alice', { carrier })
  for (const code of [undefined, 'REPLAY_DETECTED']) {
    await using bob = await net.open(folder.path, 'bob')
    if (!single) await alice.messenger.send({ to: bob.id, ...hello })
    await eventually('carried', () => single !== undefined)
    const taken = bob.messenger.receive(single!, { via: 'http', address: '127.0.0.1' })
    if (code) await assert.rejects(taken, e => hasCode(e, code))
    else await taken
    assert.equal(bob.messenger.inbox().length, 1)
  }
})

test('a message that its recipient puts off waits again, and says why and when it is tried next', async () => {
  using folder = tempFolder()
  const clock = new FakeClock()
  const net = new MemoryNetwork(clock)
  let isBusy = true
  const guard: Guard = { admit: (_, type) => (isBusy && type === 'agent_message' ? 'RATE_LIMITED' : undefined), report: () => {} }
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob', { guard })
  const { id } = await alice.messenger.send({ to: bob.id, ...hello })
  await eventually('put off', () => alice.messenger.sent(id)?.reason !== undefined)
  const waiting = alice.messenger.sent(id)!
  assert.deepEqual([waiting.state, waiting.reason?.code], ['waiting', 'RATE_LIMITED'])
  assert.match(waiting.reason!.message, /take no more messages .* for the moment/)
  assert.deepEqual(waiting.retry, { since: clock.now(), at: clock.now() + PUT_OFF_MS })
  assert.deepEqual(alice.messenger.outbox()[0], waiting)
  isBusy = false
  await eventually('delivered', async () => {
    await clock.advance(PUT_OFF_MS)
    return alice.messenger.sent(id)?.state === 'delivered'
  })
  const { reason, retry } = alice.messenger.sent(id)!
  assert.deepEqual([reason, retry], [undefined, undefined])
})

test('a message to somebody who is away says since when, when it is tried again, and that nothing can be sealed for them', async () => {
  using folder = tempFolder()
  const clock = new FakeClock()
  const net = new MemoryNetwork(clock)
  net.isUp = false
  await using alice = await net.open(folder.path, 'alice', { carrier: { carry: async () => 'NO_PREKEY' } })
  const { id } = await alice.messenger.send({ to: 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK', ...hello })
  const started = clock.now()
  await eventually('not carried', () => /no key is known/.test(alice.messenger.sent(id)?.reason?.message ?? ''))
  await clock.advance(10_000)
  await eventually('tried again', () => (alice.messenger.sent(id)?.retry?.at ?? 0) > clock.now())
  const { state, reason, retry } = alice.messenger.sent(id)!
  assert.deepEqual([state, reason?.code, retry?.since], ['waiting', 'PEER_UNREACHABLE', started])
  assert.match(reason!.message, /^they cannot be reached, and no key is known/)
})

test('while a circuit is open the reason stays the one of before, and the next try is when it closes', async () => {
  using folder = tempFolder()
  const clock = new FakeClock()
  let code = 'PEER_UNREACHABLE'
  const opener = { open: () => Promise.reject(new KithError(code, 'no', { retryAfterMs: 60_000 })) }
  await using alice = await new MemoryNetwork(clock).open(folder.path, 'alice', { opener })
  const { id } = await alice.messenger.send({ to: 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK', ...hello })
  await eventually('tried', () => alice.messenger.sent(id)?.reason !== undefined)
  code = 'CIRCUIT_OPEN'
  const first = alice.messenger.sent(id)!.retry!.at
  await clock.advance(5_000)
  await eventually('tried again', () => alice.messenger.sent(id)!.retry!.at > first)
  const { reason, retry } = alice.messenger.sent(id)!
  assert.deepEqual([reason?.code, retry!.at >= clock.now() + 55_000], ['PEER_UNREACHABLE', true])
})

test('what is not delivered in its time has failed, and the sender is told', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  net.isUp = false
  await using alice = await net.open(folder.path, 'alice')
  const to = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'
  const told: (string | undefined)[] = []
  alice.messenger.events.on('message:changed', ({ message }) => told.push(message.reason?.code))
  const { id } = await alice.messenger.send({ to, ...hello, ttlMs: 200 })
  await eventually('expired', () => told.includes('EXPIRED'))
  assert.equal(alice.messenger.sent(id)?.state, 'failed')
  assert.deepEqual(told, ['PEER_UNREACHABLE', 'EXPIRED'])
  const { id: other } = await alice.messenger.send({ to, ...hello })
  assert.equal(alice.messenger.cancel(other), true)
  await eventually('cancelled', () => alice.messenger.sent(other)?.reason?.code === 'CANCELLED')
  assert.equal(alice.messenger.cancel(other), false)
})
