import assert from 'node:assert/strict'
import test from 'node:test'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { MessageStore, ReceivedRow } from '../store.ts'
import { Handlers } from './handlers.ts'

const row = (seq: number): ReceivedRow => ({
  ...{ seq, id: String(seq), from: 'x', type: 'agent_message', body: {} },
  ...{ priority: 'normal', sentAt: 0, receivedAt: 0, via: 'direct' }
})

test('what a full disk kept from being marked as done is marked with the next message (threats C7)', async () => {
  const done: number[] = []
  let isFull = true
  const store = {
    commitLater: async (work: () => unknown) => {
      if (isFull) throw new KithError('DISK_FULL', 'no space left')
      return work()
    },
    setDone: (seq: number) => void done.push(seq),
    undone: () => []
  }
  const handlers = new Handlers({
    ...{ log: silentLogger, store: store as unknown as MessageStore, failpoint: () => {} },
    answerError: () => () => {}
  })
  let acted = 0
  handlers.set('agent_message', async () => void acted++)
  await new Promise(resolve => setImmediate(resolve))
  for (const seq of [1, 2]) handlers.offer(row(seq))
  await eventually('both were acted on', () => acted === 2)
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(done, [])
  isFull = false
  handlers.offer(row(3))
  await eventually('all are marked', () => done.length === 3)
  await handlers.close()
  assert.deepEqual(done.toSorted(), [1, 2, 3])
  assert.equal(acted, 3)
})

test('the sender of what failed hears the code, and nothing of our folders', async () => {
  const told: string[] = []
  const store = { commit: async (work: () => unknown) => work(), setDone: () => {}, undone: () => [] }
  const handlers = new Handlers({
    ...{ log: silentLogger, store: store as unknown as MessageStore, failpoint: () => {} },
    answerError: (_row, code, text) => {
      told.push(`${code}: ${text}`)
      return () => {}
    }
  })
  const errors = [
    new KithError('STORE_READ_ONLY', 'cannot write /home/ann/tasks.db'),
    new KithError('NO_SKILL', 'not served'),
    new Error('/x/y')
  ]
  handlers.set('task_delegate', async ({ id }) => {
    throw errors[Number(id) - 1]
  })
  await new Promise(resolve => setImmediate(resolve))
  for (const i of errors.keys()) handlers.offer({ ...row(i + 1), type: 'task_delegate' })
  await eventually('all were answered', () => told.length === errors.length)
  await handlers.close()
  assert.deepEqual(told, [
    'STORE_READ_ONLY: this node cannot do that at the moment',
    'NO_SKILL: not served',
    'INTERNAL: the message could not be handled'
  ])
})

test('what was read from disk before it was told of is acted on once, and not before it is durable', async () => {
  const rows = [row(1), row(2), row(3)]
  const store = {
    commitLater: async (work: () => unknown) => work(),
    setDone: () => {},
    undone: (_type: string, after: number) => rows.filter(r => r.seq > after)
  }
  const handlers = new Handlers({
    ...{ log: silentLogger, store: store as unknown as MessageStore, failpoint: () => {} },
    answerError: () => () => {}
  })
  const acted: number[] = []
  handlers.offer(row(1))
  // 2 and 3 are committed, and on their way to the disk.
  handlers.set('agent_message', async ({ id }) => void acted.push(Number(id)))
  await eventually('the first was acted on', () => acted.length === 1)
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(acted, [1])
  for (const seq of [2, 3]) handlers.offer(row(seq))
  await eventually('the others were acted on', () => acted.length === 3)
  await handlers.close()
  assert.deepEqual(acted, [1, 2, 3])
})
