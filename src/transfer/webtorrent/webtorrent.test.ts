/** Nodes that meet over WebRTC on loopback: through our own tracker and through signalling. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import test from 'node:test'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { decode, encode } from '../../base/codec.ts'
import { silentLogger } from '../../base/log.ts'
import { MemoryNetwork } from '../../net/rpc-memory.ts'
import { rtcAnswer, rtcOffer } from '../../wire/rtc.ts'
import { encodeHandshake, encodeMessage } from '../bittorrent/messages.ts'
import { infoOfShare } from '../bittorrent/metainfo.ts'
import type { Share, Source } from '../protocol.ts'
import { rpcSignalling } from '../webtorrent-signalling.ts'
import { RtcPool } from './pool.node.ts'
import { openWebSocketTracker } from './tracker-server.node.ts'
import { openWebTorrent, type WebTorrent, type WebTorrentDeps } from './webtorrent.node.ts'

const LONG_MS = 10_000
const LOCAL = { allowPrivate: true, allowLoopback: true }
const base = { clock: systemClock, log: silentLogger }
const hashOf = (share: Share): Uint8Array => infoOfShare(share)!.infoHash
const never = new AbortController().signal

function node(shares: readonly Share[], more: Partial<WebTorrentDeps> = {}): Promise<WebTorrent> {
  const deps = { ...base, shares: shareIndex(shares, hashOf), gate: new TestGate(), ...more }
  return openWebTorrent(deps, { bindAddress: '127.0.0.1' })
}

async function fetchAll(source: Source, share: MemoryShare): Promise<void> {
  for (let first = 0; first < share.grid.count; first += source.maxRun) {
    const delivery = new MemoryDelivery(share.grid, { first, count: Math.min(source.maxRun, share.grid.count - first) })
    await within(LONG_MS, `chunks from ${first}`, source.fetch(delivery, never))
    delivery.assertMatches(share)
  }
}

/** A swarm of one download; its sources as they come. */
function join(
  node: WebTorrent,
  share: MemoryShare,
  url: string,
  left = 1
): AsyncDisposable & { readonly sources: Source[]; readonly connected: number } {
  const sources: Source[] = []
  const torrent = { infoHash: hashOf(share), size: share.grid.size, pieceLength: share.grid.chunkBytes, info: undefined }
  const swarm = node.openSwarm({ torrent, trackers: [url], trust: 'given', left: () => left, onSource: s => void sources.push(s) })
  return {
    sources,
    get connected() {
      return swarm.connected
    },
    [Symbol.asyncDispose]: () => swarm[Symbol.asyncDispose]()
  }
}

for (const seederFirst of [true, false]) {
  test(`a ${seederFirst ? 'seeder that was there first' : 'seeder that comes later'} is found at a tracker and gives the file`, async () => {
    const share = new MemoryShare(seededBytes(3 * 2 ** 20 + 5))
    await using tracker = await openWebSocketTracker(base, { host: '127.0.0.1', port: 0 })
    const url = `ws://127.0.0.1:${tracker.port}/`
    await using seeder = await node([share])
    await using leecher = await node([])
    await using stack = new AsyncDisposableStack()
    const announced = (): AsyncDisposable => stack.use(seeder.announceShare(hashOf(share), [url, 'udp://127.0.0.1:1'], 'given'))
    const figures = async (): Promise<string> => {
      const hash = [...hashOf(share)].map(b => `%${b.toString(16).padStart(2, '0')}`).join('')
      return (await fetch(`http://127.0.0.1:${tracker.port}/scrape?info_hash=${hash}`)).text()
    }
    if (seederFirst) announced()
    if (seederFirst) await eventually('the seeder is known', async () => (await figures()).includes('completei1e'), LONG_MS)
    const swarm = stack.use(join(leecher, share, url))
    if (!seederFirst) await eventually('the leecher is known', async () => (await figures()).includes('incompletei1e'), LONG_MS)
    if (!seederFirst) announced()
    await eventually('a source', () => swarm.sources.some(s => s.has(0)), LONG_MS)
    const source = swarm.sources.find(s => s.has(0))!
    assert.equal(source.protocol, 'webtorrent')
    await fetchAll(source, share)
    await stack.disposeAsync()
    await eventually('the tracker is told of the end', async () => !/:(in)?completei1e/.test(await figures()), LONG_MS)
  })
}

test('the metadata of a magnet link comes over WebRTC alone', async () => {
  const share = new MemoryShare(seededBytes(2 ** 20))
  await using tracker = await openWebSocketTracker(base, { host: '127.0.0.1', port: 0 })
  const url = `ws://127.0.0.1:${tracker.port}/`
  await using seeder = await node([share])
  await using _ = seeder.announceShare(hashOf(share), [url], 'given')
  await using leecher = await node([])
  const magnet = { infoHash: hashOf(share), infoHashV2: undefined, name: undefined, trackers: [], webSeeds: [], peers: [] }
  const torrent = await leecher.fetchMetainfo(magnet, [{ trackers: [url], trust: 'given' }], AbortSignal.timeout(LONG_MS))
  assert.deepEqual(Buffer.from(torrent.info), Buffer.from(infoOfShare(share)!.info))
  const nobody = leecher.fetchMetainfo({ ...magnet, infoHash: new Uint8Array(20) }, [{ trackers: [url] }], AbortSignal.timeout(100))
  await assert.rejects(nobody, { code: 'METADATA_FAILED' })
})

