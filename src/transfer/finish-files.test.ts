import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { finishFiles } from './disk/finish-files.node.ts'
import { openPartFile } from './part-file.node.ts'
import type { Plan } from './plan.node.ts'

test('CH12: files of a torrent that are each other as folders, or differ only in case, all arrive', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-finish-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const part = openPartFile(folder, 'stem', { key: 'k', size: 7, chunkBytes: 16_384, root: undefined })
  writeFileSync(part.path, 'abcdefg')
  const paths = [['a'], ['a', 'b'], ['a', 'c'], ['A'], ['d', 'e'], ['d'], ['..', '..', 'f']]
  const files = paths.map((path, i) => ({ path, offset: i, length: 1 }))
  const { path: root, files: placed } = await finishFiles(part, folder, {
    stem: 'stem',
    name: 't',
    grid: part.grid,
    files
  } as unknown as Plan)
  const all = readdirSync(root, { recursive: true, withFileTypes: true }).filter(e => e.isFile())
  const content = all.map(e => readFileSync(join(e.parentPath, e.name), 'utf8'))
  assert.deepEqual(content.sort(), [...'abcdefg'])
  assert.deepEqual(placed.map(f => readFileSync(f.path, 'utf8') + f.offset).join(' '), 'a0 b1 c2 d3 e4 f5 g6')
  assert.ok(all.every(e => e.parentPath.startsWith(root)))
  assert.deepEqual(readdirSync(folder), ['t'])
})
