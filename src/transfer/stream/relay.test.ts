/** A file from a seeder that nobody reaches but through a relay. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { type HostOptions, openHost } from '../../net/host.node.ts'
import type { Host } from '../../net/host.ts'
import { ScopeGate } from '../../net/scope-gate.ts'
import { openKithStream } from '../stream.ts'

const base = { clock: systemClock, log: silentLogger }
const signal = new AbortController().signal

async function open(t: TestContext, options: HostOptions): Promise<{ host: Host; gate: ScopeGate }> {
  const gate = new ScopeGate()
  const host = await openHost({ ...base, gate, peerPrivateKey: randomBytes(32) }, { listen: [], ...options })
  t.after(() => host[Symbol.asyncDispose]())
  await host.relaysTried
  return { host, gate }
}

test('every chunk comes through the relay, in several connections when one may not carry all', async t => {
  const share = new MemoryShare(seededBytes(6 * 2 ** 20 + 77))
  const relay = await open(t, { listen: ['/ip4/127.0.0.1/tcp/0'], relayServer: { circuitBytes: 4 * 2 ** 20 } })
  const seeder = await open(t, { relays: relay.host.addresses() })
  const gate = new TestGate()
  await using _ = openKithStream({ ...base, streams: seeder.host.streams, shares: shareIndex([share]), gate })
  const downloader = await open(t, {})
  const [address] = seeder.host.addresses()
  downloader.gate.allow(address!, 'user')
  await downloader.host.dial(address!, AbortSignal.timeout(5000))
  assert.equal(downloader.host.rpc.addressOf(seeder.host.peerId), undefined)

  const deps = { ...base, streams: downloader.host.streams, shares: shareIndex([]), gate: new TestGate() }
  await using protocol = openKithStream(deps)
  const { fileId, grid } = share
  const endpoint = {
    host: '',
    peerId: seeder.host.peerId,
    port: 0,
    extra: new Uint8Array(),
    fileId,
    grid,
    seeder: undefined,
    ticket: undefined
  }
  await using source = await protocol.openSource(endpoint, signal)
  const got = new Map<number, Uint8Array>()
  let cuts = 0
  const deadline = performance.now() + 30_000
  for (let first = 0; first < grid.count; first = got.size) {
    assert.ok(performance.now() < deadline, 'too slow')
    const delivery = new MemoryDelivery(grid, { first, count: grid.count - first })
    await within(10_000, `chunks from ${first}`, source.fetch(delivery, signal)).catch((error: unknown) => {
      assert.ok(hasCode(error, 'SOURCE_LOST'), String(error))
      cuts++
    })
    delivery.assertMatches(share)
    for (const [i, bytes] of delivery.chunks) got.set(i, bytes)
  }
  assert.equal(got.size, grid.count)
  assert.ok(cuts >= 1, 'the relay cut the first connection')
  await eventually('the gate heard of all that left', () => gate.sentBytes >= share.grid.size)
  assert.equal(
    downloader.host
      .peers()
      .find(p => p.peerId === seeder.host.peerId)
      ?.address.includes('/p2p-circuit'),
    true
  )
})
