/** Either side killed at every named step, and at random ones: a task ends once, with one result, and both sides agree. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { type TaskNode, TaskRig } from '../../test/kits/task-rig.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { type FailpointName, failpointNames } from './deps.ts'
import { isFinal, mayBecome, nextState, TASK_STATES, type TaskState } from './states.ts'
import type { SkillRun } from './types.ts'

test('states: what is final stays, nothing becomes itself, a running task is not assigned again', () => {
  const state = fc.constantFrom(...TASK_STATES)
  fc.assert(
    fc.property(state, fc.array(state), (first, rest) => {
      let now: TaskState = first
      for (const next of rest) {
        const expected =
          !['COMPLETED', 'FAILED', 'CANCELLED', 'REFUSED'].includes(now) && next !== now && !(now === 'IN_PROGRESS' && next === 'ASSIGNED')
        assert.equal(mayBecome(now, next), expected)
        if (expected) now = nextState(now, next)
        else assert.throws(() => nextState(now, next), { code: 'TASK_STATE' })
      }
    })
  )
})

/** Who dies where, and how often the skill was called then. Between a run and its commit nobody can know that it has run. */
const STEPS: Readonly<Record<FailpointName, readonly ['giver' | 'worker', number]>> = {
  'task:given': ['giver', 1],
  'task:offered': ['giver', 1],
  'task:taken': ['worker', 1],
  'task:started': ['worker', 1],
  'task:run': ['worker', 2],
  'task:finished': ['worker', 1],
  'task:told': ['worker', 1],
  'task:result-in': ['giver', 1],
  'task:moved': ['giver', 1],
  'task:cancelled': ['giver', 1]
}

for (const step of failpointNames) {
  const [who, starts] = STEPS[step]
  test(`killed at ${step}: the task ends once`, async t => {
    const rig = new TaskRig(t)
    const [giver, worker] = [await rig.node(), await rig.node()]
    const dies: TaskNode = who === 'giver' ? giver : worker
    const gate = Promise.withResolvers<void>()
    let started = 0
    const run: SkillRun = async ({ input }) => {
      started++
      if (step === 'task:cancelled') await gate.promise
      return [input, 'done']
    }
    const serve = (): Promise<AsyncDisposable> => worker.tasks.serveSkill({ name: 'x', run })
    await serve()
    let killed = false
    dies.failpoint = reached => {
      if (reached !== step || killed) return
      killed = true
      dies.kill()
    }
    const no = step === 'task:moved' ? await rig.node() : undefined
    const ask = { to: no ? [no.id, worker.id] : worker.id, skill: 'x', input: 7, idempotencyKey: 'key' }
    // A caller whose node dies hears nothing, and asks again with the same key.
    const asked = giver.tasks.delegate(ask).catch(() => undefined)
    if (step === 'task:cancelled') {
      const { id } = (await asked)!
      await eventually('it runs', () => started === 1)
      await giver.tasks.cancel(id).catch(() => false)
    }
    await eventually('the kill', () => killed)
    gate.resolve()
    await dies.open()
    if (dies === worker) await serve()
    const { id } = await giver.tasks.delegate(ask)
    const expected = step === 'task:cancelled' ? 'CANCELLED' : 'COMPLETED'
    await eventually('the end', () => giver.tasks.task(id)?.state === expected && worker.tasks.task(id)?.state === expected)
    if (expected === 'COMPLETED') assert.deepEqual(giver.tasks.task(id)?.output, [7, 'done'])
    assert.equal(started, starts)
    assert.equal(giver.tasks.tasks().length, 1)
    assert.equal(worker.tasks.tasks().length, 1)
    for (const node of [giver, worker]) await eventually('nothing is owed', () => node.store.owed().length === 0)
  })
}

const STEP = fc.constantFrom('give', 'finish', 'fail', 'cancel', 'refuse here', 'cut', 'heal', 'kill giver', 'kill worker', 'lose', 'wait')

/** A giver and two workers of which anything may happen to. */
class World {
  readonly rig: TaskRig
  readonly clock: FakeClock
  readonly gates: { readonly resolve: (value: string) => void; readonly reject: (e: Error) => void }[] = []
  readonly completed = new Map<string, number>()
  readonly #last = new Map<string, TaskState>()
  nodes!: readonly [TaskNode, TaskNode, TaskNode]
  lossy = false

