/** The inbox over a store that fails, delays, or has a message already. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { KithError } from '../../base/errors.ts'
import { Emitter } from '../../base/events.ts'
import { silentLogger } from '../../base/log.ts'
import { MAX_UNCOMMITTED_BYTES } from '../limits.ts'
import type { MessageStore } from '../store.ts'
import type { IncomingMessage, MessengerEvents } from '../types.ts'
import type { Handlers } from './handlers.ts'
import { Inbox } from './inbox.ts'

const message = (id: string): IncomingMessage => ({
  ...{ id, from: 'did:key:a', type: 'agent_message', body: {}, priority: 'normal', sentAt: 0, receivedAt: 0, via: 'direct' }
})

/** A store in memory whose commits end when the test says so. */
function makeInbox() {
  const stored = new Set<string>()
  const commits: { readonly work: () => unknown; readonly end: (error?: unknown) => void }[] = []
  const store = {
    commit: <T>(work: () => T): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        commits.push({ work, end: error => (error === undefined ? resolve(work()) : reject(error)) })
      }),
    addReceived: ({ id }: IncomingMessage) => {
      if (stored.has(id)) return undefined
      stored.add(id)
      return stored.size
    }
  } as unknown as MessageStore
  const handled: string[] = []
  const handlers = { offer: ({ id }: IncomingMessage) => void handled.push(id) } as unknown as Handlers
  const events = new Emitter<MessengerEvents>(error => assert.fail(String(error)))
  const inbox = new Inbox({ ...{ log: silentLogger, store, events, handlers, failpoint: () => {} }, plantedBug: undefined })
  const answers: [string, unknown][] = []
  const add = (id: string, bytes = 1, within?: () => void): void =>
    inbox.add(message(id), bytes, error => void answers.push([id, error]), within)
  const end = async (error?: unknown): Promise<void> => {
    commits.shift()!.end(error)
    await new Promise(resolve => setImmediate(resolve))
  }
  return { inbox, add, end, answers, handled }
}

test('ST2: a message is acknowledged and acted on after its commit, and refused when that failed', async () => {
  const { add, end, answers, handled } = makeInbox()
  add('lost')
  add('lost too')
  assert.deepEqual([answers, handled], [[], []])
  const full = new KithError('DISK_FULL', 'no space left')
  await end(full)
  assert.deepEqual(answers.splice(0), [
    ['lost', full],
    ['lost too', full]
  ])
  assert.deepEqual(handled, [])
  add('kept')
  assert.deepEqual(answers, [])
  await end()
  assert.deepEqual([answers, handled], [[['kept', undefined]], ['kept']])
})

test('RT9: a message that was received before is acknowledged and not acted on; one whose nonce was is refused', async () => {
  const { add, end, answers, handled } = makeInbox()
  add('once')
  await end()
  add('once')
  const replayed = new KithError('REPLAY_DETECTED', 'seen')
  add('another', 1, () => {
    throw replayed
  })
  await end()
  assert.deepEqual(answers, [
    ['once', undefined],
    ['once', undefined],
    ['another', replayed]
  ])
  assert.deepEqual(handled, ['once'])
})

test('so many bytes wait for their commit, and no more are read until it is over', async () => {
  const { inbox, add, end } = makeInbox()
  add('half', MAX_UNCOMMITTED_BYTES / 2)
  assert.ok(inbox.hasRoom)
  add('more', MAX_UNCOMMITTED_BYTES / 2)
  assert.ok(!inbox.hasRoom)
  let isFree = false
  const room = inbox.room().then(() => (isFree = true))
  await new Promise(resolve => setImmediate(resolve))
  assert.ok(!isFree)
  await end()
  await room
  assert.ok(inbox.hasRoom)
})