test('two nodes that offer each other connections keep one', async () => {
  const share = new MemoryShare(seededBytes(2 ** 20))
  await using tracker = await openWebSocketTracker(base, { host: '127.0.0.1', port: 0 })
  const url = `ws://127.0.0.1:${tracker.port}/`
  await using a = await node([])
  await using b = await node([])
  await using left = join(a, share, url)
  await using right = join(b, share, url)
  await eventually('they meet', () => left.connected > 0 && right.connected > 0, LONG_MS)
  await eventually('one is left', () => left.connected === 1 && right.connected === 1, LONG_MS)
})

test('without the native library the protocol says so and is off', async () => {
  const load = async (): Promise<never> => {
    throw Object.assign(new Error("Cannot find package 'node-datachannel'"), { code: 'ERR_MODULE_NOT_FOUND' })
  }
  await assert.rejects(node([], { load }), { code: 'WEBRTC_UNAVAILABLE' })
  await assert.rejects(openWebTorrent({ ...base, shares: shareIndex([]), gate: new TestGate() }, { iceServers: [{ url: 'x' }] }), {
    code: 'BAD_ICE_SERVER'
  })
})

test('BT13: offers for unknown torrents, malformed ones and a flood are refused, and who comes later is served', async () => {
  const share = new MemoryShare(seededBytes(2 ** 18))
  let nowMs = 0
  const clock = { ...systemClock, monotonic: () => nowMs }
  const network = new MemoryNetwork()
  await using seeder = await node([share], { clock, signalling: rpcSignalling(network.join('seeder', '127.0.0.1')) })
  assert.equal(seeder.name, 'webtorrent')
  const signalling = rpcSignalling(network.join('stranger', '127.0.0.1'))
  await using pool = new RtcPool(base, {})
  const connection = await pool.open(true)
  const sdp = await connection.offer(LOCAL, never)
  const infoHash = hashOf(share)
  const refusal = async (offer: { infoHash: Uint8Array; sdp: string }): Promise<unknown> => {
    const error: unknown = await signalling.exchange('seeder', offer, never).then(
      () => undefined,
      e => e
    )
    const { code, data } = (error ?? {}) as { code?: string; data?: { code?: string } }
    return code === 'PEER_REFUSED' ? data?.code : code
  }
  assert.equal(await refusal({ infoHash: new Uint8Array(20), sdp }), 'UNKNOWN_SHARE')
  assert.equal(await refusal({ infoHash, sdp: sdp.replace('webrtc-datachannel', 'x') }), 'BAD_SDP')
  const flood = await Promise.all(Array.from({ length: 30 }, () => refusal({ infoHash, sdp })))
  assert.ok(flood.filter(code => code === 'RATE_LIMITED').length >= 20, String(flood))
  nowMs += 60_000
  await using leecher = await node([], { signalling: rpcSignalling(network.join('leecher', '127.0.0.1')) })
  const endpoint = { host: '', port: 0, extra: infoHash, fileId: share.fileId, grid: share.grid, seeder: undefined, ticket: undefined }
  await using source = await within(LONG_MS, 'a source', leecher.openSource({ ...endpoint, peerId: 'seeder' }, never))
  await fetchAll(source, share)
  await assert.rejects(leecher.openSource(endpoint, never), { code: 'SOURCE_LOST' })
  await assert.rejects(leecher.openSource({ ...endpoint, extra: new Uint8Array(), peerId: 'seeder' }, never), { code: 'SOURCE_LIED' })
  await assert.rejects(leecher.openSource({ ...endpoint, extra: new Uint8Array(20), peerId: 'seeder' }, never), { code: 'SOURCE_LOST' })
})

test('an open, an answer and an abort by a peer that is not what it says end as errors with codes', async () => {
  const share = new MemoryShare(seededBytes(2 ** 18))
  const network = new MemoryNetwork()
  const liar = network.join('liar', '127.0.0.1')
  let answer = 'v=0'
  liar.handle('rtc', { maxRequestBytes: 100_000, perSecond: 100 }, async body => {
    decode(rtcOffer, body)
    return answer === 'hang' ? new Promise(() => {}) : encode(rtcAnswer, { sdp: answer })
  })
  await using leecher = await node([], { signalling: rpcSignalling(network.join('leecher', '127.0.0.1')) })
  const endpoint = {
    ...{ host: '', port: 0, peerId: 'liar', extra: hashOf(share), fileId: share.fileId },
    ...{ grid: share.grid, seeder: undefined, ticket: undefined }
  }
  await assert.rejects(leecher.openSource(endpoint, never), { code: 'SOURCE_LIED' })
  answer = 'hang'
  const stop = new AbortController()
  const opening = leecher.openSource(endpoint, stop.signal)
  stop.abort(new Error('the user stopped it'))
  await within(2000, 'the aborted open', assert.rejects(opening))
})

