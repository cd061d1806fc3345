import assert from 'node:assert/strict'
import test from 'node:test'
import { ScopeGate } from '../../net/scope-gate.ts'
import { mayBeDialledFor } from './peer-scope.ts'

const R = '/p2p/12D3KooWrelay/p2p-circuit'

test('what a peer names is dialled in the internet, and in the local network only when the peer is there too', () => {
  const gate = new ScopeGate()
  for (const ip of ['127.0.0.1', '192.168.1.1', '192.168.1.7']) gate.allowIp(ip, 'user')
  const peers = () => [
    { peerId: 'far', address: '/ip4/8.8.8.8/tcp/4801' },
    { peerId: 'home', address: '/ip4/192.168.1.7/tcp/4801' },
    { peerId: 'here', address: '/ip4/127.0.0.1/tcp/4801' },
    { peerId: 'relayed', address: `/ip4/192.168.1.7/tcp/4801${R}` }
  ]
  const may = (peer: string, address: string): boolean => mayBeDialledFor({ gate, peers }, address, [peer])
  for (const peer of ['far', 'home', 'here', 'relayed', 'nobody']) assert.equal(may(peer, '/ip4/9.9.9.9/tcp/1'), true)
  const inside = { home: '/ip4/192.168.1.1/tcp/80', here: '/ip4/127.0.0.1/tcp/22' }
  for (const peer of ['far', 'relayed', 'nobody'])
    for (const address of Object.values(inside)) {
      assert.equal(may(peer, address), false, `${peer} ${address}`)
      assert.equal(may(peer, address + R), false, 'nor by a relay that is there')
    }
  assert.deepEqual([may('home', inside.home), may('home', inside.here)], [true, false])
  assert.deepEqual([may('here', inside.home), may('here', inside.here)], [false, true])
  assert.equal(may('home', '/ip4/192.168.1.66/tcp/80'), false, 'nobody named that host')
  for (const other of ['/dns4/router.lan/tcp/80', '/ip4/0.0.0.0/tcp/1', '/ip4/169.254.169.254/tcp/80', '/ip6/::ffff:127.0.0.1/tcp/1', 'x'])
    assert.equal(may('far', other), false, other)
})
