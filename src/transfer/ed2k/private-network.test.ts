import assert from 'node:assert/strict'
import test from 'node:test'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { joinEd2kNetworks, serveEd2k } from '../ed2k.node.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Source } from '../protocol.ts'
import { openEd2k } from './ed2k.node.ts'

const deps = { clock: systemClock, log: silentLogger }
for (const way of ['server', 'kad'] as const)
  test(`loopback private network by ${way}`, async () => {
    await using stack = new AsyncDisposableStack()
    const server = stack.use(await serveEd2k(deps, { host: '127.0.0.1', port: 0 }))
    const content = seededBytes(12_000_000)
    const share = new MemoryShare(content, { ed2k: ed2kOf(content) })
    const mk = async (shares: MemoryShare[], boot: string[]) => {
      const ed2k = stack.use(
        await openEd2k({ ...deps, shares: shareIndex(shares), gate: new TestGate() }, { listen: { host: '127.0.0.1', port: 0 } })
      )
      const nets = stack.use(
        await joinEd2kNetworks(
          { ...deps, connectTo: p => void ed2k.connectTo(p), onStatus: s => ed2k.setStatus(s) },
          {
            servers: way === 'server' ? [`127.0.0.1:${server.port}`] : [],
            ...(way === 'kad' ? { kad: { host: '127.0.0.1', port: 0, bootstrap: boot } } : {}),
            userHash: ed2k.userHash,
            listenPort: ed2k.port
          }
        )
      )
      return { ed2k, nets }
    }
    const a = await mk([share], [])
    a.nets.announce({ hash: share.ed2k!.hash, size: content.length, name: 'x', complete: true })
    const b = await mk([], a.nets.kad ? [`127.0.0.1:${a.nets.kad.port}`] : [])
    const t = performance.now()
    const hs = await b.ed2k.fetchHashSet(
      { hash: share.ed2k!.hash, size: content.length, peers: [], finders: b.nets.finders },
      AbortSignal.timeout(20000)
    )
    assert.equal(hs.length, 32)
    const sources: Source[] = []
    await using _s = b.ed2k.openSwarm({
      hash: share.ed2k!.hash,
      size: content.length,
      chunkBytes: PART_BYTES,
      finders: b.nets.finders,
      onSource: s => void sources.push(s)
    })
    await eventually('source', () => sources[0]?.has(1) === true, 20000)
    const d = new MemoryDelivery({ size: content.length, chunkBytes: PART_BYTES, count: 2 }, { first: 0, count: 2 })
    await sources[0]!.fetch(d, AbortSignal.timeout(20000))
    assert.equal(d.chunks.size, 2)
    console.log(way, (performance.now() - t).toFixed(0), 'ms')
  })
