/** The command line over real nodes: two homes, real sockets, a real file. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type Json, newHome, Process } from '../../test/kits/process.ts'

const KITH = join(import.meta.dirname, 'main.ts')
/** Loopback only, and free ports. */
const LOCAL = ['--json', '--port', '0', '--no-lan', '--listen', '127.0.0.1']

test('a file shared by one home arrives in another, whole, and everything ends', async t => {
  const folder = newHome(t)
  const [a, b, out] = ['a', 'b', 'out'].map(name => join(folder, name)) as [string, string, string]
  for (const f of [a, b, out]) mkdirSync(f)
  const content = randomBytes(3 * 2 ** 20 + 77)
  const sha256 = createHash('sha256').update(content).digest('hex')
  writeFileSync(join(folder, 'some file.bin'), content)

  const up = new Process(KITH, a, ['up', ...LOCAL])
  t.after(() => up.kill('SIGKILL'))
  const ready = await up.line('ready')
  const shared = await new Process(KITH, a, ['share', join(folder, 'some file.bin'), '--json']).ended()
  assert.equal(shared.code, 0, shared.err)
  assert.equal(shared.last['fileId'], sha256)
  assert.equal(shared.last['peerId'], ready['peerId'])

  const address = (ready['addresses'] as string[])[0]!
  const got = await new Process(KITH, b, ['get', String(shared.last['link']), '-o', out, '--bootstrap', address, ...LOCAL]).ended()
  assert.equal(got.code, 0, got.err + got.out)
  assert.equal(got.last['sha256Matches'], true)
  const path = String(got.last['path'])
  assert.ok(path.startsWith(out) && path.endsWith('some file.bin'), path)
  assert.ok(readFileSync(path).equals(content))
  const sources = got.last['sources'] as { bytes: number }[]
  assert.equal(
    sources.reduce((n, s) => n + s.bytes, 0),
    content.length
  )

  const plain = await fetch((shared.last['httpUrls'] as string[])[0]!)
  assert.ok(Buffer.from(await plain.arrayBuffer()).equals(content))
  const missing = await new Process(KITH, a, ['share', join(folder, 'absent'), '--json']).ended()
  assert.equal(missing.code, 3, missing.err)
  assert.equal((missing.last['error'] as Json)['code'], 'FILE_NOT_FOUND')
  const unshared = await new Process(KITH, a, ['unshare', String(shared.last['link']), '--json']).ended()
  assert.equal(unshared.last['state'], 'stopped', unshared.err)

  up.kill('SIGTERM')
  const end = await up.ended()
  assert.equal(end.code, 0, `it ended by itself within 4.5 s, or it would be 143: ${end.err}`)
  for (const home of [a, b]) for (const f of ['state/api.json', 'data/lock']) assert.equal(existsSync(join(home, f)), false, `${home} ${f}`)
})
