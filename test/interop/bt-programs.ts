/** Third-party BitTorrent programs: how each is started, told to fetch one torrent and to seed another, and stopped. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Job {
  /** Work folder of the program. */
  readonly folder: string
  /** Address that everybody in the test uses. */
  readonly host: string
  /** Port of our listener. */
  readonly ourPort: number
  /** Torrent to fetch from us, and its magnet link. */
  readonly leechTorrent: string
  readonly leechMagnet: string
  readonly leechFolder: string
  /** Torrent whose file lies in `seedFolder`. */
  readonly seedTorrent: string
  readonly seedFolder: string
}

export interface Program {
  /** Debian package. */
  readonly package: string
  readonly command: string
  /** It only connects to us, and is not told where we could reach it. */
  readonly dialsUs?: boolean
  /** It does not get through the empty key in a v2 file tree: it is given the plain v1 torrent, which Kith serves too. */
  readonly onlyV1?: boolean
  run(job: Job): Promise<ChildProcess[]>
}

const until = async (what: string, ready: () => Promise<boolean>): Promise<void> => {
  const end = Date.now() + 15_000
  while (!(await ready().catch(() => false))) {
    if (Date.now() > end) throw new Error(`not within 15 s: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

/** Starts a program whose output is shown only when the test fails: it goes to the parent's stderr file. */
const start = (command: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess =>
  spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'], env: { ...process.env, ...env } })

const aria2: Program = {
  package: 'aria2',
  command: 'aria2c',
  onlyV1: true,
  run: async job => {
    const common = [
      '--no-conf',
      '--enable-dht=false',
      '--enable-dht6=false',
      '--bt-enable-lpd=false',
      '--enable-peer-exchange=false',
      '--file-allocation=none',
      '--summary-interval=0',
      '--disable-ipv6=true'
    ]
    return [
      start('aria2c', [...common, '--listen-port=6901', '--seed-time=0', '-d', job.leechFolder, job.leechMagnet]),
      start('aria2c', [
        ...common,
        '--listen-port=6902',
        '--seed-ratio=0.0',
        '--bt-seed-unverified=true',
        '-d',
        job.seedFolder,
        job.seedTorrent
      ])
    ]
  }
}

const transmission: Program = {
  package: 'transmission-daemon',
  command: 'transmission-daemon',
  onlyV1: true, // 3.00; 4 can
  run: async job => {
    mkdirSync(job.folder, { recursive: true })
    const settings = {
      'dht-enabled': false,
      'lpd-enabled': false,
      'pex-enabled': false,
      'utp-enabled': false,
      'port-forwarding-enabled': false,
      'peer-port': 6911,
      'bind-address-ipv4': job.host,
      'rpc-bind-address': '127.0.0.1',
      'rpc-port': 6912,
      'rpc-whitelist-enabled': false,
      'rpc-authentication-required': false,
      'ratio-limit-enabled': false,
      'incomplete-dir-enabled': false,
      encryption: 1
    }
    writeFileSync(join(job.folder, 'settings.json'), JSON.stringify(settings))
    const child = start('transmission-daemon', ['-f', '-g', job.folder])
    const rpc = async (method: string, args: object): Promise<boolean> => {
      const url = 'http://127.0.0.1:6912/transmission/rpc'
      const first = await fetch(url, { method: 'POST' })
      const session = first.headers.get('x-transmission-session-id') ?? ''
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'x-transmission-session-id': session },
        body: JSON.stringify({ method, arguments: args })
      })
      return ((await answer.json()) as { result: string }).result === 'success'
    }
    await until('transmission answers', () => rpc('session-get', {}))
    const add = (path: string, folder: string): Promise<boolean> =>
      rpc('torrent-add', { metainfo: readFileSync(path).toString('base64'), 'download-dir': folder })
    if (!(await add(job.seedTorrent, job.seedFolder)) || !(await add(job.leechTorrent, job.leechFolder)))
      throw new Error('torrent-add failed')
    return [child]
  }
}

const QBITTORRENT_SETTINGS = `[LegalNotice]
Accepted=true
[BitTorrent]
Session\\Port=6921
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\BTProtocol=TCP
Session\\MultiConnectionsPerIp=true
[Preferences]
WebUI\\Enabled=true
WebUI\\Address=127.0.0.1
WebUI\\Port=6922
WebUI\\LocalHostAuth=false
WebUI\\CSRFProtection=false
General\\Locale=en
`

const qbittorrent: Program = {
  package: 'qbittorrent-nox',
  command: 'qbittorrent-nox',
  run: async job => {
    mkdirSync(join(job.folder, 'qBittorrent/config'), { recursive: true })
    writeFileSync(join(job.folder, 'qBittorrent/config/qBittorrent.conf'), QBITTORRENT_SETTINGS)
    const child = start('qbittorrent-nox', [`--profile=${job.folder}`], { HOME: job.folder })
    const api = 'http://127.0.0.1:6922/api/v2'
    await until('qBittorrent answers', async () => (await fetch(`${api}/app/version`)).ok)
    const add = async (path: string, folder: string, complete: boolean): Promise<void> => {
      const form = new FormData()
      form.set('torrents', new Blob([readFileSync(path)]), 'file.torrent')
      form.set('savepath', folder)
      form.set('skip_checking', String(complete))
      const answer = await fetch(`${api}/torrents/add`, { method: 'POST', body: form })
      if (!answer.ok) throw new Error(`torrents/add: ${answer.status}`)
    }
    await add(job.seedTorrent, job.seedFolder, true)
    await add(job.leechTorrent, job.leechFolder, false)
    return [child]
  }
}

/** Fetches by magnet, which names us (`x.pe`), and seeds by connecting to us: our listener finds itself a source. */
const LIBTORRENT = `
import libtorrent as lt, sys, time
host, port, magnet, leech, torrent, seed = sys.argv[1:7]
s = lt.session({'listen_interfaces': host + ':6931', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
  'enable_incoming_utp': False, 'enable_outgoing_utp': False, 'allow_multiple_connections_per_ip': True})
p = lt.parse_magnet_uri(magnet); p.trackers = []; p.save_path = leech; p.flags = lt.torrent_flags.update_subscribe
a = s.add_torrent(p)
q = lt.add_torrent_params(); q.ti = lt.torrent_info(torrent); q.trackers = []; q.save_path = seed; q.flags = lt.torrent_flags.seed_mode | lt.torrent_flags.override_trackers
b = s.add_torrent(q)
while True:
  if b.status().num_peers == 0: b.connect_peer((host, int(port)))
  time.sleep(0.2)
`
const libtorrent: Program = {
  package: 'python3-libtorrent',
  command: '/usr/bin/python3',
  dialsUs: true,
  run: async job => [
    start('/usr/bin/python3', [
      '-c',
      LIBTORRENT,
      job.host,
      String(job.ourPort),
      job.leechMagnet,
      job.leechFolder,
      job.seedTorrent,
      job.seedFolder
    ])
  ]
}

export const programs: Readonly<Record<string, Program>> = { aria2, transmission, qbittorrent, libtorrent }

/** SIGTERM, and SIGKILL for those that take their time. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
  await gone
  clearTimeout(timer)
}
