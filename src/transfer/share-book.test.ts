import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { bytesToHex } from '../base/bytes.ts'
import { makeGrid } from './grid.ts'
import { HAVE_AGE_MS } from './limits.ts'
import type { Signer } from './offers.ts'
import type { Share } from './protocol.ts'
import { ShareBook } from './share-book.node.ts'

test('a flood of questions about a running download is answered from one look at its chunks', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-book-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const clock = new FakeClock(0)
  const signer = {} as Signer // partial shares have no manifest to sign
  const book = stack.use(await ShareBook.open({ clock, signer, endpoints: () => [], onStopped: () => {} }, join(folder, 'shares.db')))
  const fileId = new Uint8Array(32).fill(5)
  const done = new Set([0, 1, 2, 70, 99])
  let looks = 0
  const share: Share = {
    fileId,
    root: fileId,
    grid: makeGrid(100 * 256 * 1024),
    name: '',
    mime: '',
    pricePerMb: 0n,
    pieces: undefined,
    has: c => {
      looks++
      return done.has(c)
    },
    read: async () => {},
    onChunk: () => {}
  }
  book.addPartial(share, () => undefined)
  const offered = book.offered(bytesToHex(fileId))!
  for (let i = 0; i < 50; i++) {
    assert.deepEqual((await offered.terms()).chunks, [
      { first: 0, count: 3 },
      { first: 70, count: 1 },
      { first: 99, count: 1 }
    ])
  }
  assert.equal(looks, 100)
  done.add(3)
  await clock.advance(HAVE_AGE_MS)
  assert.deepEqual((await offered.terms()).chunks?.[0], { first: 0, count: 4 }, 'and soon told what is new')
})
