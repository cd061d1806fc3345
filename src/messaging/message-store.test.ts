import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { openMessageStore } from './message-store.node.ts'
import { newUuid } from './uuid.ts'

const FROM = 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd'

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
