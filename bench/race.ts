/** What a race is: variants that do the same job in turns, and the goals that their medians are held against. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { makeFile, median, type Sample } from './kit.ts'

export interface Variant {
  readonly name: string
  run(): Promise<Sample>
}

/** One bound is given. */
export interface Goal {
  readonly text: string
  /** Name of a variant. */
  readonly ours: string
  readonly theirs?: string
  /** Our wall seconds over theirs: at most. */
  readonly ratio?: number
  /** Our wall seconds: at most. */
  readonly seconds?: number
  /** Our MB/s without start and end of the process: at least. */
  readonly rate?: number
  /** Our rate without start and end over theirs, in %: at least. */
  readonly share?: number
}

export interface Race {
  readonly title: string
  /** Size of the file. */
  readonly mib: number
  readonly goals: readonly Goal[]
  readonly variants: readonly Variant[]
  /** More would take long and say no more. */
  readonly maxRuns?: number
}

export interface Context {
  readonly work: string
  readonly mib: number
  readonly stack: AsyncDisposableStack
  readonly skip: (what: string) => void
}

export interface Fixture {
  readonly folder: string
  readonly path: string
  readonly sha256: string
}
const fixtures = new Map<string, Promise<Fixture>>()

/** The file of this run in this size, made once. */
export function fixtureOf({ work }: Context, mib: number): Promise<Fixture> {
  const folder = join(work, `files-${mib}`)
  const known = fixtures.get(folder)
  if (known) return known
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'bench.bin')
  const made = makeFile(path, mib).then(sha256 => ({ folder, path, sha256 }))
  fixtures.set(folder, made)
  return made
}

export interface Verdict {
  readonly text: string
  readonly reached: boolean
}

/** Holds the medians against a goal; undefined when a variant did not run. */
export function judge(goal: Goal, samples: ReadonlyMap<string, readonly Sample[]>, mib: number): Verdict | undefined {
  const of = (name: string | undefined, key: 'seconds' | 'innerSeconds'): number => {
    const all = samples.get(name ?? '') ?? []
    return all.length === 0 ? Number.NaN : median(all.map(s => s[key] ?? s.seconds))
  }
  const rateOf = (name: string | undefined): number => (mib * 2 ** 20) / 1e6 / of(name, 'innerSeconds')
  const [wall, theirs] = [of(goal.ours, 'seconds'), of(goal.theirs, 'seconds')]
  const said = (value: number, text: string, reached: boolean): Verdict | undefined =>
    Number.isNaN(value) ? undefined : { text: `${goal.text}. Here: ${text}`, reached }
  if (goal.ratio !== undefined) {
    const ratio = wall / theirs
    return said(ratio, `${ratio.toFixed(2)} × their time (${(1 / ratio).toFixed(2)} × as fast)`, ratio <= goal.ratio)
  }
  if (goal.seconds !== undefined) return said(wall, `${wall.toFixed(2)} s`, wall <= goal.seconds)
  if (goal.rate !== undefined) return said(rateOf(goal.ours), `${rateOf(goal.ours).toFixed(0)} MB/s`, rateOf(goal.ours) >= goal.rate)
  const share = (100 * rateOf(goal.ours)) / rateOf(goal.theirs)
  return said(share, `${share.toFixed(1)} %`, share >= (goal.share ?? 0))
}
