import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { tempFolder } from '../../test/kits/messaging.ts'
import { hasCode } from '../base/errors.ts'
import { FileSync } from './file-sync.node.ts'

const failed = (error: unknown): boolean => hasCode(error, 'DISK_FAILED')

test('a sync that failed once is never believed again, though the system says yes (threats C17)', async () => {
  using folder = tempFolder()
  const path = join(folder.path, 'a')
  const fd = openSync(path, 'w')
  const told: unknown[] = []
  const file = new FileSync(path, fd, { onFailed: error => told.push(error) })
  await file.sync()
  file.syncNow()
  // A real failure: there is no such file. Then there is one again under the same number.
  closeSync(fd)
  const both = await Promise.allSettled([file.sync(), file.sync()])
  assert.deepEqual(
    both.map(r => r.status === 'rejected' && failed(r.reason)),
    [true, true]
  )
  const again = openSync(path, 'w')
  assert.equal(again, fd)
  try {
    await assert.rejects(file.sync(), failed)
    assert.throws(() => file.syncNow(), failed)
    assert.throws(() => file.check(), failed)
    assert.ok(failed(file.failure))
    assert.equal(told.length, 1, 'told once')
  } finally {
    closeSync(again)
  }
})
