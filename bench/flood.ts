/** One peer floods with junk beside an honest one: what the honest one notices, what it costs, and how soon the attacker is off. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Figure } from './figures.ts'
import { median, Running, root, until } from './kit.ts'
import type { Context } from './race.ts'

const SECONDS = 6

interface Told {
  readonly delivered?: number
  readonly p99?: number
  readonly rss?: number
  readonly bad?: number
  readonly offAfter?: number
  readonly sent?: number
  readonly links?: number
}
type Measured = 'idleRate' | 'rate' | 'idleP99' | 'sent' | 'share' | 'p99Share' | 'rss' | 'bad' | 'offAfterMs'
const told = (process: Running): Told[] => process.lines.map(line => JSON.parse(line) as Told)
const child = (...args: string[]): Running => new Running(process.execPath, [join(root, 'bench/flood-peer.ts'), ...args])

/** Messages a second of the honest pair alone, and beside the flood; at the median of `runs`. */
export async function flood({ work }: Context, runs: number): Promise<Figure[]> {
  const all: Record<Measured, number>[] = []
  for (let i = 0; i < runs; i++) all.push(await once(join(work, `flood-${i}`)))
  const of = (key: Measured): number => median(all.map(r => r[key]))
  return [
    { name: 'honest pair alone', value: of('idleRate'), unit: 'messages/s' },
    { name: 'honest pair beside the flood', value: of('rate'), unit: 'messages/s' },
    { name: 'of its rate alone', value: of('share'), unit: '%', atLeast: 80 },
    { name: 'p99 alone', value: of('idleP99'), unit: 'ms' },
    { name: 'p99 beside the flood, of that alone', value: of('p99Share'), unit: '%', atMost: 200 },
    { name: 'resident memory of the receiver, above before', value: of('rss'), unit: 'MiB', atMost: 64 },
    { name: 'bad frames that were looked at', value: of('bad'), unit: 'frames', atMost: 20 },
    { name: 'from the first bad frame to the ban', value: of('offAfterMs'), unit: 'ms', atMost: 1000 },
    { name: 'junk frames that the attacker could send', value: of('sent'), unit: 'frames' }
  ]
}

async function once(folder: string): Promise<Record<Measured, number>> {
  mkdirSync(folder)
  await using receiver = child('receiver', folder)
  const { id, peerId, address } = await receiver.line('peerId')
  const to = [id, peerId, address].map(String)
  await using honest = child('honest', folder, ...to, String(2 * SECONDS + 2))
  const seconds = async (n: number): Promise<Told[]> => {
    await until('the honest sender has sent', () => honest.lines.length >= n, 120_000)
    return told(honest).slice(0, n)
  }
  const alone = (await seconds(SECONDS)).slice(1)
  const before = told(receiver)
  await using attacker = child('attacker', folder, ...to, String(SECONDS - 1))
  const beside = (await seconds(2 * SECONDS)).slice(SECONDS)
  const { sent = 0 } = (await attacker.result()) as Told
  const after = told(receiver)
  const rateOf = (t: readonly Told[]): number => ((t.at(-1)!.delivered ?? 0) - (t[0]!.delivered ?? 0)) / (t.length - 1)
  const p99Of = (t: readonly Told[]): number => median(t.map(s => s.p99 ?? 0))
  const [idleRate, rate, idleP99] = [rateOf(alone), rateOf(beside), p99Of(alone)]
  const highest = (t: readonly Told[]): number => Math.max(...t.map(s => s.rss ?? 0))
  return {
    ...{ idleRate, rate, idleP99, sent },
    share: (100 * rate) / idleRate,
    p99Share: (100 * p99Of(beside)) / Math.max(1, idleP99),
    rss: highest(after) - highest(before),
    bad: after.at(-1)?.bad ?? 0,
    offAfterMs: 1000 * (after.at(-1)?.offAfter ?? -1)
  }
}
