/**
 * webtorrent's engine as a peer of the benchmark: `seed TORRENT FOLDER` says its port, `leech TORRENT FOLDER PORT` ends when it has
 * everything. TCP only (its uTP is some twenty times slower on loopback), no tracker, no DHT, files on disk.
 */
import { readFileSync } from 'node:fs'

interface Torrent {
  readonly done: boolean
  addPeer(address: string): void
  on(name: string, listener: () => void): void
}
interface Client {
  readonly torrentPort: number
  add(torrent: Buffer, options: object, ready?: (torrent: Torrent) => void): Torrent
  on(name: string, listener: (error: Error) => void): void
}

const [role = '', path = '', folder = '', port = ''] = process.argv.slice(2)
const { default: WebTorrent } = (await import('webtorrent' as string)) as { default: new (options: object) => Client }
const client = new WebTorrent({ dht: false, lsd: false, utp: false, natUpnp: false, natPmp: false, utPex: false, tracker: false })
client.on('error', error => {
  throw error
})
const began = performance.now()
const torrent = client.add(readFileSync(path), { path: folder, announce: [] })
if (role === 'leech') torrent.on('infoHash', () => torrent.addPeer(`127.0.0.1:${port}`))
torrent.on('done', () => {
  if (role === 'seed') return console.log(JSON.stringify({ port: client.torrentPort }))
  console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }))
  process.exit(0)
})
