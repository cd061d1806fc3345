/** What is not a race: memory of our processes, the time to start. (Hashing is in hashing.ts.) */
import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { median, memoryOf, Running, warm } from './kit.ts'
import { program, startNode, startSeeder } from './kith.ts'
import { type Context, fixtureOf } from './scenarios.ts'

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

/**
 * Resident memory of one process when it is idle and at its highest while 1 GiB passes: a seeder, and a node that downloads.
 * Both are new processes that know what they share already: hashing is another row.
 */
export async function memory(context: Context, runs: number): Promise<Figure[]> {
  const { work } = context
  const file = await fixtureOf(context)
  const seederHome = join(work, 'memory-seeder')
  await (await startSeeder(seederHome, file.path, ['--protocol', 'http'])).process[Symbol.asyncDispose]()
  const all: { idleUp: number; peakUp: number; idleDown: number; peakDown: number }[] = []
  for (let i = 0; i < runs; i++) {
    await warm()
    await using seeder = (await startSeeder(seederHome, file.path, ['--protocol', 'http'])).process
    const home = join(work, 'memory-get')
    await using node = await startNode(home)
    await pause(IDLE_MS)
    const link = String((await seeder.line('link'))['link'])
    const [idleUp, idleDown] = [memoryOf(seeder.pid)!, memoryOf(node.pid)!]
    for (const p of [seeder, node]) p.forgetPeak()
    const out = join(work, 'memory-out')
    mkdirSync(out, { recursive: true })
    await using get = new Running(process.execPath, [program, 'get', link, '-o', out, '--json'], { KITH_HOME: home })
    await get.result()
    rmSync(out, { recursive: true })
    all.push({
      idleUp: idleUp.nowMib,
      peakUp: memoryOf(seeder.pid)!.peakMib,
      idleDown: idleDown.nowMib,
      peakDown: memoryOf(node.pid)!.peakMib
    })
  }
  const of = (key: keyof (typeof all)[number]): number => median(all.map(r => r[key]))
  return [
    { name: 'seeder, idle', value: of('idleUp'), unit: 'MiB' },
    { name: 'seeder, highest', value: of('peakUp'), unit: 'MiB', atMost: 180 },
    { name: 'seeder, above idle', value: median(all.map(r => r.peakUp - r.idleUp)), unit: 'MiB', atMost: 70 },
    { name: 'downloader, idle', value: of('idleDown'), unit: 'MiB' },
    { name: 'downloader, highest', value: of('peakDown'), unit: 'MiB', atMost: 220 },
    { name: 'downloader, above idle', value: median(all.map(r => r.peakDown - r.idleDown)), unit: 'MiB', atMost: 70 }
  ]
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
