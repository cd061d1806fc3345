import assert from 'node:assert/strict'
import test from 'node:test'
import { GroupCommit } from './group-commit.node.ts'

test('a write is told when it is committed, and resolves when it is on disk', async () => {
  const told: string[] = []
  const { promise: synced, resolve: endSync } = Promise.withResolvers<void>()
  const group = new GroupCommit({ transaction: work => work(), sync: () => synced })
  const writing = group.run(
    () => 1,
    n => void told.push(`written ${n}`)
  )
  void writing.then(n => told.push(`durable ${n}`))
  group.flush()
  await new Promise(setImmediate)
  assert.deepEqual(told, ['written 1'])
  endSync()
  await writing
  assert.deepEqual(told, ['written 1', 'durable 1'])
})

test('what is committed while a sync runs waits for one that begins after it', async () => {
  const syncs: (() => void)[] = []
  const group = new GroupCommit({ transaction: work => work(), sync: () => new Promise(resolve => syncs.push(resolve)) })
  const durable: number[] = []
  const all = [1, 2, 3].map(n => {
    const done = group.run(() => n).then(() => void durable.push(n))
    group.flush()
    return done
  })
  syncs[0]!()
  await new Promise(setImmediate)
  assert.deepEqual(durable, [1])
  assert.equal(syncs.length, 2, 'one for both that waited')
  syncs[1]!()
  await Promise.all(all)
})

test('what nobody waits for shares the next transaction, and one that fails takes no other with it', async () => {
  let transactions = 0
  const group = new GroupCommit({
    transaction: work => {
      transactions++
      work()
    }
  })
  const later = group.later(() => 'later')
  const bad = group.run(() => {
    throw new Error('bad')
  })
  const good = group.run(() => 'good')
  await assert.rejects(bad, /bad/)
  assert.deepEqual(await Promise.all([later, good]), ['later', 'good'])
  assert.equal(transactions, 4, 'all, then each')
  assert.equal(await group.later(() => 'alone'), 'alone')
})
