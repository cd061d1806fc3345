/** What peers may try with tasks, and what comes of it. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { type TaskNode, TaskRig } from '../../test/kits/task-rig.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { didOfKey, keyOfDid } from '../wire/did-key.ts'
import { canonicalJson, type Json, type JsonObject, parseJson } from '../wire/strict-json.ts'
import { Admission } from './admission.ts'
import { MAX_PATH, MAX_QUEUED, MAX_QUEUED_BYTES, MAX_QUEUED_BYTES_PER_PEER, MAX_QUEUED_PER_PEER } from './limits.ts'
import {
  cancelBody,
  delegateBody,
  outcomeBody,
  readCancel,
  readDelegate,
  readOutcome,
  readProgress,
  readRefuse,
  type TaskDelegate,
  type TaskOutcome
} from './payloads.ts'
import { checkOutcome, signOutcome } from './result-signature.ts'
import type { SkillRun } from './types.ts'

const A = 'did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw'
const delegation = (from: TaskNode, change: Partial<TaskDelegate> = {}): JsonObject =>
  delegateBody({
    ...{ taskId: randomUUID(), idempotencyKey: randomUUID(), skill: 'x', description: '', input: 1, inputFile: undefined, files: [] },
    ...{ priority: 'normal', deadline: Date.now() + 60_000, path: [from.id] },
    ...change
  })
/** Sends a message as it is and waits for the word that answers it: an error's or a refusal's code. */
async function answerTo(from: TaskNode, to: TaskNode, type: 'task_delegate' | 'task_result', body: JsonObject): Promise<string> {
  const { id } = await from.messenger.send({ to: to.id, type, body })
  const isAnswer = (m: { body: JsonObject }): boolean => [id, body['task_id']].includes(m.body['original_message_id'] ?? m.body['task_id'])
  const answers = (): { body: JsonObject }[] => (['error', 'task_refuse'] as const).flatMap(t => from.messenger.inbox({ type: t }))
  await eventually('an answer', () => answers().some(isAnswer))
  return String(answers().find(isAnswer)!.body['error_code'])
}

test('TA1: an unknown peer is NOT_AUTHORISED, and nothing is kept of it', async t => {
  const rig = new TaskRig(t)
  const [stranger, worker] = [await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'x', run: async () => assert.fail('ran') })
  worker.mayDelegate = () => false
  assert.equal(await answerTo(stranger, worker, 'task_delegate', delegation(stranger)), 'NOT_AUTHORISED')
  assert.deepEqual(worker.tasks.tasks(), [])
})

test('TA1: who may give no task writes no cancellations either', async t => {
  const rig = new TaskRig(t)
  const [stranger, giver, worker] = [await rig.node(), await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'x', run: async () => 1 })
  worker.mayDelegate = peer => peer === giver.id
  const [refused, kept] = [randomUUID(), randomUUID()]
  const cancel = (from: TaskNode, offer: string) =>
    from.messenger.send({ to: worker.id, type: 'task_cancel', body: cancelBody(randomUUID(), offer, '') })
  await Promise.all([cancel(stranger, refused), cancel(giver, kept)])
  await eventually('the giver is heard', () => worker.store.isBuried(giver.id, kept))
  await eventually('both were acted on', () => worker.messenger.inbox({ type: 'task_cancel' }).length === 2)
  assert.equal(worker.store.isBuried(stranger.id, refused), false)
})

test('TA1: a task that has been here, was passed on too often, or hides its path is refused', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'x', run: async () => assert.fail('ran') })
  const refused = (path: readonly string[]): Promise<string> => answerTo(giver, worker, 'task_delegate', delegation(giver, { path }))
  assert.equal(await refused([worker.id, giver.id]), 'TASK_LOOP')
  assert.equal(await refused([giver.id, A, giver.id]), 'TASK_LOOP')
  const strangers = Array.from({ length: MAX_PATH }, (_, i) => didOfKey(new Uint8Array(32).fill(i + 1)))
  assert.equal(await refused([...strangers.slice(1), giver.id]), 'TASK_LOOP')
  assert.equal(await refused([giver.id, A]), 'BAD_PAYLOAD')
  assert.equal(await refused([]), 'BAD_PAYLOAD')
})

