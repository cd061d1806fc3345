/** Two messengers in one process with real sessions and real SQLite files: what is sent arrives once, is acknowledged, and survives. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { MemoryNetwork, note, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import type { IncomingMessage } from './types.ts'

test('a message is delivered, acted on, and told as delivered', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  const got: IncomingMessage[] = []
  bob.messenger.handle('agent_message', async m => void got.push(m))
  const { id } = await alice.messenger.send({ to: bob.id, type: 'agent_message', body: note('hello') })
  await eventually('delivered', () => alice.messenger.sent(id)?.state === 'delivered')
  await eventually('handled', () => got.length === 1)
  assert.deepEqual([got[0]!.id, got[0]!.from, got[0]!.body], [id, alice.id, note('hello')])
  assert.equal(bob.messenger.inbox().length, 1)
})
