/** Tasks between two processes over libp2p on loopback, and what it costs a process to hold 300 idle links. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { AskPeerSettings } from './ask-peer.ts'
import type { Figure } from './figures.ts'
import { type Json, median, Running, root, until } from './kit.ts'
import type { Context } from './race.ts'

const TASKS = 500
const WARM_TASKS = 200
/** All that a node takes. */
const LINKS = 300
const FIRST = 4
/** Before memory is looked at. */
const CALM_MS = 3000

const child = (settings: AskPeerSettings): Running =>
  new Running(process.execPath, [join(root, 'bench/ask-peer.ts'), JSON.stringify(settings)])

async function addressed(process: Running): Promise<NonNullable<AskPeerSettings['to']>> {
  const { id, peerId, address } = await process.line('peerId')
  return { id: String(id), peerId: String(peerId), address: String(address) }
}

/** Rows of docs/performance.md: one task after the other, from asking to the answer. */
export async function tasks({ work }: Context, runs: number): Promise<Figure[]> {
  const results: Json[] = []
  for (let i = 0; i < runs; i++) {
    const folder = join(work, `tasks-${i}`)
    mkdirSync(folder)
    await using worker = child({ role: 'worker', folder })
    await using asker = child({ role: 'asker', folder, count: TASKS, warm: WARM_TASKS, to: await addressed(worker) })
    results.push(await asker.line('p50'))
  }
  const ms = (key: string): number => 1000 * median(results.map(r => Number(r[key])))
  return [
    { name: 'task of 1 KiB, asked to answered, p50', value: ms('p50'), unit: 'µs', atMost: 5000 },
    { name: 'task of 1 KiB, asked to answered, p99', value: ms('p99'), unit: 'µs' }
  ]
}

/** Rows of docs/performance.md: resident memory of a process before and after 300 peers have come, each after a full collection. */
export async function held({ work }: Context, runs: number): Promise<Figure[]> {
  const results: Awaited<ReturnType<typeof holdOnce>>[] = []
  for (let i = 0; i < runs; i++) results.push(await holdOnce(join(work, `held-${i}`)))
  const of = (key: keyof (typeof results)[number]): number => median(results.map(r => r[key]))
  return [
    { name: 'links with sessions that are held', value: of('links'), unit: 'links', atLeast: LINKS },
    { name: 'resident memory of who holds them, for each', value: of('kibOfHolder'), unit: 'KiB', atMost: 64 },
    { name: 'resident memory of each peer of the crowd, its host included', value: of('kibOfPeer'), unit: 'KiB' }
  ]
}

async function holdOnce(folder: string): Promise<Record<'links' | 'kibOfHolder' | 'kibOfPeer', number>> {
  mkdirSync(folder)
  await using holder = child({ role: 'holder', folder })
  const to = await addressed(holder)
  // What the first peers load is the program, not they.
  await using first = child({ role: 'crowd', folder, count: FIRST, to })
  await first.line('all')
  const before = await figuresOf(holder)
  await using crowd = child({ role: 'crowd', folder, from: FIRST, count: LINKS - FIRST, to })
  const { rssOfFirst } = await crowd.line('rssOfFirst')
  const { rssKib } = await crowd.line('all')
  const after = await figuresOf(holder)
  return {
    links: Number(after['held']),
    kibOfHolder: (Number(after['rssKib']) - Number(before['rssKib'])) / (Number(after['held']) - Number(before['held'])),
    kibOfPeer: (Number(rssKib) - Number(rssOfFirst)) / (LINKS - FIRST - 1)
  }
}

async function figuresOf(holder: Running): Promise<Json> {
  await new Promise(resolve => setTimeout(resolve, CALM_MS))
  const seen = holder.lines.length
  holder.child.kill('SIGUSR2')
  await until('the holder has told', () => holder.lines.length > seen, 10_000)
  return JSON.parse(holder.lines.at(-1)!) as Json
}
