import assert from 'node:assert/strict'
import test from 'node:test'
import { sentLine, stoppedLine } from './seeding-screen.ts'

const sent = (name: string, uploadedBytes: number): { fileId: string; name: string; uploadedBytes: number } => ({
  fileId: name,
  name,
  uploadedBytes
})

test('who seeds sees what is taken, of what, and how fast', () => {
  assert.equal(sentLine([], [sent('a', 0)]), undefined)
  assert.deepEqual(sentLine([sent('a', 0)], [sent('a', 2_000_000)]), { text: 'Sent 2.0 MB so far, 2.0 MB/s, a', isMoving: true })
  assert.deepEqual(
    sentLine([sent('a', 1), sent('b', 0)], [sent('a', 2), sent('b', 9_000_000)])?.text,
    'Sent 9.0 MB so far, 9.0 MB/s, b and 1 more'
  )
  assert.deepEqual(sentLine([sent('a', 2_000_000)], [sent('a', 2_000_000)]), { text: 'Sent 2.0 MB so far', isMoving: false })
})

test('a file that changed is named without its control characters, with what to do', () => {
  assert.equal(
    stoppedLine('a\u001b[2J', 'the file is gone'),
    'a\ufffd[2J is not seeded any more: the file is gone. Share it again for a link to what it is now.'
  )
})
