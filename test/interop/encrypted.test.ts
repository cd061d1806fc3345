/** A program that knows only docs/wire/encryption.md opens what we encrypt. */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { encryptFile } from '../../src/transfer/encryption/file-encryption.node.ts'
import type { FileSecret } from '../../src/transfer/file-cipher.node.ts'
import { seededBytes } from '../kits/transfer-doubles.ts'

const run = promisify(execFile)
const PYTHON = '/usr/bin/python3'

test('an independent program opens files locked by a key and by a passphrase, and refuses the wrong one', async t => {
  if (spawnSync(PYTHON, ['-c', 'import cryptography']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'install Debian package python3-cryptography')
    t.skip('install Debian package python3-cryptography')
    return
  }
  const folder = mkdtempSync(join(tmpdir(), 'kith-enc-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const plain = seededBytes(600_000)
  const from = join(folder, 'plain')
  writeFileSync(from, plain)
  const script = join(import.meta.dirname, 'open_encrypted.py')
  const secrets: [FileSecret, string][] = [
    [{ key: new Uint8Array(32).fill(9) }, `key=${'09'.repeat(32)}`],
    [{ passphrase: 'caf\u00e9' }, 'passphrase=cafe\u0301'] // the same text, spelled with a combining accent
  ]
  for (const [i, [secret, argument]] of secrets.entries()) {
    const to = join(folder, `cipher-${i}`)
    await encryptFile({ from, to, secret, name: 'Käse.bin', mime: 'text/plain' }, () => {})
    const { stdout } = await run(PYTHON, [script, to, argument])
    const sha256 = createHash('sha256').update(plain).digest('hex')
    assert.deepEqual(JSON.parse(stdout), { name: 'Käse.bin', mime: 'text/plain', size: plain.length, sha256 })
    await assert.rejects(run(PYTHON, [script, to, i === 0 ? `key=${'08'.repeat(32)}` : 'passphrase=other']))
  }
})
