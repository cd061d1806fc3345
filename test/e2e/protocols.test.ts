/** One file over every protocol and by every address, as a user fetches it; free and paid; when a protocol is dead; after a restart. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { suite, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { hasCode } from '../../src/base/errors.ts'
import type { DownloadView, FileInfo, GetRequest, SourceView } from '../../src/node/types.ts'
import { amountDue } from '../../src/wire/wei.ts'
import { errorCode, followDownload, isOver, Lab, LOCAL, sha256OfFile } from '../kits/lab.ts'
import { chainUp, fund, walletIn } from '../kits/lab-chain.ts'
import type { Ended } from '../kits/process.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const SIZE = 2 ** 20 + 77
const ALL = ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith']
/** What goes wrong inside a process. */
const preload = (kit: string): string => `--import ${pathToFileURL(join(import.meta.dirname, '../kits', kit)).href}`

suite('protocols', { concurrency: 2, timeout: 180_000 }, () => {
  test('a free file by every address and over each protocol alone, also after a restart', everyAddress)
  test('a paid file over each protocol that says who asks', paid)
  test('nobody needs a port that is dead, a default port, or the library for WebRTC', deadParts)
})

/** Protocols that brought something. */
const used = (sources: unknown): string[] => [...new Set((sources as SourceView[]).filter(s => s.chunks > 0).map(s => s.protocol))]

function assertGot(end: Ended, sha256: unknown, what: string): void {
  assert.equal(end.code, 0, `${what}: ${end.err}${end.out.slice(-1000)}`)
  assert.equal(sha256OfFile(String(end.last['path'])), sha256, what)
}

/** Ports from the multiaddrs that `kith info` shows. */
const portsOf = ({ seeders }: FileInfo): Record<string, string> =>
  Object.fromEntries(Object.entries(seeders).map(([name, [s]]) => [name, /\/tcp\/([0-9]+)/.exec(s!.multiaddr)?.[1] ?? '']))

