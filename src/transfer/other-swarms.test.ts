import assert from 'node:assert/strict'
import test from 'node:test'
import { silentLogger } from '../base/log.ts'
import { MAX_OTHER_HASHES_BYTES, MAX_OTHER_SWARMS } from './limits.ts'
import { Others } from './other-swarms.node.ts'
import type { FeedContext } from './plan.node.ts'

test('BT15: offers do not make us join more than a few swarms, and never one offer a dozen', async () => {
  const joined: Uint8Array[] = []
  let left = 0
  const swarm = {
    protocol: 'bittorrent',
    open: (extra: Uint8Array) => {
      joined.push(extra)
      return { [Symbol.asyncDispose]: async () => void left++ }
    }
  }
  const offerOf = (n: number, bytes: number) => ({
    peerId: `peer ${n}`,
    offer: { protocols: [{ name: 'bittorrent', port: 4001, extra: new Uint8Array(bytes).fill(n) }] }
  })
  {
    await using others = new Others({ others: [swarm], log: silentLogger }, {} as FeedContext)
    others.join(offerOf(1, 240))
    others.join(offerOf(2, 0))
    assert.equal(joined.length, 0)
    for (let n = 3; n < 20; n++) others.join(offerOf(n, MAX_OTHER_HASHES_BYTES))
    others.join(offerOf(3, MAX_OTHER_HASHES_BYTES))
    assert.equal(joined.length, MAX_OTHER_SWARMS)
  }
  assert.equal(left, MAX_OTHER_SWARMS)
})
