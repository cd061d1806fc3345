import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { utf8 } from '../base/bytes.ts'
import type { MessageType } from '../wire/message-types.ts'
import { KEEP_SENT_MS } from './limits.ts'
import { openMessageStore } from './message-store.node.ts'
import type { NewOutgoing } from './store.ts'
import { newUuid } from './uuid.ts'

const FROM = 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd'

const TO = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'
const outgoing = (body: string, type: MessageType = 'agent_message'): NewOutgoing => ({
  ...{ id: newUuid(), to: TO, type, priority: 'normal', createdAt: 1, expiresAt: 9 },
  body: utf8(JSON.stringify({ text: body }))
})

test('what was sent can be looked at after its end, encrypted on disk, unless it was taken back, is no text, or is old', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-store-'))
  try {
    const path = join(folder, 'messages.db')
    using store = openMessageStore(path, { storageKey: new Uint8Array(32).fill(1) })
    const [told, back, task] = [outgoing('a secret of mine'), outgoing('never mind'), outgoing('', 'task_delegate')]
    const end = (m: NewOutgoing, code?: string): Promise<unknown> =>
      store.commit(() =>
        store.setState(store.addOutgoing(m)!, code ? 'failed' : 'delivered', 5, 1, code ? { code, message: '' } : undefined)
      )
    await end(told)
    await end(back, 'CANCELLED')
    await end(task)
    assert.deepEqual(
      [told, back, task].map(m => store.sentBody(m.id)),
      [{ text: 'a secret of mine' }, undefined, undefined]
    )
    for (const file of [path, `${path}-wal`]) assert.equal(readFileSync(file).includes('a secret of mine'), false)
    assert.deepEqual(
      store.outbox(9, 'agent_message').map(m => m.id),
      [back.id, told.id]
    )
    await store.commit(() => store.prune(KEEP_SENT_MS + 4))
    assert.ok(store.sentBody(told.id))
    await store.commit(() => store.prune(KEEP_SENT_MS + 6))
    assert.equal(store.sentBody(told.id), undefined)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('texts that were sent take a bounded number of bytes, and the oldest go first', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-store-'))
  try {
    using store = openMessageStore(join(folder, 'messages.db'), { storageKey: new Uint8Array(32).fill(1) }, { maxSentBytes: 64_000 })
    const all = Array.from({ length: 12 }, (_, i) => outgoing(String(i).padEnd(8_000)))
    for (const m of all) await store.commit(() => store.setState(store.addOutgoing(m)!, 'delivered', 5, 1, undefined))
    const kept = all.map(m => store.sentBody(m.id) !== undefined)
    assert.equal(kept.at(-1), true)
    assert.equal(kept.lastIndexOf(false) < kept.indexOf(true), true, 'the newest')
    assert.ok(kept.filter(Boolean).length <= (64_000 * 1.125) / 8_000)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('what others sent is kept up to a number of bytes, and the oldest goes first', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kith-store-'))
  try {
    using store = openMessageStore(join(folder, 'messages.db'), { storageKey: new Uint8Array(32).fill(1) }, { maxInboxBytes: 100_000 })
    const text = 'x'.repeat(10_000)
    for (let i = 0; i < 30; i++) {
      const message = { id: newUuid(), from: FROM, type: 'agent_message', body: { i, text }, priority: 'normal', via: 'direct' } as const
      await store.commit(() => store.addReceived({ ...message, sentAt: i, receivedAt: i }))
    }
    await store.commit(() => store.prune(1000))
    const left = store.inbox({ limit: 100 }).map(m => m.body['i'])
    assert.ok(left.length >= 8 && left.length <= 10, `${left.length} are left`)
    assert.equal(left[0], 29)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