async function everyAddress(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('some file.bin', SIZE)
  const { ready, process } = await lab.ready('a', 'share', file)
  assert.deepEqual(ready.protocols, ALL)
  const b = await lab.ready('b', 'up', '--bootstrap', ready.addresses[0]!)
  const get = (out: string, ...args: string[]): Promise<Ended> => lab.client('b', 'get', ...args, '-o', lab.dir(out))

  const info = await lab.client('b', 'info', ready.link!)
  const metadata = info.last as unknown as FileInfo
  const { file_hash, file_name, file_size, total_chunks, chunk_size, total_seeders, seeders_by_protocol, seeders } = metadata
  assert.deepEqual(
    { file_hash, file_name, file_size, total_chunks, chunk_size, total_seeders },
    { file_hash: ready.fileId, file_name: 'some file.bin', file_size: SIZE, total_chunks: 5, chunk_size: 262_144, total_seeders: 1 }
  )
  assert.deepEqual(Object.keys(seeders_by_protocol).sort(), [...ALL].sort())
  assert.deepEqual([seeders['http']![0]!.chunks, seeders['http']![0]!.price_per_mb], ['all', '0'])
  assert.ok(Math.abs(metadata.created_at! - Date.now() / 1000) < 600, 'seconds, as in the specification')
  const ports = portsOf(metadata)

  // For people everything is on the screen; nothing is hashed again for it.
  const shown = await lab.start('a', ['share', file, '--no-json']).ended()
  for (const address of [ready.link, ready.cid, ready.magnet, ready.torrentPath, ready.plainTorrentPath, ready.ed2k, ready.httpUrls?.[0]])
    assert.ok(address && shown.out.includes(address), address)

  assert.match(ready.magnet!, new RegExp(`&x\\.pe=[^&]+:${ports['bittorrent']}`), 'other programs on this network need no tracker')
  await inPairs([[ready.magnet!], [ready.torrentPath!], [ready.ed2k!]], async ([address], i) => {
    const peer = `127.0.0.1:${ports[address!.startsWith('ed2k') ? 'ed2k' : 'bittorrent']}`
    assertGot(await get(`by-${i}`, address!, '--peer', peer), ready.fileId, address!)
  })
  // The same through the API, which costs less.
  const api = lab.api('b')
  const fetchIt = async (out: string, request: Pick<GetRequest, 'address'> & Partial<GetRequest>): Promise<DownloadView> => {
    const { id } = await api.get({ folder: lab.dir(out), ...request })
    const view = await followDownload(api, id, isOver)
    assert.equal(view.state, 'done', `${out}: ${view.message}`)
    assert.equal(sha256OfFile(view.path!), ready.fileId, out)
    return view
  }
  const peers = [`127.0.0.1:${ports['bittorrent']}`]
  const addresses = {
    v2: { address: `magnet:?xt=urn:btmh:1220${ready.infoHashV2}`, peers },
    v1: { address: ready.plainMagnet!, peers },
    plain: { address: ready.plainTorrentPath!, peers },
    url: { address: ready.httpUrls![0]! }
  }
  await inPairs(Object.entries(addresses), async ([name, request]) => void (await fetchIt(`by-${name}`, request)))
  await inPairs(ALL, async name =>
    assert.deepEqual(used((await fetchIt(name, { address: ready.link!, protocols: [name] })).sources), [name])
  )
  const described = [ready.magnet!, ready.plainTorrentPath!, ready.ed2k!].map(address => api.inspect(address))
  assert.deepEqual(
    (await Promise.all(described)).map(i => [i.file_hash.slice(0, 5), i.file_name, i.total_seeders]),
    ['btih:', 'btih:', 'ed2k:'].map(hash => [hash, 'some file.bin', 0]),
    'what nobody signs is what the address says'
  )
  await assert.rejects(api.inspect('hello'), e => hasCode(e, 'BAD_LINK'))
  const preferred = await get('preferred', ready.link!, '--prefer', 'ed2k', '--protocols', 'http,ed2k')
  assertGot(preferred, ready.fileId, 'prefer')
  assert.deepEqual(used(preferred.last['sources']), ['ed2k'])

  // After a restart every protocol is opened again, on other ports. What is hashed stays known, and what is offered may change.
  process.kill('SIGTERM')
  assert.equal((await process.ended()).code, 0)
  await lab.ready('a', 'up', '--bootstrap', b.ready.addresses[0]!)
  const [again] = await lab.api('a').shares()
  const offered = async (): Promise<string[]> => Object.keys((await lab.api('b').inspect(again!.link)).seeders).sort()
  await eventually('every protocol is offered again', async () => (await offered()).length === ALL.length, 30_000)
  await inPairs(['webtorrent', 'ed2k'], async name => void (await fetchIt(`again-${name}`, { address: again!.link, protocols: [name] })))
  const changed = await lab.client('a', 'share', file, '--protocols', 'https,kith')
  assert.deepEqual([changed.last['protocols'], changed.last['magnet'], changed.last['ed2k']], [['https', 'kith'], undefined, undefined])
  assert.deepEqual(await offered(), ['https', 'kith'])
  // Shared once more, with a tracker: it is told.
  const told = await trackerIn(t)
  await lab.client('a', 'share', file, '--protocols', 'bittorrent,webtorrent', '--tracker', told.url)
  for (const hash of [ready.infoHash!, ready.infoHashV2!.slice(0, 40)])
    await eventually('the tracker knows', () => told.infoHashes.has(hash), 20_000)
}

