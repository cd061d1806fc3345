/**
 * BitTorrent v2 with libtorrent, both ways: it fetches our hybrid by its v1 hash, by its v2 hash and by both; we fetch a hybrid and two
 * torrents that only have v2 (one file; a folder), all made by libtorrent, by magnet: metadata, piece layers, pieces. Run by
 * bittorrent.test.ts inside a network namespace: node bt-v2-case.ts HOST
 * Prints one JSON line; exits 0 only when every file has the right SHA-256.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import { type BitTorrent, openBitTorrent } from '../../src/transfer/bittorrent/bittorrent.node.ts'
import { formatMagnet } from '../../src/transfer/bittorrent/magnet.ts'
import { makeTorrent } from '../../src/transfer/bittorrent/metainfo.ts'
import { Download } from '../../src/transfer/download.node.ts'
import { freeGate } from '../../src/transfer/payment-gate.ts'
import { planTorrent } from '../../src/transfer/plan-torrent.node.ts'
import { eventually, MemoryShare, seededBytes, TestGate, within } from '../kits/transfer-doubles.ts'
import { openTestPeer, type TestPeer } from '../kits/transfer-peer.ts'
import { stop } from './bt-programs.ts'
import { v2DigestOf } from './bt-v2.ts'

const PORT = 6951
const DEADLINE_MS = 55_000
const SIZE = 9 * 2 ** 20 + 12_345
/** What libtorrent seeds: more than 512 pieces of 16 KiB, so that a layer comes in two answers; files that leave gaps behind them. */
const SEEDED: Readonly<Record<string, number>> = {
  'hybrid/a.bin': 300_000,
  'hybrid/b/c.bin': 1_000_000,
  one: SIZE,
  'many/0-small': 5,
  'many/1-empty': 0,
  'many/2-whole': 4 * 65_536,
  'many/d/3-large': 1_000_001,
  'many/d/4-one-piece': 40_000
}
const WAYS = ['v1', 'v2', 'both'] as const

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function writeSeeded(folder: string): void {
  for (const [i, [name, size]] of Object.entries(SEEDED).entries()) {
    const path = join(folder, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, seededBytes(size, i + 1))
  }
}

/** SHA-256 of every file below a path, by its path. */
function treeOf(path: string, prefix = ''): Record<string, string> {
  if (!statSync(path).isDirectory()) return { [prefix]: sha256(readFileSync(path)) }
  return Object.assign({}, ...readdirSync(path).map(name => treeOf(join(path, name), `${prefix}/${name}`))) as Record<string, string>
}

/** Downloads an address from libtorrent as `kith get` does. @returns whether all its files are right */
async function fetchOne(bt: BitTorrent, peer: TestPeer, host: string, folder: string, name: string, address: string): Promise<boolean> {
  const given = { peers: [{ host, port: PORT }], trust: 'given' as const }
  const parsed = address.startsWith('magnet:')
    ? ({ kind: 'magnet', text: address } as const)
    : ({ kind: 'torrent', path: address } as const)
  const target = mkdtempSync(join(folder, 'out-'))
  await using download = new Download(
    {
      clock: systemClock,
      log: createLogger(() => {}, 'silent'),
      payments: freeGate,
      shares: peer.shares,
      onChange: () => {},
      plan: (_note, signal) => planTorrent({ bittorrent: bt, given }, parsed, signal),
      announce: async () => {},
      withdraw: async () => {}
    },
    { address, folder: target, maxCostWei: undefined }
  )
  await within(DEADLINE_MS, `${name} is here`, download.ended)
  if (download.state !== 'done') throw new Error(`${name}: ${download.message}`)
  const [wanted, got] = [treeOf(join(folder, 'seed', name)), treeOf(download.path!)]
  return JSON.stringify(wanted) === JSON.stringify(got)
}

async function main(host: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bt-v2-'))
  let child: ChildProcess | undefined
  try {
    writeSeeded(join(folder, 'seed'))
    const content = seededBytes(SIZE, 99)
    const ours = new MemoryShare(content, { name: 'from-us.bin', v2: v2DigestOf(content) })
    const made = makeTorrent({ ...ours, size: SIZE, pieceLength: ours.grid.chunkBytes })
    const keys = [made.infoHash, made.infoHashV2!.subarray(0, 20)].map(bytesToHex)
    await using peer = await openTestPeer(new MemoryNetwork())
    const partial = peer.shares.forProtocol('bittorrent')
    const shares = { ...partial, byInfoHash: (hex: string) => (keys.includes(hex) ? ours : partial.byInfoHash(hex)) }
    const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
    await using bt = await openBitTorrent({ clock: systemClock, log, shares, gate: new TestGate() }, { listen: { host, port: 0 } })
    const links = {
      v1: formatMagnet({ infoHash: made.infoHash }),
      v2: formatMagnet({ infoHash: made.infoHashV2!.subarray(0, 20), infoHashV2: made.infoHashV2 }),
      both: formatMagnet(made)
    }
    const python = spawn(
      '/usr/bin/python3',
      [join(import.meta.dirname, 'bt-v2.py'), host, `${PORT}`, folder, `${bt.port}`, ...WAYS.map(w => `${w}=${links[w]}`)],
      { stdio: ['ignore', 'pipe', 'inherit'] }
    )
    child = python
    const lines: string[] = []
    createInterface({ input: python.stdout }).on('line', line => lines.push(line))
    await eventually('libtorrent seeds', () => lines.length > 0, DEADLINE_MS)
    const theirs = JSON.parse(lines[0]!) as Record<string, string>
    const began = performance.now()
    const get = (name: string, address: string): Promise<boolean> => fetchOne(bt, peer, host, folder, name, address)
    const fetched = await Promise.all(Object.entries(theirs).map(([name, magnet]) => get(name, magnet)))
    fetched.push(await get('one', join(folder, 'one.torrent'))) // alone: libtorrent takes one connection of a peer for each torrent
    const weFetchedMs = Math.round(performance.now() - began)
    await eventually('libtorrent has fetched our file in three ways', () => WAYS.every(w => lines.includes(`done ${w}`)), DEADLINE_MS)
    const theyFetchedMs = Math.round(performance.now() - began)
    const same = WAYS.map(w => sha256(readFileSync(join(folder, 'leech', w, ours.name))) === sha256(content))
    const ok = [...fetched, ...same].every(Boolean)
    console.log(JSON.stringify({ name: 'v2', ok, theyFetchedMs, weFetchedMs, sources: Object.keys(theirs) }))
    if (!ok) process.exitCode = 1
  } finally {
    if (child) await stop(child)
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

await main(process.argv[2]!)
