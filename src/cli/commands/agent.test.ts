import assert from 'node:assert/strict'
import test from 'node:test'
import type { TaskView } from '../../node/ask-types.ts'
import { describeTask } from './agent.ts'

const task = (output: unknown): TaskView => ({
  ...({ id: '12345678-0000-4000-8000-000000000000', role: 'given', peer: 'did:key:z6MkPeer', peerName: undefined, skill: 's' } as const),
  ...({
    description: '',
    state: 'COMPLETED',
    progress: 1,
    note: undefined,
    output,
    file: undefined,
    error: undefined,
    createdAt: 0
  } as const),
  ...{ deadline: undefined, finishedAt: 0, attempts: 1 }
})

test('what a worker gave cannot move the cursor, and one that gave nothing to show is told of', () => {
  assert.deepEqual(describeTask(task('a\u001b[2Jb\nc'), false), ['a\ufffd[2Jb', 'c'])
  assert.match(describeTask(task({ '\u009b': '\u202e' }), false).join(), /^[^\u009b\u202e]+$/)
  assert.match(describeTask(task(undefined), false)[0]!, /COMPLETED/)
  const file = { link: 'kith:x', name: 'output.json', size: 2_000_000 }
  assert.ok(describeTask({ ...task(undefined), file }, false).includes("  kith get 'kith:x'"))
})

test('a long result is printed to its end', () => {
  const lines = Array.from({ length: 12_000 }, (_, i) => `line ${i}`)
  assert.deepEqual(describeTask(task(lines.join('\n')), false), lines)
  const long = 'z'.repeat(200_000)
  assert.deepEqual(describeTask(task(long), false), [long])
})

test('a task that goes on, or was not allowed, says what can be done about it', () => {
  const running = { ...task(undefined), state: 'IN_PROGRESS', progress: 0 } as const
  assert.deepEqual(describeTask(running, false)[0], '12345678  s to …z6MkPeer: IN_PROGRESS')
  assert.match(describeTask(running, false).join(), /goes on without you.*kith agent cancel 12345678/)
  assert.match(describeTask(running, true).join(), /when 'kith up' runs/)
  const refused = { ...task(undefined), state: 'REFUSED', error: { code: 'NOT_AUTHORISED', message: 'no' } } as const
  assert.match(describeTask(refused, false).join(), /kith peer grant YOUR-ID task:s /)
  const cancelled = { ...task(undefined), state: 'CANCELLED', error: { code: 'CANCELLED', message: 'taken back' } } as const
  assert.match(describeTask(cancelled, false)[0]!, /: CANCELLED: taken back$/)
})
