/**
 * `kill -9` of a downloader at random moments (threats C1): what was verified stays, nothing wrong is taken for right, and at most 1 MiB
 * arrived for nothing each time. The moments come from a seed; KITH_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { suite, type TestContext, test } from 'node:test'
import { downloadIn, Lab, sha256OfFile } from '../kits/lab.ts'
import { comparePart, recordedBytes, recordedChunks } from '../kits/part-files.ts'
import { seededRandom } from '../kits/random.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const MIB = 2 ** 20
const CHUNK = 262_144
/** Of each download; KITH_KILLS says how many. */
const KILLS = Number(process.env['KITH_KILLS'] ?? 3)
/** Enough to be killed in the middle each time: what a run brings before it dies is 2 or 3 MiB, more on a slow machine. */
const SIZE = (8 + 8 * KILLS) * MIB + 4321

suite('killed downloads', { concurrency: true, timeout: 60_000 + 40_000 * KILLS }, () => {
  for (const protocol of ['http', 'bittorrent'])
    test(`over ${protocol} a download that is killed again and again keeps what it had`, t => killAgainAndAgain(t, protocol))
})

async function killAgainAndAgain(t: TestContext, protocol: string): Promise<void> {
  const random = seededRandom(t)
  const lab = new Lab(t)
  const file = lab.file('f.bin', SIZE)
  const content = readFileSync(file)
  const { ready } = await lab.ready('seeder', 'share', file, '--upload-limit', '10MiB')
  const out = lab.dir('out')
  const get = ['get', ready.link!, '-o', out, '--protocol', protocol]
  let kept = 0
  let before = new Set<number>()
  for (let kill = 0; kill < KILLS; kill++) {
    const process = lab.kith('b', ...get)
    const begun = await process.find('a fetching download', l => downloadIn(l)?.state === 'fetching')
    assert.equal(downloadIn(begun)!.resumedBytes, kept, 'what the last run left is what this one begins with')
    // A journal that grows is the earliest sign of progress; then some more, at random.
    const more = kept + Math.floor(random() * 4) * CHUNK
    await eventually('some more chunks', () => recordedChunks(out) * CHUNK > more || process.child.exitCode !== null, 30_000)
    await new Promise(resolve => setTimeout(resolve, random() * 120)) // the moment itself
    assert.equal(process.child.exitCode, null, 'it was killed before it was done')
    await process.destroy()
    const { right, wrong, unrecorded } = comparePart(out, content)
    const seen = process.latest(l => downloadIn(l) !== undefined)
    const told = downloadIn(seen)!.verifiedBytes
    // Chunks that an earlier kill left unrecorded may not have been fetched again yet.
    const lost = unrecorded.filter(c => !before.has(c)).length
    before = new Set(unrecorded)
    t.diagnostic(`kill ${kill}: told ${told}, recorded ${right} chunks, ${lost} more on disk`)
    assert.equal(wrong, 0, 'no chunk is recorded whose bytes are wrong')
    assert.ok(lost <= 4, `${lost} chunks had arrived for nothing`)
    assert.ok(right * CHUNK >= Math.min(told, SIZE) - CHUNK, `told ${told}, kept ${right} chunks`)
    kept = recordedBytes(out, SIZE)
    assert.ok(kept > 0)
  }
  const last = await lab.kith('b', ...get).ended()
  assert.equal(last.code, 0, last.err)
  assert.equal(last.last['resumedBytes'], kept)
  assert.equal(sha256OfFile(String(last.last['path'])), ready.fileId)
  assert.deepEqual(readdirSync(out), ['f.bin'], 'no part file or journal is left')
}
