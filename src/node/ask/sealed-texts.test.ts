import assert from 'node:assert/strict'
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { tempFolder } from '../../../test/kits/messaging.ts'
import { utf8 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { MAX_LONG_TEXTS_BYTES_PER_PEER } from '../limits.ts'
import { SealedTexts } from './sealed-texts.node.ts'

const FROM = 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd'
const ID = 'e3b0c442-98fc-4c14-9afb-f4c8996fb924'
const open = (folder: string, key = 1): SealedTexts => new SealedTexts(join(folder, 'texts'), new Uint8Array(32).fill(key))

test('a long text is read back whole or its beginning, and nothing of it can be read on disk', () => {
  using folder = tempFolder()
  const texts = open(folder.path)
  for (const length of [0, 1, 65_536, 65_537, 300_000]) {
    const text = 'secret '.repeat(length).slice(0, length)
    texts.put(FROM, ID, utf8(text))
    assert.equal(texts.whole(FROM, ID), text)
    assert.deepEqual(texts.head(FROM, ID), { text: text.slice(0, 65_536), bytes: length })
    const [file] = readdirSync(join(folder.path, 'texts'))
    assert.equal(readFileSync(join(folder.path, 'texts', file!)).includes('secret'), false)
  }
  assert.deepEqual([texts.has(FROM, ID), texts.has('did:key:other', ID), texts.whole('did:key:other', ID)], [true, false, undefined])
})

test('a text that was cut, changed, or belongs to another identity is noticed', () => {
  using folder = tempFolder()
  const texts = open(folder.path)
  texts.put(FROM, ID, utf8('x'.repeat(200_000)))
  const path = join(folder.path, 'texts', readdirSync(join(folder.path, 'texts'))[0]!)
  const whole = readFileSync(path)
  const isCorrupt = (e: unknown): boolean => hasCode(e, 'STORE_CORRUPT')
  assert.throws(() => open(folder.path, 2).whole(FROM, ID), isCorrupt)
  truncateSync(path, 2 * (65_536 + 28))
  assert.throws(() => texts.whole(FROM, ID), isCorrupt)
  whole[100]! ^= 1
  writeFileSync(path, whole)
  assert.throws(() => texts.head(FROM, ID), isCorrupt)
})

test('one sender takes the place of its own texts, the oldest first', () => {
  using folder = tempFolder()
  const texts = open(folder.path)
  const big = new Uint8Array(MAX_LONG_TEXTS_BYTES_PER_PEER * 0.6)
  const second = ID.replace('e3', 'e4')
  texts.put('did:key:other', ID, utf8('of another'))
  texts.put(FROM, ID, big)
  texts.put(FROM, second, big)
  assert.deepEqual([texts.has(FROM, ID), texts.has(FROM, second), texts.has('did:key:other', ID)], [false, true, true])
})
