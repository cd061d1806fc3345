/**
 * One third-party program against our BitTorrent, both ways at once, with torrents that we made (hybrids where it can read them): it fetches a file from us, and
 * we fetch one that it seeds (by magnet: metadata first). Run by bittorrent.test.ts inside a network namespace: node bt-case.ts PROGRAM HOST
 * Prints one JSON line; exits 0 only when both files have the right SHA-256.
 */
import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { type BitTorrent, openBitTorrent } from '../../src/transfer/bittorrent/bittorrent.node.ts'
import { formatMagnet, parseMagnet } from '../../src/transfer/bittorrent/magnet.ts'
import { infoHashesOf, type Metainfo, makeTorrent, parseTorrent } from '../../src/transfer/bittorrent/metainfo.ts'
import { type Grid, makeGrid } from '../../src/transfer/grid.ts'
import type { Source } from '../../src/transfer/protocol.ts'
import { eventually, MemoryDelivery, MemoryShare, shareIndex, TestGate } from '../kits/transfer-doubles.ts'
import { type Program, programs, stop } from './bt-programs.ts'
import { openTestTracker, type TestTracker } from './bt-tracker.ts'
import { v2DigestOf } from './bt-v2.ts'

const SIZE = 9 * 2 ** 20 + 12_345
const DEADLINE_MS = 55_000

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const pieceHashes = (content: Uint8Array, grid: Grid): Uint8Array =>
  Buffer.concat(
    Array.from({ length: grid.count }, (_, i) =>
      createHash('sha1')
        .update(content.subarray(i * grid.chunkBytes, (i + 1) * grid.chunkBytes))
        .digest()
    )
  )

/** The scheduler's job in small: every source takes the next missing chunks it has; pieces are checked by SHA-1. */
class Collector {
  readonly content: Uint8Array
  readonly finished: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  readonly #torrent: Metainfo
  readonly #grid: Grid
  readonly #missing: Set<number>
  readonly #taken = new Set<number>()
  readonly #stop = new AbortController()
  readonly sources: Source[] = []

