import assert from 'node:assert/strict'
import test from 'node:test'
import { MAX_KNOWN_HOSTS } from './limits.ts'
import { ScopeGate } from './scope-gate.ts'

const LOCAL = [
  '/ip4/127.0.0.1/tcp/80',
  '/ip4/10.0.0.1/tcp/80',
  '/ip4/169.254.169.254/tcp/80',
  '/ip6/::1/tcp/80',
  '/ip6/fe80::1/tcp/80',
  '/ip4/0.0.0.0/tcp/80'
]

test('a new gate permits public addresses and nothing else', () => {
  const gate = new ScopeGate()
  assert.ok(gate.permits('/ip4/1.1.1.1/tcp/4801'))
  for (const a of [...LOCAL, '/dns4/example.org/tcp/80', '', '/ip4/::ffff:1/tcp/1']) assert.ok(!gate.permits(a), a)
})

test('a bootstrap or listen address opens its own scope only', () => {
  for (const source of ['bootstrap', 'listen'] as const) {
    const gate = new ScopeGate()
    gate.allow('/ip4/127.0.0.1/tcp/4801', source)
    assert.ok(gate.permits('/ip4/127.0.0.1/tcp/9') && gate.permits('/ip6/::1/tcp/9'))
    assert.ok(!gate.permits('/ip4/10.0.0.1/tcp/80') && !gate.permits('/ip4/169.254.169.254/tcp/80'))
  }
  const gate = new ScopeGate()
  gate.allow('/ip4/0.0.0.0/tcp/4801', 'listen')
  gate.allow('/ip4/127.0.0.1/tcp/0', 'bootstrap')
  for (const a of LOCAL) assert.ok(!gate.permits(a), a)
  gate.allow('/ip4/127.0.0.1/tcp/0', 'listen') // a free port is still this machine
  assert.ok(gate.permits('/ip4/127.0.0.1/tcp/80'))
})

test('the user, LAN discovery and a live connection open one host', () => {
  for (const source of ['user', 'lan', 'connection'] as const) {
    const gate = new ScopeGate()
    gate.allow('/ip4/192.168.1.7/tcp/4801/p2p/x', source)
    assert.ok(gate.permits('/ip4/192.168.1.7/tcp/9') && gate.permitsIp('192.168.1.7') && gate.permitsIp('::ffff:192.168.1.7'), source)
    assert.ok(!gate.permits('/ip4/192.168.1.8/tcp/9') && !gate.permits('/ip4/127.0.0.1/tcp/9'), source)
  }
})

test('an address through a relay is permitted if the relay’s own is', () => {
  const through = (ip: string): string => `/ip4/${ip}/tcp/4801/p2p/R/p2p-circuit/p2p/P`
  const gate = new ScopeGate()
  assert.ok(gate.permits(through('1.1.1.1')))
  for (const ip of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '0.0.0.0']) assert.ok(!gate.permits(through(ip)), ip)
  gate.allow('/ip4/10.0.0.1/tcp/4801/p2p/R', 'user')
  assert.ok(gate.permits(through('10.0.0.1')) && !gate.permits(through('10.0.0.2')))
  assert.ok(!gate.permits('/ip4/10.0.0.2/tcp/1/p2p/R/p2p-circuit/p2p/P'))
})

test('a DNS name counts when the user or the bootstrap list names it, never from elsewhere', () => {
  const gate = new ScopeGate()
  gate.allow('/dns4/Node.example.org/tcp/1', 'lan')
  assert.ok(!gate.permits('/dns4/node.example.org/tcp/1'))
  gate.allow('/dns4/Node.example.org/tcp/1', 'bootstrap')
  assert.ok(gate.permits('/dns4/node.example.org/tcp/2/ws'))
  assert.ok(!gate.permits('/dns4/other.example.org/tcp/2'))
})

test('one way of learning hosts cannot push out what another taught, and each is bounded', () => {
  const gate = new ScopeGate()
  gate.allowIp('192.168.7.7', 'user')
  for (let i = 0; i <= MAX_KNOWN_HOSTS; i++) gate.allowIp(`10.0.${i >> 8}.${i & 255}`, 'connection')
  assert.ok(gate.permitsIp('192.168.7.7'))
  assert.ok(!gate.permitsIp('10.0.0.0') && gate.permitsIp('10.0.0.1'))
})
