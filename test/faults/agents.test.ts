/**
 * `kill -9` of a node whose program is working: what the program started ends, though nobody is left to end it, and the next node removes
 * what was left: folders, and processes that had gone out of their group.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Lab } from '../kits/lab.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // A zombie is dead: nobody may be there who fetches it.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

test('TA6: a program does not outlive its node, which is killed; the next one removes the rest', { timeout: 120_000 }, async t => {
  if (process.platform !== 'linux') return t.skip('it looks into /proc')
  const lab = new Lab(t)
  const pids = join(lab.folder, 'pids')
  const script = join(lab.folder, 'worker.mjs')
  writeFileSync(
    script,
    `import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
const child = spawn('/bin/sleep', ['1000'])
const away = spawn('/bin/sleep', ['1000'], { detached: true })
process.on('SIGTERM', () => {})
writeFileSync(${JSON.stringify(pids)}, JSON.stringify([process.pid, child.pid, away.pid]))
setInterval(() => {}, 1000)
`
  )
  const a = await lab.ready('a', 'up')
  const serve = ['agent', 'serve', '--skill', 'wait', '--allow', '*', '--bootstrap', a.ready.addresses[0]!, '--', process.execPath, script]
  const worker = lab.kith('w', ...serve)
  const { addresses } = (await worker.line('ready')) as unknown as { addresses: string[] }
  await lab.client('a', 'agent', 'ask', addresses[0]!, '--skill', 'wait', 'wait', '--detach')
  await eventually('it works', () => existsSync(pids) && readFileSync(pids, 'utf8').endsWith(']'), 30_000)
  const [program, child, away] = JSON.parse(readFileSync(pids, 'utf8')) as [number, number, number]
  t.after(() => {
    for (const pid of [program, child, away].filter(isAlive)) process.kill(pid, 'SIGKILL')
  })
  const runs = join(lab.folder, 'w', 'state', 'tasks', 'runs')
  const [left] = readdirSync(runs)
  assert.deepEqual([program, child, away].map(isAlive), [true, true, true])

  worker.child.kill('SIGKILL')
  await eventually('its group ended', () => !isAlive(program) && !isAlive(child), 10_000)
  // It left the group: nobody watches it, but the next node finds it.
  assert.equal(isAlive(away), true)
  await lab.ready('w', 'up')
  await eventually('the rest ended', () => !isAlive(away), 10_000)
  assert.equal(existsSync(join(runs, left!)), false)
})
