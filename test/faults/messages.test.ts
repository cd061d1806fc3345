/**
 * Messengers killed with SIGKILL: at every named moment, and at random times as two processes over libp2p. What was told as delivered is
 * there, nothing is acted on twice without need, and everything arrives in the end. The suite must notice two mistakes that are planted.
 * `KITH_KILLS` says how many random kills; `KITH_CAMPAIGN=1` kills at each moment several times.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { type FailpointName, failpointNames, type PlantedBug } from '../../src/messaging/failpoints.ts'
import { tempFolder } from '../kits/messaging.ts'
import type { ChildSettings } from '../kits/messaging-child.ts'
import { isDisliked, linesOf, type PairSettings } from '../kits/messaging-pair.ts'
import { Process } from '../kits/process.ts'
import { seededRandom } from '../kits/random.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const CHILD = join(import.meta.dirname, '..', 'kits', 'messaging-child.ts')
const PAIR = join(import.meta.dirname, '..', 'kits', 'messaging-pair.ts')
/** Random kills of two processes. */
const KILLS = Number(process.env['KITH_KILLS'] ?? 3)
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

test('two processes over libp2p, killed at random while messages flow: each has its effect once', async t => {
  using folder = tempFolder()
  const random = seededRandom(t)
  const address = `/ip4/127.0.0.1/tcp/${await freePort()}`
  const children = new Set<Process>()
  t.after(() => Promise.all([...children].map(c => c.destroy())))
  const start = (settings: Omit<ChildSettings, 'folder' | 'size'>): Process => {
    const child = new Process(CHILD, folder.path, [JSON.stringify({ ...settings, folder: folder.path, size: 700 })])
    children.add(child)
    return child
  }
  const receive = (): Process => start({ name: 'receiver', listen: address })
  let receiver = receive()
  const { id, peerId } = (await receiver.line('ready')) as { id: string; peerId: string }
  const to = { id, peerId, address }
  const ids: string[] = []
  const send = (): Process => start({ name: 'sender', listen: '/ip4/127.0.0.1/tcp/0', to, ids })
  for (let i = 0; i < KILLS; i++) {
    ids.push(...Array.from({ length: 200 }, () => randomUUID()))
    const sender = send()
    await sender.line('ready')
    const effects = linesOf(join(folder.path, 'receiver.effects')).length
    // Somewhere in the stream, by count: time means nothing on a busy machine.
    const at = effects + Math.floor(random() * 150)
    await eventually('messages flow', () => linesOf(join(folder.path, 'receiver.effects')).length >= at, DEADLINE_MS)
    const killsSender = random() < 0.5
    await sender.destroy()
    children.delete(sender)
    if (killsSender) continue
    await receiver.destroy()
    children.delete(receiver)
    receiver = receive()
    await receiver.line('ready')
  }
  await send().line('delivered')
  const effects = linesOf(join(folder.path, 'receiver.effects'))
  const again = effects.filter(l => l.startsWith('again'))
  assert.deepEqual(again, [], 'acted on again')
  assert.deepEqual(new Set(effects), new Set(ids))
  assert.equal(effects.length, ids.length, 'an effect twice')
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
