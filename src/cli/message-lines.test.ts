import assert from 'node:assert/strict'
import test from 'node:test'
import type { MessageView } from '../node/ask-types.ts'
import { describeSent, linesOf, wholeOf } from './message-lines.ts'

const NOW = new Date(2026, 10, 21, 19, 40).getTime()
const message = (change: Partial<MessageView>): MessageView => ({
  ...{ id: 'e3b0c442-98fc-4c14-9afb-f4c8996fb924', direction: 'in', peer: 'did:key:z6MkehRgf7yJbgaGf', peerName: 'laptop' },
  ...{
    type: 'agent_message',
    text: 'hello',
    body: {},
    file: undefined,
    state: 'received',
    reason: undefined,
    retry: undefined,
    legacy: false
  },
  ...{ group: undefined, createdAt: NOW, changedAt: NOW },
  ...change
})
const waiting = message({
  ...{ direction: 'out', state: 'waiting', reason: { code: 'PEER_UNREACHABLE', message: 'they cannot be reached' } },
  retry: { since: NOW - 60_000, at: NOW + 12_000 }
})

test('a message that waits says why, since when, and when it is tried again', () => {
  const [first, next] = describeSent(waiting, false, NOW)
  assert.equal(first, 'Not delivered to laptop yet: they cannot be reached since 2026-11-21 19:39 (PEER_UNREACHABLE).')
  assert.equal(next, 'It waits on this disk, encrypted; next try in 12 s.')
  assert.match(describeSent(waiting, true, NOW)[1]!, /'kith up' sends it/)
  assert.match(linesOf(waiting, NOW)[1]!, /waiting: they cannot be reached since .*, next try in 12 s {2}e3b0c442/)
})

test('what was sent is shown with its text, and a file with its name', () => {
  const [line, file, state] = linesOf(
    message({ direction: 'out', state: 'delivered', file: { link: 'kith:x', name: 'a.txt', size: 1 } }),
    NOW
  )
  assert.deepEqual([line, file], ['2026-11-21 19:40  to laptop: hello', '    with a.txt, 1 B'])
  assert.match(state!, /^ {4}delivered {2}e3b0/)
})

test('texts of others cannot move the cursor, hide what follows, or fill the screen', () => {
  const evil = 'a\u001b[2J\r\u0007\u009bx\u202e\u2066y\u200bz'
  for (const lines of [linesOf(message({ text: evil, peerName: evil, group: evil })), wholeOf(message({ text: evil }))])
    assert.match(lines.join(''), /^[^\u0000-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]*$/)
  const long = linesOf(message({ text: 'x\n'.repeat(10_000) }))
  assert.ok(long.length < 50)
  assert.match(long.at(-1)!, /kith msg show e3b0c442/)
  assert.equal(wholeOf(message({ text: 'x\n'.repeat(20_000) })).length, 20_001)
})

test('a message of the old form says that it was not encrypted', () => {
  assert.match(linesOf(message({ legacy: true }))[0]!, /from laptop \(not encrypted, old version\): hello/)
})

test('several lines, emoji and texts from right to left stay as they are', () => {
  const text = 'eins\nשלום עולם\n👩‍👩‍👧 done'
  assert.deepEqual(linesOf(message({ text })).slice(1), ['    eins', '    שלום עולם', '    👩‍👩‍👧 done'])
})
