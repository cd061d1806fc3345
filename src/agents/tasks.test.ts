/** Tasks between nodes with real databases: given, run, told; refused, cancelled, expired; and over restarts of either side. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { TaskRig } from '../../test/kits/task-rig.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { KithError } from '../base/errors.ts'
import type { Json } from '../wire/strict-json.ts'
import type { SkillRun, TaskView } from './types.ts'

const double: SkillRun = async task => Number(task.input) * 2
const done = (t: Promise<TaskView>): Promise<TaskView> => within(5000, 'the end of a task', t)

test('a task is given, run and told, and both sides say the same', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'double', run: double })
  const states: string[] = []
  giver.tasks.events.on('task:changed', ({ task }) => states.push(task.state))
  const given = await giver.tasks.delegate({ to: worker.id, skill: 'double', input: 21, description: 'twice' })
  assert.equal(given.role, 'given')
  const end = await done(giver.tasks.wait(given.id))
  assert.deepEqual([end.state, end.output, end.peer, end.attempts, end.progress], ['COMPLETED', 42, worker.id, 1, 1])
  assert.equal(states[0], 'PENDING')
  assert.equal(states.at(-1), 'COMPLETED')
  const received = worker.tasks.task(given.id)!
  assert.deepEqual([received.role, received.state, received.output, received.peer], ['received', 'COMPLETED', 42, giver.id])
  assert.equal(received.idempotencyKey, given.idempotencyKey)
  assert.equal(giver.tasks.tasks()[0]?.output, undefined)
})

test('what a skill throws is the failure of the task; only what is meant for others is told', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const run: SkillRun = async ({ input }) => {
    if (input === 'told') throw new KithError('TOO_HARD', 'no idea\u001b[2J')
    throw new Error('/home/secret')
  }
  await worker.tasks.serveSkill({ name: 'fail', run })
  const [told, silent] = [
    await giver.tasks.delegate({ to: worker.id, skill: 'fail', input: 'told' }),
    await giver.tasks.delegate({ to: worker.id, skill: 'fail' })
  ]
  assert.deepEqual((await done(giver.tasks.wait(told.id))).error, { code: 'TOO_HARD', message: 'no idea\\u001b[2J' })
  assert.deepEqual((await done(giver.tasks.wait(silent.id))).error, { code: 'TASK_FAILED', message: 'the skill failed' })
})

test('one idempotency key is one task: on this side, and for the worker when this side has forgotten it', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  let runs = 0
  await worker.tasks.serveSkill({ name: 'count', run: async () => ++runs })
  const ask = { to: worker.id, skill: 'count', idempotencyKey: 'k1' }
  const first = await giver.tasks.delegate(ask)
  await done(giver.tasks.wait(first.id))
  assert.equal((await giver.tasks.delegate(ask)).id, first.id)
  await assert.rejects(giver.tasks.delegate({ ...ask, input: 1 }), { code: 'TASK_CONFLICT' })
  giver.store.write(() => giver.store.remove(giver.store.find('given', first.id)!.key))
  const again = await giver.tasks.delegate(ask)
  assert.notEqual(again.id, first.id)
  assert.equal((await done(giver.tasks.wait(again.id))).output, 1)
  assert.equal(runs, 1)
})

test('tasks wait for a free slot, givers take turns, and the limits of a grant hold', async t => {
  const rig = new TaskRig(t)
  const [a, b, worker] = [await rig.node(), await rig.node(), await rig.node()]
  const order: string[] = []
  let running = 0
  let most = 0
  const gates: (() => void)[] = []
  const run: SkillRun = async ({ from, input }) => {
    order.push(`${from === a.id ? 'a' : 'b'}${input}`)
    most = Math.max(most, ++running)
    await new Promise<void>(resolve => gates.push(resolve))
    running--
    return null
  }
  await worker.tasks.serveSkill({ name: 'slow', concurrency: 2, run })
  worker.mayDelegate = peer => (peer === a.id ? { concurrent: 1, queued: 3 } : true)
  const given: string[] = []
  for (let i = 0; i < 3; i++) given.push((await a.tasks.delegate({ to: worker.id, skill: 'slow', input: i })).id)
  await eventually('the third is there', () => worker.tasks.skills()[0]?.queued === 2)
  const fourth = await a.tasks.delegate({ to: worker.id, skill: 'slow', input: 3, deadlineMs: 60_000 })
  await eventually('refused for now', () => a.tasks.task(fourth.id)?.note === 'too many tasks wait already')
  assert.equal(a.tasks.task(fourth.id)?.state, 'PENDING')
  await a.tasks.cancel(fourth.id)
  const b1 = await b.tasks.delegate({ to: worker.id, skill: 'slow', input: 0 })
  const b2 = await b.tasks.delegate({ to: worker.id, skill: 'slow', input: 1 })
  await eventually('two run', () => running === 2)
  assert.deepEqual(order, ['a0', 'b0'])
  for (const next of [3, 4, 5]) {
    gates.shift()!()
    await eventually(`${next} were started`, () => order.length === next)
  }
  for (const gate of gates) gate()
  for (const id of given) await done(a.tasks.wait(id))
  for (const { id } of [b1, b2]) await done(b.tasks.wait(id))
  assert.equal(most, 2)
  assert.equal(new Set(order).size, 5)
})

test('a program that floods with progress is shown now and then, and its last word is not lost', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const over = Promise.withResolvers<void>()
  let told = 0
  worker.tasks.events.on('task:changed', () => told++)
  const run: SkillRun = async (_, { progress }) => {
    for (let i = 0; i < 20_000; i++) progress(i / 20_000)
    progress(0.5, 'last')
    await over.promise
    return null
  }
  await worker.tasks.serveSkill({ name: 'flood', run })
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'flood' })
  await eventually('the last', () => worker.tasks.task(id)?.note === 'last' && giver.tasks.task(id)?.note === 'last')
  assert.ok(told < 1000, `${told} changes`)
  over.resolve()
  await done(giver.tasks.wait(id))
})

test('progress is seen by the giver', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const gate = Promise.withResolvers<void>()
  const run: SkillRun = async (_, { progress }) => {
    progress(0.4, 'half\u001b way')
    await gate.promise
    return null
  }
  await worker.tasks.serveSkill({ name: 'slow', run })
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'slow' })
  await eventually('progress', () => giver.tasks.task(id)?.progress === 0.4)
  const seen = giver.tasks.task(id)!
  assert.deepEqual([seen.state, seen.note], ['IN_PROGRESS', 'half\ufffd way'])
  gate.resolve()
  await done(giver.tasks.wait(id))
})

test('cancel ends the run; a cancel that overtakes its task keeps it from running', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  let aborted = false
  let runs = 0
  const run: SkillRun = (_, { signal }) =>
    new Promise<Json>((_resolve, reject) => {
      runs++
      signal.addEventListener('abort', () => {
        aborted = true
        reject(signal.reason)
      })
    })
  await worker.tasks.serveSkill({ name: 'forever', run })
  const first = await giver.tasks.delegate({ to: worker.id, skill: 'forever' })
  await eventually('it runs', () => runs === 1)
  assert.equal(await giver.tasks.cancel(first.id), true)
  assert.equal((await giver.tasks.wait(first.id)).state, 'CANCELLED')
  await eventually('the run was ended', () => aborted && worker.tasks.task(first.id)?.state === 'CANCELLED')
  assert.equal(await giver.tasks.cancel(first.id), false)
  // The second delegation is lost on its way, its cancel is not.
  rig.post.passes = m => m.type !== 'task_delegate'
  const second = await giver.tasks.delegate({ to: worker.id, skill: 'forever' })
  await eventually('it was sent', () => giver.messenger.outbox(1)[0]?.state === 'sent')
  const body = giver.messenger.outbox(1)[0]!
  await giver.tasks.cancel(second.id)
  await eventually('the cancel arrived', () => worker.store.isBuried(giver.id, body.id))
  assert.equal(worker.tasks.task(second.id), undefined)
})

test('the user of the worker may cancel, too', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({
    name: 'forever',
    run: (_, { signal }) => new Promise((_r, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'forever' })
  await eventually('it runs', () => worker.tasks.task(id)?.state === 'IN_PROGRESS')
  await worker.tasks.cancel(id, 'not today')
  const end = await done(giver.tasks.wait(id))
  assert.deepEqual([end.state, end.error], ['CANCELLED', { code: 'CANCELLED', message: 'not today' }])
})

test('a deadline ends a task on both sides, also when the worker is not there; a clock that jumps does not', async t => {
  const clock = new FakeClock()
  const rig = new TaskRig(t, clock)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const gone = await rig.node()
  gone.kill()
  await worker.tasks.serveSkill({ name: 'forever', run: () => new Promise(() => {}) })
  const runs = await giver.tasks.delegate({ to: worker.id, skill: 'forever', deadlineMs: 10_000 })
  const waits = await giver.tasks.delegate({ to: gone.id, skill: 'forever', deadlineMs: 10_000 })
  await eventually('it runs', () => worker.tasks.task(runs.id)?.state === 'IN_PROGRESS')
  const jumped = clock.now.bind(clock)
  clock.now = () => jumped() + 86_400_000
  await clock.advance(9000)
  assert.equal(giver.tasks.task(waits.id)?.state, 'PENDING')
  await clock.advance(1001)
  for (const { id } of [runs, waits]) {
    const end = await done(giver.tasks.wait(id))
    assert.deepEqual([end.state, end.error?.code], ['FAILED', 'EXPIRED'])
  }
  await eventually('the worker was told', () => worker.tasks.task(runs.id)?.state === 'CANCELLED')
})

test('a refusal goes to the next candidate; when all refuse, so does the task', async t => {
  const rig = new TaskRig(t)
  const [giver, no, yes] = [await rig.node(), await rig.node(), await rig.node()]
  await yes.tasks.serveSkill({ name: 'double', run: double })
  const both = await giver.tasks.delegate({ to: [no.id, yes.id], skill: 'double', input: 4 })
  const end = await done(giver.tasks.wait(both.id))
  assert.deepEqual([end.state, end.output, end.peer, end.attempts], ['COMPLETED', 8, yes.id, 2])
  const none = await giver.tasks.delegate({ to: no.id, skill: 'double' })
  const refused = await done(giver.tasks.wait(none.id))
  assert.deepEqual([refused.state, refused.error?.code], ['REFUSED', 'NO_SKILL'])
})

test('a lost worker: the task goes to the next candidate under the same key, and the first is told', async t => {
  const clock = new FakeClock()
  const rig = new TaskRig(t, clock)
  const [giver, first, second] = [await rig.node(), await rig.node(), await rig.node()]
  const keys: string[] = []
  const lost: string[] = []
  giver.tasks.events.on('worker:lost', e => lost.push(...e.tasks))
  await first.tasks.serveSkill({
    name: 'x',
    run: (w, { signal }) =>
      new Promise((_r, reject) => {
        keys.push(w.idempotencyKey)
        signal.addEventListener('abort', () => reject(signal.reason))
      })
  })
  await second.tasks.serveSkill({ name: 'x', run: async w => keys.push(w.idempotencyKey) })
  const { id } = await giver.tasks.delegate({ to: [first.id, second.id], skill: 'x' })
  await eventually('the first runs it', () => keys.length === 1)
  rig.post.cut(giver.id, first.id)
  assert.deepEqual(lost, [id])
  await clock.advance(1001)
  const end = await done(giver.tasks.wait(id))
  assert.deepEqual([end.state, end.peer], ['COMPLETED', second.id])
  assert.equal(new Set(keys).size, 1)
  rig.post.heal(giver.id, first.id)
  await eventually('the first has stopped', () => first.tasks.task(id)?.state === 'CANCELLED')
})

test('a worker that comes back in time keeps its task, and one that is slow loses it to the next', async t => {
  const clock = new FakeClock()
  const rig = new TaskRig(t, clock)
  const [giver, first, second] = [await rig.node(), await rig.node(), await rig.node()]
  const gate = Promise.withResolvers<Json>()
  await first.tasks.serveSkill({ name: 'x', concurrency: 2, run: () => gate.promise })
  await second.tasks.serveSkill({ name: 'x', run: async () => 'second' })
  const kept = await giver.tasks.delegate({ to: [first.id, second.id], skill: 'x' })
  await eventually('it runs', () => first.tasks.task(kept.id)?.state === 'IN_PROGRESS')
  rig.post.cut(giver.id, first.id)
  await clock.advance(500)
  rig.post.heal(giver.id, first.id)
  await clock.advance(5000)
  assert.equal(giver.tasks.task(kept.id)?.peer, first.id)
  const slow = await giver.tasks.delegate({ to: [first.id, second.id], skill: 'x', attemptMs: 3000 })
  await eventually('it runs', () => first.tasks.task(slow.id)?.state === 'IN_PROGRESS')
  await clock.advance(3001)
  assert.equal((await done(giver.tasks.wait(slow.id))).output, 'second')
  gate.resolve('first')
  assert.equal((await done(giver.tasks.wait(kept.id))).output, 'first')
})

test('workers are found by skill, near and good ones first', async t => {
  const rig = new TaskRig(t)
  const [far, near, bad] = [await rig.node(), await rig.node(), await rig.node()]
  const finder = {
    find: async () => [
      { entityId: far.id, latencyMs: 300 },
      { entityId: bad.id, latencyMs: 1, score: -5 },
      { entityId: near.id, latencyMs: 5 }
    ]
  }
  const giver = await rig.node({ finder })
  await near.tasks.serveSkill({ name: 'double', run: double })
  const task = await giver.tasks.delegate({ skill: 'double', input: 1 })
  assert.deepEqual(task.candidates, [near.id, far.id])
  assert.equal((await done(giver.tasks.wait(task.id))).output, 2)
  const nobody = await rig.node({ finder: { find: async () => [] } })
  await assert.rejects(nobody.tasks.delegate({ skill: 'double' }), { code: 'NO_WORKER' })
})

test('what does not fit a message goes as a file, in both directions', async t => {
  const rig = new TaskRig(t)
  const shared = new Map<string, Uint8Array>()
  const dropped: string[] = []
  const files = {
    putFile: async (c: { readonly bytes: Uint8Array } | { readonly path: string }) => {
      const bytes = 'bytes' in c ? c.bytes : new TextEncoder().encode(c.path)
      const link = `kith:${shared.size}`
      shared.set(link, bytes)
      return { link, name: 'f', size: bytes.length }
    },
    getFile: async (f: { readonly link: string }) => `/got/${f.link}/${shared.get(f.link)?.length}`,
    dropFile: (path: string) => void dropped.push(path)
  }
  const [giver, worker] = [await rig.node({ files }), await rig.node({ files })]
  const seen: unknown[] = []
  await worker.tasks.serveSkill({
    name: 'big',
    run: async w => {
      seen.push(
        w.inputFile,
        w.input,
        w.files.map(f => f.path)
      )
      return 'x'.repeat(300_000)
    }
  })
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'big', input: 'y'.repeat(300_000), files: ['/tmp/a'] })
  const end = await done(giver.tasks.wait(id))
  assert.deepEqual(seen, ['/got/kith:0/300002', null, ['/got/kith:1/6']])
  assert.deepEqual(dropped, ['/got/kith:0/300002', '/got/kith:1/6'], 'they are not kept after the run')
  assert.equal(end.output, undefined)
  assert.equal(end.outputFile?.size, 300_002)
  assert.equal(await giver.tasks.fetchOutput(id), '/got/kith:2/300002')
  const bare = await rig.node()
  await assert.rejects(bare.tasks.delegate({ to: worker.id, skill: 'big', input: 'y'.repeat(300_000) }), { code: 'TOO_LARGE' })
})

test('a skill that is served no more gives its tasks back; served again, by this process or the next, it goes on', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const attempts: number[] = []
  const hang: SkillRun = (w, { signal }) =>
    new Promise((_r, reject) => {
      attempts.push(w.attempt)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  await worker.tasks.serveSkill({ name: 'x', run: hang })
  await assert.rejects(worker.tasks.serveSkill({ name: 'x', run: hang }), { code: 'SKILL_TAKEN' })
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'x' })
  await eventually('it runs', () => attempts.length === 1)
  await worker.close()
  await worker.open()
  assert.equal(worker.tasks.task(id)?.state, 'PENDING')
  const second = await giver.tasks.delegate({ to: worker.id, skill: 'x' })
  await eventually('a task for a skill that is still to be served is taken', () => worker.tasks.task(second.id)?.state === 'PENDING')
  const served = await worker.tasks.serveSkill({ name: 'x', run: hang })
  await eventually('it runs again', () => attempts.length === 2)
  assert.deepEqual(attempts, [1, 1])
  await served[Symbol.asyncDispose]()
  const third = await giver.tasks.delegate({ to: worker.id, skill: 'x' })
  assert.equal((await done(giver.tasks.wait(third.id))).error?.code, 'NO_SKILL')
  await worker.tasks.serveSkill({ name: 'x', concurrency: 2, run: async () => 'now' })
  for (const task of [id, second.id]) assert.equal((await done(giver.tasks.wait(task))).output, 'now')
})

test('a task that runs when the process dies runs again, or fails, as its skill says, and not for ever', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const serve = async (): Promise<void> => {
    await worker.tasks.serveSkill({ name: 'careful', afterCrash: 'fail', run: () => new Promise(() => {}) })
    await worker.tasks.serveSkill({ name: 'crashes', run: () => new Promise(() => {}) })
  }
  await serve()
  const careful = await giver.tasks.delegate({ to: worker.id, skill: 'careful' })
  const crashes = await giver.tasks.delegate({ to: worker.id, skill: 'crashes' })
  for (let runs = 1; runs <= 5; runs++) {
    await eventually(
      `run ${runs}`,
      () => worker.tasks.task(crashes.id)?.attempts === runs && worker.tasks.task(crashes.id)?.state === 'IN_PROGRESS'
    )
    await worker.restart()
    await serve()
  }
  for (const { id } of [careful, crashes]) assert.equal((await done(giver.tasks.wait(id))).error?.code, 'INTERRUPTED')
})

test('a disk that is full delays a task and its result, and loses neither; closing waits for what is under way', async t => {
  const clock = new FakeClock()
  const rig = new TaskRig(t, clock)
  const [giver, worker] = [await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'double', run: double })
  worker.full = true
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'double', input: 2 })
  await eventually('it is assigned', () => giver.tasks.task(id)?.state === 'ASSIGNED')
  await clock.advance(1001)
  assert.equal(worker.tasks.task(id), undefined)
  worker.full = false
  giver.full = true
  await clock.advance(2001)
  await eventually('it was done', () => worker.tasks.task(id)?.state === 'COMPLETED')
  await eventually('the result is there', () => giver.messenger.inbox({ type: 'task_result' }).length === 1)
  giver.full = false
  await eventually('the result is known', async () => {
    await clock.advance(1001)
    return giver.tasks.task(id)?.output === 4
  })
  const last = giver.tasks.delegate({ to: worker.id, skill: 'double', input: 3 }).then(
    task => task.state,
    (e: KithError) => e.code
  )
  await giver.close()
  assert.ok(['PENDING', 'ASSIGNED', 'COMPLETED', 'TASKS_CLOSED'].includes(await last))
})
