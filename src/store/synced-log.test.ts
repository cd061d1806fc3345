import assert from 'node:assert/strict'
import { copyFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import test from 'node:test'
import { tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { openSqlite } from './sqlite.node.ts'
import { SyncedLog } from './synced-log.node.ts'

test('what is committed is copied into the database by another thread while it is written', async () => {
  using folder = tempFolder()
  const path = join(folder.path, 'a.db')
  using db = openSqlite(path, { migrations: ['CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)'] })
  using log = new SyncedLog(db)
  assert.equal(db.get<{ synchronous: number }>('PRAGMA synchronous')!.synchronous, 1, 'NORMAL')
  const before = statSync(path).size
  const bytes = new Uint8Array(4000)
  for (let n = 0; n < 1500; n++) {
    db.transaction(() => db.run('INSERT INTO t VALUES (?, ?)', n, bytes))
    log.wrote(bytes.length)
    if (n % 100 === 0) await log.sync()
  }
  await eventually('pages are in the database', () => statSync(path).size > before + 1000 * bytes.length)
  using other = new DatabaseSync(path, { readOnly: true })
  assert.equal(other.prepare('SELECT count(*) AS n FROM t').get()!['n'], 1500)
})

test('what an earlier process left in the log is in the database before anything else is done', async () => {
  using folder = tempFolder()
  const path = join(folder.path, 'a.db')
  const migrations = ['CREATE TABLE t (n INTEGER PRIMARY KEY)']
  using db = openSqlite(path, { migrations })
  using _log = new SyncedLog(db)
  db.run('INSERT INTO t VALUES (1)')
  // As after a kill: the log is there, and nobody has closed the database.
  const copy = join(folder.path, 'b.db')
  for (const suffix of ['', '-wal']) copyFileSync(path + suffix, copy + suffix)
  using left = openSqlite(copy, { migrations })
  using _left = new SyncedLog(left)
  const alone = join(folder.path, 'c.db')
  copyFileSync(copy, alone)
  using other = new DatabaseSync(alone, { readOnly: true })
  assert.equal(other.prepare('SELECT count(*) AS n FROM t').get()!['n'], 1, 'without the log')
})
