import assert from 'node:assert/strict'
import test from 'node:test'
import { defaultSeedingProtocols } from './seeding-policy.ts'

test('what a seeder offers by itself follows from how it can be reached', () => {
  const node = { environment: 'node' } as const
  assert.equal(defaultSeedingProtocols({ ...node, reachability: 'public' })[0], 'http')
  assert.ok(!defaultSeedingProtocols({ ...node, reachability: 'public' }).includes('webtorrent'))
  assert.deepEqual(defaultSeedingProtocols({ ...node, reachability: 'private' }), ['webtorrent', 'kith'])
  assert.deepEqual(defaultSeedingProtocols({ ...node, reachability: 'private', bittorrentReachable: true }), [
    'webtorrent',
    'bittorrent',
    'kith'
  ])
  for (const protocol of ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k'])
    assert.ok(defaultSeedingProtocols({ ...node, reachability: 'unknown' }).includes(protocol), protocol)
  for (const reachability of ['public', 'private', 'unknown'] as const) {
    assert.deepEqual(defaultSeedingProtocols({ environment: 'browser', reachability }), ['webtorrent', 'kith'])
    assert.ok(defaultSeedingProtocols({ ...node, reachability }).includes('kith'))
  }
})
