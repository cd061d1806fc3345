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
