/**
 * `npm run bench [-- names…] [--mib 1024] [--runs 5] [--program bundle|src] [--json]`: our figures beside those of the programs people use today, in one run.
 * Names: g1 g2 g3 g4 bittorrent webrtc ed2k stream amule shaped memory scale hashing start flood messages tasks held python-http; all by default. Whole processes over loopback;
 * the variants of a race take turns, each after memory was warmed; the first round is not counted; medians. docs/performance.md says how
 * each row is measured.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { amule } from './amule.ts'
import { held, tasks } from './ask.ts'
import { g4 } from './cold-start.ts'
import { type Figure, memory, starting } from './figures.ts'
import { flood } from './flood.ts'
import { hashing } from './hashing.ts'
import { killAll, median, type Sample, warm } from './kit.ts'
import { choose } from './kith.ts'
import { bittorrent, ed2k, stream, webrtc } from './legs.ts'
import { messageHttp } from './message-http.ts'
import { messages } from './messages.ts'
import { g2, g3 } from './one-seeder.ts'
import { type Context, judge, type Race } from './race.ts'
import { scale } from './scale.ts'
import { shaped100, shaped1000 } from './shaped.ts'
import { g1 } from './three-seeders.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mib: { type: 'string', default: '1024' },
    runs: { type: 'string', default: '5' },
    program: { type: 'string', default: 'bundle' },
    json: { type: 'boolean', default: false }
  }
})
type Open = (context: Context) => Promise<Race>
const shaped: Open[] = [shaped100, shaped1000]
const races: Record<string, readonly Open[]> = {
  ...{ g1: [g1], g2: [g2], g3: [g3], g4: [g4] },
  ...{ bittorrent: [bittorrent], webrtc: [webrtc], ed2k: [ed2k], stream: [stream], shaped }
}
const figures: Record<string, (context: Context, runs: number) => Promise<Figure[]>> = {
  amule,
  memory,
  scale,
  hashing,
  start: starting,
  flood,
  messages,
  tasks,
  held,
  'python-http': messageHttp
}
const titles: Record<string, string> = {
  amule: 'ed2k with amuled',
  memory: 'Resident memory (G5)',
  scale: 'Scale',
  hashing: 'Hashing a file to share it',
  start: 'Starting',
  flood: 'Junk from one peer',
  messages: 'Messages of 1 KiB between two processes',
  tasks: 'Tasks between two processes',
  held: 'Idle links',
  'python-http': 'Messages over HTTP'
}
const NAMES = [...Object.keys(races), ...Object.keys(figures)]

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`)
}

interface Result {
  readonly race: Race
  readonly samples: ReadonlyMap<string, readonly Sample[]>
}

async function runRace(race: Race, name: string, runs: number): Promise<Result> {
  const samples = new Map<string, Sample[]>(race.variants.map(v => [v.name, []]))
  for (let i = 0; i <= Math.min(runs, race.maxRuns ?? runs); i++) {
    for (const v of race.variants) {
      await warm()
      const sample = await v.run()
      say(`${name} round ${i}: ${v.name} ${sample.seconds.toFixed(2)} s (load ${loadavg()[0]!.toFixed(1)})`)
      if (i > 0) samples.get(v.name)!.push(sample)
    }
  }
  return { race, samples }
}

const fixed = (n: number | undefined, digits: number): string => (n === undefined || Number.isNaN(n) ? '–' : n.toFixed(digits))

function printRace({ race, samples }: Result): void {
  print(`\n### ${race.title}, ${race.mib} MiB\n`)
  print('| what | wall s: best / median | MB/s | without start and end, s | CPU s down | CPU s up | MiB down | MiB up |')
  print('|---|---|---|---|---|---|---|---|')
  for (const [name, all] of samples) {
    const of = (key: keyof Sample): number | undefined => (all[0]?.[key] === undefined ? undefined : median(all.map(s => s[key]!)))
    const seconds = of('seconds')!
    const best = Math.min(...all.map(s => s.seconds))
    print(
      `| ${name} | ${fixed(best, 2)} / ${fixed(seconds, 2)} | ${fixed((race.mib * 2 ** 20) / 1e6 / seconds, 0)} | ${fixed(of('innerSeconds'), 2)} | ${fixed(of('cpuDown'), 2)} | ${fixed(of('cpuUp'), 2)} | ${fixed(of('rssDown'), 0)} | ${fixed(of('rssUp'), 0)} |`
    )
  }
  for (const goal of race.goals) {
    const verdict = judge(goal, samples, race.mib)
    if (verdict) print(`\nGoal: ${verdict.text}, ${verdict.reached ? 'reached' : 'NOT reached'}.`)
  }
}

function printFigures(name: string, all: readonly Figure[]): void {
  print(`\n### ${titles[name]}\n\n| what | figure | goal |\n|---|---|---|`)
  for (const f of all) print(`| ${f.name} | ${fixed(f.value, 0)} ${f.unit} | ${goalOf(f)} |`)
}

function goalOf({ value, unit, atMost, atLeast }: Figure): string {
  const said = (sign: string, bound: number, reached: boolean): string => `${sign} ${bound} ${unit}: ${reached ? 'reached' : 'NOT reached'}`
  if (atMost !== undefined) return said('≤', atMost, value <= atMost)
  return atLeast === undefined ? '' : said('≥', atLeast, value >= atLeast)
}

async function main(): Promise<void> {
  const [mib, runs] = [Number(options.mib), Number(options.runs)]
  const names = positionals.length > 0 ? positionals : NAMES
  const unknown = names.find(n => !NAMES.includes(n))
  if (unknown !== undefined) {
    say(`no benchmark ${unknown}; there are: ${NAMES.join(' ')}`)
    process.exitCode = 2
    return
  }
  const machine = {
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? '?'}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    program: options.program,
    loadBefore: loadavg()[0]!
  }
  print(
    `${new Date().toISOString().slice(0, 10)}, ${machine.cpu}, ${machine.memoryGiB} GiB, Node ${machine.node}, kith from the ${machine.program === 'src' ? 'sources' : 'bundle'}`
  )
  print(`${runs} counted runs each; load before ${machine.loadBefore.toFixed(2)}`)
  const work = mkdtempSync(join(tmpdir(), 'kith-bench-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted(work))
  choose(options.program, work)
  const out: Record<string, unknown> = { date: new Date().toISOString(), machine, mib, runs }
  try {
    for (const name of names) out[name] = races[name] ? await race(races[name], name, work) : await measure(name, work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  if (options.json) process.stdout.write(`${JSON.stringify(out)}\n`)
}

const contextOf = (name: string, work: string, stack: AsyncDisposableStack): Context => ({
  ...{ work, mib: Number(options.mib), stack },
  skip: what => print(`\nskipped in ${name}: ${what}`)
})

async function race(opens: readonly Open[], name: string, work: string): Promise<unknown> {
  const all: unknown[] = []
  for (const open of opens) {
    await using stack = new AsyncDisposableStack()
    const result = await runRace(await open(contextOf(name, work, stack)), name, Number(options.runs))
    printRace(result)
    all.push({ title: result.race.title, mib: result.race.mib, samples: Object.fromEntries(result.samples) })
  }
  return all
}

async function measure(name: string, work: string): Promise<readonly Figure[]> {
  await using stack = new AsyncDisposableStack()
  const all = await figures[name]!(contextOf(name, work, stack), Number(options.runs))
  printFigures(name, all)
  return all
}

function interrupted(work: string): never {
  killAll()
  rmSync(work, { recursive: true, force: true })
  process.exit(130)
}

await main()
