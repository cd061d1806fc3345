import assert from 'node:assert/strict'
import test from 'node:test'
import type { FoundPeer } from '../../discovery/peer-registry-types.ts'
import { answerDiscovery } from './discovery-answers.ts'

test('strangers hear what others published of themselves, and not where they are', () => {
  const peer = (entityId: string, isFresh: boolean): FoundPeer =>
    ({ entityId, isFresh, addresses: ['/ip4/192.168.1.7/tcp/1', '/ip4/9.9.9.9/tcp/1'], capabilities: ['task:sum'] }) as unknown as FoundPeer
  const peers = [peer('did:there', true), peer('did:away', false)]
  const deps = {
    registry: { known: (id: string) => peers.find(p => p.entityId === id), neighbours: () => peers },
    isKnown: (id: string) => id === 'did:friend'
  }
  const ask = (id: string, from: string) => answerDiscovery(deps, { kind: 'entity', entityId: id }, from)
  const capable = (from: string) => answerDiscovery(deps, { kind: 'capability', capability: 'task:sum' }, from)
  assert.deepEqual(ask('did:there', 'did:stranger'), [{ entityId: 'did:there', addresses: [], capabilities: ['task:sum'] }])
  assert.deepEqual(ask('did:away', 'did:stranger'), [], 'a record that has expired is not published any more')
  assert.deepEqual(
    capable('did:stranger').map(p => [p.entityId, p.addresses.length]),
    [['did:there', 0]]
  )
  assert.equal(ask('did:there', 'did:friend')[0]?.addresses.length, 2)
  assert.deepEqual(
    capable('did:friend').map(p => [p.entityId, p.addresses.length]),
    [
      ['did:there', 2],
      ['did:away', 2]
    ]
  )
  assert.deepEqual(ask('did:nobody', 'did:friend'), [])
})
