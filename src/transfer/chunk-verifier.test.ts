import assert from 'node:assert/strict'
import { hash, randomFillSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ChunkVerifier } from './chunk-verifier.node.ts'
import { chunkLength, makeGrid } from './grid.ts'
import { SlotPool } from './slot-pool.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-verifier-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const CHUNK = 64 * 1024
const content = randomFillSync(new Uint8Array(21 * CHUNK + 1000))
const grid = makeGrid(content.length, CHUNK)
const partOf = (c: number): Uint8Array => content.subarray(c * CHUNK, c * CHUNK + chunkLength(grid, c))
const hashes = Buffer.concat(Array.from({ length: grid.count }, (_, c) => hash('sha256', partOf(c), 'buffer')))

function newFile(name: string): string {
  const path = join(folder, name)
  closeSync(openSync(path, 'w'))
  return path
}

test('chunks in any order are written where they belong, wrong ones are not, and the digest is that of the whole', async () => {
  const path = newFile('whole')
  const pool = new SlotPool(CHUNK, 64 * CHUNK)
  await using verifier = ChunkVerifier.open(grid, { algorithm: 'sha256', of: c => hashes.subarray(32 * c, 32 * c + 32) }, path, pool.buffer)
  const verify = async (chunk: number, spoil: boolean): Promise<boolean> => {
    const slot = await pool.acquire()
    slot.bytes.set(partOf(chunk))
    if (spoil) slot.bytes[chunkLength(grid, chunk) - 1]! ^= 1
    return verifier.verify(slot, chunk).finally(() => pool.release(slot))
  }
  const order = Array.from({ length: grid.count }, (_, i) => (i * 5) % grid.count)
  const wrong = new Set([0, 7, 8, grid.count - 1])
  const first = await Promise.all(order.map(c => verify(c, wrong.has(c))))
  assert.deepEqual(
    first,
    order.map(c => !wrong.has(c))
  )
  assert.deepEqual(await Promise.all([...wrong].map(c => verify(c, false))), [true, true, true, true])
  assert.ok(readFileSync(path).equals(content))
  verifier.follow(content.length)
  assert.equal(Buffer.from(await verifier.digest()).toString('hex'), hash('sha256', content))
})

test('a write that fails rejects, and disposal rejects what is still under way', async () => {
  const pool = new SlotPool(CHUNK, 8 * CHUNK)
  const verifier = ChunkVerifier.open(grid, { algorithm: 'none' }, '/dev/full', pool.buffer)
  const slot = await pool.acquire()
  await assert.rejects(verifier.verify(slot, 0), { code: 'DISK_FULL' })
  const pending = verifier.verify(slot, 1)
  const refused = assert.rejects(pending)
  await verifier[Symbol.asyncDispose]()
  await refused
  await assert.rejects(verifier.verify(slot, 2), { code: 'CANCELLED' })
})
