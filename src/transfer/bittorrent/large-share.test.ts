import assert from 'node:assert/strict'
import test from 'node:test'
import { MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { openBitTorrent } from './bittorrent.node.ts'
import { infoOfShare } from './metainfo.ts'

test('BT14: the pieces of a large file are looked at once, not for every connection', async () => {
  let looks = 0
  class Counted extends MemoryShare {
    override has(piece: number): boolean {
      looks++
      return super.has(piece)
    }
  }
  const share = new Counted(seededBytes(5 * 2 ** 18))
  const { infoHash } = infoOfShare(share)!
  const base = { clock: systemClock, log: silentLogger, gate: new TestGate() }
  await using seeder = await openBitTorrent(
    { ...base, shares: shareIndex([share], () => infoHash) },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  await using leecher = await openBitTorrent({ ...base, shares: shareIndex([]) })
  const { fileId, grid } = share
  const endpoint = { host: '127.0.0.1', port: seeder.port, extra: infoHash, fileId, grid, seeder: undefined, ticket: undefined }
  for (let i = 0; i < 3; i++) {
    await using source = await leecher.openSource(endpoint, new AbortController().signal)
    assert.ok(source.has(grid.count - 1))
  }
  assert.equal(looks, grid.count)
})
