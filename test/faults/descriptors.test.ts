/** A process that may open few files (threats C8): it says so in words or goes on without, and never crashes. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { KITH, Lab, LOCAL, type Ready, sha256OfFile } from '../kits/lab.ts'
import { Process } from '../kits/process.ts'
import { eventually } from '../kits/transfer-doubles.ts'

/** What a seeder holds open when nobody asks it for anything is about half of that. */
const FEW = 80
/** Fewer and Node itself does not start. */
const NUMBERS = [30, 42, 46]

function limited(t: TestContext, lab: Lab, files: number, home: string, ...args: string[]): Process {
  const command = ['ulimit -n "$1" && shift && exec "$@"', 'sh', String(files), process.execPath, KITH, ...args, ...LOCAL]
  const started = new Process('-c', lab.dir(home), command, undefined, {}, '/bin/sh')
  t.after(() => started.destroy())
  return started
}

test('C8: a seeder whose descriptors are used up stays, and serves when there are some again', async t => {
  if (!existsSync('/proc/self/fd')) return t.skip('needs Linux, to count descriptors')
  const lab = new Lab(t)
  const seeder = limited(t, lab, FEW, 'seeder', 'share', lab.file('f.bin', 5_000_000), '--protocol', 'http')
  const ready = (await seeder.line('ready')) as unknown as Ready
  const { port } = new URL(ready.httpUrls![0]!)
  const sockets: Socket[] = []
  t.after(() => sockets.forEach(s => void s.destroy()))
  const used = (): number => readdirSync(`/proc/${seeder.child.pid}/fd`).length
  for (let n = 0; n < 2 * FEW; n++) sockets.push(connect(Number(port), '127.0.0.1').on('error', () => {}))
  await eventually('all descriptors in use', () => used() >= FEW - 1, 10_000)
  for (const s of sockets) s.destroy()
  await eventually('descriptors to be free again', () => used() < FEW - 20, 20_000)
  const end = await lab.kith('b', 'get', ready.link!, '-o', lab.dir('out')).ended()
  assert.equal(end.code, 0, end.err)
  assert.equal(sha256OfFile(String(end.last['path'])), ready.fileId)
  seeder.kill('SIGTERM')
  assert.equal((await seeder.ended()).code, 0)
})

test('C8: a download that may open few files arrives, or ends with an error in words', async t => {
  const lab = new Lab(t)
  const { ready } = await lab.ready('seeder', 'share', lab.file('f.bin', 3_000_000), '--protocol', 'http')
  for (const files of NUMBERS) {
    const end = await limited(t, lab, files, `get ${files}`, 'get', ready.link!, '-o', lab.dir(`out ${files}`)).ended()
    const { code = 'none', hint = '' } = (end.last['error'] ?? {}) as { code?: string; hint?: string }
    t.diagnostic(`${files}: exit ${end.code}, ${code}`)
    assert.ok(end.code !== null && end.code < 128, end.err)
    if (end.code === 0) assert.equal(sha256OfFile(String(end.last['path'])), ready.fileId)
    else assert.ok(code !== 'INTERNAL' && hint !== '', end.err)
    assert.doesNotMatch(end.err, /\n {4}at /, 'no stack')
  }
})
