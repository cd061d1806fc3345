/** Much of everything: 200 sources for one file, 1,000 shared files, a file of 100 GiB. What is bounded is memory, and the time to start. */

import { hash, randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSqlite } from '../src/store/sqlite.node.ts'
import { makeGrid } from '../src/transfer/grid.ts'
import { stampOf } from '../src/transfer/hash-file.node.ts'
import { merkleRoot } from '../src/transfer/hashing/merkle.ts'
import { SHARE_MIGRATIONS, saveShare } from '../src/transfer/share-store.node.ts'
import { formatLink } from '../src/wire/link.ts'
import type { Figure } from './figures.ts'
import { memoryOf, Running, until, warm } from './kit.ts'
import { getOnce, startKith, startNode, startSeeder } from './kith.ts'
import { type Context, fixtureOf } from './race.ts'

const SOURCES = 200
const FILES = 1_000
const LARGE_GIB = 100
const SLOW_MS = 120_000
/** So much of the large file is fetched. */
const FETCHED = 2 ** 30

export const scale = async (context: Context): Promise<Figure[]> => [
  ...(await manySources(context)),
  ...(await manyFiles(context)),
  ...(await largeFile(context))
]

/** BitTorrent, because a seeder of it is no more than a listener: 200 whole nodes would not fit beside each other. */
async function manySources(context: Context): Promise<Figure[]> {
  const { work, mib } = context
  const file = await fixtureOf(context, mib)
  const one = await startSeeder(join(work, 'scale-seeder'), file.path, ['--protocol', 'bittorrent'])
  await one.process[Symbol.asyncDispose]()
  const torrent = one.share.plainTorrentPath!
  await using many = new Running(process.execPath, [join(import.meta.dirname, 'many-peers.ts'), String(SOURCES), file.path, torrent])
  const peers = (await many.line('peers'))['peers'] as string[]
  const args = peers.flatMap(p => ['--peer', p])
  await warm()
  const get = { home: join(work, 'scale-get'), out: join(work, 'scale-out'), servers: [many], address: torrent, args }
  const { view, innerSeconds, rssDown } = await getOnce(get)
  const name = `${SOURCES} BitTorrent sources, ${mib} MiB`
  return [
    { name: `${name}: sources that brought something`, value: view.sources.filter(s => s.bytes > 0).length, unit: '' },
    { name: `${name}: rate`, value: (mib * 2 ** 20) / 1e6 / innerSeconds!, unit: 'MB/s' },
    { name: `${name}: downloader, highest`, value: rssDown!, unit: 'MiB', atMost: 220 }
  ]
}

async function manyFiles({ work }: Context): Promise<Figure[]> {
  const folder = join(work, 'scale-files')
  mkdirSync(folder)
  const paths = Array.from({ length: FILES }, (_, i) => join(folder, `${i}.bin`))
  for (const path of paths) writeFileSync(path, randomBytes(16 * 1024))
  const home = join(work, 'scale-shares')
  const began = performance.now()
  const args = [...paths.slice(1), '--protocol', 'http', '--protocol', 'bittorrent']
  await (await startSeeder(home, paths[0]!, args)).process[Symbol.asyncDispose]()
  const sharedMs = performance.now() - began
  const startedMs = performance.now()
  await using node = await startNode(home)
  const readyMs = performance.now() - startedMs
  await new Promise(resolve => setTimeout(resolve, 3_000))
  return [
    { name: `sharing ${FILES} files of 16 KiB, each in two swarms`, value: sharedMs, unit: 'ms' },
    { name: `a node that seeds ${FILES} files: start to ready`, value: readyMs, unit: 'ms' },
    { name: `a node that seeds ${FILES} files: idle`, value: memoryOf(node.pid)!.nowMib, unit: 'MiB', atMost: 180 }
  ]
}

/** Nothing but zeros, so that all chunks have one hash and nobody has to hash 100 GiB; the file's own SHA-256 is not reached. */
async function largeFile({ work }: Context): Promise<Figure[]> {
  const [home, folder] = [join(work, 'scale-large'), join(work, 'scale-large-files')]
  mkdirSync(folder)
  const path = join(folder, 'zeros.bin')
  writeFileSync(path, '')
  // A download wants room for all of it before it begins.
  const { bavail, bsize } = statfsSync(folder)
  const gib = Math.min(LARGE_GIB, Math.floor((0.8 * bavail * bsize) / 2 ** 30))
  truncateSync(path, gib * 2 ** 30)
  const { fileId, root, size } = await pretendHashed(home, path)
  const began = performance.now()
  await using seeder = await startNode(home)
  const readyMs = performance.now() - began
  const ready = await seeder.line('ready')
  const link = formatLink({ fileId, root, size, name: 'zeros.bin', via: [String((ready['addresses'] as string[])[0])] } as Parameters<
    typeof formatLink
  >[0])
  const out = join(work, 'scale-large-out')
  mkdirSync(out)
  const getBegan = performance.now()
  await using get = startKith(join(work, 'scale-large-get'), ['get', link, '-o', out, '--port', '0', '--listen', '127.0.0.1', '--no-lan'])
  const has = (bytes: number): boolean => get.lines.some(l => Number(/"verifiedBytes":(\d+)/.exec(l)?.[1] ?? 0) >= bytes)
  await until('the first chunk', () => has(1), SLOW_MS)
  const firstMs = performance.now() - getBegan
  await until('a GiB of the large file', () => has(FETCHED), SLOW_MS)
  const [up, down] = [memoryOf(seeder.pid)!.peakMib, memoryOf(get.pid)!.peakMib]
  await get[Symbol.asyncDispose]()
  rmSync(out, { recursive: true })
  rmSync(folder, { recursive: true })
  const name = `a file of ${gib} GiB (${makeGrid(size).count} hashes)`
  return [
    { name: `${name}: seeder, start to ready`, value: readyMs, unit: 'ms' },
    { name: `${name}: downloader, start to first chunk`, value: firstMs, unit: 'ms' },
    { name: `${name}: seeder, highest in the first GiB`, value: up, unit: 'MiB', atMost: 220 },
    { name: `${name}: downloader, highest in the first GiB`, value: down, unit: 'MiB', atMost: 280 }
  ]
}

/** Writes into the share book of a new home what hashing this file would have given. */
async function pretendHashed(
  home: string,
  path: string
): Promise<{ readonly fileId: Uint8Array; readonly root: Uint8Array; readonly size: number }> {
  await (await startNode(home))[Symbol.asyncDispose]()
  const { size } = statSync(path)
  const grid = makeGrid(size)
  const one = hash('sha256', new Uint8Array(grid.chunkBytes), 'buffer')
  const chunkHashes = new Uint8Array(grid.count * 32)
  for (let i = 0; i < grid.count; i++) chunkHashes.set(one, 32 * i)
  const [fileId, root] = [new Uint8Array(randomBytes(32)), merkleRoot(size, chunkHashes)]
  using db = openSqlite(join(home, 'data', 'shares.db'), { migrations: SHARE_MIGRATIONS })
  saveShare(db, {
    ...{ fileId, path, name: 'zeros.bin', mime: 'application/octet-stream', stamp: stampOf(path), root, chunkHashes },
    ...{ infoHash: undefined, pieces: undefined, v2: undefined, ed2k: undefined, pricePerMb: 0n, protocols: ['http'], trackers: [] },
    ...{ uploadLimit: undefined, creditBytes: undefined, addedAt: Date.now() }
  })
  return { fileId, root, size }
}
