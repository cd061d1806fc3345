/**
 * `node many-peers.ts COUNT FILE TORRENT`: so many BitTorrent seeders of one file in one process, each at an address of its own in 127.0.0.0/8.
 * Prints {"peers"}. They are there to be many, not fast.
 */
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { openBitTorrent } from '../src/transfer/bittorrent/bittorrent.node.ts'
import { parseTorrent } from '../src/transfer/bittorrent/metainfo.ts'
import { makeGrid } from '../src/transfer/grid.ts'
import type { Share } from '../src/transfer/protocol.ts'

const [count = '', path = '', torrent = ''] = process.argv.slice(2)
const file = await open(path)
const { size } = await file.stat()
const { infoHash } = parseTorrent(readFileSync(torrent))
const share: Share = {
  fileId: new Uint8Array(32),
  root: new Uint8Array(32),
  grid: makeGrid(size),
  name: 'bench.bin',
  mime: 'application/octet-stream',
  pricePerMb: 0n,
  pieces: undefined,
  has: () => true,
  onChunk: () => {},
  read: async (offset, length, target) => {
    await file.read(target, 0, length, offset)
  }
}
const hex = Buffer.from(infoHash).toString('hex')
const shares = { byFileId: () => undefined, byInfoHash: (h: string) => (h === hex ? share : undefined) }
const gate = { admit: async () => undefined, customerOf: () => undefined, sent: () => {} }
const peers: string[] = []
for (let i = 0; i < Number(count); i++) {
  const host = `127.0.${10 + Math.floor(i / 250)}.${1 + (i % 250)}`
  const one = await openBitTorrent({ clock: systemClock, log: silentLogger, gate, shares }, { listen: { host, port: 0 } })
  peers.push(`${host}:${one.port}`)
}
console.log(JSON.stringify({ peers }))
