/**
 * One file over one BitTorrent connection, from one process to another on loopback: our wire, libtorrent's seeder, and webtorrent's
 * engine beside it. Usage: node bench/bittorrent-wire.ts [--mib 1024] [--runs 5] [--only own,libtorrent,both-libtorrent,webtorrent]
 *
 * "own": our seeder reads a file, our source fills chunk slots, a worker checks every piece with SHA-1 inside the clock, nothing is
 * written. "libtorrent": the same source from python3-libtorrent over TCP. "both-libtorrent": libtorrent on both ends, which writes a
 * file. "webtorrent": its engine on both ends, which checks SHA-1 too and stores in memory. Runs are interleaved; the figure is the
 * median. libtorrent's seeder does not report its CPU time.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, hash, randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { openBitTorrent } from '../src/transfer/bittorrent/bittorrent.node.ts'
import { makeTorrent } from '../src/transfer/bittorrent/metainfo.ts'
import { chunkLength, type Grid, makeGrid } from '../src/transfer/grid.ts'
import type { Delivery, Share, ShareIndex, Source, UploadGate } from '../src/transfer/protocol.ts'
import { SlotPool } from '../src/transfer/scheduling/slot-pool.ts'

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mib: { type: 'string', default: '1024' },
    runs: { type: 'string', default: '5' },
    only: { type: 'string', default: 'own,libtorrent,both-libtorrent,webtorrent' }
  }
})

const gate: UploadGate = { admit: async () => undefined, customerOf: () => undefined, sent: () => {} }
const noShares: ShareIndex = { byFileId: () => undefined, byInfoHash: () => undefined }

interface Fixture {
  readonly folder: string
  readonly path: string
  readonly torrent: string
  readonly grid: Grid
  readonly pieces: Uint8Array
  readonly infoHash: Uint8Array
}

function makeFixture(size: number): Fixture {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  const path = join(folder, 'file.bin')
  const grid = makeGrid(size)
  const pieces = new Uint8Array(20 * grid.count)
  const fd = openSync(path, 'w')
  const chunk = randomBytes(grid.chunkBytes)
  for (let i = 0; i < grid.count; i++) {
    chunk.writeUInt32BE(i)
    const part = chunk.subarray(0, chunkLength(grid, i))
    writeSync(fd, part)
    pieces.set(createHash('sha1').update(part).digest(), 20 * i)
  }
  closeSync(fd)
  const made = makeTorrent({ name: 'file.bin', size, pieceLength: grid.chunkBytes, pieces })
  const torrent = join(folder, 'file.torrent')
  writeFileSync(torrent, made.bytes)
  return { folder, path, torrent, grid, pieces, infoHash: made.infoHash }
}

/** First touch of memory is slow on a virtual machine: take and free some before each run. */
function warm(): void {
  execFileSync(process.execPath, ['-e', 'for (let i = 0; i < 26; i++) globalThis["x" + i] = Buffer.alloc(1e8, 1)'])
}

