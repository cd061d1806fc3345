/**
 * Messengers killed with SIGKILL: at every named moment, and at random times as two processes over libp2p. What was told as delivered is
 * there, nothing is acted on twice without need, and everything arrives in the end. The suite must notice two mistakes that are planted.
 * `KITH_KILLS` says how many random kills; `KITH_CAMPAIGN=1` kills at each moment several times.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import test from 'node:test'
import { type FailpointName, failpointNames, type PlantedBug } from '../../src/messaging/failpoints.ts'
import { tempFolder } from '../kits/messaging.ts'
import { isDisliked, linesOf, type PairSettings } from '../kits/messaging-pair.ts'

const PAIR = join(import.meta.dirname, '..', 'kits', 'messaging-pair.ts')
const TIMES = process.env['KITH_CAMPAIGN'] === '1' ? [1, 2, 5, 17] : [1]
/** Those that need an unreachable recipient; messenger.test.ts covers them. */
const ELSEWHERE: ReadonlySet<FailpointName> = new Set(['failed:committed', 'relayed:before', 'relayed:committed'])
const DEADLINE_MS = 60_000

interface Ended {
  /** SIGKILL: at the failpoint; undefined: it got to the end. */
  readonly signal: string | undefined
  readonly err: string
}

function run(settings: PairSettings): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>()
  const child = spawn(process.execPath, [PAIR, JSON.stringify(settings)], { stdio: ['ignore', 'pipe', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGTERM'), DEADLINE_MS)
  let out = ''
  let err = ''
  child.stdout.on('data', (b: Buffer) => (out += b))
  child.stderr.on('data', (b: Buffer) => (err += b))
  child.on('close', (code, signal) => {
    clearTimeout(timer)
    resolve({ signal: signal ?? (code === 0 ? undefined : `exit ${code}`), err: `${err} ${out}` })
  })
  return promise
}

/** So many new ids: most small, some in chunks, some that the handler does not like. */
function newIds(n: number): string[] {
  const kinds = ['c', 'd', '0', '1', '2', '3', '4', '5']
  return Array.from({ length: n }, (_, i) => randomUUID().slice(0, -1) + kinds[i % kinds.length])
}

/** What is wrong with what a run has left. */
function findings(folder: string, ids: readonly string[]): string[] {
  const lines = (name: string): string[] => linesOf(join(folder, name))
  const effects = new Set(lines('effects'))
  const errors = lines('errors')
  return [
    ...lines('delivered')
      .filter(id => !effects.has(id))
      .map(id => `told as delivered and lost: ${id}`),
    ...ids.filter(id => !effects.has(id)).map(id => `never arrived: ${id}`),
    ...lines('again').map(id => `acted on again: ${id}`),
    ...lines('wrong').map(id => `arrived as something else: ${id}`),
    ...(lines('effects').length === effects.size ? [] : ['an effect twice']),
    ...ids.filter(id => isDisliked(id) && !errors.includes(id)).map(id => `no error for ${id}`)
  ]
}

test('killed at every named moment: nothing that was acknowledged is lost, nothing has an effect twice, everything arrives', async () => {
  using folder = tempFolder()
  const ids: string[] = []
  const reached = new Set<string>()
  for (const name of failpointNames.filter(n => !ELSEWHERE.has(n))) {
    for (const n of TIMES) {
      ids.push(...newIds(8))
      const { signal, err } = await run({ folder: folder.path, ids, failpoint: { name, n } })
      if (signal === 'SIGKILL') reached.add(name)
      else assert.equal(signal, undefined, `${name}: ${err}`)
    }
  }
  const { signal, err } = await run({ folder: folder.path, ids })
  assert.equal(signal, undefined, err)
  assert.deepEqual(findings(folder.path, ids).slice(0, 10), [])
  const missed = failpointNames.filter(n => !ELSEWHERE.has(n) && !reached.has(n))
  assert.deepEqual(missed, [], 'moments that were never reached')
  assert.ok(reached.size >= 20)
})

for (const [plantedBug, moments] of [
  ['ack-before-commit', ['inbox:in-transaction', 'inbox:queued', 'delivered:committed']],
  ['replay-in-memory', ['ack:sealed', 'done:committed', 'ack:received', 'delivered:in-transaction']]
] as readonly (readonly [PlantedBug, readonly FailpointName[]])[]) {
  test(`the mistake ${plantedBug} is noticed`, async () => {
    using folder = tempFolder()
    const ids: string[] = []
    for (const name of moments) {
      ids.push(...newIds(24))
      await run({ folder: folder.path, ids, failpoint: { name, n: 2 }, plantedBug })
    }
    await run({ folder: folder.path, ids, plantedBug })
    assert.notEqual(findings(folder.path, ids).length, 0)
  })
}
