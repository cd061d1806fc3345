/** Other people's programs for the same jobs, set up as their users would for speed, all on loopback. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { isInstalled, type Json, measure, Running, type Sample } from './kit.ts'

export interface Mirror {
  readonly process: Running
  readonly url: string
}

async function freePort(): Promise<number> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<number>()
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
  })
  return await promise
}

/** One nginx that serves `folder` with sendfile. */
export async function startNginx(work: string, folder: string, name: string): Promise<Mirror> {
  const port = await freePort()
  const own = join(work, `nginx-${port}`)
  mkdirSync(own, { recursive: true })
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(k => `${k}_temp_path ${own}/${k};`).join(' ')
  writeFileSync(
    join(own, 'conf'),
    `daemon off; master_process off; worker_processes 1; pid ${own}/pid; error_log ${own}/error.log;
events { worker_connections 256; }
http { access_log off; sendfile on; tcp_nopush on; ${temp} server { listen 127.0.0.1:${port}; root ${folder}; } }`
  )
  const nginx = new Running(isInstalled('nginx') && !existsSync('/usr/sbin/nginx') ? 'nginx' : '/usr/sbin/nginx', [
    '-e',
    `${own}/error.log`,
    '-c',
    join(own, 'conf')
  ])
  const url = `http://127.0.0.1:${port}/${name}`
  for (let i = 0; i < 200; i++) {
    const answer = await fetch(url, { method: 'HEAD' }).catch(() => undefined)
    if (answer?.ok) return { process: nginx, url }
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  await nginx[Symbol.asyncDispose]()
  throw new Error('nginx does not answer')
}

/** `curl -o file url`, then `openssl dgst -sha256 file`, as a careful user does it. */
export async function curlAndHash(mirror: Mirror, out: string, sha256: string): Promise<Sample> {
  rmSync(out, { force: true })
  const script = `TIMEFORMAT='{"user":%U,"system":%S}'; time { curl -s -o "$0" "$1" && openssl dgst -sha256 -r "$0" | grep -q "^$2"; }`
  let cpuDown = 0
  const sample = await measure(
    [mirror.process],
    () => new Running('/bin/bash', ['-c', `{ ${script}; } 2>&1`, out, mirror.url, sha256]),
    last => {
      cpuDown = Number(last['user']) + Number(last['system'])
      return undefined
    }
  )
  rmSync(out, { force: true })
  return { ...sample, cpuDown }
}

/** aria2 with one connection to each mirror and its own check of the whole file's SHA-256. */
export async function aria2(mirrors: readonly Mirror[], folder: string, sha256: string): Promise<Sample> {
  rmSync(folder, { recursive: true, force: true })
  const args = [
    ...['--no-conf', '--quiet', '--file-allocation=none', '--allow-overwrite=true', '--min-split-size=1M', '-d', folder, '-o', 'out.bin'],
    ...[`--split=${mirrors.length}`, '--max-connection-per-server=1', `--checksum=sha-256=${sha256}`],
    ...mirrors.map(m => m.url)
  ]
  const sample = await measure(
    mirrors.map(m => m.process),
    () => new Running('aria2c', args)
  )
  rmSync(folder, { recursive: true, force: true })
  return sample
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
h.connect_peer(('127.0.0.1', int(sys.argv[4])))
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

export async function leechLibtorrent(seed: TorrentSeed, torrent: string, folder: string): Promise<Sample> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const sample = await measure(
    [seed.process],
    () => new Running(PYTHON, ['-c', LIBTORRENT, 'leech', torrent, folder, String(seed.port)]),
    inner
  )
  rmSync(folder, { recursive: true, force: true })
  return sample
}

const WEBTORRENT = join(import.meta.dirname, 'webtorrent-peer.ts')

export async function seedWebtorrent(torrent: string, folder: string): Promise<TorrentSeed> {
  const running = new Running(process.execPath, [WEBTORRENT, 'seed', torrent, folder])
  return { process: running, port: Number((await running.line('port'))['port']) }
}

export async function leechWebtorrent(seed: TorrentSeed, torrent: string, folder: string): Promise<Sample> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const sample = await measure(
    [seed.process],
    () => new Running(process.execPath, [WEBTORRENT, 'leech', torrent, folder, String(seed.port)]),
    inner
  )
  rmSync(folder, { recursive: true, force: true })
  return sample
}