async function seedOwn(path: string): Promise<void> {
  const file = await open(path)
  const { size } = await file.stat()
  const share: Share = {
    fileId: new Uint8Array(32),
    root: new Uint8Array(32),
    grid: makeGrid(size),
    name: 'file.bin',
    mime: 'application/octet-stream',
    pricePerMb: 0n,
    pieces: undefined,
    has: () => true,
    read: async (offset, length, target) => {
      await file.read(target, 0, length, offset)
    },
    onChunk: () => {}
  }
  const bt = await openBitTorrent(
    { clock: systemClock, log: silentLogger, gate, shares: { byFileId: () => undefined, byInfoHash: () => share } },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  reportUsage()
  console.log(JSON.stringify({ port: bt.port }))
}

function reportUsage(): void {
  process.on('SIGTERM', () => {
    const { user, system } = process.cpuUsage()
    console.log(JSON.stringify({ cpuS: (user + system) / 1e6, rssMiB: process.resourceUsage().maxRSS / 1024 }))
    process.exit(0)
  })
}

const LIBTORRENT_SEED = `
import libtorrent as lt, sys, time, json
s = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'alert_mask': 0})
p = lt.add_torrent_params(); p.ti = lt.torrent_info(sys.argv[1]); p.save_path = sys.argv[2]; p.flags = lt.torrent_flags.seed_mode
h = s.add_torrent(p)
while not h.status().is_seeding or s.listen_port() == 0: time.sleep(0.02)
print(json.dumps({'port': s.listen_port()}), flush=True)
time.sleep(600)
`

const LIBTORRENT_LEECH = `
import libtorrent as lt, sys, time, json, resource, tempfile
port, torrent, folder = sys.argv[1:4]
s = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'alert_mask': 0})
d = tempfile.TemporaryDirectory(dir=folder)
t0 = time.time()
p = lt.add_torrent_params(); p.ti = lt.torrent_info(torrent); p.save_path = d.name; p.flags = lt.torrent_flags.update_subscribe
h = s.add_torrent(p)
h.connect_peer(('127.0.0.1', int(port)))
while not h.status().is_seeding: time.sleep(0.01)
ms = (time.time() - t0) * 1000
u = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({'ms': ms, 'cpuS': u.ru_utime + u.ru_stime, 'rssMiB': u.ru_maxrss / 1024}), flush=True)
`

interface Peer {
  readonly process: ChildProcess
  readonly lines: AsyncIterator<string>
}

function start(command: string, argv: readonly string[]): Peer {
  const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  return { process: child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() }
}

async function line(peer: Peer): Promise<Record<string, number>> {
  const { value, done } = await peer.lines.next()
  return done ? {} : (JSON.parse(value) as Record<string, number>)
}

async function stop(peer: Peer): Promise<Record<string, number>> {
  peer.process.kill('SIGTERM')
  return line(peer)
}

/** Fetches everything with two runs at a time, as the scheduler does; checks SHA-1 per piece. */
async function fetchAll(source: Source, grid: Grid, pieces: Uint8Array): Promise<void> {
  const pool = new SlotPool(grid.chunkBytes, 24 * 2 ** 20)
  let next = 0
  let bad = 0
  let checking = grid.count
  const checked = Promise.withResolvers<void>()
  const held = new Map<number, Awaited<ReturnType<SlotPool['acquire']>>>()
  const worker = new Worker(import.meta.filename, {
    workerData: { buffer: pool.buffer, chunkBytes: grid.chunkBytes, size: grid.size, pieces }
  })
  worker.on('message', ({ chunk, good }: { chunk: number; good: boolean }) => {
    if (!good) bad++
    pool.release(held.get(chunk)!)
    held.delete(chunk)
    if (--checking === 0) checked.resolve()
  })
  const lane = async (): Promise<void> => {
    while (next < grid.count) {
      const first = next
      const count = Math.min(16, grid.count - first)
      next += count
      const slots = new Map<number, Awaited<ReturnType<SlotPool['acquire']>>>()
      const keep = <S extends Awaited<ReturnType<SlotPool['acquire']>>>(chunk: number, slot: S): S => {
        slots.set(chunk, slot)
        return slot
      }
      const delivery: Delivery = {
        grid,
        run: { first, count },
        wants: () => true,
        slot: chunk => {
          const got = pool.acquire()
          return got instanceof Promise ? got.then(s => keep(chunk, s)) : keep(chunk, got)
        },
        received: () => {},
        complete: chunk => {
          const slot = slots.get(chunk)!
          held.set(chunk, slot)
          worker.postMessage({ chunk, slot: slot.index })
        }
      }
      await source.fetch(delivery, AbortSignal.timeout(120_000))
    }
  }
  await Promise.all([lane(), lane(), checked.promise])
  await worker.terminate()
  if (bad > 0) throw new Error(`${bad} pieces were wrong`)
}

async function leechOwn(port: number, torrentFixture: string): Promise<void> {
  const f = JSON.parse(torrentFixture) as { size: number; infoHash: string; pieces: string }
  const grid = makeGrid(f.size)
  const pieces = Buffer.from(f.pieces, 'base64')
  await using bt = await openBitTorrent({ clock: systemClock, log: silentLogger, gate, shares: noShares })
  const started = performance.now()
  const endpoint = { host: '127.0.0.1', port, extra: Buffer.from(f.infoHash, 'hex'), fileId: new Uint8Array(32), grid }
  await using source = await bt.openSource({ ...endpoint, seeder: undefined, ticket: undefined }, AbortSignal.timeout(10_000))
  await fetchAll(source, grid, pieces)
  const ms = performance.now() - started
  const { user, system } = process.cpuUsage()
  console.log(JSON.stringify({ ms, cpuS: (user + system) / 1e6, rssMiB: process.resourceUsage().maxRSS / 1024 }))
}

interface WebTorrentClient {
  seed(path: string, options: object, done: () => void): void
  add(torrent: Buffer, options: object): { addPeer(address: string): void; on(name: string, listener: () => void): void }
  on(name: string, listener: (error: Error) => void): void
  readonly torrentPort: number
}
type WebTorrentClass = new (options: object) => WebTorrentClient

async function webtorrent(): Promise<WebTorrentClient> {
  const { default: WebTorrent } = (await import('webtorrent' as string)) as { default: WebTorrentClass }
  const client = new WebTorrent({ dht: false, lsd: false, utp: false, natUpnp: false, natPmp: false, utPex: false, tracker: false })
  client.on('error', error => {
    throw error
  })
  return client
}

async function seedWebtorrent(path: string): Promise<void> {
  const client = await webtorrent()
  reportUsage()
  client.seed(path, { announce: [], pieceLength: 256 * 1024, name: 'file.bin', createdBy: '' }, () =>
    console.log(JSON.stringify({ port: client.torrentPort }))
  )
}

async function leechWebtorrent(port: number, torrent: string): Promise<void> {
  const { default: MemoryStore } = (await import('memory-chunk-store' as string)) as { default: unknown }
  const client = await webtorrent()
  const fd = openSync(torrent, 'r')
  const bytes = Buffer.alloc(10 * 2 ** 20)
  const t = bytes.subarray(0, readSync(fd, bytes))
  closeSync(fd)
  const started = performance.now()
  const handle = client.add(t, { announce: [], store: MemoryStore, storeCacheSlots: 0 })
  handle.on('infoHash', () => handle.addPeer(`127.0.0.1:${port}`))
  handle.on('done', () => {
    const { user, system } = process.cpuUsage()
    const ms = performance.now() - started
    console.log(JSON.stringify({ ms, cpuS: (user + system) / 1e6, rssMiB: process.resourceUsage().maxRSS / 1024 }))
    process.exit(0)
  })
}

async function measure(kind: string, f: Fixture): Promise<Record<string, number>> {
  warm()
  const me = import.meta.filename
  const seeder = kind.endsWith('libtorrent')
    ? start('/usr/bin/python3', ['-c', LIBTORRENT_SEED, f.torrent, f.folder])
    : start(process.execPath, [me, `seed-${kind}`, f.path])
  const { port } = await line(seeder)
  const facts = { size: f.grid.size, infoHash: Buffer.from(f.infoHash).toString('hex'), pieces: Buffer.from(f.pieces).toString('base64') }
  const input = join(f.folder, 'facts.json')
  writeFileSync(input, JSON.stringify(facts))
  const leech =
    kind === 'both-libtorrent'
      ? start('/usr/bin/python3', ['-c', LIBTORRENT_LEECH, String(port), f.torrent, f.folder])
      : kind === 'webtorrent'
        ? start(process.execPath, [me, 'leech-webtorrent', String(port), f.torrent])
        : start(process.execPath, [me, 'leech-own', String(port), input])
  const down = await line(leech)
  await new Promise(resolve => (leech.process.exitCode === null ? leech.process.once('exit', resolve) : resolve(undefined)))
  const up = await stop(seeder)
  return {
    ms: down['ms'] ?? Number.NaN,
    cpuDown: down['cpuS'] ?? 0,
    cpuUp: up['cpuS'] ?? 0,
    rssDown: down['rssMiB'] ?? 0,
    rssUp: up['rssMiB'] ?? 0
  }
}

const median = (v: readonly number[]): number => [...v].sort((a, b) => a - b)[Math.floor(v.length / 2)] ?? Number.NaN

async function main(): Promise<void> {
  const size = Number(args.mib) * 2 ** 20
  const f = makeFixture(size)
  try {
    const kinds = args.only.split(',')
    const results = new Map<string, Record<string, number>[]>(kinds.map(k => [k, []]))
    for (let run = 0; run < Number(args.runs); run++) for (const kind of kinds) results.get(kind)!.push(await measure(kind, f))
    for (const [kind, all] of results) {
      const of = (key: string): number => median(all.map(r => r[key]!))
      const best = Math.min(...all.map(r => r['ms']!))
      console.log(
        `${kind.padEnd(15)} ${args.mib} MiB  min ${(best / 1000).toFixed(2)} s  median ${(of('ms') / 1000).toFixed(2)} s  ` +
          `${(size / 1e3 / of('ms')).toFixed(0)} MB/s  cpu down ${of('cpuDown').toFixed(2)} s up ${of('cpuUp').toFixed(2)} s  ` +
          `rss down ${of('rssDown').toFixed(0)} MiB up ${of('rssUp').toFixed(0)} MiB`
      )
    }
  } finally {
    rmSync(f.folder, { recursive: true, force: true })
  }
}

/** The worker: compares the SHA-1 of chunks in shared memory. */
function check(): void {
  const { buffer, chunkBytes, size, pieces } = workerData as {
    buffer: SharedArrayBuffer
    chunkBytes: number
    size: number
    pieces: Uint8Array
  }
  const grid = makeGrid(size, chunkBytes)
  parentPort!.on('message', ({ chunk, slot }: { chunk: number; slot: number }) => {
    const bytes = new Uint8Array(buffer, slot * chunkBytes, chunkLength(grid, chunk))
    const digest = hash('sha1', bytes, 'buffer')
    parentPort!.postMessage({ chunk, good: Buffer.compare(digest, pieces.subarray(20 * chunk, 20 * chunk + 20)) === 0 })
  })
}

const [command, a = '', b = ''] = positionals
if (!isMainThread) check()
else if (command === 'seed-own') await seedOwn(a)
else if (command === 'seed-webtorrent') await seedWebtorrent(a)
else if (command === 'leech-own')
  await leechOwn(Number(a), await open(b).then(async h => await h.readFile('utf8').finally(() => h.close())))
else if (command === 'leech-webtorrent') await leechWebtorrent(Number(a), b)
else await main()
