/**
 * Runs inside a network namespace that has an address beside loopback: Chromium with the standard WebTorrent bundle fetches a file from our
 * seeder, then seeds one to our downloader; our tracker brings them together. Prints one line of JSON.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { bytesToHex, hexToBytes } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { formatMagnet } from '../../src/transfer/bittorrent/magnet.ts'
import { infoOfShare } from '../../src/transfer/bittorrent/metainfo.ts'
import { makeGrid } from '../../src/transfer/grid.ts'
import type { Source } from '../../src/transfer/protocol.ts'
import { openWebSocketTracker } from '../../src/transfer/webtorrent/tracker-server.node.ts'
import { openWebTorrent } from '../../src/transfer/webtorrent/webtorrent.node.ts'
import { CHUNK_BYTES } from '../../src/wire/limits.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'

const SIZE = 8 * 2 ** 20
const [profile = ''] = process.argv.slice(2)
/** What wt-page.html gives the test. */
interface Page {
  fetchFile(magnet: string, tracker: string): Promise<{ readonly name: string; readonly size: number; readonly sha256: string }>
  seedFile(size: number, pieceLength: number, tracker: string): Promise<{ readonly infoHash: string; readonly sha256: string }>
}

await using stack = new AsyncDisposableStack()
const base = { clock: systemClock, log: silentLogger }
const tracker = stack.use(await openWebSocketTracker(base, { host: '127.0.0.1', port: 0 }))
const trackerUrl = `ws://127.0.0.1:${tracker.port}/`
const share = new MemoryShare(seededBytes(SIZE), { name: 'from-kith.bin' })
const infoHash = infoOfShare(share)!.infoHash
const node = stack.use(await openWebTorrent({ ...base, shares: shareIndex([share], () => infoHash), gate: new TestGate() }))
stack.use(node.announceShare(infoHash, [trackerUrl], 'given'))

const BUNDLE = join(import.meta.dirname, '../../node_modules/webtorrent/dist/webtorrent.min.js')
const web = createServer((request, response) => {
  const isBundle = request.url === '/webtorrent.min.js'
  response.setHeader('content-type', isBundle ? 'text/javascript' : 'text/html')
  response.end(readFileSync(isBundle ? BUNDLE : join(import.meta.dirname, 'wt-page.html')))
})
await new Promise<void>(resolve => web.listen(0, '127.0.0.1', resolve))
stack.defer(() => {
  web.close()
  web.closeAllConnections()
})

const browser = await chromium.launchPersistentContext(profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-features=WebRtcHideLocalIpsWithMdns'
  ]
})
stack.defer(() => browser.close())
const page = await browser.newPage()
await page.goto(`http://127.0.0.1:${(web.address() as AddressInfo).port}/`)
await page.waitForFunction('window.fetchFile')

const began = performance.now()
const fetched = await page.evaluate(([magnet, url]) => (globalThis as unknown as Page).fetchFile(magnet, url), [
  formatMagnet({ infoHash, name: share.name, trackers: [] }),
  trackerUrl
] as const)
const fetchedMs = performance.now() - began

const seeded = await page.evaluate(([size, pieceLength, url]) => (globalThis as unknown as Page).seedFile(size, pieceLength, url), [
  SIZE,
  CHUNK_BYTES,
  trackerUrl
] as const)
const grid = makeGrid(SIZE)
const sources: Source[] = []
stack.use(
  node.openSwarm({
    torrent: { infoHash: hexToBytes(seeded.infoHash), size: SIZE, pieceLength: CHUNK_BYTES, info: undefined },
    trackers: [trackerUrl],
    trust: 'given',
    left: () => SIZE,
    onSource: source => void sources.push(source)
  })
)
const middle = performance.now()
await eventually('the browser is a source', () => sources.some(s => s.has(0)), 10_000)
const delivery = new MemoryDelivery(grid, { first: 0, count: grid.count })
await sources.find(s => s.has(0))!.fetch(delivery, new AbortController().signal)
const gotMs = performance.now() - middle
const hash = createHash('sha256')
for (let i = 0; i < grid.count; i++) hash.update(delivery.chunks.get(i)!)
const result = {
  fetched: { ...fetched, wanted: bytesToHex(share.fileId), ms: Math.round(fetchedMs) },
  seeded: { sha256: hash.digest('hex'), wanted: seeded.sha256, ms: Math.round(gotMs) }
}
await stack.disposeAsync()
console.log(JSON.stringify(result))