test('TA1: a grant that is taken back while a task waits keeps it from running', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const gate = Promise.withResolvers<null>()
  const ran: unknown[] = []
  const run: SkillRun = ({ input }) => {
    ran.push(input)
    return gate.promise
  }
  await worker.tasks.serveSkill({ name: 'x', concurrency: 1, run })
  const first = await giver.tasks.delegate({ to: worker.id, skill: 'x', input: 1 })
  await eventually('it runs', () => ran.length === 1)
  const second = await giver.tasks.delegate({ to: worker.id, skill: 'x', input: 2 })
  await eventually('the other waits', () => worker.tasks.skills()[0]?.queued === 1)
  worker.mayDelegate = () => false
  gate.resolve(null)
  assert.equal((await within(5000, 'the first', giver.tasks.wait(first.id))).state, 'COMPLETED')
  assert.equal((await within(5000, 'the second', giver.tasks.wait(second.id))).state, 'REFUSED')
  assert.deepEqual(ran, [1])
})

test('TA1: a circle of delegations ends where it would close', async t => {
  const rig = new TaskRig(t)
  const nodes = [await rig.node(), await rig.node(), await rig.node()] as const
  const code = Promise.withResolvers<string>()
  for (const [i, node] of nodes.entries()) {
    const run = async ({ id }: { readonly id: string }): Promise<null> => {
      const to = nodes[(i + 1) % 3]!.id
      const part = await node.tasks.delegate({ to, skill: 'round', parent: id }).catch((e: KithError) => code.resolve(e.code))
      if (part) await node.tasks.wait(part.id)
      return null
    }
    await node.tasks.serveSkill({ name: 'round', run })
  }
  const { id } = await nodes[0].tasks.delegate({ to: nodes[1].id, skill: 'round' })
  assert.equal(await within(5000, 'the refusal', code.promise), 'TASK_LOOP')
  assert.equal((await within(5000, 'the end', nodes[0].tasks.wait(id))).state, 'COMPLETED')
})

test('TA1: 100,000 tasks: QUEUE_FULL for one peer and for all, by number and by bytes', () => {
  const admission = new Admission(() => true, new FakeClock())
  const codes = new Map<string, number>()
  for (let i = 0; i < 100_000; i++) {
    const peer = `peer ${i % 20}`
    const refusal = admission.refusal(peer, 'x', 10)
    codes.set(refusal?.code ?? 'taken', (codes.get(refusal?.code ?? 'taken') ?? 0) + 1)
    if (!refusal) admission.count(peer, 10)
  }
  assert.deepEqual(Object.fromEntries(codes), { taken: MAX_QUEUED, QUEUE_FULL: 100_000 - MAX_QUEUED })
  const other = new Admission(peer => (peer === 'few' ? { queued: 2, perHour: 3 } : true), new FakeClock())
  let taken = 0
  while (!other.refusal('many', 'x', 1)) {
    other.count('many', 1)
    taken++
  }
  assert.equal(taken, MAX_QUEUED_PER_PEER)
  assert.equal(other.refusal('large', 'x', MAX_QUEUED_BYTES_PER_PEER + 1)?.code, 'QUEUE_FULL')
  const heavy = new Admission(() => true, new FakeClock())
  const each = Math.floor(MAX_QUEUED_BYTES_PER_PEER / 2)
  for (let held = 0; held + each <= MAX_QUEUED_BYTES; held += each) heavy.count(`peer ${held}`, each)
  assert.equal(heavy.refusal('one more', 'x', each)?.code, 'QUEUE_FULL')
  for (const expected of [undefined, undefined, 'QUEUE_FULL']) {
    assert.equal(other.refusal('few', 'x', 1)?.code, expected)
    other.count('few', 1)
  }
  for (let i = 0; i < 3; i++) other.discount('few', 1)
  assert.equal(other.refusal('few', 'x', 1)?.code, undefined)
  assert.equal(other.refusal('few', 'x', 1)?.code, 'RATE_LIMITED')
})

