import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import type { Sqlite } from '../store/sqlite.node.ts'
import { DeliveryLog } from './delivery-log.node.ts'
import { openLedger } from './ledger.node.ts'

const delivery = (chunk: number) => ({ bill: 1, chunk, terms: 1, protocol: 'http' })
const count = (db: Sqlite): number => db.get<{ n: number }>('SELECT count(*) AS n FROM deliveries')!.n

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-log-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a chunk counts once, within a burst and after it', async t => {
  using db = openLedger(folderOf(t))
  const log = new DeliveryLog(db)
  assert.deepEqual([log.add(delivery(1)), log.add(delivery(2)), log.add(delivery(1))], [true, true, false])
  await Promise.resolve()
  assert.equal(count(db), 2, 'written before anything else runs')
  assert.equal(log.add(delivery(2)), false)
  assert.equal(new DeliveryLog(db).add(delivery(1)), false, 'also for another download of the same bill')
  await log.settled()
})

test('a process that is killed after a burst loses none of it', t => {
  const folder = folderOf(t)
  const script = `
    import { DeliveryLog } from ${JSON.stringify(join(import.meta.dirname, 'delivery-log.node.ts'))}
    import { openLedger } from ${JSON.stringify(join(import.meta.dirname, 'ledger.node.ts'))}
    const log = new DeliveryLog(openLedger(${JSON.stringify(folder)}))
    for (let c = 0; c < 200; c++) log.add({ bill: 1, chunk: c, terms: 1, protocol: 'http' })
    await Promise.resolve()
    process.kill(process.pid, 'SIGKILL')`
  const child = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script])
  assert.equal(child.signal, 'SIGKILL', String(child.stderr))
  using db = openLedger(folder)
  assert.equal(count(db), 200)
})

test('what could not be written waits, and the next to add or read hears of it', async t => {
  using db = openLedger(folderOf(t))
  let isFull = true
  const full = new Error('no space')
  const fake = Object.assign(Object.create(db), {
    transaction: (work: () => void) => {
      if (isFull) throw full
      return db.transaction(work)
    },
    run: db.run.bind(db),
    get: db.get.bind(db)
  }) as Sqlite
  const log = new DeliveryLog(fake)
  assert.equal(log.add(delivery(1)), true)
  await Promise.resolve()
  assert.throws(() => log.add(delivery(2)), full)
  assert.throws(() => log.flush(), full)
  assert.equal(db.get<{ synchronous: number }>('PRAGMA synchronous')!.synchronous, 2, 'FULL again')
  isFull = false
  assert.equal(log.add(delivery(2)), true)
  await Promise.resolve()
  assert.equal(count(db), 2)
})
