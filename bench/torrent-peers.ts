/** Other people's BitTorrent programs, set up as their users would for speed, all on loopback and over TCP. */
import { join } from 'node:path'
import { isInstalled, type Json, measure, Running, type Sample } from './kit.ts'
import { freePort, inEmpty } from './peers.ts'

const ARIA2_BT = [
  ...['--no-conf', '--quiet', '--enable-dht=false', '--enable-dht6=false', '--bt-enable-lpd=false', '--enable-peer-exchange=false'],
  ...['--interface=127.0.0.1', '--allow-overwrite=true', '--file-allocation=falloc']
]

/** An aria2 that seeds a torrent, found by a tracker. */
export async function seedAria2(torrent: string, folder: string, tracker: string): Promise<Running> {
  const seed = ['--seed-ratio=0.0', '--bt-seed-unverified=true', `--listen-port=${await freePort()}`]
  return new Running('aria2c', [...ARIA2_BT, ...seed, `--bt-tracker=${tracker}`, '-d', folder, torrent])
}

/** aria2 over BitTorrent from whomever the tracker names; it checks every piece's SHA-1. */
export async function leechAria2(seeds: readonly Running[], torrent: string, folder: string, tracker: string): Promise<Sample> {
  const args = [...ARIA2_BT, '--seed-time=0', `--listen-port=${await freePort()}`, `--bt-tracker=${tracker}`, '-d', folder, torrent]
  return inEmpty(folder, () => measure(seeds, () => new Running('aria2c', args)))
}

const PYTHON = '/usr/bin/python3'

/** TCP only: with its default, uTP, libtorrent is some twenty times slower on loopback. */
const LIBTORRENT = `
import libtorrent as lt, sys, time, json
role, torrent, folder = sys.argv[1:4]
s = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'allow_multiple_connections_per_ip': True, 'alert_mask': 0})
p = lt.add_torrent_params(); p.ti = lt.torrent_info(torrent); p.save_path = folder; p.trackers = []
if role == 'seed': p.flags |= lt.torrent_flags.seed_mode
began = time.monotonic()
h = s.add_torrent(p)
if role == 'seed':
  while not h.status().is_seeding or s.listen_port() == 0: time.sleep(0.02)
  print(json.dumps({'port': s.listen_port()}), flush=True)
  time.sleep(36000)
for port in sys.argv[4:]: h.connect_peer(('127.0.0.1', int(port)))
while not h.status().is_seeding: time.sleep(0.01)
print(json.dumps({'seconds': time.monotonic() - began}), flush=True)
`

/** Whether python3-libtorrent is there. */
export async function hasLibtorrent(): Promise<boolean> {
  if (!isInstalled(PYTHON)) return false
  await using python = new Running(PYTHON, ['-c', 'import libtorrent'])
  return await python.result().then(
    () => true,
    () => false
  )
}

export interface TorrentSeed {
  readonly process: Running
  readonly port: number
}

export async function seedLibtorrent(torrent: string, folder: string): Promise<TorrentSeed> {
  const running = new Running(PYTHON, ['-c', LIBTORRENT, 'seed', torrent, folder])
  return { process: running, port: Number((await running.line('port'))['port']) }
}

const inner = (last: Json): number => Number(last['seconds'])

export async function leechLibtorrent(seeds: readonly TorrentSeed[], torrent: string, folder: string): Promise<Sample> {
  const ports = seeds.map(s => String(s.port))
  const start = (): Running => new Running(PYTHON, ['-c', LIBTORRENT, 'leech', torrent, folder, ...ports])
  return inEmpty(folder, () =>
    measure(
      seeds.map(s => s.process),
      start,
      inner
    )
  )
}

const WEBTORRENT = join(import.meta.dirname, 'webtorrent-peer.ts')

export async function seedWebtorrent(torrent: string, folder: string): Promise<TorrentSeed> {
  const running = new Running(process.execPath, [WEBTORRENT, 'seed', torrent, folder])
  return { process: running, port: Number((await running.line('port'))['port']) }
}

export async function leechWebtorrent(seed: TorrentSeed, torrent: string, folder: string): Promise<Sample> {
  const start = (): Running => new Running(process.execPath, [WEBTORRENT, 'leech', torrent, folder, String(seed.port)])
  return inEmpty(folder, () => measure([seed.process], start, inner))
}
