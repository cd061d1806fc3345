/**
 * Our DHT node with those of libtorrent and aria2, which know each other only through ours. No tracker, no peer is named: both programs find
 * and fetch what we share, and we find and fetch what they share. They insist on encryption: libtorrent on the handshake, aria2 on RC4.
 * Run by mainline.test.ts inside a network namespace: node mainline-case.ts. Prints one JSON line; exits 0 only when all files are right.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { type BitTorrent, type BitTorrentOptions, openBitTorrent } from '../../src/transfer/bittorrent/bittorrent.node.ts'
import { formatMagnet, parseMagnet } from '../../src/transfer/bittorrent/magnet.ts'
import { infoOfShare, makeTorrent } from '../../src/transfer/bittorrent/metainfo.ts'
import { makeGrid } from '../../src/transfer/grid.ts'
import type { Source } from '../../src/transfer/protocol.ts'
import { eventually, MemoryDelivery, MemoryShare, shareIndex, TestGate } from '../kits/transfer-doubles.ts'

const SIZE = 2 ** 20 + 4321
const DEADLINE_MS = 50_000
const OURS = '10.99.0.1'
const ALSO_OURS = '10.99.0.2'
const LIBTORRENT = '10.99.0.3'
const ARIA2_LEECH = '10.99.0.4'
const ARIA2_SEED = '10.99.0.5'

const LIBTORRENT_PEER = `
import libtorrent as lt, sys, time
host, node, magnet, leech, torrent, seed = sys.argv[1:7]
s = lt.session({'listen_interfaces': host + ':6931', 'enable_dht': True, 'dht_bootstrap_nodes': node, 'enable_lsd': False, 'enable_upnp': False,
  'enable_natpmp': False, 'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'dht_restrict_routing_ips': False,
  'in_enc_policy': 0, 'out_enc_policy': 0, 'allowed_enc_level': 3})
p = lt.parse_magnet_uri(magnet); p.save_path = leech
a = s.add_torrent(p)
q = lt.add_torrent_params(); q.ti = lt.torrent_info(torrent); q.trackers = []; q.save_path = seed
q.flags = lt.torrent_flags.seed_mode | lt.torrent_flags.override_trackers
b = s.add_torrent(q)
n = 0
while True:
  n += 1
  if n % 5 == 0:
    for h in (a, b):
      if h.status().num_peers == 0: h.force_dht_announce()
  time.sleep(0.2)
`

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')

interface Theirs {
  readonly content: Uint8Array
  readonly torrentPath: string
  readonly infoHash: Uint8Array
}

/** A file of a program, and its torrent without trackers. */
function makeTheirs(folder: string, name: string): Theirs {
  const share = new MemoryShare(new Uint8Array(randomBytes(SIZE)), { name })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, name), share.content)
  const made = makeTorrent({ name, size: SIZE, pieceLength: share.grid.chunkBytes, pieces: share.pieces })
  const torrentPath = join(folder, 'file.torrent')
  writeFileSync(torrentPath, made.bytes)
  return { content: share.content, torrentPath, infoHash: made.infoHash }
}

/** Fetches a file by nothing but its info-hash. @returns whether its SHA-256 is right */
async function fetchByHash(bt: BitTorrent, { infoHash, content }: Theirs): Promise<boolean> {
  const torrent = await bt.fetchMetainfo(parseMagnet(formatMagnet({ infoHash })), {}, AbortSignal.timeout(DEADLINE_MS))
  const grid = makeGrid(torrent.size, torrent.pieceLength)
  const sources: Source[] = []
  await using _ = bt.openSwarm({ torrent, left: () => 1, onSource: s => void sources.push(s) })
  await eventually('somebody has all of it', () => sources.some(s => !s.ended && s.has(0) && s.has(grid.count - 1)), DEADLINE_MS)
  const delivery = new MemoryDelivery(grid, { first: 0, count: grid.count })
  await sources.find(s => !s.ended && s.has(0) && s.has(grid.count - 1))!.fetch(delivery, AbortSignal.timeout(DEADLINE_MS))
  const got = new Uint8Array(torrent.size)
  for (const [chunk, bytes] of delivery.chunks) got.set(bytes, chunk * grid.chunkBytes)
  return sha256(got) === sha256(content)
}

