/** Real programs as agents. TA6: programs that hang, flood, leave others behind, or write what moves a cursor. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import type { Json } from '../wire/strict-json.ts'
import { type ProgramOptions, runProgram } from './program-agent.node.ts'
import { outputOf, StderrReader } from './program-output.ts'
import type { TaskWork } from './types.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-programs-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const work: TaskWork = {
  ...{ id: 'id-1', skill: 'x', from: 'did:key:z', description: 'say $(id) "quoted"', input: { a: [1, 'é'] }, inputFile: undefined },
  ...{ files: [{ link: 'kith:x', name: '../../etc/passwd', size: 1, path: '/tmp/one' }], idempotencyKey: 'k', attempt: 1, deadline: 0 }
}
interface Heard {
  readonly progress: (readonly [number, string])[]
  readonly stop: AbortController
}
const run = (command: readonly string[], options: ProgramOptions = {}, heard?: Heard): Promise<unknown> =>
  runProgram(command, { folder, ...options })(work, {
    signal: (heard?.stop ?? new AbortController()).signal,
    progress: (part, note = '') => void heard?.progress.push([part, note])
  })
const sh = (script: string): string[] => ['/bin/sh', '-c', script]
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('the task is on stdin, JSON comes back as JSON and everything else as text, and the folder is gone afterwards', async () => {
  const document = (await run(['/bin/cat'])) as Record<string, Json>
  assert.deepEqual(document['input'], { a: [1, 'é'] })
  assert.deepEqual(document['files'], ['/tmp/one'])
  assert.deepEqual([document['task_id'], document['description']], ['id-1', 'say $(id) "quoted"'])
  assert.equal(await run(['/bin/echo', '$HOME; not a shell']), '$HOME; not a shell')
  const place = String(await run(sh('pwd; echo "$TMPDIR"; touch left')))
  const [cwd, temp] = place.split('\n')
  assert.equal(cwd, temp)
  assert.ok(cwd?.startsWith(join(folder, 'kith-run-')))
  assert.equal(existsSync(cwd!), false)
})

test('a program sees only the variables it may, and the task in none of them', async () => {
  process.env['KITH_TEST_SECRET'] = 'secret'
  const seen = String(await run(['/usr/bin/env']))
  assert.ok(!seen.includes('secret') && !seen.includes('id-1') && seen.includes('PATH='))
  assert.ok(String(await run(['/usr/bin/env'], { env: ['KITH_TEST_SECRET'] })).includes('KITH_TEST_SECRET=secret'))
})

test('progress is heard; an exit code is a failure with the end of stderr, escaped by whoever tells it', async () => {
  const heard: Heard = { progress: [], stop: new AbortController() }
  const script =
    'cat >/dev/null; echo "progress: 0.4 reading" >&2; echo "progress: 2 no" >&2; echo "oh no" >&2; echo "progress: 1" >&2; exit 3'
  await assert.rejects(
    run(sh(script), {}, heard),
    (e: KithError) => hasCode(e, 'PROGRAM_FAILED') && e.message === 'exit code 3: progress: 2 no\noh no'
  )
  assert.deepEqual(heard.progress, [
    [0.4, 'reading'],
    [1, '']
  ])
  await assert.rejects(run(sh('kill -KILL $$')), { code: 'PROGRAM_FAILED', message: 'ended by SIGKILL' })
  await assert.rejects(run(['/no/such/program']), { code: 'PROGRAM_MISSING' })
})

test('TA6: output beyond the limit, or a time beyond it, ends the program', async () => {
  await assert.rejects(run(['/usr/bin/yes'], { maxOutputBytes: 100_000 }), { code: 'PROGRAM_OUTPUT' })
  await assert.rejects(run(sh('sleep 60'), { timeoutMs: 50 }), { code: 'PROGRAM_TIMEOUT' })
  const noise = `head -c 3000000 /dev/zero >&2; echo "the end" >&2; exit 1`
  await assert.rejects(run(sh(noise)), (e: KithError) => e.message.length < 2200 && e.message.endsWith('the end'))
})

test('TA6: cancelling ends the program and all that it started, and a program that ends takes the others with it', async () => {
  const heard: Heard = { progress: [], stop: new AbortController() }
  const script = 'sleep 60 & echo "progress: 0.5 $! $$" >&2; wait'
  const over = assert.rejects(run(sh(script), {}, heard), { message: 'enough' })
  await eventually('it runs', () => heard.progress.length === 1)
  heard.stop.abort(new Error('enough'))
  await over
  const pids = heard.progress[0]![1].split(' ').map(Number)
  await eventually('nobody is left', () => !pids.some(isAlive))
  const left = Number(await run(sh('sleep 60 >/dev/null 2>&1 & echo $!')))
  await eventually('it was ended', () => !isAlive(left))
  assert.ok(Number(await run(sh('sleep 60 & echo $!'))) > 0, 'one that holds the pipe does not hold us')
  assert.deepEqual(readdirSync(folder), [])
})

test('output is JSON only when nothing is lost by it', () => {
  const of = (text: string): Json => outputOf(new TextEncoder().encode(text))
  assert.deepEqual(of(' {"a": 1.0, "b": 1e2}\n'), { a: 1, b: 100 })
  for (const text of ['{"a":1,"a":2}', '12345678901234567890', '1e999', '{"__proto__":{}}', '"\\ud800"', '[1', ''])
    assert.equal(of(text), text)
  assert.equal(outputOf(Uint8Array.of(0x68, 0xff, 0x0a)), 'h\ufffd')
})

test('stderr in any pieces gives the same progress and the same end', () => {
  const text = new TextEncoder().encode(`${'x'.repeat(5000)}\nprogress: .5 é\u001b[1m\nprogress: 1.5\nlast`)
  for (const size of [1, 7, 100, 10_000]) {
    const heard: unknown[] = []
    const reader = new StderrReader((part, note) => heard.push([part, note]))
    for (let at = 0; at < text.length; at += size) reader.push(text.subarray(at, at + size))
    assert.deepEqual(heard, [[0.5, 'é\ufffd[1m']])
    assert.ok(reader.tail().endsWith('progress: 1.5\nlast') && reader.tail().length <= 2048)
  }
})
