/**
 * Messengers killed with SIGKILL: at every named moment, and at random times as two processes over libp2p. What was told as delivered is
 * there, nothing is acted on twice without need, and everything arrives in the end. The suite must notice two mistakes that are planted.
 * `KITH_KILLS` says how many random kills; `KITH_CAMPAIGN=1` kills at all moments, several times.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { type FailpointName, failpointNames } from '../../src/messaging/failpoints.ts'
import { tempFolder } from '../kits/messaging.ts'
import type { AwaySettings } from '../kits/messaging-away.ts'
import type { ChildSettings } from '../kits/messaging-child.ts'
import { isDisliked, linesOf, type PairSettings, undone } from '../kits/messaging-pair.ts'
import { Process } from '../kits/process.ts'
import { seededRandom } from '../kits/random.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const CHILD = join(import.meta.dirname, '..', 'kits', 'messaging-child.ts')
const PAIR = join(import.meta.dirname, '..', 'kits', 'messaging-pair.ts')
const AWAY = join(import.meta.dirname, '..', 'kits', 'messaging-away.ts')
/** Random kills of two processes. */
const KILLS = Number(process.env['KITH_KILLS'] ?? 2)
const IS_CAMPAIGN = process.env['KITH_CAMPAIGN'] === '1'
const TIMES = IS_CAMPAIGN ? [1, 2, 5, 17] : [1]
/** Those that need a recipient who cannot be reached, or refuses: another process (messaging-away.ts). */
const ELSEWHERE: ReadonlySet<FailpointName> = new Set(['failed:committed', 'relayed:before', 'relayed:committed'])
const DEADLINE_MS = 60_000

interface Ended {
  /** SIGKILL: at the failpoint; undefined: it got to the end. */
  readonly signal: string | undefined
  readonly err: string
  readonly out: string
}