test('TA1: members called __proto__ or constructor are data, or refused; nothing else changes', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  let seen: unknown
  await worker.tasks.serveSkill({
    name: 'x',
    run: async ({ input }) => {
      seen = input
      return input
    }
  })
  const hostile = { constructor: { prototype: { polluted: 1 } }, toString: 'x', hasOwnProperty: false } as unknown as JsonObject
  const { id } = await giver.tasks.delegate({ to: worker.id, skill: 'x', input: hostile })
  await within(5000, 'the end', giver.tasks.wait(id))
  assert.deepEqual(seen, hostile)
  assert.equal(({} as { polluted?: number }).polluted, undefined)
  const proto = JSON.parse('{"__proto__": {"polluted": 1}}') as JsonObject
  await assert.rejects(giver.tasks.delegate({ to: worker.id, skill: 'x', input: proto }), { code: 'BAD_TASK' })
  assert.throws(() => readDelegate({ ...delegation(giver), input: proto }), { code: 'BAD_PAYLOAD' })
  for (const name of ['__proto__', 'constructor', 'toString'])
    assert.equal(
      await answerTo(giver, worker, 'task_delegate', delegation(giver, { skill: name })),
      name === '__proto__' ? 'BAD_PAYLOAD' : 'NO_SKILL'
    )
})

test('TA2: a result for a task that was never given, or was given to somebody else, is UNKNOWN_TASK', async t => {
  const rig = new TaskRig(t)
  const [giver, worker, liar] = [await rig.node(), await rig.node(), await rig.node()]
  await worker.tasks.serveSkill({ name: 'x', run: untilStopped })
  const task = await giver.tasks.delegate({ to: worker.id, skill: 'x' })
  const requestHash = giver.store.find('given', task.id)!.requestHash
  const outcome = (change: Partial<TaskOutcome>): TaskOutcome => ({
    ...{ taskId: task.id, giver: giver.id, worker: liar.id, skill: 'x', requestHash, state: 'COMPLETED', output: 'lie' },
    ...{ outputFile: undefined, error: undefined, finishedAt: Date.now(), ...change }
  })
  const told = async (from: TaskNode, o: TaskOutcome, signer = from): Promise<string> =>
    answerTo(from, giver, 'task_result', await signOutcome(o, b => signer.entity.sign(b)))
  assert.equal(await told(liar, outcome({ taskId: randomUUID() })), 'UNKNOWN_TASK')
  assert.equal(await told(liar, outcome({})), 'UNKNOWN_TASK')
  assert.equal(giver.tasks.task(task.id)?.finishedAt, undefined)
  // TA7: of the right peer, but not its signature, or about something else.
  const own = outcome({ worker: worker.id })
  assert.equal(await told(worker, own, liar), 'INVALID_SIGNATURE')
  assert.equal(giver.tasks.task(task.id)?.finishedAt, undefined)
})

