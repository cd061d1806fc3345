import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { hasCode } from '../base/errors.ts'
import { EncryptedStore } from './encrypted-store.node.ts'
import { forgetPlaintext, openPartFile, plainPathOf } from './part-file.node.ts'

const scratch = (t: TestContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-encrypted-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

test('CH15: ciphertext of a killed process, and what no share has, is gone at the next start; what is shared and what is not ours stays', async t => {
  const folder = scratch(t)
  const original = join(folder, 'letter.txt')
  writeFileSync(original, 'content')
  const at = join(folder, 'encrypted')
  const store = new EncryptedStore(at, () => false)
  const [kept, lost] = [await store.add(original, 'a', undefined, () => {}), await store.add(original, 'b', 'pass', () => {})]
  writeFileSync(join(at, '0123456789abcdef.kithenc'), 'half of it')
  writeFileSync(join(at, 'notes.json'), '{}')
  writeFileSync(join(at, 'mine.kithenc'), 'x')
  const again = new EncryptedStore(at, path => path === kept.path)
  const id = basename(kept.path, '.kithenc')
  assert.deepEqual(readdirSync(at).sort(), [`${id}.json`, `${id}.kithenc`, 'mine.kithenc', 'notes.json'].sort())
  assert.deepEqual([again.find(kept.path)?.name, again.find(lost.path)], ['a', undefined])
})

test('CH15: plaintext that a killed download left is removed, not that of one that runs', async t => {
  const folder = join(scratch(t), 'out')
  mkdirSync(folder)
  const part = openPartFile(folder, 'stem', { key: 'k', size: 10, chunkBytes: 16_384, root: undefined })
  writeFileSync(plainPathOf(part.path), 'secret')
  assert.throws(
    () => forgetPlaintext(folder, 'stem'),
    (e: unknown) => hasCode(e, 'DOWNLOAD_RUNNING')
  )
  await part[Symbol.asyncDispose]()
  forgetPlaintext(folder, 'stem')
  assert.deepEqual(readdirSync(folder).sort(), ['.kith-stem.journal', '.kith-stem.part'])
  forgetPlaintext(folder, 'stem')
})