function openOurs(host: string, shares: readonly MemoryShare[], options: BitTorrentOptions): Promise<BitTorrent> {
  const deps = { clock: systemClock, log, shares: shareIndex(shares, s => infoOfShare(s)!.infoHash), gate: new TestGate() }
  return openBitTorrent(deps, { listen: { host, port: 0 }, ...options })
}

const start = (command: string, args: readonly string[]): ChildProcess =>
  spawn(command, args, { stdio: process.env['KITH_DEBUG'] ? ['ignore', 2, 2] : 'ignore' })

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-dht-'))
  const children: ChildProcess[] = []
  try {
    const ours = new MemoryShare(new Uint8Array(randomBytes(SIZE)), { name: 'ours.bin' })
    const { infoHash } = infoOfShare(ours)!
    await using node = await openOurs(OURS, [ours], { dht: {} })
    await using _announced = node.announceShare(infoHash, [], 'given')
    const entry = `${OURS}:${node.dht!.port}`
    const ofLibtorrent = makeTheirs(join(folder, 'lt-seed'), 'of-libtorrent.bin')
    const ofAria2 = makeTheirs(join(folder, 'aria2-seed'), 'of-aria2.bin')
    const targets = ['lt', 'aria2'].map(name => join(folder, `${name}-leech`, ours.name))
    for (const name of ['lt', 'aria2']) mkdirSync(join(folder, `${name}-leech`))
    const magnet = formatMagnet({ infoHash, name: ours.name })
    // aria2 asks the DHT every ten seconds: with a magnet link it would wait twice.
    const oursPath = join(folder, 'ours.torrent')
    writeFileSync(oursPath, makeTorrent({ name: ours.name, size: SIZE, pieceLength: ours.grid.chunkBytes, pieces: ours.pieces }).bytes)
    const began = performance.now()
    children.push(
      start('/usr/bin/python3', [
        '-c',
        LIBTORRENT_PEER,
        LIBTORRENT,
        entry,
        magnet,
        join(folder, 'lt-leech'),
        ofLibtorrent.torrentPath,
        join(folder, 'lt-seed')
      ])
    )
    const aria2 = [
      '--no-conf',
      '--enable-dht6=false',
      '--bt-enable-lpd=false',
      '--enable-peer-exchange=false',
      '--file-allocation=none',
      '--disable-ipv6=true',
      '--bt-require-crypto=true',
      '--bt-min-crypto-level=arc4',
      `--dht-entry-point=${entry}`
    ]
    const aria2Leech = [
      `--interface=${ARIA2_LEECH}`,
      '--listen-port=6901',
      '--dht-listen-port=6901',
      `--dht-file-path=${join(folder, 'dht1')}`,
      '--seed-time=0'
    ]
    const aria2Seed = [
      `--interface=${ARIA2_SEED}`,
      '--listen-port=6902',
      '--dht-listen-port=6902',
      `--dht-file-path=${join(folder, 'dht2')}`,
      '--seed-ratio=0.0'
    ]
    children.push(
      start('aria2c', [...aria2, ...aria2Leech, '-d', join(folder, 'aria2-leech'), oursPath]),
      start('aria2c', [...aria2, ...aria2Seed, '--bt-seed-unverified=true', '-d', join(folder, 'aria2-seed'), ofAria2.torrentPath])
    )
    await using asker = await openOurs(ALSO_OURS, [], { dht: { bootstrap: [entry] } })
    const times: Record<string, number> = {}
    const timed = async <T>(what: string, work: Promise<T>): Promise<T> => {
      const result = await work
      times[what] = Math.round(performance.now() - began)
      return result
    }
    const fetched = (path: string): boolean => existsSync(path) && sha256(readFileSync(path)) === sha256(ours.content)
    const ok = await Promise.all([
      timed(
        'libtorrentFetched',
        eventually('libtorrent has fetched ours', () => fetched(targets[0]!), DEADLINE_MS)
      ).then(() => true),
      timed(
        'aria2Fetched',
        eventually('aria2 has fetched ours', () => fetched(targets[1]!), DEADLINE_MS)
      ).then(() => true),
      timed('ofLibtorrent', fetchByHash(asker, ofLibtorrent)),
      timed('ofAria2', fetchByHash(asker, ofAria2))
    ])
    console.log(JSON.stringify({ ok: ok.every(Boolean), nodes: node.dht!.nodes, hash: bytesToHex(infoHash), ...times }))
    if (!ok.every(Boolean)) process.exitCode = 1
  } finally {
    await Promise.all(children.map(stop))
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

await main()
