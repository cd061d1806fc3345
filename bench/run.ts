/**
 * `npm run bench [-- names…] [--mib 1024] [--runs 5] [--program bundle|src] [--json]`: our figures beside those of the programs people use today, in one run.
 * Names: http1 http3 bittorrent memory hashing start; all by default. Whole processes over loopback; the variants of a race take
 * turns, each after memory was warmed; the first round is not counted; medians. docs/performance.md says how each row is measured.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Figure, memory, starting } from './figures.ts'
import { hashing } from './hashing.ts'
import { killAll, median, type Sample, warm } from './kit.ts'
import { choose } from './kith.ts'
import { bittorrent, type Context, http1, http3, type Race } from './scenarios.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mib: { type: 'string', default: '1024' },
    runs: { type: 'string', default: '5' },
    program: { type: 'string', default: 'bundle' },
    json: { type: 'boolean', default: false }
  }
})
const races: Record<string, (context: Context) => Promise<Race>> = { http1, http3, bittorrent }
const figures: Record<string, (context: Context, runs: number) => Promise<Figure[]>> = { memory, hashing, start: starting }
const titles: Record<string, string> = { memory: 'Resident memory', hashing: 'Hashing a file to share it', start: 'Starting' }

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`)
}

interface Result {
  readonly race: Race
  readonly samples: ReadonlyMap<string, readonly Sample[]>
}

async function runRace(context: Context, name: string, runs: number): Promise<Result> {
  const race = await races[name]!(context)
  const samples = new Map<string, Sample[]>(race.variants.map(v => [v.name, []]))
  for (let i = 0; i <= runs; i++) {
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

function printRace({ race, samples }: Result, mib: number): void {
  print(`\n### ${race.title}, ${mib} MiB\n`)
  print('| what | wall s: best / median | MB/s | without start and end, s | CPU s down | CPU s up | MiB down | MiB up |')
  print('|---|---|---|---|---|---|---|---|')
  for (const [name, all] of samples) {
    const of = (key: keyof Sample): number | undefined => (all[0]?.[key] === undefined ? undefined : median(all.map(s => s[key]!)))
    const seconds = of('seconds')!
    const best = Math.min(...all.map(s => s.seconds))
    print(
      `| ${name} | ${fixed(best, 2)} / ${fixed(seconds, 2)} | ${fixed((mib * 2 ** 20) / 1e6 / seconds, 0)} | ${fixed(of('innerSeconds'), 2)} | ${fixed(of('cpuDown'), 2)} | ${fixed(of('cpuUp'), 2)} | ${fixed(of('rssDown'), 0)} | ${fixed(of('rssUp'), 0)} |`
    )
  }
  for (const g of race.goals) print(`\n${judge(g.text, ratioOf(samples, g.ours, g.theirs), g.atMost)}`)
}

const ratioOf = (samples: Result['samples'], ours: string, theirs: string): number =>
  median(samples.get(ours)!.map(s => s.seconds)) / median(samples.get(theirs)!.map(s => s.seconds))
const judge = (text: string, ratio: number, atMost: number): string =>
  `Goal: ${text}. Here: ${ratio.toFixed(2)} × their time (${(1 / ratio).toFixed(2)} × as fast), ${ratio <= atMost ? 'reached' : 'NOT reached'}.`

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
  const names = positionals.length > 0 ? positionals : [...Object.keys(races), ...Object.keys(figures)]
  const unknown = names.find(n => !(n in races) && !(n in figures))
  if (unknown !== undefined) throw new Error(`no benchmark ${unknown}: ${[...Object.keys(races), ...Object.keys(figures)].join(' ')}`)
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
    for (const name of names) {
      await using stack = new AsyncDisposableStack()
      const context = { work, mib, stack, skip: (what: string) => print(`\nskipped in ${name}: ${what}`) }
      if (name in races) {
        const result = await runRace(context, name, runs)
        printRace(result, mib)
        out[name] = { title: result.race.title, samples: Object.fromEntries(result.samples) }
      } else {
        const all = await figures[name]!(context, runs)
        printFigures(name, all)
        out[name] = all
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  if (options.json) process.stdout.write(`${JSON.stringify(out)}\n`)
}

function interrupted(work: string): never {
  killAll()
  rmSync(work, { recursive: true, force: true })
  process.exit(130)
}

await main()
