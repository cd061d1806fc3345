/**
 * Torrents that libtorrent made (v1 with pieces across files, v1 of one file, a hybrid, v2 alone) are fetched with `seed`, by magnet; then
 * libtorrent ends, our node is stopped and started again, and others fetch them by the same magnets from us alone: another libtorrent, and
 * aria2, which finds us at the tracker that our user named. Run by bittorrent.test.ts inside a network namespace: node bt-reseed-case.ts HOST
 * Prints one JSON line; exits 0 only when every file has the right SHA-256.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { createLogger } from '../../src/base/log.ts'
import { loadConfig } from '../../src/node/load-config.node.ts'
import { openNode } from '../../src/node/open.node.ts'
import { RunningNode } from '../../src/node/running-node.node.ts'
import type { KithNode } from '../../src/node/types.ts'
import { eventually, seededBytes } from '../kits/transfer-doubles.ts'
import { stop } from './bt-programs.ts'
import { openTestTracker } from './bt-tracker.ts'

const PORTS = { seed: 6961, leech: 6962, aria2: 6963 }
const DEADLINE_MS = 55_000
/** What aria2 fetches; it knows v1 only. */
const FOR_ARIA2 = 'v1-many'
const SEEDED: Readonly<Record<string, number>> = {
  'v1-many/a.bin': 100_001,
  'v1-many/b/c.bin': 700_000,
  'v1-one': 1_234_567,
  'hybrid/a.bin': 300_000,
  'hybrid/b/c.bin': 1_000_000,
  'v2-many/0-small': 5,
  'v2-many/d/1-large': 1_000_001
}

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
/** SHA-256 of every file below a path, by its path. */
function treeOf(path: string, prefix = ''): Record<string, string> {
  if (!statSync(path).isDirectory()) return { [prefix]: sha256(path) }
  return Object.assign({}, ...readdirSync(path).map(name => treeOf(join(path, name), `${prefix}/${name}`))) as Record<string, string>
}
const same = (a: string, b: string): boolean => existsSync(b) && JSON.stringify(treeOf(a)) === JSON.stringify(treeOf(b))

function python(lines: string[], ...args: readonly string[]): ChildProcess {
  const child = spawn('/usr/bin/python3', [join(import.meta.dirname, 'bt-reseed.py'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  createInterface({ input: child.stdout }).on('line', line => lines.push(line))
  return child
}

async function main(host: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-bt-reseed-'))
  const children: ChildProcess[] = []
  const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
  const openOurs = (): Promise<KithNode> =>
    openNode(loadConfig({ home: join(folder, 'home'), port: 0, listen: [host], mdns: false }, {}), { log })
  try {
    for (const [i, [name, size]] of Object.entries(SEEDED).entries()) {
      mkdirSync(dirname(join(folder, 'seed', name)), { recursive: true })
      writeFileSync(join(folder, 'seed', name), seededBytes(size, i + 1))
    }
    const lines: string[] = []
    const seeder = python(lines, 'seed', folder, host, `${PORTS.seed}`)
    children.push(seeder)
    await using tracker = await openTestTracker(host)
    await eventually('libtorrent seeds', () => lines.length > 0, DEADLINE_MS)
    const magnets = JSON.parse(lines[0]!) as Record<string, string>
    const began = performance.now()
    const out = join(folder, 'out')
    mkdirSync(out)
    {
      await using ours = await openOurs()
      for (const address of Object.values(magnets))
        await ours.get({ address, folder: out, peers: [`${host}:${PORTS.seed}`], trackers: [tracker.url], seed: true })
      const states = (): string[] => ours.downloads().map(d => d.state)
      await eventually('all are here and kept', () => ours.torrents().length === Object.keys(magnets).length, DEADLINE_MS).catch(() => {
        throw new Error(`not all are here: ${JSON.stringify(states())}`)
      })
    }
    const weFetchedMs = Math.round(performance.now() - began)
    await stop(seeder)
    await using again = await openOurs()
    const port = again instanceof RunningNode ? again.ports.bittorrent : 0
    const restarted = performance.now()
    const links = Object.entries(magnets).map(([name, magnet]) => `${name}=${magnet}`)
    children.push(python(lines, 'leech', folder, host, `${PORTS.leech}`, `${port}`, ...links))
    children.push(aria2(join(folder, 'aria2'), `${magnets[FOR_ARIA2]}&tr=${encodeURIComponent(tracker.url)}`))
    await eventually('libtorrent has fetched all', () => Object.keys(magnets).every(n => lines.includes(`done ${n}`)), DEADLINE_MS)
    await eventually(
      'aria2 has fetched its torrent',
      () => same(join(folder, 'seed', FOR_ARIA2), join(folder, 'aria2', FOR_ARIA2)),
      DEADLINE_MS
    )
    const theyFetchedMs = Math.round(performance.now() - restarted)
    const ok = Object.keys(magnets).map(n => same(join(folder, 'seed', n), join(folder, 'leech', n, n)))
    console.log(JSON.stringify({ name: 'reseed', ok: ok.every(Boolean), theyFetchedMs, weFetchedMs, sources: Object.keys(magnets) }))
    if (!ok.every(Boolean)) process.exitCode = 1
  } finally {
    await Promise.all(children.map(stop))
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

function aria2(folder: string, magnet: string): ChildProcess {
  const off = ['--enable-dht=false', '--enable-dht6=false', '--bt-enable-lpd=false', '--enable-peer-exchange=false', '--disable-ipv6=true']
  const args = ['--no-conf', ...off, '--file-allocation=none', `--listen-port=${PORTS.aria2}`, '--seed-time=0', '-d', folder, magnet]
  return spawn('aria2c', args, { stdio: 'ignore' })
}

await main(process.argv[2]!)
