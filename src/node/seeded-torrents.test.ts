import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test from 'node:test'
import { v2Torrent } from '../../test/interop/bt-v2.ts'
import { eventually, seededBytes } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { bdict, encodeBencode } from '../transfer/bittorrent/bencode.ts'
import { type KeptTorrent, magnetOfKept, TorrentBook } from '../transfer/torrent-book.node.ts'
import { loadConfig } from './load-config.node.ts'
import { openNode } from './open.node.ts'
import { RunningNode } from './running-node.node.ts'
import type { DownloadView, KithNode } from './types.ts'

const home = mkdtempSync(join(tmpdir(), 'kith-seeded-'))
test.after(() => rmSync(home, { recursive: true, force: true }))
const open = (name: string): Promise<KithNode> =>
  openNode(loadConfig({ home: join(home, name), port: 0, listen: ['127.0.0.1'], mdns: false }, {}))
const peerOf = (node: KithNode): string => `127.0.0.1:${node instanceof RunningNode ? node.ports.bittorrent : 0}`

const PIECE = 32_768
const content: Readonly<Record<string, Uint8Array>> = {
  'a.bin': seededBytes(100_001, 1),
  'b.bin': seededBytes(PIECE, 2),
  'c.bin': seededBytes(3 * PIECE + 5, 3)
}

/** A folder as other programs make it: files one behind the other, without padding, pieces across them. */
function v1Torrent(name: string): Uint8Array {
  const all = Buffer.concat(Object.values(content))
  const pieces = Array.from({ length: Math.ceil(all.length / PIECE) }, (_, i) =>
    createHash('sha1')
      .update(all.subarray(i * PIECE, (i + 1) * PIECE))
      .digest()
  )
  const files = Object.entries(content).map(([path, bytes]) => bdict({ length: bytes.length, path: [Buffer.from(path)] }))
  const info = bdict({
    files,
    name: Buffer.from(name),
    'piece length': PIECE,
    pieces: Buffer.concat(pieces),
    source: Buffer.from('others')
  })
  return encodeBencode(bdict({ info }))
}

/** Puts a finished torrent into a home, as a download with `--seed` leaves it. @param aligned each file begins at a piece of its own */
async function plant(name: string, file: Uint8Array, aligned: boolean): Promise<KeptTorrent> {
  const folder = join(home, name, 'files')
  mkdirSync(folder, { recursive: true })
  let offset = 0
  const files = Object.entries(content).map(([path, bytes]) => {
    writeFileSync(join(folder, path), bytes)
    const at = offset
    offset += aligned ? Math.ceil(bytes.length / PIECE) * PIECE : bytes.length
    return { path: join(folder, path), offset: at, length: bytes.length }
  })
  const deps = { clock: systemClock, log: silentLogger, onStopped: () => {} }
  await using book = new TorrentBook(deps, join(home, name, 'data', 'seeded-torrents'))
  return await book.keep({ file, path: folder, files, protocols: ['bittorrent'], trackers: [] })
}

async function fetch(node: KithNode, into: string, magnet: string, from: string, seed: boolean): Promise<DownloadView> {
  const folder = join(home, into)
  mkdirSync(folder)
  const { id } = await node.get({ address: magnet, folder, peers: [from], seed })
  await eventually('the download ends', () => node.download(id)?.finishedAt !== undefined, 20_000)
  const view = node.download(id)!
  assert.equal(view.state, 'done', view.message)
  for (const [name, bytes] of Object.entries(content)) assert.deepEqual(new Uint8Array(readFileSync(join(view.path!, name))), bytes)
  return view
}

for (const [kind, make, aligned] of [
  ['v1 with pieces across files', v1Torrent, false],
  ['v2 alone', (name: string) => v2Torrent(name, content, PIECE).bytes, true]
] as const) {
  test(`a folder of others (${kind}) is seeded on to its own swarm, also after a restart, until it is dropped`, async () => {
    const key = kind.slice(0, 2)
    const planted = await plant(`${key}-a`, make(`folder ${key}`), aligned)
    const magnet = magnetOfKept(planted)
    {
      await using first = await open(`${key}-a`)
      await using second = await open(`${key}-b`)
      await fetch(second, `${key}-out-b`, magnet, peerOf(first), true)
      await eventually('it is kept', () => second.torrents().length === 1)
    }
    await using second = await open(`${key}-b`)
    const [kept] = second.torrents()
    assert.deepEqual([kept?.infoHash, kept?.infoHashV2 ?? null, kept?.magnet], [planted.infoHash, planted.infoHashV2, magnet])
    assert.deepEqual([kept?.files, kept?.state], [3, 'seeding'])
    await using third = await open(`${key}-c`)
    await fetch(third, `${key}-out-c`, magnet, peerOf(second), false)
    assert.ok(second.torrents()[0]!.uploadedBytes > 0)
    assert.deepEqual(third.torrents(), [], 'without --seed nothing is kept')
    assert.equal((await second.dropTorrent(magnet)).state, 'stopped')
    assert.deepEqual([second.torrents(), readdirSync(join(home, `${key}-b`, 'data', 'seeded-torrents'))], [[], []])
    await assert.rejects(second.dropTorrent(planted.infoHash), { code: 'UNKNOWN_SHARE' })
  })
}

test('CH16: files that were touched are served on while their pieces are right; when one is wrong or gone the torrent ends', async () => {
  const { infoHash } = await plant('touched', v1Torrent('touched'), false)
  const stopped: string[] = []
  const log = silentLogger
  const deps = { clock: systemClock, log, onStopped: (t: KeptTorrent, reason: string) => stopped.push(`${basename(t.path)} ${reason}`) }
  const folder = join(home, 'touched', 'data', 'seeded-torrents')
  await using book = new TorrentBook(deps, folder)
  const empty = { byFileId: () => undefined, byInfoHash: () => undefined }
  assert.equal(book.beside(empty, 'webtorrent').byInfoHash(infoHash), undefined, 'not over what it is not seeded over')
  const shares = book.beside(empty, 'bittorrent')
  const all = Buffer.concat(Object.values(content))
  const path = join(home, 'touched', 'files', 'a.bin')
  utimesSync(path, 1, 1)
  const target = new Uint8Array(50_000)
  await shares.byInfoHash(infoHash)!.read(80_000, 50_000, target)
  assert.deepEqual(Buffer.from(target), all.subarray(80_000, 130_000), 'across two files')
  writeFileSync(path, seededBytes(100_001, 9))
  await assert.rejects(shares.byInfoHash(infoHash)!.read(0, 10, target), { code: 'FILE_CHANGED' })
  assert.deepEqual(stopped, ['files changed'])
  assert.equal(shares.byInfoHash(infoHash), undefined)
  assert.equal(new TorrentBook(deps, folder).all()[0]?.state, 'changed', 'remembered')
  writeFileSync(join(folder, `${infoHash}.json`), '{"version":1')
  assert.deepEqual(new TorrentBook(deps, folder).all(), [], 'a damaged record is left out')
})
