import assert from 'node:assert/strict'
import test from 'node:test'
import { BAN_MS, MAX_WAITING_PER_ADDRESS, MIN_REASK_MS, SLOT_IDLE_MS, TURN_BYTES, TURN_MS, WAIT_MS } from './limits.ts'
import { type SlotClient, UploadSlots } from './upload-slots.ts'

class Client implements SlotClient {
  readonly key: string
  readonly who: string
  readonly address: string
  readonly exempt: boolean
  began = 0
  ended = 0
  constructor(key: string, address = `203.0.113.${key}`, exempt = false) {
    this.key = key
    this.who = key
    this.address = address
    this.exempt = exempt
  }
  begin(): void {
    this.began++
  }
  end(): void {
    this.ended++
  }
}
const clients = (n: number): Client[] => Array.from({ length: n }, (_, i) => new Client(String(i + 1)))
const clock = { ms: 0, monotonic: () => clock.ms }

test('as many as there are slots are served at once; the others get them in the order they came', () => {
  const slots = new UploadSlots(clock, { slots: 2 })
  const [a, b, c, d] = clients(4) as [Client, Client, Client, Client]
  assert.deepEqual([slots.ask(a), slots.ask(b), slots.ask(c), slots.ask(d)], [0, 0, 1, 2])
  assert.equal(slots.ask(a), 0, 'asking again keeps the slot')
  slots.leave(a)
  assert.deepEqual([c.began, d.began, slots.stateOf(c), slots.stateOf(d)], [1, 0, 'served', 'waiting'])
  slots.leave(c)
  assert.equal(d.began, 1)
  slots.leave(c)
  assert.equal(slots.served, 2, 'leaving twice frees nothing')
})
test('a turn ends after 10 MiB only when others wait, and the client goes to the end of the queue', () => {
  const slots = new UploadSlots(clock, { slots: 1 })
  const [a, b, c] = clients(3) as [Client, Client, Client]
  slots.ask(a)
  assert.ok(slots.used(a, 5 * TURN_BYTES))
  slots.ask(b)
  slots.ask(c)
  assert.ok(!slots.used(a, 1))
  assert.deepEqual([b.began, slots.stateOf(a)], [1, 'waiting'])
  assert.ok(!slots.used(a, 0), 'without a slot nothing may be sent')
  slots.leave(b)
  slots.leave(c)
  assert.deepEqual([c.began, a.began], [1, 1])
})
test('a slot that is held for an hour, or not used for a minute, goes to who waits', () => {
  const slots = new UploadSlots(clock, { slots: 1 })
  const [a, b] = clients(2) as [Client, Client]
  slots.ask(a)
  clock.ms += TURN_MS
  slots.lookOver()
  assert.equal(a.ended, 0, 'nobody waits')
  slots.used(a, 1)
  slots.ask(b)
  slots.lookOver()
  assert.deepEqual([a.ended, b.began], [1, 1], 'an hour')
  slots.ask(a)
  clock.ms += SLOT_IDLE_MS
  slots.lookOver()
  assert.deepEqual([b.ended, a.began], [1, 1], 'a minute of silence')
})
test('three slots for one address, unless it is this machine; a queue that one address cannot fill', () => {
  const slots = new UploadSlots(clock, { slots: 5 })
  const same = Array.from({ length: 4 + MAX_WAITING_PER_ADDRESS }, (_, i) => new Client(`s${i}`, '203.0.113.9'))
  const ranks = same.map(c => slots.ask(c))
  assert.deepEqual(ranks.slice(0, 4), [0, 0, 0, 1])
  assert.equal(slots.waiting, MAX_WAITING_PER_ADDRESS)
  const [a] = clients(1) as [Client]
  assert.equal(slots.ask(a), 0, 'another address is not held up by them')
  const local = new UploadSlots(clock, { slots: 5 })
  assert.deepEqual(
    Array.from({ length: 5 }, (_, i) => local.ask(new Client(`l${i}`, '127.0.0.1', true))),
    [0, 0, 0, 0, 0]
  )
})
test('who asks again and again while it waits is not answered for two hours; who asks in time is', () => {
  const slots = new UploadSlots(clock, { slots: 1 })
  const [a, b, c] = clients(3) as [Client, Client, Client]
  slots.ask(a)
  slots.ask(b)
  slots.ask(c)
  for (let i = 0; i < 4; i++) assert.equal(slots.ask(b), 1)
  assert.equal(slots.ask(b), undefined)
  assert.equal(slots.ask(new Client('2')), undefined, 'by address and name, not by place')
  for (let i = 0; i < 20; i++) {
    clock.ms += MIN_REASK_MS
    slots.lookOver()
    assert.equal(slots.ask(c), slots.stateOf(c) === 'served' ? 0 : 1)
  }
  clock.ms += BAN_MS
  assert.notEqual(slots.ask(b), undefined)
})
test('who waits and never asks again loses its place', () => {
  const slots = new UploadSlots(clock, { slots: 1 })
  const [a, b] = clients(2) as [Client, Client]
  slots.ask(a)
  slots.ask(b)
  clock.ms += WAIT_MS + 1
  slots.used(a, 1)
  slots.lookOver()
  assert.equal(slots.stateOf(b), undefined)
})
