/** Databases from before their texts were encrypted: taken over whole, and nothing readable stays behind. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test from 'node:test'
import { tempFolder } from '../../test/kits/messaging.ts'
import { openTaskStore } from '../agents/task-store.node.ts'
import { hasCode } from '../base/errors.ts'
import { openGroupStore } from '../messaging/groups-store.node.ts'

const PEER = 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd'
const GROUP = 'aa'.repeat(32)
const KEY = { storageKey: new Uint8Array(32).fill(5) }
const OTHER = { storageKey: new Uint8Array(32).fill(6) }

/** A database as the schema before this one had it, with free pages that hold something. */
function oldDatabase(folder: string, name: string): string {
  const path = join(folder, `${name}.db`)
  const db = new DatabaseSync(path)
  db.exec('PRAGMA journal_mode=WAL')
  db.exec(readFileSync(join(import.meta.dirname, `../../test/vectors/${name}-schema-1.sql`), 'utf8'))
  db.exec("CREATE TABLE gone (x TEXT); INSERT INTO gone VALUES ('a secret that was deleted'); DROP TABLE gone")
  db.close()
  return path
}
function assertSealed(path: string): void {
  for (const file of [path, `${path}-wal`]) if (existsSync(file)) assert.equal(readFileSync(file).includes('secret'), false, file)
}
const isCorrupt = (e: unknown): boolean => hasCode(e, 'STORE_CORRUPT')

test('tasks of before are there, sealed, and open with no other key', async () => {
  using folder = tempFolder()
  const path = oldDatabase(folder.path, 'tasks')
  assert.ok(readFileSync(path).includes('secret'))
  for (let i = 0; i < 2; i++) {
    await using store = openTaskStore(folder.path, KEY)
    const [received, given] = store.list({ limit: 9 })
    assert.deepEqual([given!.description, given!.note, given!.requestHash], ['secret description', 'secret note', 'ab'.repeat(32)])
    assert.deepEqual([store.request(given!.key), store.outcome(given!.key)], ['{"input":"secret input"}', { output: 'secret output' }])
    assert.deepEqual([received!.description, store.outcome(received!.key)], ['another secret', {}])
    assert.deepEqual(
      store.owed().map(o => [o.message, o.body]),
      [
        ['m2', '{"secret":"body"}'],
        ['m3', '']
      ]
    )
    assertSealed(path)
  }
  assert.throws(() => openTaskStore(folder.path, OTHER), isCorrupt)
  await using store = openTaskStore(folder.path, KEY)
  const row = store.list({ limit: 1 })[0]!
  store.write(() => store.update(row.key, { note: 'a new secret', outcome: { output: 'secret' } }))
  assert.equal(store.get(row.key)!.note, 'a new secret')
  assertSealed(path)
})

test('groups of before are there, sealed, and open with no other key', () => {
  using folder = tempFolder()
  const path = oldDatabase(folder.path, 'groups')
  for (let i = 0; i < 2; i++) {
    using store = openGroupStore(path, KEY)
    const [group] = store.groups()
    assert.equal(Buffer.from(group!.ops[0]!).toString(), 'secret name of a group')
    assert.deepEqual(
      [Buffer.from(group!.epochs[0]!.key).toString(), group!.epochs[0]!.heads],
      ['secret group key, 32 bytes long.', ['h1', 'h2']]
    )
    assert.deepEqual([store.post(GROUP, 'p1', PEER)!.body, store.posts(GROUP, 9).length], [{ text: 'secret post' }, 1])
    assert.deepEqual([store.held(GROUP)[0]!.body, store.outgoing(9)[0]!.body], [{ text: 'secret held' }, { text: 'secret copy' }])
    assertSealed(path)
  }
  assert.throws(() => openGroupStore(path, OTHER), isCorrupt)
})
