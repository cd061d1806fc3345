import assert from 'node:assert/strict'
import test from 'node:test'
import type { PeerBook } from '../../trust/types.ts'
import { ownEndpoints } from './own-endpoints.ts'

test('a stranger is told nowhere, a peer that the user knows what means something where it is', () => {
  const [here, home, outside, relayed] = [
    '/ip4/127.0.0.1/tcp/4801/p2p/US',
    '/ip4/192.168.1.2/tcp/4801/p2p/US',
    '/ip4/9.9.9.9/tcp/4801/p2p/US',
    '/ip4/8.8.8.8/tcp/4801/p2p/RELAY/p2p-circuit/p2p/US'
  ] as const
  const peers: Record<string, { readonly peerIds: readonly string[]; readonly name?: string; readonly verified: boolean }> = {
    stranger: { peerIds: ['at-home'], verified: false },
    'named at home': { peerIds: ['at-home'], name: 'ann', verified: false },
    'verified here': { peerIds: ['here'], verified: true },
    'granted, outside': { peerIds: ['outside'], verified: false },
    'named, by a relay at home': { peerIds: ['relayed'], name: 'bea', verified: false },
    'named, without a connection': { peerIds: ['gone'], name: 'cid', verified: false }
  }
  const book = { peer: (id: string) => peers[id], grants: (id: string) => (id.startsWith('granted') ? [{}] : []) } as unknown as PeerBook
  const host = {
    addresses: () => [here, home, outside, relayed],
    peers: () => [
      { peerId: 'at-home', address: '/ip4/192.168.1.7/tcp/50000' },
      { peerId: 'here', address: '/ip4/127.0.0.1/tcp/50000' },
      { peerId: 'outside', address: '/ip4/1.1.1.1/tcp/50000' },
      { peerId: 'relayed', address: '/ip4/192.168.1.9/tcp/4801/p2p/RELAY/p2p-circuit' }
    ]
  }
  const told = (from: string): string[] => ownEndpoints({ host, book }, from)
  assert.deepEqual(told('stranger'), [])
  assert.deepEqual(told('nobody'), [])
  assert.deepEqual(told('named at home'), [home, outside, relayed])
  assert.deepEqual(told('verified here'), [here, home, outside, relayed])
  for (const far of ['granted, outside', 'named, by a relay at home', 'named, without a connection'])
    assert.deepEqual(told(far), [outside, relayed], far)
})
