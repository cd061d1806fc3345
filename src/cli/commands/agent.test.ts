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
})
