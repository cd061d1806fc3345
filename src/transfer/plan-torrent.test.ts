import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { v2DigestOf, v2Torrent } from '../../test/interop/bt-v2.ts'
import { seededBytes, shareIndex, TestGate } from '../../test/kits/transfer-doubles.ts'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent/bittorrent.node.ts'
import { type Metainfo, makeTorrent, parseTorrent } from './bittorrent/metainfo.ts'
import { leavesOf, treeTop } from './hashing/bep52-tree.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import { planTorrent } from './plan-torrent.node.ts'
import { torrentOf } from './torrents.node.ts'

const PIECE = 64 * 1024

async function planOf(bytes: Uint8Array, signal: AbortSignal = new AbortController().signal): Promise<Plan> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-plan-'))
  try {
    const path = join(folder, 'x.torrent')
    writeFileSync(path, bytes)
    await using bittorrent = await openBitTorrent({ clock: systemClock, log: silentLogger, gate: new TestGate(), shares: shareIndex([]) })
    return await planTorrent({ bittorrent, given: {} }, { kind: 'torrent', path }, signal)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const torrentOfV1 = (): ReturnType<typeof makeTorrent> =>
  makeTorrent({ name: 'v1', size: 5, pieceLength: PIECE, pieces: new Uint8Array(20) })

/** What the verifier does with a chunk. */
function isRight({ hashes, grid }: Plan, chunk: number, content: Uint8Array): boolean {
  assert.ok(hashes.algorithm === 'sha256-tree' && hashes.shape)
  const { bytes, height } = hashes.shape(chunk)
  const at = chunk * grid.chunkBytes
  return equalBytes(treeTop(leavesOf(content.subarray(at, at + bytes)), 0, height), hashes.of(chunk))
}

const files = {
  a: seededBytes(5, 1),
  b: new Uint8Array(),
  c: seededBytes(2 * PIECE, 2),
  d: seededBytes(40_000, 3),
  e: seededBytes(3 * PIECE + 1, 4)
}
test('a folder that only has v2: every piece is checked within its file, and the files lie where pieces begin', async () => {
  const torrent = v2Torrent('folder', files, PIECE)
  const plan = await planOf(torrent.bytes)
  assert.deepEqual(
    plan.files!.map(f => [f.path.join('/'), f.offset, f.length]),
    [
      ['a', 0, 5],
      ['b', 5, 0],
      ['c', PIECE, 2 * PIECE],
      ['d', 3 * PIECE, 40_000],
      ['e', 4 * PIECE, 3 * PIECE + 1]
    ]
  )
  assert.equal(plan.header.key, `btmh:${bytesToHex(torrent.infoHashV2)}`)
  const content = new Uint8Array(plan.grid.size)
  for (const [i, bytes] of Object.values(files).entries()) content.set(bytes, plan.files![i]!.offset)
  for (let c = 0; c < plan.grid.count; c++) {
    assert.ok(isRight(plan, c, content), `piece ${c}`)
    content[c * PIECE]! ^= 1
    assert.ok(!isRight(plan, c, content), `piece ${c} with a wrong bit`)
    content[c * PIECE]! ^= 1
  }
})
test('one file that only has v2, of a piece and of several', async () => {
  for (const content of [files.d, files.e]) {
    const plan = await planOf(v2Torrent('x', { x: content }, PIECE).bytes)
    assert.equal(plan.files, undefined)
    assert.deepEqual([plan.name, plan.grid.size], ['x', content.length])
    for (let c = 0; c < plan.grid.count; c++) assert.ok(isRight(plan, c, content))
  }
})
test('a v2 torrent file without piece layers needs a peer for them', async () => {
  const { bytes } = v2Torrent('x', { x: files.e }, PIECE)
  const cut = Buffer.from(bytes).indexOf('12:piece layers')
  const without = Buffer.concat([bytes.subarray(0, cut), Buffer.from('e')])
  assert.equal(codeOf(await planOf(without, AbortSignal.timeout(50)).catch(e => e as unknown)), 'CANCELLED')
})

test('only the protocols that the user allows are asked for metadata and peers', async () => {
  const { bytes, info, infoHash } = torrentOfV1()
  const magnet = {
    kind: 'magnet',
    text: `magnet:?xt=urn:btih:${bytesToHex(infoHash)}&tr=ws://127.0.0.1:9/&tr=http://127.0.0.1:9/`
  } as const
  for (const [over, web, expected] of [
    [{ bittorrent: false, http: false }, true, ['web metadata', 'web swarm']],
    [{ bittorrent: true, http: false }, false, ['metadata', 'swarm']],
    [{ bittorrent: true, http: true }, true, ['metadata', 'web metadata', 'web swarm', 'swarm', 'web seeds']],
    [undefined, false, ['metadata', 'swarm', 'web seeds']]
  ] as const) {
    const done: string[] = []
    const joined = (what: string): AsyncDisposable => {
      done.push(what)
      return { [Symbol.asyncDispose]: async () => {} }
    }
    const give = async (what: string): Promise<Metainfo> => {
      done.push(what)
      return { ...parseTorrent(bytes), info }
    }
    const bittorrent = {
      fetchMetainfo: () => give('metadata'),
      openSwarm: () => joined('swarm'),
      openWebSeeds: () => joined('web seeds')
    } as unknown as BitTorrent
    const browsers = { fetchMetainfo: () => give('web metadata'), join: () => joined('web swarm') }
    const deps = { bittorrent, given: {}, ...(over ? { over } : {}), ...(web ? { web: browsers } : {}) }
    const plan = await planTorrent(deps, magnet, new AbortController().signal)
    await plan.feed({} as FeedContext, AbortSignal.abort())
    assert.deepEqual(done, expected)
  }
})

test('a way that cannot ask for metadata does not hold up another; when all fail the plain one is told', async () => {
  const { bytes } = torrentOfV1()
  const magnet = { kind: 'magnet', text: `magnet:?xt=urn:btih:${'ab'.repeat(20)}` } as const
  const asked = async (bt: KithError | undefined, web: KithError): Promise<unknown> => {
    const fetch = async (error: KithError | undefined): Promise<Metainfo> => {
      if (error) throw error
      return parseTorrent(bytes)
    }
    const bittorrent = { fetchMetainfo: () => fetch(bt) } as unknown as BitTorrent
    const browsers = { fetchMetainfo: () => fetch(web), join: () => undefined }
    return planTorrent({ bittorrent, given: {}, web: browsers }, magnet, new AbortController().signal).then(() => 'found', codeOf)
  }
  const nobody = new KithError('METADATA_FAILED', 'x')
  const off = new KithError('WEBRTC_UNAVAILABLE', 'x')
  assert.equal(await asked(undefined, off), 'found')
  assert.equal(await asked(nobody, off), 'NO_SOURCES')
  assert.equal(await asked(nobody, nobody), 'NO_SOURCES')
  assert.equal(await asked(nobody, new KithError('BAD_TORRENT', 'x')), 'BAD_TORRENT')
})

test('of a hybrid that holds its trees, the trees decide: SHA-1 alone does not make a piece right', async () => {
  const chunk = 256 * 1024
  const content = seededBytes(3 * chunk + 7, 9)
  const pieces = new Uint8Array(4 * 20) // no piece has this SHA-1
  const plan = await planOf(torrentOf({ name: 'h', size: content.length, pieces, v2: v2DigestOf(content), trackers: [] }).bytes)
  assert.match(plan.header.key, /^btih:/)
  for (let c = 0; c < 4; c++) assert.ok(isRight(plan, c, content))
  content[chunk] = content[chunk]! ^ 1
  assert.equal(isRight(plan, 1, content), false)
})
