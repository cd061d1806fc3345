/**
 * A disk that cannot write what messages.db was given, says so once, and answers every later sync with success (threats C17): nothing is
 * acknowledged from then on, it is said, and after a restart everything arrives once, though the disk has nothing of what came after the
 * last sync that was right.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { hasCode } from '../../src/base/errors.ts'
import { allArrivedOnce, arrived, numbered, openNode, received, sendTexts, sent, until } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'

const SHIM = join(import.meta.dirname, '../kits/disk-failing.c')

test('C17: an fdatasync of messages.db fails once: nothing is acknowledged, it is said, nothing is lost or comes twice', async t => {
  if (process.platform !== 'linux' || spawnSync('gcc', ['--version']).status !== 0) {
    const why = 'needs Linux and Debian package gcc'
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const lab = new Lab(t)
  const [shim, now] = [join(lab.folder, 'disk-failing.so'), join(lab.folder, 'now')]
  execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', shim, SHIM, '-ldl'])
  const env = { LD_PRELOAD: shim, FAIL_FILE: 'messages.db-wal', FAIL_NOW: now }
  const a = await openNode(t, lab, 'a')
  const bootstrap = ['--bootstrap', a.address]
  const b = await openNode(t, lab, 'b', bootstrap, undefined, env)
  await a.api.ask.send({ to: b.address, text: 'hello' })
  await b.api.ask.send({ to: a.address, text: 'hello back' })
  await arrived(b, 'hello', 1)
  await until('it is known to be there', async () => (await sent(a)).every(m => m.state === 'delivered'))

  const texts = numbered('to a failed disk:', 20)
  writeFileSync(now, '')
  await sendTexts(a, b.entityId, texts)
  await until('it is said', async () => /the disk has failed.*DISK_FAILED/.test(b.process.err))
  await until('the sender knows', async () => (await sent(a)).some(m => m.reason?.code === 'INTERNAL'))
  await assert.rejects(b.api.ask.send({ to: a.entityId, text: 'never' }), error => hasCode(error, 'DISK_FAILED'))
  assert.deepEqual(
    (await sent(a)).filter(m => m.state === 'delivered').map(m => m.text),
    ['hello'],
    'nothing that came after it is acknowledged'
  )

  await b.process.destroy()
  const wal = join(lab.folder, 'b/data/messages.db-wal')
  copyFileSync(`${wal}.disk`, wal)
  rmSync(wal.replace('-wal', '-shm'))
  const again = await openNode(t, lab, 'b', bootstrap)
  assert.deepEqual(await received(again), ['hello'], 'the disk has what was acknowledged')
  await allArrivedOnce(a, again, ['hello', ...texts])
  await sendTexts(again, a.entityId, ['after'])
  await arrived(a, 'after', 1)
})
