import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { ListenerGuard } from './listener-guard.node.ts'

const from = (remoteAddress: string): Socket => Object.assign(new EventEmitter(), { remoteAddress }) as unknown as Socket

test('HT4: an IPv6 /64 is one customer, IPv4 inside IPv6 is IPv4, and places come free', () => {
  const guard = new ListenerGuard({ clock: new FakeClock() }, { maxConnections: 6, maxConnectionsPerAddress: 2 })
  const ask = (address: string): [Socket, string] => {
    const socket = from(address)
    return [socket, guard.admit(socket, false)]
  }
  const [first, one] = ask('2a00:1::1')
  assert.deepEqual([one, ask('2a00:1::2')[1], ask('2a00:1::ffff:3')[1], ask('2a00:1:0:1::1')[1]], ['in', 'in', 'full', 'in'])
  assert.deepEqual([ask('192.0.2.1')[1], ask('::ffff:192.0.2.1')[1], ask('::ffff:192.0.2.1')[1]], ['in', 'in', 'full'])
  assert.deepEqual([ask('192.0.2.2')[1], ask('192.0.2.3')[1], guard.size], ['in', 'full', 6], 'the total')
  first.emit('close')
  assert.deepEqual([ask('2a00:1::9')[1], guard.size], ['in', 6])
})
test('HT4, CO17: TLS handshakes from one address have a rate; plain connections and this machine do not', async () => {
  const clock = new FakeClock()
  const guard = new ListenerGuard({ clock }, { maxConnections: 1000, maxConnectionsPerAddress: 1000, handshakesPerSecond: 5 })
  const admitted = (address: string, tls: boolean): number =>
    Array.from({ length: 20 }, () => guard.admit(from(address), tls)).filter(a => a === 'in').length
  assert.deepEqual([admitted('192.0.2.1', true), admitted('192.0.2.1', false), admitted('127.0.0.1', true)], [5, 20, 20])
  assert.equal(admitted('2a00:1::1', true), 5)
  assert.equal(admitted('2a00:1::2', true), 0, 'the same /64')
  await clock.advance(1000)
  assert.equal(admitted('192.0.2.1', true), 5)
})