/** A peer that connects as it should and then says what it likes. */
async function openRaw(
  share: MemoryShare,
  pool: RtcPool,
  network: MemoryNetwork
): Promise<{ ended: Promise<void>; write(b: Uint8Array): void }> {
  const connection = await pool.open(true)
  const sdp = await connection.offer(LOCAL, never)
  const answer = await rpcSignalling(network.join('raw', '127.0.0.1')).exchange('seeder', { infoHash: hashOf(share), sdp }, never)
  await connection.accept(answer.sdp, LOCAL)
  await within(LONG_MS, 'the channel', connection.opened(never))
  const ended = Promise.withResolvers<void>()
  const stream = connection.stream({ data: () => {}, failed: () => {}, gone: ended.resolve })
  const peerId = new Uint8Array(20).fill(7)
  stream.write(encodeHandshake({ infoHash: hashOf(share), peerId, fast: true, extended: true }), () => {})
  return { ended: ended.promise, write: b => stream.write(b, () => {}) }
}

test('a peer that sends nonsense, or blocks nobody asked for, is closed; the node goes on', async () => {
  const share = new MemoryShare(seededBytes(2 ** 20))
  const network = new MemoryNetwork()
  await using seeder = await node([share], { signalling: rpcSignalling(network.join('seeder', '127.0.0.1')) })
  assert.ok(seeder)
  await using pool = new RtcPool(base, {})
  const nonsense = await openRaw(share, pool, network)
  nonsense.write(new Uint8Array(100_000).fill(0xff))
  await within(LONG_MS, 'nonsense is closed', nonsense.ended)
  const unasked = await openRaw(share, pool, network)
  const block = new Uint8Array(13 + 16_384)
  new DataView(block.buffer).setUint32(0, 9 + 16_384)
  block[4] = 7
  unasked.write(block)
  await within(LONG_MS, 'an unasked block is closed', unasked.ended)
  const good = await openRaw(share, pool, network)
  good.write(encodeMessage({ kind: 'interested' }))
  await using leecher = await node([], { signalling: rpcSignalling(network.join('leecher', '127.0.0.1')) })
  const endpoint = {
    ...{ host: '', port: 0, peerId: 'seeder', extra: hashOf(share), fileId: share.fileId },
    ...{ grid: share.grid, seeder: undefined, ticket: undefined }
  }
  await using source = await leecher.openSource(endpoint, never)
  await fetchAll(source, share)
})

test('a process that exits, or throws, with open connections ends with its own code', async () => {
  const script = `
    const { RtcPool } = await import(${JSON.stringify(new URL('./pool.node.ts', import.meta.url).href)})
    const { systemClock } = await import(${JSON.stringify(new URL('../../base/clock.ts', import.meta.url).href)})
    const pool = new RtcPool({ clock: systemClock }, {})
    const policy = { allowPrivate: true, allowLoopback: true }
    const signal = new AbortController().signal
    const [a, b] = [await pool.open(true), await pool.open(true)]
    await a.accept(await b.answer(await a.offer(policy, signal), policy, signal), policy)
    await Promise.all([a.opened(signal), b.opened(signal)])
    const events = { data() {}, failed() {}, gone() {} }
    const stream = a.stream(events)
    b.stream({ ...events, data() { process.argv[1] === 'exit' ? process.exit(7) : process.nextTick(() => { throw new Error('planned') }) } })
    const send = () => stream.write(new Uint8Array(60_000), send)
    send()
    await new Promise(() => {})`
  const run = async (how: string): Promise<number | NodeJS.Signals | null> => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, how], { stdio: 'ignore' })
    return within(
      LONG_MS,
      `the process that ends by ${how}`,
      new Promise(resolve => child.on('exit', (code, signal) => resolve(code ?? signal)))
    )
  }
  assert.deepEqual(await Promise.all([run('exit'), run('throw')]), [7, 1])
})

test('a channel that the library never calls closed holds no process whose pools are closed, and the next pool works', async () => {
  const script = `
    const library = await import('node-datachannel')
    const { RtcPool } = await import(${JSON.stringify(new URL('./pool.node.ts', import.meta.url).href)})
    const { systemClock } = await import(${JSON.stringify(new URL('../../base/clock.ts', import.meta.url).href)})
    const policy = { allowPrivate: true, allowLoopback: true }
    const signal = new AbortController().signal
    for (let round = 0; round < 2; round++) {
      const pool = new RtcPool({ clock: systemClock }, {})
      const [a, b] = [await pool.open(true), await pool.open(true)]
      await a.accept(await b.answer(await a.offer(policy, signal), policy, signal), policy)
      await Promise.all([a.opened(signal), b.opened(signal)])
      const left = new library.PeerConnection('left', { iceServers: [] })
      left.createDataChannel('left').close()
      left.close()
      await pool[Symbol.asyncDispose]()
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore', cwd: import.meta.dirname })
  try {
    const ended = new Promise(resolve => child.on('exit', (code, signal) => resolve(code ?? signal)))
    assert.equal(await within(LONG_MS, 'the process with a forgotten channel', ended), 0)
  } finally {
    child.kill('SIGKILL')
  }
})
