/**
 * Damaged stores (threats ST1, ST5, ST6): cut short, one bit flipped, emptied, written by a newer version. Opening or reading is refused by
 * name, or everything is there; a damaged store never looks like an empty one, and the file is left as it was.
 */
import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite, type TestContext, test } from 'node:test'
import { KithError } from '../../src/base/errors.ts'
import { openSqlite } from '../../src/store/sqlite.node.ts'
import { errorCode, Lab, LOCAL } from '../kits/lab.ts'
import { seededRandom } from '../kits/random.ts'

const MIGRATIONS = [
  'CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, body BLOB NOT NULL); CREATE INDEX t_name ON t (name)',
  'CREATE TABLE u (id INTEGER PRIMARY KEY)'
]
const ROWS = 60

/** A database with rows on many pages, closed cleanly: one file. */
function makeStore(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-store-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'good.db')
  using db = openSqlite(path, { migrations: MIGRATIONS })
  db.transaction(() => {
    for (let i = 0; i < ROWS; i++) db.run('INSERT INTO t (name, body) VALUES (?, ?)', `name ${i}`, new Uint8Array(700).fill(i))
  })
  return path
}

/** Rows that can be read, or the code with which opening or reading was refused. Any other error fails the test. */
function readRows(path: string): number | string {
  try {
    using db = openSqlite(path, { migrations: MIGRATIONS })
    const byName = db.all('SELECT name FROM t ORDER BY name').length
    const rows = db.all('SELECT * FROM t').length
    return Math.min(byName, rows)
  } catch (error) {
    if (!(error instanceof KithError)) throw error
    assert.equal(error.data['path'], path, 'the file is named')
    assert.ok(error.message.includes(path) && error.hint)
    return error.code
  }
}

test('a store that is cut short anywhere is refused and left as it is', t => {
  const good = makeStore(t)
  const bytes = readFileSync(good)
  assert.equal(readRows(good), ROWS)
  const random = seededRandom(t)
  const cuts = [0, 1, 99, 100, 4095, bytes.length - 1]
  for (let at = 4096; at < bytes.length; at += 4096) cuts.push(at)
  for (let i = 0; i < 12; i++) cuts.push(Math.floor(random() * bytes.length))
  for (const [i, cut] of cuts.entries()) {
    const path = `${good}-cut-${i}`
    copyFileSync(good, path)
    truncateSync(path, cut)
    const result = readRows(path)
    if (cut > bytes.length - 4096 && result === ROWS) continue // only unused bytes of the last page were lost
    assert.equal(result, 'STORE_CORRUPT', `cut to ${cut} of ${bytes.length}`)
    assert.deepEqual(readFileSync(path), bytes.subarray(0, cut), `cut to ${cut}: the file was changed`)
  }
})

test('one flipped bit never makes a store look empty', t => {
  const good = makeStore(t)
  const bytes = readFileSync(good)
  const random = seededRandom(t)
  const places = [
    ...Array.from({ length: 100 }, (_, i) => i * 8),
    ...Array.from({ length: 300 }, () => Math.floor(random() * bytes.length * 8))
  ]
  const outcomes = new Map<string, number>()
  for (const bit of places) {
    const path = `${good}-flip`
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
    writeFileSync(path, flipped)
    const result = readRows(path)
    assert.ok([ROWS, 'STORE_CORRUPT', 'STORE_NEWER', 'STORE_READ_ONLY'].includes(result), `bit ${bit}: ${result}`)
    outcomes.set(String(result), (outcomes.get(String(result)) ?? 0) + 1)
  }
  t.diagnostic(JSON.stringify([...outcomes]))
  assert.ok((outcomes.get('STORE_CORRUPT') ?? 0) > 20, 'damage was noticed')
})

test('an emptied, foreign or newer file is not taken for a new store', t => {
  const good = makeStore(t)
  const empty = `${good}-empty`
  writeFileSync(empty, '')
  assert.equal(readRows(empty), 'STORE_CORRUPT')
  const text = `${good}-text`
  writeFileSync(text, 'not a database, but somebody else wrote it\n'.repeat(200))
  assert.equal(readRows(text), 'STORE_CORRUPT')
  const newer = `${good}-newer`
  copyFileSync(good, newer)
  {
    using db = new DatabaseSync(newer)
    db.exec(`PRAGMA user_version=${MIGRATIONS.length + 1}`)
  }
  assert.equal(readRows(newer), 'STORE_NEWER')
  assert.equal(existsSync(`${good}-absent`), false)
  assert.equal(readRows(`${good}-absent`), 0, 'a store that was never there begins empty')
})

suite('homes with damaged stores', { concurrency: true, timeout: 120_000 }, () => {
  test('a command that meets one ends with 6 and says which file', damagedHome)
})

async function damagedHome(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const first = await lab.kith('h', 'status').ended()
  assert.equal(first.code, 0, first.err)
  const at = (name: string): string => join(lab.folder, 'h/data', name)
  const showId = ['id', 'show', '--json'] // opens nothing but the identity
  const status = ['status', ...LOCAL]
  const cases: [string, string, (path: string) => void, readonly string[]][] = [
    ['shares.db', 'STORE_CORRUPT', path => truncateSync(path, 5000), status],
    ['pay/pay.db', 'STORE_CORRUPT', path => writeFileSync(path, ''), status],
    [
      'shares.db',
      'STORE_NEWER',
      path => {
        using db = new DatabaseSync(path)
        db.exec('PRAGMA user_version=1000')
      },
      status
    ],
    ['identity/identity.json', 'KEY_FILE_MODE', path => chmodSync(path, 0o644), showId],
    ['identity/identity.json', 'KEY_FILE_EMPTY', path => writeFileSync(path, ''), showId],
    ['identity/identity.json', 'IDENTITY_DAMAGED', path => truncateSync(path, 100), showId]
  ]
  for (const [name, code, damage, command] of cases) {
    const path = at(name)
    const saved = readFileSync(path)
    damage(path)
    const damaged = readFileSync(path)
    const end = await lab.start('h', command).ended()
    assert.deepEqual([end.code, errorCode(end)], [6, code], `${name}: ${end.err}`)
    assert.ok(end.err.includes(path), `${name} is not named: ${end.err}`)
    assert.deepEqual(readFileSync(path), damaged, `${name} was changed`)
    writeFileSync(path, saved)
    chmodSync(path, 0o600)
  }
  const last = await lab.kith('h', 'status').ended()
  assert.equal(last.code, 0, last.err)
  assert.equal((last.last['node'] as { peerId: string }).peerId, (first.last['node'] as { peerId: string }).peerId)
}
