import assert from 'node:assert/strict'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { KithError } from '../base/errors.ts'
import { MAX_AT_RISK_BYTES } from './limits.ts'
import { assertSpace, openPartFile, type PartFile } from './part-file.node.ts'

const header = { key: 'ab', size: 100, chunkBytes: 10, root: undefined }
const source = { seeder: 'cd', protocol: 'http', offer: undefined }

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-part-'))
  try {
    await work(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
/** A part file that was not closed: as a killed process leaves it. */
async function withChunks(folder: string, chunks: readonly number[], checkpointAfter?: number): Promise<void> {
  const part = openPartFile(folder, 'x', header)
  writeFileSync(part.path, Buffer.alloc(100, 7))
  const s = part.addSource(source)
  for (const [i, c] of chunks.entries()) {
    part.record(c, s, 10)
    if (i + 1 === checkpointAfter) await part.checkpoint()
  }
  await part[Symbol.asyncDispose]()
}
const doneOf = (part: PartFile): number[] => [...part.done].flatMap((d, i) => (d ? [i] : []))
const journal = (folder: string): string => join(folder, '.kith-x.journal')
const rebooted = (folder: string): void =>
  writeFileSync(journal(folder), readFileSync(journal(folder), 'utf8').replaceAll(/^b .*$/gm, 'b another-boot'))

test('after a kill every recorded chunk is there, with who brought it', () =>
  inFolder(async folder => {
    await withChunks(folder, [3, 1, 9])
    await using part = openPartFile(folder, 'x', header)
    assert.deepEqual(doneOf(part), [1, 3, 9])
    assert.deepEqual(part.sources, [source])
    assert.deepEqual(
      part.resumed.map(([c]) => c),
      [3, 1, 9]
    )
  }))

test('after a reboot only what a checkpoint covers is there', () =>
  inFolder(async folder => {
    await withChunks(folder, [3, 1, 9], 2)
    rebooted(folder)
    {
      await using part = openPartFile(folder, 'x', header)
      assert.deepEqual(doneOf(part), [1, 3])
    }
    rebooted(folder) // what survived one power cut survives the next
    await using again = openPartFile(folder, 'x', header)
    assert.deepEqual(doneOf(again), [1, 3])
  }))

test('without a checkpoint a reboot costs everything, and never claims a chunk', () =>
  inFolder(async folder => {
    await withChunks(folder, [0, 1])
    rebooted(folder)
    await using part = openPartFile(folder, 'x', header)
    assert.deepEqual(doneOf(part), [])
  }))

test('sources wait for a disk that is behind, and what they waited for survives a reboot', () =>
  inFolder(async folder => {
    {
      await using part = openPartFile(folder, 'x', header)
      writeFileSync(part.path, Buffer.alloc(100, 7))
      const s = part.addSource(source)
      for (const chunk of [0, 1, 2]) {
        assert.equal(part.hasRoom, true)
        part.record(chunk, s, MAX_AT_RISK_BYTES / 2 - (chunk === 2 ? 0 : 1)) // the disk has had no turn in between
      }
      assert.equal(part.hasRoom, false)
      await part.room()
      assert.equal(part.hasRoom, true)
    }
    rebooted(folder)
    await using again = openPartFile(folder, 'x', header)
    assert.deepEqual(doneOf(again), [0, 1, 2])
  }))

test('a torn last line is ignored, a damaged line before it is refused by name', () =>
  inFolder(async folder => {
    await withChunks(folder, [3, 1])
    appendFileSync(journal(folder), 'c 5')
    {
      await using part = openPartFile(folder, 'x', header)
      assert.deepEqual(doneOf(part), [1, 3])
    }
    appendFileSync(journal(folder), 'c 5 77\nc 6 0\n')
    assert.throws(
      () => openPartFile(folder, 'x', header),
      (e: KithError) => e.code === 'PART_CORRUPT' && e.message.includes(journal(folder))
    )
  }))

test('any cut of the journal opens to a subset of what was recorded', () =>
  inFolder(async folder => {
    await withChunks(folder, [3, 1, 9, 4], 2)
    const whole = readFileSync(journal(folder))
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: whole.length }), async n => {
        writeFileSync(journal(folder), whole.subarray(0, n))
        writeFileSync(join(folder, '.kith-x.part'), Buffer.alloc(100, 7))
        try {
          await using part = openPartFile(folder, 'x', header)
          assert.ok(doneOf(part).every(c => [3, 1, 9, 4].includes(c)))
        } catch (e) {
          assert.ok(e instanceof KithError && e.code === 'PART_CORRUPT', String(e))
        }
      })
    )
  }))

test('a part file that lost its end keeps only the chunks that are whole', () =>
  inFolder(async folder => {
    await withChunks(folder, [0, 5, 9])
    truncateSync(join(folder, '.kith-x.part'), 65)
    await using part = openPartFile(folder, 'x', header)
    assert.deepEqual(doneOf(part), [0, 5])
  }))

test('another content under the same name starts afresh', () =>
  inFolder(async folder => {
    await withChunks(folder, [0])
    await using part = openPartFile(folder, 'x', { ...header, key: 'other' })
    assert.deepEqual(doneOf(part), [])
  }))

test('finishing never overwrites, and leaves nothing else behind', () =>
  inFolder(async folder => {
    writeFileSync(join(folder, 'out.bin'), 'mine')
    await using part = openPartFile(folder, 'x', header)
    writeFileSync(part.path, Buffer.alloc(100, 7))
    assert.equal(await part.finish(folder, 'out.bin'), join(folder, 'out (2).bin'))
    assert.equal(readFileSync(join(folder, 'out.bin'), 'utf8'), 'mine')
    assert.deepEqual(readdirSync(folder).sort(), ['out (2).bin', 'out.bin'])
  }))

test('a symbolic link in place of the part file is not followed', () =>
  inFolder(async folder => {
    writeFileSync(join(folder, 'victim'), 'precious')
    symlinkSync(join(folder, 'victim'), join(folder, '.kith-x.part'))
    assert.throws(() => openPartFile(folder, 'x', header))
    assert.equal(readFileSync(join(folder, 'victim'), 'utf8'), 'precious')
  }))

test('a file larger than the free space is refused before anything is written', () =>
  inFolder(async folder => {
    assert.throws(() => openPartFile(folder, 'x', { ...header, size: 2 ** 50 }), { code: 'DISK_FULL' })
    // What others write meanwhile is less than this.
    const { bavail, bsize } = statfsSync(folder)
    assert.throws(() => assertSpace(folder, (bavail * bsize) / 1.025), { code: 'DISK_FULL' }, 'some of it stays free')
    assertSpace(folder, (bavail * bsize) / 1.2)
    assert.ok(!existsSync(join(folder, '.kith-x.part')))
  }))

test('two downloads of the same content into one folder do not write into each other', () =>
  inFolder(async folder => {
    {
      await using _ = openPartFile(folder, 'x', header)
      assert.throws(() => openPartFile(folder, 'x', header), { code: 'DOWNLOAD_RUNNING' })
      await using other = openPartFile(folder, 'y', header)
      assert.ok(other)
    }
    await using again = openPartFile(folder, 'x', header)
    assert.ok(again)
  }))

test('who brought one file is not taken for who brings the next', () =>
  inFolder(async folder => {
    await withChunks(folder, [1])
    await using next = openPartFile(folder, 'y', { ...header, key: 'cd' })
    assert.deepEqual(next.sources, [])
    assert.doesNotMatch(readFileSync(join(folder, '.kith-y.journal'), 'utf8'), /^s /m)
  }))
