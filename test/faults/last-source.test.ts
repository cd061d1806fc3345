/**
 * Sources die one after the other, over all protocols, until one is left: the file arrives from the last one (threats C14). Every
 * seeder speaks one protocol, or all of them; who dies when is random. KITH_SEEDS says how many times.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import { sha256Of, sha256OfFile } from '../kits/lab.ts'
import { seededRandom } from '../kits/random.ts'
import { eventually, seededBytes, within } from '../kits/transfer-doubles.ts'
import {
  MemoryFinder,
  openTestPeer,
  type TestProtocol,
  testBitTorrent,
  testEd2k,
  testHttp,
  testHttps,
  testKith,
  testWebTorrent
} from '../kits/transfer-peer.ts'

/** Every protocol that can be opened on loopback. To add one: a TestProtocol (test/kits/transfer-peer.ts). */
const PROTOCOLS: readonly TestProtocol[] = [testHttp, testHttps, testBitTorrent, testWebTorrent, testEd2k, testKith]

const ROUNDS = Number(process.env['KITH_SEEDS'] ?? 3)
const SIZE = 6 * 2 ** 20
/** Slow enough for each to die in time. */
const UPLOAD_LIMIT = 4 * 2 ** 20

for (let round = 1; round <= ROUNDS; round++) {
  test(`seeders of ${PROTOCOLS.map(p => p.name).join(', ')} die until one is left: the file arrives (${round})`, async t => {
    await using stack = new AsyncDisposableStack()
    const folder = mkdtempSync(join(tmpdir(), 'kith-last-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    const random = seededRandom(t)
    const content = seededBytes(SIZE, round)
    const file = join(folder, 'film.bin')
    writeFileSync(file, content)
    const network = new MemoryNetwork()
    const all = new MemoryFinder('')
    const open = (protocols: readonly TestProtocol[]) => openTestPeer(network, all, undefined, undefined, { protocols })
    let link = ''
    const alive = []
    for (const offered of [...PROTOCOLS.map(p => [p]), PROTOCOLS, PROTOCOLS]) {
      const seeder = stack.use(await open(offered))
      link = await seeder.share(file, { uploadLimit: UPLOAD_LIMIT, protocols: offered.map(p => p.name) })
      alive.push({ seeder, name: offered.map(p => p.name).join('+') })
    }
    const out = join(folder, 'out')
    mkdirSync(out)
    const download = stack.use(await open(PROTOCOLS)).get(link, { folder: out })
    const many = alive.length
    const order = []
    for (let dead = 0; dead < many - 1; dead++) {
      const share = ((dead + random()) * 0.6) / many // the last one brings at least two fifths
      await eventually(
        `${share} of the file is there`,
        () => download.verifiedBytes >= share * SIZE || download.finishedAt !== undefined,
        30_000
      )
      assert.equal(download.finishedAt, undefined, `it ended while ${alive.length} were alive: ${download.message}`)
      const [victim] = alive.splice(Math.floor(random() * alive.length), 1)
      order.push(victim!.name)
      await victim!.seeder[Symbol.asyncDispose]()
    }
    t.diagnostic(`died: ${order.join(', ')}; left: ${alive[0]!.name}`)
    await within(60_000, 'the end of the download', download.ended)
    assert.equal(download.state, 'done', download.message)
    assert.equal(sha256OfFile(download.path!), sha256Of(content))
    const from = new Map<string, number>()
    for (const { source, bytes } of download.sources()) from.set(source.protocol, (from.get(source.protocol) ?? 0) + bytes)
    t.diagnostic(`bytes: ${[...from].map(([name, bytes]) => `${name} ${bytes}`).join(', ')}`)
    assert.ok([...from.values()].reduce((a, b) => a + b, 0) >= SIZE, 'somebody is named for every byte')
  })
}
