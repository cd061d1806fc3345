import assert from 'node:assert/strict'
import test from 'node:test'
import { MemoryNetwork, note, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { NetworkMonitor } from './monitor.ts'

test('the monitor tells what was measured, and null for what was not', async () => {
  using folder = tempFolder()
  const net = new MemoryNetwork()
  await using alice = await net.open(folder.path, 'alice')
  await using bob = await net.open(folder.path, 'bob')
  let at = 0
  const capabilities = (): string[][] => [['sum', 'sum', '__proto__'], ['sum'], []]
  using monitor = new NetworkMonitor({ clock: { monotonic: () => at }, messenger: alice.messenger, capabilities })
  const before = monitor.collect()
  assert.deepEqual([before.connected_peers, before.message_latency], [0, { p50_ms: null, p99_ms: null, measured: 0 }])
  for (let i = 0; i < 10; i++) await alice.messenger.send({ to: bob.id, type: 'agent_message', body: note(`${i}`) })
  await eventually('measured', () => monitor.collect().message_latency.measured === 10)
  at = 2000
  const after = monitor.collect()
  assert.equal(after.connected_peers, 1)
  assert.ok(after.message_latency.p50_ms! <= after.message_latency.p99_ms!)
  assert.equal(after.network_load.messages_out_per_second, 5, 'ten in two seconds')
  assert.ok(
    after.bandwidth_usage.out_bytes_per_second > 0 && after.bandwidth_usage.out_bytes >= 2 * after.bandwidth_usage.out_bytes_per_second - 1
  )
  assert.deepEqual(JSON.parse(JSON.stringify(after.agent_distribution)), JSON.parse('{"sum":2,"__proto__":1}'))
  await bob.messenger[Symbol.asyncDispose]()
  await eventually('lost', () => monitor.collect().network_load.lost_peers === 1)
  assert.equal(monitor.collect().connected_peers, 0)
})