test('TA7: a signed result fits no other task, giver, worker, request or outcome', async t => {
  const rig = new TaskRig(t)
  const [giver, worker] = [await rig.node(), await rig.node()]
  const outcome: TaskOutcome = {
    ...{ taskId: randomUUID(), giver: giver.id, worker: worker.id, skill: 'x', requestHash: 'ab'.repeat(32), state: 'COMPLETED' },
    ...{ output: { a: [1, 'ü'] }, outputFile: undefined, error: undefined, finishedAt: 1_700_000_000_123 }
  }
  const body = await signOutcome(outcome, b => worker.entity.sign(b))
  await checkOutcome({ ...body, message_id: randomUUID() }, worker.id)
  assert.deepEqual(readOutcome(body), outcome)
  for (const change of [
    { task_id: randomUUID() },
    { giver: A },
    { request_hash: 'cd'.repeat(32) },
    { output: 2 },
    { state: 'FAILED' },
    { extra: 1 }
  ])
    await assert.rejects(checkOutcome({ ...body, ...change }, worker.id), { code: 'INVALID_SIGNATURE' })
  await assert.rejects(checkOutcome(body, giver.id), { code: 'INVALID_SIGNATURE' })
  assert.ok(keyOfDid(worker.id))
  for (const [field, value] of [
    ['giver', A],
    ['requestHash', 'cd'.repeat(32)]
  ] as const) {
    await worker.tasks.serveSkill({ name: `for-${field}`, run: untilStopped }).then(async served => {
      const task = await giver.tasks.delegate({ to: worker.id, skill: `for-${field}` })
      const { requestHash } = giver.store.find('given', task.id)!
      const wrong = { ...outcome, taskId: task.id, requestHash, [field]: value }
      assert.equal(await answerTo(worker, giver, 'task_result', await signOutcome(wrong, b => worker.entity.sign(b))), 'INVALID_SIGNATURE')
      await served[Symbol.asyncDispose]()
    })
  }
})

const untilStopped: SkillRun = (_, { signal }) => new Promise((_r, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

/** What strict JSON carries as it is. */
const json = fc.jsonValue({ maxDepth: 4 }).filter(value => {
  try {
    return JSON.stringify(parseJson(utf8(canonicalJson(value as Json)))) === JSON.stringify(value)
  } catch {
    return false
  }
})
const file = fc.record(
  { link: fc.string({ minLength: 1, maxLength: 40 }), name: fc.string({ maxLength: 40 }), size: fc.maxSafeNat() },
  { noNullPrototype: true }
)

test('any payload of a task is read or refused with a code, and what is written is read back', () => {
  const field = fc.oneof(json, fc.constantFrom(A, randomUUID(), 'x', 'COMPLETED', '2026-01-01T00:00:00Z', 'ab'.repeat(32), [A]))
  const names = Object.keys({
    ...delegateBody(EXAMPLE),
    ...outcomeBody(ENDED),
    state: 0,
    progress: 0,
    note: 0,
    offer: 0,
    reason: 0,
    error_code: 0
  })
  const body = fc.dictionary(fc.constantFrom(...names), field)
  const changed = fc.tuple(fc.constantFrom<JsonObject>(delegateBody(EXAMPLE), outcomeBody(ENDED)), body).map(([a, b]) => ({ ...a, ...b }))
  fc.assert(
    fc.property(fc.oneof(body, changed), o => {
      for (const read of [readDelegate, readOutcome, readProgress, readRefuse, readCancel]) {
        try {
          read(o as JsonObject)
        } catch (e) {
          assert.ok(e instanceof KithError && ['BAD_PAYLOAD', 'TOO_LARGE'].includes(e.code), String(e))
        }
      }
    })
  )
  const made = fc.record(
    { input: json, files: fc.array(file, { maxLength: 3 }), description: fc.string({ maxLength: 50 }) },
    { noNullPrototype: true }
  )
  fc.assert(
    fc.property(made, m => {
      const d = { ...EXAMPLE, ...m } as TaskDelegate
      assert.deepEqual(readDelegate(delegateBody(d)), d)
    })
  )
})

const EXAMPLE: TaskDelegate = {
  ...{ taskId: randomUUID(), idempotencyKey: 'k', skill: 'a.b/c', description: 'd', input: null, inputFile: undefined, files: [] },
  ...{ priority: 'low', deadline: 1_700_000_000_000, path: [A] }
}
const ENDED: TaskOutcome = {
  ...{ taskId: EXAMPLE.taskId, giver: A, worker: A, skill: 'x', requestHash: '00'.repeat(32), state: 'FAILED', output: undefined },
  ...{ outputFile: undefined, error: { code: 'X', message: '' }, finishedAt: 1 }
}
