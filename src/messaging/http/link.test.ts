import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { MAX_HTTP_INCOMING, MAX_HTTP_OUTGOING_BYTES } from '../limits.ts'
import { HttpLink } from './link.ts'

const open = (): HttpLink => new HttpLink({ clock: new FakeClock() }, { senderId: 'did:key:x', address: '192.0.2.1' })

test('so many messages of one link wait to be settled, and what ends the link answers them all', async () => {
  const link = open()
  const answers = Array.from({ length: MAX_HTTP_INCOMING }, (_, i) => link.give(Uint8Array.of(i), 60_000))
  assert.equal((await link.give(Uint8Array.of(0), 60_000))?.code, 'RATE_LIMITED')
  const first = await link.next()
  link.settled(first!)
  assert.equal(await answers[0], undefined)
  const again = link.give(Uint8Array.of(1), 60_000)
  await link[Symbol.asyncDispose]()
  assert.deepEqual(new Set((await Promise.all([...answers.slice(1), again])).map(a => a?.code)), new Set(['SESSION_EXPIRED']))
})

test('what waits for a client that does not collect is bounded: whoever writes waits, until there is room or the link ends', async () => {
  const link = open()
  const frame = new Uint8Array(MAX_HTTP_OUTGOING_BYTES / 2)
  await link.send(frame)
  await link.send(frame)
  let isSent = false
  const third = link.send(frame).then(() => (isSent = true))
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(!isSent)
  assert.ok(link.collect().length > 0)
  await third
  const last = assert.rejects(link.send(frame), { code: 'PEER_PROTOCOL' })
  await link[Symbol.asyncDispose]()
  await last
})
