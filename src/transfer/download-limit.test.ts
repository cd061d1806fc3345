/** Download limits over real sockets: no protocol knows of them, and all keep to them. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { seededBytes } from '../../test/kits/transfer-doubles.ts'
import { MemoryFinder, openTestPeer, type TestPeer, testBitTorrent, testHttp } from '../../test/kits/transfer-peer.ts'
import { systemClock } from '../base/clock.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { createThrottle } from './throttle.ts'

const MIB = 2 ** 20
const PROTOCOLS = [testHttp, testBitTorrent]

interface World extends AsyncDisposable {
  readonly folder: string
  readonly links: readonly string[]
  readonly peer: TestPeer
}

/** Four seeders over two protocols, each with every file. */
async function openWorld(sizes: readonly number[]): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-limit-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const network = new MemoryNetwork()
  const all = new MemoryFinder('')
  const open = () => openTestPeer(network, all, undefined, undefined, { protocols: PROTOCOLS })
  const links: string[] = []
  for (const [i, size] of sizes.entries()) writeFileSync(join(folder, `file-${i}`), seededBytes(size, i + 1))
  for (const protocol of ['http', 'bittorrent', 'http', 'bittorrent']) {
    const seeder = stack.use(await open())
    for (const i of sizes.keys()) links[i] = await seeder.share(join(folder, `file-${i}`), { protocols: [protocol] })
  }
  mkdirSync(join(folder, 'out'))
  const peer = stack.use(await open())
  const owned = stack.move()
  return { folder: join(folder, 'out'), links, peer, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

// Real time: a limit is at most what it says, and this machine may be too busy to use all of it. Its use is tested on a fake clock.
test('one download keeps to its limit over all protocols', async t => {
  await using world = await openWorld([6 * MIB])
  const limit = 3 * MIB
  const at = performance.now()
  const download = world.peer.get(world.links[0]!, { folder: world.folder, limit })
  await download.ended
  const seconds = (performance.now() - at) / 1000
  assert.equal(download.state, 'done', download.message)
  t.diagnostic(`${((6 * MIB) / seconds / limit).toFixed(3)} of the limit`)
  assert.ok((6 * MIB) / seconds <= 1.05 * limit, `${seconds} s`)
})

test('downloads share the limit of the node', async t => {
  await using world = await openWorld([3 * MIB, 3 * MIB])
  const downloadLimit = createThrottle(systemClock, 4 * MIB)
  const at = performance.now()
  const downloads = world.links.map(link => world.peer.get(link, { folder: world.folder, downloadLimit }))
  await Promise.all(downloads.map(d => d.ended))
  const seconds = (performance.now() - at) / 1000
  for (const d of downloads) assert.equal(d.state, 'done', d.message)
  t.diagnostic(`${((6 * MIB) / seconds / (4 * MIB)).toFixed(3)} of the limit`)
  assert.ok((6 * MIB) / seconds <= 1.05 * 4 * MIB, `${seconds} s`)
})

test('who reads along in a sequential download waits for the front of the file, and gets it', async () => {
  await using world = await openWorld([3 * MIB])
  const download = world.peer.get(world.links[0]!, { folder: world.folder, sequential: true, limit: 4 * MIB })
  const stop = AbortSignal.timeout(20_000)
  assert.ok((await download.contiguous(1, stop)) >= 1)
  assert.equal(download.state, 'fetching')
  assert.ok(download.partPath)
  assert.equal(await download.contiguous(3 * MIB, stop), 3 * MIB)
  await download.ended
  assert.equal(download.partPath, undefined)
  assert.equal(await download.contiguous(10 * MIB), 3 * MIB, 'the end is the end')
})
