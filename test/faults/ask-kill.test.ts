/**
 * Whole nodes killed with SIGKILL while hundreds of messages are on their way and while a program works on a task (threats C1): each message
 * arrives once, the program's effect happens once, and its result arrives once. `KITH_KILLS` says how many rounds.
 */
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { NodeEvent } from '../../src/node/types.ts'
import { type AskNode, allArrivedOnce, arrived, numbered, openNode, received, sendTexts, until } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'
import { seededRandom } from '../kits/random.ts'

const ROUNDS = Number(process.env['KITH_KILLS'] ?? 1)
const TEXTS = 500

/** Waits for the file `go`, then does what it is for, once for each key of a task however often it runs. */
const PROGRAM = `
import { existsSync, appendFileSync, readFileSync, writeFileSync } from 'node:fs'
const [folder] = process.argv.slice(2)
const task = JSON.parse(readFileSync(0, 'utf8'))
appendFileSync(folder + '/runs', task.attempt + '\\n')
while (!existsSync(folder + '/go-' + task.input)) {
  if (!existsSync(folder)) process.exit(1)
  await new Promise(resolve => setTimeout(resolve, 20))
}
try {
  writeFileSync(folder + '/effect-' + task.idempotency_key, '', { flag: 'wx' })
  appendFileSync(folder + '/effects', task.input + '\\n')
} catch {}
process.stdout.write(JSON.stringify({ did: task.input }))
`

test('nodes killed in the middle of messages and of a task: nothing lost, nothing twice, one result', { timeout: 1_200_000 }, async t => {
  const random = seededRandom(t)
  const lab = new Lab(t)
  const folder = lab.dir('work')
  const program = join(lab.folder, 'program.mjs')
  writeFileSync(program, PROGRAM)
  let a = await openNode(t, lab, 'a')
  let b = await openNode(t, lab, 'b', ['--bootstrap', a.address])
  const serve = (): Promise<unknown> => b.api.ask.serveSkill({ name: 'work', command: [process.execPath, program, folder], allow: ['*'] })
  await serve()
  await a.api.ask.send({ to: b.address, text: 'hello' })
  const results = { count: 0 }
  countResults(a, results, t.signal)
  for (let round = 0; round < ROUNDS; round++) {
    const texts = numbered(`${round}:`, TEXTS)
    const task = await a.api.ask.ask({ to: b.entityId, skill: 'work', description: 'once', input: round })
    await until('the program works', async () => linesOf(join(folder, 'runs')).length > round)
    const sending = sendTexts(a, b.entityId, texts)
    await arrived(b, `${round}:`, 1 + Math.floor(random() * 100))
    await b.process.destroy()
    await sending
    b = await openNode(t, lab, 'b', ['--bootstrap', a.address])
    await serve()
    // The second run begins while the first one, whose node is gone, still waits.
    await arrived(b, `${round}:`, 1)
    await a.process.destroy()
    appendFileSync(join(folder, `go-${round}`), '')
    a = await openNode(t, lab, 'a', ['--bootstrap', b.address])
    countResults(a, results, t.signal)
    await allArrivedOnce(a, b, texts)
    await until('the task ends', async () => (await a.api.ask.task(task.id)).finishedAt !== undefined)
    const { state, output } = await a.api.ask.task(task.id)
    assert.deepEqual([state, output], ['COMPLETED', { did: round }])
    assert.deepEqual(
      linesOf(join(folder, 'effects')),
      Array.from({ length: round + 1 }, (_, i) => String(i)),
      'one effect for each task'
    )
    await until('the worker agrees', async () => (await b.api.ask.task(task.id)).state === 'COMPLETED')
    assert.ok(results.count <= round + 1, 'no result twice')
    assert.equal((await a.api.ask.tasks()).length, round + 1)
  }
  assert.equal(new Set(await received(b)).size, (await received(b)).length)
})

/** Ends of tasks that a user of the node is told of; after a restart one may have been told before. */
function countResults(node: AskNode, results: { count: number }, signal: AbortSignal): void {
  const follow = async (): Promise<void> => {
    for await (const event of (await node.api.events({}, signal)) as AsyncIterable<NodeEvent>)
      if (event.type === 'task:changed' && event.task.role === 'given' && event.task.state === 'COMPLETED') results.count++
  }
  follow().catch(() => {}) // the node was killed
}

const linesOf = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [])