function run(settings: PairSettings): Promise<Ended>
function run(settings: AwaySettings, program: string): Promise<Ended>
function run(settings: PairSettings | AwaySettings, program = PAIR): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>()
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], { stdio: ['ignore', 'pipe', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGTERM'), DEADLINE_MS)
  let out = ''
  let err = ''
  child.stdout.on('data', (b: Buffer) => (out += b))
  child.stderr.on('data', (b: Buffer) => (err += b))
  child.on('close', (code, signal) => {
    clearTimeout(timer)
    resolve({ signal: signal ?? (code === 0 ? undefined : `exit ${code}`), err: `${err} ${out}`, out })
  })
  return promise
}

/** What a run of messaging-away.ts has printed. */
function statesOf({ signal, err, out }: Ended): [string, unknown][] {
  assert.equal(signal, undefined, err)
  return Object.entries(JSON.parse(out) as Record<string, unknown>)
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

test('killed at every named moment: nothing that was acknowledged is lost, nothing has an effect twice, everything arrives', async t => {
  using folder = tempFolder()
  const random = seededRandom(t)
  const ids: string[] = []
  const reached = new Set<string>()
  // Half of them, others each time; all in the campaign.
  const names = failpointNames.filter(n => !ELSEWHERE.has(n) && (IS_CAMPAIGN || random() < 0.5))
  for (const name of names) {
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
  assert.deepEqual(
    names.filter(n => !reached.has(n)),
    [],
    'moments that were never reached'
  )
})

test('killed around handing a message to a carrier: it is relayed or waits, and arrives once when the recipient is back', async () => {
  await Promise.all(
    (['relayed:before', 'relayed:committed'] as const).map(async failpoint => {
      using folder = tempFolder()
      const ids = newIds(3)
      const common = { folder: folder.path, ids }
      const killed = await run({ ...common, isUp: false, failpoint }, AWAY)
      assert.equal(killed.signal, 'SIGKILL', `${failpoint}: ${killed.err}`)
      const relayed = await run({ ...common, isUp: false }, AWAY)
      assert.deepEqual(
        statesOf(relayed),
        ids.map(id => [id, ['relayed', null]])
      )
      const delivered = await run({ ...common, isUp: true }, AWAY)
      assert.deepEqual(
        statesOf(delivered),
        ids.map(id => [id, ['delivered', null]])
      )
      assert.deepEqual(linesOf(join(folder.path, 'effects')).sort(), [...ids].sort())
    })
  )
})

test('killed when a refusal is on disk: the message has failed, and is not sent again', async () => {
  using folder = tempFolder()
  const ids = newIds(1)
  const common = { folder: folder.path, ids, isUp: true }
  const killed = await run({ ...common, refuses: true, failpoint: 'failed:committed' }, AWAY)
  assert.equal(killed.signal, 'SIGKILL', killed.err)
  const more = newIds(1)
  const after = await run({ ...common, ids: [...ids, ...more] }, AWAY)
  assert.deepEqual(statesOf(after), [
    [ids[0], ['failed', 'NOT_AUTHORISED']],
    [more[0], ['delivered', null]]
  ])
  assert.deepEqual(linesOf(join(folder.path, 'effects')), more)
})

test('the mistake replay-in-memory is noticed', async () => {
  using folder = tempFolder()
  const ids: string[] = []
  for (const name of ['ack:sealed', 'done:committed', 'ack:received', 'delivered:in-transaction'] as const) {
    ids.push(...newIds(24))
    await run({ folder: folder.path, ids, failpoint: { name, n: 2 }, plantedBug: 'replay-in-memory' })
  }
  await run({ folder: folder.path, ids, plantedBug: 'replay-in-memory' })
  const found = findings(folder.path, ids)
  assert.ok(
    found.some(f => f.startsWith('acted on again')),
    `it was not: ${found.slice(0, 5)}`
  )
})

/** A receiver and senders as processes, over libp2p, in one folder. */
class Pair implements AsyncDisposable {
  readonly folder: string
  readonly ids: string[] = []
  /** Bytes of text in each message. */
  size = 700
  receiver: Process
  readonly #address: string
  readonly #children = new Set<Process>()
  #to: ChildSettings['to']

  constructor(folder: string, port: number, settings: Partial<ChildSettings> = {}) {
    this.folder = folder
    this.#address = `/ip4/127.0.0.1/tcp/${port}`
    this.receiver = this.receive(settings)
  }
  /** Starts the receiver. */
  receive(settings: Partial<ChildSettings> = {}): Process {
    this.receiver = this.#start({ name: 'receiver', listen: this.#address, ...settings })
    return this.receiver
  }
  /** Starts a sender of all ids. */
  async send(): Promise<Process> {
    if (!this.#to) {
      const { id, peerId } = (await this.receiver.line('ready')) as { id: string; peerId: string }
      this.#to = { id, peerId, address: this.#address }
    }
    return this.#start({ name: 'sender', listen: '/ip4/127.0.0.1/tcp/0', to: this.#to, ids: this.ids })
  }
  effects(): string[] {
    return linesOf(join(this.folder, 'receiver.effects'))
  }
  /** Everything that is in the inbox was acted on. */
  handled(): Promise<void> {
    const path = join(this.folder, 'receiver', 'messages.db')
    return eventually('handlers are done', () => undone(path).size === 0, DEADLINE_MS)
  }
  async destroy(child: Process): Promise<void> {
    await child.destroy()
    this.#children.delete(child)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children].map(c => c.destroy()))
  }

  #start(settings: Omit<ChildSettings, 'folder' | 'size'>): Process {
    const child = new Process(CHILD, this.folder, [JSON.stringify({ ...settings, folder: this.folder, size: this.size })])
    this.#children.add(child)
    return child
  }
}

test('a recipient that is killed in the middle of a large message has nothing of it; it arrives once, without anybody’s help', async () => {
  using folder = tempFolder()
  const failpoint = { name: 'chunk:received', n: 50 } as const
  await using pair = new Pair(folder.path, await freePort(), { failpoint })
  pair.size = 6 * 1024 * 1024
  pair.ids.push(randomUUID())
  const sender = await pair.send()
  assert.equal(await pair.receiver.over(DEADLINE_MS), undefined, 'it was killed')
  assert.deepEqual(pair.effects(), [])
  await pair.receive().line('ready')
  const { stats } = (await sender.line('delivered')) as { stats: { resent: number }[] }
  assert.ok(stats[0]!.resent >= 1, 'its sender has noticed')
  await pair.handled()
  assert.deepEqual(pair.effects(), pair.ids)
})

test('the mistake ack-before-commit is noticed', async () => {
  using folder = tempFolder()
  const plantedBug = 'ack-before-commit'
  await using pair = new Pair(folder.path, await freePort(), { plantedBug, failpoint: { name: 'inbox:in-transaction', n: 1 } })
  pair.ids.push(...Array.from({ length: 1000 }, () => randomUUID()))
  const sender = await pair.send()
  await pair.receiver.over(DEADLINE_MS)
  pair.receive()
  await sender.line('delivered')
  await pair.handled()
  const effects = new Set(pair.effects())
  const lost = pair.ids.filter(id => !effects.has(id))
  assert.ok(lost.length > 0, 'nothing that was told as delivered is missing')
})

test('two processes over libp2p, killed at random while messages flow: each has its effect once', async t => {
  using folder = tempFolder()
  const random = seededRandom(t)
  await using pair = new Pair(folder.path, await freePort())
  for (let i = 0; i < KILLS; i++) {
    pair.ids.push(...Array.from({ length: 200 }, () => randomUUID()))
    const sender = await pair.send()
    await sender.line('ready')
    // Somewhere in the stream, by count: time means nothing on a busy machine.
    const at = pair.effects().length + Math.floor(random() * 150)
    await eventually('messages flow', () => pair.effects().length >= at, DEADLINE_MS)
    const killsReceiver = random() < 0.5
    await pair.destroy(sender)
    if (!killsReceiver) continue
    await pair.destroy(pair.receiver)
    await pair.receive().line('ready')
  }
  await (await pair.send()).line('delivered')
  await pair.handled()
  const effects = pair.effects()
  assert.deepEqual(
    effects.filter(l => l.startsWith('again')),
    [],
    'acted on again'
  )
  assert.deepEqual(new Set(effects), new Set(pair.ids))
  assert.equal(effects.length, pair.ids.length, 'an effect twice')
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