async function paid(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('film.bin', SIZE)
  const { rpc } = await chainUp(lab)
  await walletIn(lab, 'seller', 2)
  await fund(rpc, await walletIn(lab, 'buyer', 1))
  const chain = ['--chain-rpc', rpc]
  const { ready } = await lab.ready('seller', 'share', file, '--price', '0.001', '--credit', '16MiB', ...chain)
  const names = ['http', 'https', 'bittorrent', 'webtorrent']
  assert.deepEqual([ready.protocols, ready.ed2k, ready.httpUrls], [names, undefined, []])
  const refused = await lab.client('seller', 'share', file, '--price', '0.001', '--protocol', 'ed2k')
  assert.deepEqual([refused.code, errorCode(refused)], [2, 'FREE_ONLY'], refused.err)

  await lab.ready('buyer', 'up', ...chain)
  const due = amountDue(SIZE, 10n ** 15n)
  const api = lab.api('buyer')
  for (const name of names) {
    const folder = lab.dir(`out-${name}`)
    const { id } = await api.get({ address: ready.link!, folder, protocols: [name], maxCostWei: (2n * due).toString() })
    const { state, path, message, sources, settlement } = await followDownload(api, id, isOver)
    assert.equal(state, 'done', `${name}: ${message}`)
    assert.equal(sha256OfFile(path!), ready.fileId)
    assert.deepEqual([used(sources), settlement?.state, settlement?.totalWei], [[name], 'confirmed', due.toString()])
  }
  const earned = async (): Promise<bigint> => BigInt((await lab.api('seller').wallet()).earnedWei)
  await eventually('the seller knows of all four', async () => (await earned()) === 4n * due, 30_000)
}

async function deadParts(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = lab.file('f.bin', SIZE)
  const env = { NODE_OPTIONS: `${preload('dead-http.ts')} ${preload('no-webrtc.ts')}` }
  const seeder = lab.start('a', ['share', file, ...LOCAL], undefined, env)
  // Default ports in two homes: whoever comes second, also after another program of this machine, takes free ones.
  const up = ['up', '--json', '--no-lan', '--listen', '127.0.0.1']
  const [ready, b, c] = await Promise.all([seeder.line('ready'), lab.start('b', up).line('ready'), lab.start('c', up).line('ready')])
  const all = [b, c].flatMap(r => [r['api'], ...(r['addresses'] as string[])].map(a => /\b\d{4,5}\b/.exec(String(a))?.[0]))
  assert.equal(new Set(all).size, 6, 'each has an API, a TCP and a WebSocket port')
  const api = lab.api('b')
  await assert.rejects(fetch((ready['httpUrls'] as string[])[0]!), 'the HTTP port is dead')
  const asked = await lab.client('a', 'share', file, '--protocol', 'webtorrent')
  assert.deepEqual([asked.code, errorCode(asked)], [69, 'WEBRTC_UNAVAILABLE'], 'what was asked for is not left out silently')
  assert.deepEqual(
    Object.keys((await api.inspect(String(ready['link']))).seeders).filter(p => p === 'webtorrent'),
    []
  )
  for (const [out, more] of Object.entries({ any: {}, prefer: { prefer: 'https' } })) {
    const { id } = await api.get({ address: String(ready['link']), folder: lab.dir(out), ...more })
    const view = await followDownload(api, id, isOver)
    assert.equal(view.state, 'done', view.message)
    assert.equal(sha256OfFile(view.path!), ready['fileId'])
    assert.ok(!used(view.sources).some(p => p.startsWith('http')), String(used(view.sources)))
  }
}

/** A BitTorrent tracker that knows nobody, and remembers what it was told. */
async function trackerIn(t: TestContext): Promise<{ readonly url: string; readonly infoHashes: ReadonlySet<string> }> {
  const infoHashes = new Set<string>()
  const server = createServer((request, response) => {
    const raw = /[?&]info_hash=([^&]*)/.exec(request.url ?? '')?.[1] ?? ''
    infoHashes.add(
      Buffer.from(
        raw.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
        'latin1'
      ).toString('hex')
    )
    response.end('d8:intervali1800e5:peers0:e')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/announce`, infoHashes }
}

/** Two at a time. */
async function inPairs<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += 2) await Promise.all(items.slice(i, i + 2).map((item, k) => work(item, i + k)))
}
