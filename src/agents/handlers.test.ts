/** Every message about presence has its effect, and floods of them have none (TA3). */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { MemoryPost } from '../../test/kits/messenger-memory.ts'
import { newEntity, TaskRig } from '../../test/kits/task-rig.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { silentLogger } from '../base/log.ts'
import type { Messenger } from '../messaging/types.ts'
import { type HandlersDeps, type Presence, registerHandlers } from './handlers.ts'

const STATUS = { state: 'READY', load: 0.5, uptimeSeconds: 3, tasks: { waiting: 1, running: 2 } } as const
const SELF = { protocolVersion: '1.1', supportedMsgTypes: ['ping'], cryptoFeatures: ['ed25519'], endpoints: [] }

interface Node {
  readonly messenger: Messenger
  readonly presence: Presence
  readonly heard: unknown[]
}
function open(post: MemoryPost, clock: FakeClock, extra: Partial<HandlersDeps> = {}): Node {
  const messenger = post.open(newEntity().id)
  const heard: unknown[] = []
  const presence = registerHandlers({
    ...{ messenger, clock, log: silentLogger, newId: randomUUID, capabilities: () => SELF, status: () => STATUS },
    discover: async q => (q.kind === 'entity' ? [{ entityId: q.entityId, addresses: ['/ip4/1.2.3.4'], capabilities: [] }] : []),
    onStatus: (from, status) => heard.push(['status', from, status]),
    onWakeUp: (from, reason) => heard.push(['wake', from, reason]),
    onError: e => heard.push(['error', e.code, e.isTask]),
    ...extra
  })
  return { messenger, presence, heard }
}

function closeAfter(t: TestContext, ...nodes: readonly Node[]): void {
  t.after(() => {
    for (const { presence } of nodes) presence[Symbol.dispose]()
  })
}

test('ping, capabilities, discovery and status are answered', async t => {
  const [clock, post] = [new FakeClock(), new MemoryPost(new FakeClock())]
  const tasks = {
    skills: () => [{ name: 'sum', description: 'adds', concurrency: 1, running: 0, queued: 0 }],
    refusedBy: async () => false,
    retryNow: () => {}
  }
  const [a, b] = [open(post, clock), open(post, clock, { tasks })]
  closeAfter(t, a, b)
  const id = b.messenger.self
  assert.equal(await within(2000, 'ping', a.presence.ping(id)), 0)
  const said = await within(2000, 'capabilities', a.presence.askCapabilities(id))
  assert.deepEqual([said.entityId, said.skills, said.protocolVersion], [id, [{ name: 'sum', description: 'adds' }], '1.1'])
  const found = await within(2000, 'discovery', a.presence.askDiscovery(id, { kind: 'entity', entityId: a.messenger.self }))
  assert.deepEqual(
    found.map(p => p.addresses),
    [['/ip4/1.2.3.4']]
  )
  assert.equal(await b.presence.reportStatus(a.messenger.self), true)
  await eventually('the status', () => a.presence.statusOf(id) !== undefined)
  assert.deepEqual(a.presence.statusOf(id)?.status, STATUS)
  assert.deepEqual(a.heard, [['status', id, STATUS]])
})

test('a question without an answer ends, and nobody else can answer it', async t => {
  const [clock, post] = [new FakeClock(), new MemoryPost(new FakeClock())]
  const [a, liar] = [open(post, clock), open(post, clock)]
  const silent = post.open(newEntity().id)
  closeAfter(t, a, liar)
  const asked = assert.rejects(a.presence.askDiscovery(silent.self, { kind: 'capability', capability: 'x' }), { code: 'NO_ANSWER' })
  await eventually('it is there', () => silent.inbox().length === 1)
  await liar.messenger.send({ to: a.messenger.self, type: 'discovery', body: { reply_to: silent.inbox()[0]!.id, peers: [] } })
  await eventually('the lie is there', () => a.messenger.inbox().length === 1)
  await clock.advance(10_001)
  await within(2000, 'the end', asked)
  const stop = new AbortController()
  const other = a.presence.askCapabilities(silent.self, stop.signal)
  stop.abort(new Error('stop'))
  await assert.rejects(other, { message: 'stop' })
})

test('TA3: a storm of wake_up wakes once a minute for each peer', async t => {
  const [clock, post] = [new FakeClock(), new MemoryPost(new FakeClock())]
  let retries = 0
  const tasks = { skills: () => [], refusedBy: async () => false, retryNow: () => void retries++ }
  const [a, b, woken] = [open(post, clock), open(post, clock), open(post, clock, { tasks })]
  closeAfter(t, a, b, woken)
  const id = woken.messenger.self
  const storm = async (n: number): Promise<void> => {
    const before = woken.messenger.inbox({ limit: 1000 }).length
    for (let i = 0; i < n; i++) await a.presence.wakeUp(id, 'work')
    await eventually('all arrived', () => woken.messenger.inbox({ limit: 1000 }).length === before + n)
  }
  await storm(200)
  assert.equal(retries, 1)
  await b.presence.wakeUp(id)
  await eventually('another peer may', () => retries === 2)
  await clock.advance(60_001)
  await storm(5)
  assert.equal(retries, 3)
  assert.equal(woken.heard.length, 3)
})

test('an error is attached to the task it names, kept, and never answered', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  worker.mayDelegate = () => false
  const presence = registerHandlers({
    ...{ messenger: giver.messenger, clock: rig.clock, log: silentLogger, newId: randomUUID, tasks: giver.tasks },
    ...{ capabilities: () => SELF, status: () => STATUS, discover: async () => [] }
  })
  t.after(() => presence[Symbol.dispose]())
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'x' })
  const end = await within(5000, 'the refusal', giver.tasks.wait(id))
  assert.deepEqual([end.state, end.error?.code], ['REFUSED', 'NOT_AUTHORISED'])
  await eventually('it is kept', () => presence.errors().length === 1)
  assert.deepEqual([presence.errors()[0]?.isTask, presence.errors()[0]?.code], [true, 'NOT_AUTHORISED'])
  await worker.messenger.send({ to: giver.id, type: 'error', body: { error_code: 'x'.repeat(99), error_message: '' } })
  await worker.messenger.send({ to: giver.id, type: 'error', body: { error_code: 'SECOND', error_message: 'a\u001bb' } })
  await eventually('it is there', () => presence.errors()[0]?.code === 'SECOND')
  assert.equal(presence.errors()[0]?.message, 'a\ufffdb')
  assert.deepEqual(worker.messenger.inbox({ type: 'error' }), [])
})
