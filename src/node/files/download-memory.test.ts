import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { DownloadMemory } from './download-memory.node.ts'

test('requests are remembered over a restart, without what opens an encrypted file', t => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-memory-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'state/downloads.json')
  const key = 'A'.repeat(43)
  const locked = { address: `kith:bafy?enc=key#key=${key}`, folder: '/a', limit: 5000 }
  const phrased = { address: 'kith:bafy?enc=passphrase', folder: '/b', passphrase: 'correct horse' }
  const memory = new DownloadMemory(path)
  for (const request of [locked, phrased, locked]) memory.remember(request)
  const text = readFileSync(path, 'utf8')
  assert.ok(!text.includes(key) && !text.includes('horse'))
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const again = new DownloadMemory(path)
  assert.deepEqual(again.all(), [
    { address: 'kith:bafy?enc=key', folder: '/a', limit: 5000 },
    { address: phrased.address, folder: '/b' }
  ])
  again.forget(locked)
  again.forget(phrased)
  assert.deepEqual(new DownloadMemory(path).all(), [])
  for (const damaged of ['', '{', '[]', '{"requests":7}', '{"requests":[null,{"address":7}]}']) {
    writeFileSync(path, damaged)
    assert.deepEqual(new DownloadMemory(path).all(), [], damaged)
  }
})
