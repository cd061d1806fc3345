/**
 * Power cuts while a file is fetched (threats C3): the download goes on from what a `k` line of its journal covers, at most 64 MiB before
 * what was told; nothing wrong is taken for right; and a file that was told as done is there whole. Only in `npm run campaign -- power`.
 */
import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MAX_AT_RISK_BYTES } from '../../src/transfer/limits.ts'
import { downloadIn, KITH, Lab, LOCAL, sha256OfFile } from '../kits/lab.ts'
import { noPowerDisk, openPowerDisk, type PowerDisk } from '../kits/power-disk.ts'
import { Process } from '../kits/process.ts'
import { seededRandom } from '../kits/random.ts'

const MIB = 2 ** 20
const SIZE = 300 * MIB + 4321
const CUTS = 4
/** What is recorded last goes beyond the bound by less than this. */
const CHUNK = 262_144

test('power is cut while a file is fetched', { timeout: 600_000 }, async t => {
  if (process.env['KITH_CAMPAIGN'] !== '1') return t.skip('runs in npm run campaign -- power')
  const why = noPowerDisk()
  if (why !== undefined) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const random = seededRandom(t)
  const lab = new Lab(t)
  const disk = await openPowerDisk(t, lab, 600)
  const { ready } = await lab.ready('seeder', 'share', lab.file('f.bin', SIZE), '--protocol', 'http')
  const get = fetchOnto(t, lab, disk, ready.link!)
  const moments = Array.from({ length: CUTS }, () => Math.floor(random() * 0.9 * SIZE)).sort((a, b) => a - b)
  const copies: { readonly folder: string; readonly told: number }[] = []
  for (const [i, moment] of moments.entries()) {
    const seen = await get.find('more bytes', l => (downloadIn(l)?.verifiedBytes ?? 0) > moment)
    const told = downloadIn(get.latest(l => downloadIn(l) !== undefined) ?? seen)!.verifiedBytes
    const folder = lab.dir(`cut ${i}`)
    disk.cut(from => cpSync(join(from, 'out'), folder, { recursive: true }))
    copies.push({ folder, told })
  }
  const end = await get.ended()
  assert.equal(end.code, 0, end.err)
  disk.cut(from => {
    assert.deepEqual(readdirSync(join(from, 'out')), ['f.bin'])
    assert.equal(sha256OfFile(join(from, 'out/f.bin')), ready.fileId, 'what was told as done is there')
  })
  for (const [i, { folder, told }] of copies.entries()) {
    afterReboot(folder)
    const again = await lab.kith(`again ${i}`, 'get', ready.link!, '-o', folder).ended()
    assert.equal(again.code, 0, again.err)
    const kept = Number(again.last['resumedBytes'])
    t.diagnostic(`cut at ${told}, went on from ${kept}`)
    assert.ok(kept >= told - MAX_AT_RISK_BYTES - CHUNK, `told ${told}, kept ${kept}`)
    assert.equal(sha256OfFile(String(again.last['path'])), ready.fileId)
  }
})

/** The journal names the boot in which it was written; the one after a cut is another. */
function afterReboot(folder: string): void {
  const name = readdirSync(folder).find(f => f.endsWith('.journal'))
  if (name === undefined) return // cut before there was anything
  const path = join(folder, name)
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll(/^b .*$/gm, 'b 00000000-0000-4000-8000-000000000000'))
}

/** `kith get` with home and output folder on the disk. */
function fetchOnto(t: TestContext, lab: Lab, disk: PowerDisk, link: string): Process {
  const [home, out] = ['home', 'out'].map(name => join(disk.path, name))
  const kith = [process.execPath, KITH, 'get', link, '-o', out!, '--home', home!, '--limit', '40MiB', ...LOCAL]
  const command = ['-m', 'sh', '-c', 'mkdir -p "$1" && shift && exec "$@"', 'sh', out!, ...kith]
  const fetching = new Process('-t', lab.dir('outer'), [String(disk.pid), ...command], undefined, {}, '/usr/bin/nsenter')
  t.after(() => fetching.destroy())
  return fetching
}
