/**
 * Power cuts while nodes send each other messages and tasks (threats C3): whatever was acknowledged to a user, or by one node to the other, is
 * on the disk as it was at the moment of the cut, and the databases are whole. Only in `npm run campaign -- ask`.
 */
import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { readApiFile } from '../../src/api/api-file.node.ts'
import { createApiClient } from '../../src/api/client.ts'
import type { NodeEvent } from '../../src/node/types.ts'
import { type AskNode, CAMPAIGN, until } from '../kits/ask-nodes.ts'
import { KITH, Lab, LOCAL } from '../kits/lab.ts'
import { noPowerDisk, openPowerDisk, type PowerDisk } from '../kits/power-disk.ts'
import { Process } from '../kits/process.ts'
import { seededRandom } from '../kits/random.ts'

const CUTS = 12

/** What was told to users, by id. */
interface Told {
  /** `send` and `ask` have resolved. */
  readonly accepted: Set<string>
  readonly given: Set<string>
  /** The other node has it: so its sender says. */
  readonly delivered: Set<string>
  readonly completed: Set<string>
}

test('power is cut: what was acknowledged is there', { timeout: 1_200_000 }, async t => {
  if (!CAMPAIGN) return t.skip('runs in npm run campaign -- ask')
  const why = noPowerDisk()
  if (why !== undefined) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const random = seededRandom(t)
  const lab = new Lab(t)
  const disk = await openPowerDisk(t, lab, 128)
  const a = await up(t, lab, disk, 'a')
  const b = await up(t, lab, disk, 'b', '--bootstrap', a.address)
  await b.api.ask.serveSkill({ name: 'echo', command: ['/bin/cat'], allow: ['*'] })
  await a.api.ask.send({ to: b.address, text: 'hello' })
  const told: Told = { accepted: new Set(), given: new Set(), delivered: new Set(), completed: new Set() }
  const stop = new AbortController()
  t.after(() => stop.abort())
  const working = [follow(a, told, stop.signal), sendOn(a, b, told, stop.signal), askOn(a, b, told, stop.signal)]
  for (let cut = 0; cut < CUTS; cut++) {
    // By count, so that each cut falls into work, whatever the machine does.
    const [messages, tasks] = [told.delivered.size + 20 + Math.floor(random() * 200), told.completed.size + 1]
    await until('work goes on', async () => told.delivered.size >= messages && told.completed.size >= tasks)
    const before: Told = structuredClone(told)
    const copy = lab.dir(`cut ${cut}`)
    // SQLite would look for /proc/…/root/… where this process sees it.
    disk.cut(folder => {
      for (const home of ['a', 'b']) cpSync(join(folder, home, 'data'), join(copy, home, 'data'), { recursive: true })
    })
    check(t, copy, before)
  }
  stop.abort()
  await Promise.allSettled(working)
})

function check(t: TestContext, folder: string, told: Told): void {
  const [sender, receiver] = ['a', 'b'].map(home => new Databases(join(folder, home, 'data')))
  const lost = {
    accepted: [...told.accepted].filter(id => !sender!.sent.has(id)),
    delivered: [...told.delivered].filter(id => !receiver!.received.has(id)),
    given: [...told.given].filter(id => !sender!.tasks.has(id)),
    completed: [...told.completed].filter(id => !sender!.ended.has(id) || !receiver!.ended.has(id))
  }
  t.diagnostic(
    `a cut after ${told.accepted.size} accepted, ${told.delivered.size} delivered, ${told.given.size} given, ${told.completed.size} done`
  )
  assert.deepEqual(lost, { accepted: [], delivered: [], given: [], completed: [] })
}

/** What the databases of a node hold after the cut. */
class Databases {
  readonly sent: ReadonlySet<string>
  readonly received: ReadonlySet<string>
  readonly tasks: ReadonlySet<string>
  readonly ended: ReadonlySet<string>

  constructor(folder: string) {
    const messages = join(folder, 'messages.db')
    this.sent = idsIn(messages, 'SELECT hex(id) AS id FROM outbox')
    this.received = idsIn(messages, 'SELECT hex(id) AS id FROM inbox')
    const tasks = join(folder, 'tasks.db')
    this.tasks = idsIn(tasks, 'SELECT id FROM tasks')
    this.ended = idsIn(tasks, "SELECT id FROM tasks WHERE state = 'COMPLETED'")
  }
}

function idsIn(path: string, query: string): Set<string> {
  const db = new DatabaseSync(path)
  try {
    assert.equal((db.prepare('PRAGMA integrity_check').get() as { integrity_check: string }).integrity_check, 'ok')
    return new Set((db.prepare(query).all() as { id: string }[]).map(r => plain(r.id)))
  } finally {
    db.close()
  }
}
const plain = (id: string): string => id.replaceAll('-', '').toLowerCase()

async function follow(a: AskNode, told: Told, signal: AbortSignal): Promise<void> {
  for await (const e of (await a.api.events({}, signal)) as AsyncIterable<NodeEvent>) {
    if (e.type === 'message:changed' && e.message.state === 'delivered') told.delivered.add(plain(e.message.id))
    if (e.type === 'task:changed' && e.task.role === 'given' && e.task.state === 'COMPLETED') told.completed.add(plain(e.task.id))
  }
}
async function sendOn(a: AskNode, b: AskNode, told: Told, signal: AbortSignal): Promise<void> {
  const worker = async (): Promise<void> => {
    while (!signal.aborted) told.accepted.add(plain((await a.api.ask.send({ to: b.entityId, text: 'x'.repeat(300) })).id))
  }
  await Promise.all([worker(), worker(), worker()])
}
async function askOn(a: AskNode, b: AskNode, told: Told, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { id } = await a.api.ask.ask({ to: b.entityId, skill: 'echo', description: 'say it again' })
    told.given.add(plain(id))
    await until('its end', async () => signal.aborted || told.completed.has(plain(id)))
  }
}

/** `kith up` with its home on the disk. */
async function up(t: TestContext, lab: Lab, disk: PowerDisk, home: string, ...args: string[]): Promise<AskNode> {
  const command = ['-m', process.execPath, KITH, 'up', '--home', join(disk.path, home), ...LOCAL, ...args]
  const node = new Process('-t', lab.dir('outer'), [String(disk.pid), ...command], undefined, {}, '/usr/bin/nsenter')
  t.after(() => node.destroy())
  const ready = await node.line('ready')
  const api = createApiClient({ fetch }, readApiFile(`/proc/${disk.pid}/root${disk.path}/${home}/state`)!)
  const [address] = ready['addresses'] as string[]
  return { process: node, api, entityId: (await api.ask.self()).entityId, address: address! }
}