  constructor(t: { after(work: () => Promise<void>): void }) {
    this.clock = new FakeClock()
    this.rig = new TaskRig(t as never, this.clock)
    this.rig.post.passes = () => !this.lossy
  }
  async open(): Promise<void> {
    this.nodes = [await this.rig.node(), await this.rig.node(), await this.rig.node()]
    for (const [i, node] of this.nodes.entries()) await this.#joined(node, i)
  }
  async reopen(i: number): Promise<void> {
    await this.nodes[i]!.restart()
    await this.#joined(this.nodes[i]!, i)
  }
  async #joined(node: TaskNode, i: number): Promise<void> {
    const { tasks } = node
    tasks.events.on('task:changed', ({ task }) => {
      const key = `${i} ${task.role} ${task.id} ${task.attempts}`
      const before = this.#last.get(key)
      this.#last.set(key, task.state)
      // A later attempt is another life of the task; in one, each step must be allowed. A kill may have undone a step that was not told.
      if (before && before !== task.state && node.tasks === tasks) assert.ok(mayBecome(before, task.state), `${before} -> ${task.state}`)
    })
    if (i > 0) await tasks.serveSkill({ name: 'x', concurrency: 2, run: work => this.#run(work.idempotencyKey) })
  }
  async #run(key: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.gates.push({ resolve, reject })
    const output = await promise
    this.completed.set(key, (this.completed.get(key) ?? 0) + 1)
    return output
  }
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await new Promise(resolve => setImmediate(resolve))
  }
}

test('whatever happens to either side, every task ends, the sides agree, and nothing ends twice', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { minLength: 3, maxLength: 14 }), async steps => {
      const cleanups: (() => Promise<void>)[] = []
      const world = new World({ after: work => void cleanups.push(work) })
      try {
        await play(world, steps)
      } finally {
        for (const work of cleanups) await work()
      }
    }),
    { numRuns: Number(process.env['KITH_TASK_RUNS'] ?? 8), endOnFailure: true }
  )
  t.diagnostic('a failure prints its seed and path')
})

async function play(world: World, steps: readonly string[]): Promise<void> {
  await world.open()
  const { rig, clock } = world
  const given: string[] = []
  for (const step of ['give', ...steps]) {
    const [giver, a, b] = world.nodes
    if (step === 'give')
      given.push((await giver.tasks.delegate({ to: [a.id, b.id], skill: 'x', deadlineMs: 60_000, attemptMs: 20_000 })).id)
    else if (step === 'finish') world.gates.shift()?.resolve('done')
    else if (step === 'fail') world.gates.shift()?.reject(new Error('no'))
    else if (step === 'cancel') await giver.tasks.cancel(given.at(-1)!)
    else if (step === 'refuse here') await a.tasks.cancel(given.at(-1)!).catch(() => {})
    else if (step === 'cut') rig.post.cut(giver.id, a.id)
    else if (step === 'heal') {
      world.lossy = false
      rig.post.heal(giver.id, a.id)
    } else if (step === 'kill giver') await world.reopen(0)
    else if (step === 'kill worker') await world.reopen(1)
    else if (step === 'lose') world.lossy = true
    else await clock.advance(3000)
    await world.settle()
  }
  world.lossy = false
  const [giver, a, b] = world.nodes
  for (const worker of [a, b]) rig.post.heal(giver.id, worker.id)
  await eventually('every task has ended', async () => {
    for (const gate of world.gates.splice(0)) gate.resolve('done')
    await clock.advance(1000)
    for (const worker of [a, b]) rig.post.heal(giver.id, worker.id)
    const all = world.nodes.flatMap(n => n.tasks.tasks())
    return all.every(task => isFinal(task.state)) && world.nodes.every(n => n.store.owed().length === 0)
  })
  for (const id of given) {
    const end = giver.tasks.task(id)!
    if (end.state !== 'COMPLETED') continue
    const done = [a, b].map(w => w.tasks.task(id)).filter(task => task?.state === 'COMPLETED')
    assert.ok(done.length >= 1, 'somebody has completed what the giver has as completed')
    assert.equal(end.output, 'done')
  }
}
