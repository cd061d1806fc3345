import assert from 'node:assert/strict'
import test from 'node:test'
import { ConnectionLimiter } from './connection-limiter.ts'
import { MAX_CONNECTIONS_PER_NETWORK } from './limits.ts'

function fakeClock() {
  let at = 0
  return { monotonic: () => at, sleep: async () => {}, pass: (ms: number) => void (at += ms) }
}

test('CO17: the ninth connection from one address is refused, and the sixth in a second', () => {
  const clock = fakeClock()
  const limiter = new ConnectionLimiter({ clock })
  const releases: (() => void)[] = []
  for (let i = 0; i < 5; i++) releases.push(limiter.admit('192.0.2.1')!)
  assert.equal(limiter.admit('192.0.2.1'), undefined, 'sixth in a second')
  assert.ok(limiter.admit('192.0.2.2'), 'another address')
  clock.pass(1000)
  for (let i = 0; i < 3; i++) releases.push(limiter.admit('::ffff:192.0.2.1')!)
  clock.pass(1000)
  assert.equal(limiter.admit('192.0.2.1'), undefined, 'ninth at once')
  releases.pop()!()
  assert.ok(limiter.admit('192.0.2.1'))
})

test('an IPv6 /64 is one address; this machine has its own number and no rate', () => {
  const limiter = new ConnectionLimiter({ clock: fakeClock() }, { perIp: 2, loopback: 20 })
  assert.ok(limiter.admit('2606:1:2:3::1') && limiter.admit('2606:1:2:3::2'))
  assert.equal(limiter.admit('2606:1:2:3::3'), undefined)
  for (let i = 0; i < 20; i++) assert.ok(limiter.admit('127.0.0.1'))
  assert.equal(limiter.admit('127.0.0.1'), undefined)
})

test('CO17: a whole network of others has no more connections than its share', () => {
  const limiter = new ConnectionLimiter({ clock: fakeClock() })
  const held = Array.from({ length: 256 }, (_, i) => limiter.admit(`8.8.8.${i}`)).filter(x => x)
  assert.equal(held.length, MAX_CONNECTIONS_PER_NETWORK)
  assert.ok(limiter.admit('8.8.9.1') && limiter.admit('10.0.0.1'))
  held[0]!()
  assert.ok(limiter.admit('8.8.8.8'))
  const wide = Array.from({ length: 256 }, (_, i) => limiter.admit(`2606:1:2:${i.toString(16)}::1`)).filter(x => x)
  assert.equal(wide.length, MAX_CONNECTIONS_PER_NETWORK)
})

test('CO18: nothing is left of connections that ended, and giving back twice counts once', () => {
  const clock = fakeClock()
  const limiter = new ConnectionLimiter({ clock })
  for (let i = 0; i < 1000; i++) {
    const release = limiter.admit('192.0.2.1')!
    release()
    release()
    clock.pass(1000)
  }
  assert.equal(limiter.size, 0)
})
