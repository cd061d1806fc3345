/** What takes time, and how it is kept in bounds: rates, order, hashing that is seen, stopped and not done twice. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test, { suite, type TestContext } from 'node:test'
import type { GetRequest, NodeEvent } from '../../src/node/types.ts'
import { followDownload, isOver, Lab } from '../kits/lab.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const MIB = 2 ** 20
const CHUNK = 256 * 1024

suite('limits', { concurrency: 2, timeout: 180_000 }, () => {
  test('rates of a download, of all downloads and of a share are kept; in order comes what is asked for in order', rates)
  test('the link is there before all hashes are, Ctrl-C ends hashing, and what is known is not hashed again', hashing)
})

async function rates(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const size = 3 * MIB
  const file = lab.file('f.bin', size)
  const slow = lab.file('slow.bin', size, 2)
  const limit = MIB
  const { ready } = await lab.ready('a', 'share', file)
  const limited = await lab.client('a', 'share', slow, '--upload-limit', '1MiB')
  writeFileSync(join(lab.dir('b'), 'config.json'), JSON.stringify({ version: 1, downloadLimit: limit }))
  await Promise.all([lab.ready('b', 'up'), lab.ready('c', 'up')])
  const measured = await Promise.all([
    secondsOf(lab, 'b', { address: ready.link!, folder: lab.dir('config') }),
    secondsOf(lab, 'c', { address: ready.link!, folder: lab.dir('limit'), limit }),
    secondsOf(lab, 'c', { address: String(limited.last['link']), folder: lab.dir('upload') })
  ])
  for (const seconds of measured) {
    t.diagnostic(`${(size / seconds / limit).toFixed(3)} of the limit over ${seconds.toFixed(1)} s`)
    assert.ok(seconds * 1.05 * limit >= size - CHUNK, `${seconds} s`)
  }

  // In order: what is there after a while is the front. 2 MiB/s, so that it can be stopped half-way.
  const folder = lab.dir('order')
  const api = lab.api('c')
  const { id } = await api.get({ address: ready.link!, folder, limit: 2 * MIB, sequential: true })
  await eventually('a third', async () => (await api.download(id)).chunksDone >= 4)
  const { chunksDone } = await api.cancel(id)
  const bytes = readFileSync(file)
  const part = readFileSync(join(folder, `.kith-${ready.fileId!.slice(0, 16)}.part`))
  const done = Array.from({ length: size / CHUNK }, (_, c) =>
    part.subarray(c * CHUNK, (c + 1) * CHUNK).equals(bytes.subarray(c * CHUNK, (c + 1) * CHUNK))
  )
  const front = done.indexOf(false)
  assert.ok(front >= chunksDone - 4, `${chunksDone} chunks, the front is ${front}`)
  assert.ok(chunksDone < done.length)
}

/** Fetches. @returns seconds by the clock of the node, from the request to the end: not less than the bytes took */
async function secondsOf(lab: Lab, home: string, request: GetRequest): Promise<number> {
  const api = lab.api(home)
  const { id } = await api.get(request)
  const { state, message, startedAt, finishedAt } = await followDownload(api, id, isOver)
  assert.equal(state, 'done', message)
  return (finishedAt! - startedAt) / 1000
}

async function hashing(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const size = 300 * MIB
  const file = sparse(lab, 'large.bin', size)
  const { process, ready } = await lab.ready('a', 'share', file)
  const lines = process.out
    .split('\n')
    .filter(Boolean)
    .map(l => JSON.parse(l) as NodeEvent)
  const linked = lines.findIndex(l => l.type === 'share:linked')
  assert.equal((lines[linked] as { link: string }).link, ready.link)
  const after = lines.slice(linked).filter(l => l.type === 'share:progress')
  assert.ok(
    after.some(p => p.hashedBytes < size),
    'SHA-256 was done, others were not'
  )
  assert.ok(lines.slice(0, linked).some(l => l.type === 'share:progress'))

  // Known: not a byte is read again, also under another name and by the next process of this home.
  const again = await lab.client('a', 'share', file, '--name', 'other.bin')
  assert.deepEqual([again.last['fileId'], again.last['name']], [ready.fileId, 'other.bin'], again.err)
  process.kill('SIGTERM')
  await process.ended()
  const next = await lab.ready('a', 'share', file)
  assert.ok(![...again.lines, ...next.process.out.split('\n')].some(l => JSON.stringify(l).includes('share:progress')))
  assert.equal(next.ready.fileId, ready.fileId)

  // Ctrl-C while it hashes.
  const stopped = lab.kith('b', 'share', sparse(lab, 'huge.bin', 8 * 2 ** 30))
  await stopped.find('progress', l => l['type'] === 'share:progress')
  stopped.kill('SIGINT')
  const end = await stopped.ended()
  assert.equal(end.code, 130)
  assert.equal(end.err, '')
  await lab.ready('b', 'up')
  assert.deepEqual(await lab.api('b').shares(), [])
}

/** A file of zeros and one other byte that takes no room on the disk. */
function sparse(lab: Lab, name: string, size: number): string {
  const path = lab.file(name, 0)
  truncateSync(path, size)
  const fd = openSync(path, 'r+')
  writeSync(fd, 'x', Math.floor(size / 3))
  closeSync(fd)
  return path
}