  constructor(torrent: Metainfo) {
    this.#torrent = torrent
    this.#grid = makeGrid(torrent.size, torrent.pieceLength)
    this.content = new Uint8Array(torrent.size)
    this.#missing = new Set(Array(this.#grid.count).keys())
  }
  add(source: Source): void {
    this.sources.push(source)
    source.onChange(() => void this.#work(source), this.#stop.signal)
    void this.#work(source)
  }
  get left(): number {
    return this.#missing.size
  }
  async #work(source: Source): Promise<void> {
    for (;;) {
      const first = [...this.#missing].find(c => !this.#taken.has(c) && source.has(c))
      if (first === undefined) return
      let count = 1
      while (
        count < Math.min(8, source.maxRun) &&
        this.#missing.has(first + count) &&
        !this.#taken.has(first + count) &&
        source.has(first + count)
      )
        count++
      for (let c = first; c < first + count; c++) this.#taken.add(c)
      const delivery = new MemoryDelivery(this.#grid, { first, count })
      try {
        await source.fetch(delivery, this.#stop.signal)
      } catch {
        // the next source, or the next change of this one
      }
      for (let c = first; c < first + count; c++) this.#taken.delete(c)
      for (const [chunk, bytes] of delivery.chunks) this.#check(chunk, bytes)
      if (delivery.chunks.size === 0) return
    }
  }
  #check(chunk: number, bytes: Uint8Array): void {
    const wanted = this.#torrent.pieces!.subarray(20 * chunk, 20 * chunk + 20)
    if (!createHash('sha1').update(bytes).digest().equals(wanted)) return
    this.content.set(bytes, chunk * this.#grid.chunkBytes)
    this.#missing.delete(chunk)
    if (this.#missing.size === 0) this.finished.resolve()
  }
}

async function fetchFrom(bt: BitTorrent, magnet: string, program: Program, tracker: TestTracker, known: Metainfo): Promise<Collector> {
  const hints = program.dialsUs ? {} : { trackers: [tracker.url], trust: 'given' as const }
  let torrent = known
  if (!program.dialsUs) {
    const link = parseMagnet(magnet)
    // a private tracker is announced to by its name in the link only when the user says so
    await eventually('the program announces itself', () => tracker.peersOf(bytesToHex(link.infoHash)).length > 0, DEADLINE_MS)
    torrent = await bt.fetchMetainfo({ ...link, trackers: [] }, hints, AbortSignal.timeout(DEADLINE_MS))
  }
  const collector = new Collector(torrent)
  await using _swarm = bt.openSwarm({ torrent, ...hints, left: () => collector.left, onSource: s => collector.add(s) })
  await collector.finished.promise
  return collector
}

async function main(name: string, host: string): Promise<void> {
  const program = programs[name]!
  const folder = mkdtempSync(join(tmpdir(), `kith-bt-${name}-`))
  const children: ChildProcess[] = []
  const dirs = { leech: join(folder, 'leech'), seed: join(folder, 'seed') }
  for (const d of Object.values(dirs)) mkdirSync(d)
  try {
    await using tracker = await openTestTracker(host)
    const content = new Uint8Array(randomBytes(SIZE))
    const ours = new MemoryShare(content, { name: `from-us-${name}.bin`, v2: v2DigestOf(content) })
    const theirs = new Uint8Array(randomBytes(SIZE))
    const grid = makeGrid(SIZE)
    const seedName = `from-${name}.bin`
    writeFileSync(join(dirs.seed, seedName), theirs)
    const v2 = !program.onlyV1
    const leech = makeTorrent({ ...ours, v2: v2 ? ours.v2 : undefined, size: SIZE, pieceLength: grid.chunkBytes, trackers: [tracker.url] })
    const seed = makeTorrent({
      name: seedName,
      size: SIZE,
      pieceLength: grid.chunkBytes,
      pieces: pieceHashes(theirs, grid),
      v2: v2 ? v2DigestOf(theirs) : undefined,
      trackers: [tracker.url]
    })
    writeFileSync(join(folder, 'leech.torrent'), leech.bytes)
    writeFileSync(join(folder, 'seed.torrent'), seed.bytes)
    const gate = new TestGate()
    const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
    const shares = {
      ...shareIndex([ours]),
      byInfoHash: (hex: string) => (infoHashesOf(ours).map(bytesToHex).includes(hex) ? ours : undefined)
    }
    await using bt = await openBitTorrent({ clock: systemClock, log, shares, gate }, { listen: { host, port: 0 } })
    await using _announced = bt.announceShare(leech.infoHash, [tracker.url], 'given')
    await eventually('we are announced', () => tracker.peersOf(bytesToHex(leech.infoHash)).length > 0)
    const began = performance.now()
    const job = {
      folder: join(folder, 'home'),
      host,
      ourPort: bt.port,
      leechTorrent: join(folder, 'leech.torrent'),
      leechMagnet: formatMagnet({ ...leech, name: ours.name, trackers: [tracker.url], peers: [{ host, port: bt.port }] }),
      leechFolder: dirs.leech,
      seedTorrent: join(folder, 'seed.torrent'),
      seedFolder: dirs.seed
    }
    children.push(...(await program.run(job)))
    const known = parseTorrent(seed.bytes)
    const target = join(dirs.leech, ours.name)
    let theirMs = 0
    let ourMs = 0
    const [collector] = await Promise.all([
      fetchFrom(bt, formatMagnet(seed), program, tracker, known).finally(() => {
        ourMs = performance.now() - began
      }),
      eventually(
        `${name} has fetched our file`,
        () => existsSync(target) && readFileSync(target).length === SIZE && sha256(readFileSync(target)) === sha256(ours.content),
        DEADLINE_MS
      ).then(() => {
        theirMs = performance.now() - began
      })
    ])
    const ok = sha256(collector.content) === sha256(theirs) && gate.sentBytes >= SIZE
    console.log(
      JSON.stringify({
        name,
        ok,
        theyFetchedMs: Math.round(theirMs),
        weFetchedMs: Math.round(ourMs),
        sources: collector.sources.map(s => s.key)
      })
    )
    if (!ok) process.exitCode = 1
  } finally {
    await Promise.all(children.map(stop))
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

await main(process.argv[2]!, process.argv[3]!)
