/** What is not a race: memory of our processes, the time to start. (Hashing is in hashing.ts.) */
import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { median, memoryOf, Running, warm } from './kit.ts'
import { program, startNode, startSeeder } from './kith.ts'
import { type Context, fixtureOf } from './race.ts'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** undefined: only reported. */
  readonly atMost?: number
  readonly atLeast?: number
}

const IDLE_MS = 3_000
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** G5 is asked for over HTTP. WebTorrent's bytes pass through a native library, ed2k's through buffers of their own. */
const MEMORY_LEGS = [
  { protocol: 'http', mib: 1024, goals: { up: 150, down: 180, above: 70 } },
  { protocol: 'bittorrent', mib: 1024, goals: {} },
  { protocol: 'webtorrent', mib: 256, goals: {} },
  { protocol: 'ed2k', mib: 256, goals: {} }
] as const

/**
 * Resident memory of one process when it is idle and at its highest while a file passes: a seeder, and a node that downloads.
 * Both are new processes that know what they share already: hashing is another row.
 */
export async function memory(context: Context, runs: number): Promise<Figure[]> {
  const all: Figure[] = []
  for (const { protocol, mib, goals } of MEMORY_LEGS) {
    const size = Math.min(mib, context.mib)
    const counted = protocol === 'http' ? runs : Math.min(runs, 2)
    const seen = await memoryOfLeg(context, protocol, size, counted)
    const { up, down, above }: { up?: number; down?: number; above?: number } = goals
    const row = (name: string, value: number, atMost?: number): Figure => ({
      ...{ name: `${protocol}, ${size} MiB: ${name}`, value, unit: 'MiB' },
      ...(atMost === undefined ? {} : { atMost })
    })
    all.push(
      row('seeder, idle', seen('idleUp')),
      row('seeder, highest', seen('peakUp'), up),
      row('seeder, above idle', seen('aboveUp'), above),
      row('downloader, idle', seen('idleDown')),
      row('downloader, highest', seen('peakDown'), down),
      row('downloader, above idle', seen('aboveDown'), above)
    )
  }
  return all
}

type MemoryKey = 'idleUp' | 'peakUp' | 'aboveUp' | 'idleDown' | 'peakDown' | 'aboveDown'

async function memoryOfLeg(context: Context, protocol: string, mib: number, runs: number): Promise<(key: MemoryKey) => number> {
  const { work } = context
  const file = await fixtureOf(context, mib)
  const seederHome = join(work, `memory-seeder-${protocol}`)
  const args = ['--protocol', protocol]
  await (await startSeeder(seederHome, file.path, args)).process[Symbol.asyncDispose]()
  const all: Record<MemoryKey, number>[] = []
  for (let i = 0; i < runs; i++) {
    await warm()
    const { process: up, share } = await startSeeder(seederHome, file.path, args)
    await using seeder = up
    const home = join(work, 'memory-get')
    await using node = await startNode(home)
    await pause(IDLE_MS)
    const [idleUp, idleDown] = [memoryOf(seeder.pid)!.nowMib, memoryOf(node.pid)!.nowMib]
    for (const p of [seeder, node]) p.forgetPeak()
    const out = join(work, 'memory-out')
    mkdirSync(out, { recursive: true })
    await using get = new Running(process.execPath, [program, 'get', share.link, '-o', out, ...args, '--json'], { KITH_HOME: home })
    await get.result()
    rmSync(out, { recursive: true })
    const [peakUp, peakDown] = [memoryOf(seeder.pid)!.peakMib, memoryOf(node.pid)!.peakMib]
    all.push({ idleUp, peakUp, aboveUp: peakUp - idleUp, idleDown, peakDown, aboveDown: peakDown - idleDown })
  }
  return key => median(all.map(r => r[key]))
}

/** Whole processes, warm: `kith --version` beside a Node that does nothing. */
export async function starting(context: Context, runs: number): Promise<Figure[]> {
  const empty = join(context.work, 'empty.mjs')
  writeFileSync(empty, '')
  const once = async (args: readonly string[]): Promise<number> => {
    const began = performance.now()
    await promisify(execFile)(process.execPath, args, { env: { ...process.env, KITH_HOME: join(context.work, 'starting') } })
    return performance.now() - began
  }
  const programs = { bare: [empty], version: [program, '--version'], help: [program, '--help'] }
  const ms = { bare: [] as number[], version: [] as number[], help: [] as number[] }
  for (let i = 0; i <= 4 * runs; i++) {
    for (const key of ['bare', 'version', 'help'] as const) {
      const t = await once(programs[key])
      if (i > 0) ms[key].push(t)
    }
  }
  return [
    { name: 'node, empty program', value: median(ms.bare), unit: 'ms' },
    { name: 'kith --version', value: median(ms.version), unit: 'ms' },
    { name: 'kith --version, above node', value: median(ms.version) - median(ms.bare), unit: 'ms', atMost: 60 },
    { name: 'kith --help', value: median(ms.help), unit: 'ms' }
  ]
}
