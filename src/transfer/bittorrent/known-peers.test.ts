import assert from 'node:assert/strict'
import test from 'node:test'
import { KnownPeers } from './known-peers.ts'
import { MAX_SWARM_PEERS } from './limits.ts'

test('a peer is taken up once; one near us again when the user names it', () => {
  const known = new KnownPeers()
  const far = { host: '8.8.8.8', port: 6881 }
  const near = { host: '192.168.1.5', port: 6881 }
  assert.deepEqual([known.take(far, 'found'), known.take(far, 'found'), known.take(far, 'given')], [true, false, false])
  assert.deepEqual([known.take(near, 'found'), known.take(near, 'found')], [true, false])
  assert.deepEqual([known.take(near, 'given'), known.take(near, 'given'), known.take(near, 'found')], [true, false, false])
  known.forget(near, 'found') // what the stranger's word began has ended: the user's goes on
  assert.equal(known.take(near, 'found'), false)
  known.forget(near, 'given')
  assert.equal(known.take(near, 'found'), true)
})

test('there are at most so many, but the user is heard then, too', () => {
  const known = new KnownPeers()
  const peers = Array.from({ length: MAX_SWARM_PEERS }, (_, i) => ({ host: `10.0.${i >> 8}.${i & 255}`, port: 1000 }))
  assert.ok(peers.every(p => known.take(p, 'found')))
  assert.equal(known.take({ host: '10.9.9.9', port: 1000 }, 'found'), false)
  assert.equal(known.take(peers[0]!, 'given'), true)
})
