/** Over a line of limited rate: two network namespaces, a veth pair, tbf at the seeder's end; iperf3 says what the line carries. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { isInstalled, measure, Running, type Sample, until } from './kit.ts'
import { getOnce, inPlace, type Place, startSeeder } from './kith.ts'
import { type Context, fixtureOf, type Race, type Variant } from './race.ts'

const IPERF_PORT = 5201
/** iperf3 runs as long as the file takes, but not for a minute. */
const MAX_IPERF_SECONDS = 10

interface Line extends Disposable {
  readonly up: Place
  readonly down: Place
}

/** Makes a line of so many Mbit/s from `up` to `down`; needs root. */
function openLine(mbit: number): Line {
  const [a, b] = [`kithbu${process.pid}`, `kithbd${process.pid}`]
  const ip = (...args: string[]): void => void execFileSync('ip', args)
  const close = (): void => {
    for (const name of [a, b]) execFileSync('ip', ['netns', 'del', name])
  }
  for (const name of [a, b]) ip('netns', 'add', name)
  try {
    ip('link', 'add', 'kb0', 'netns', a, 'type', 'veth', 'peer', 'name', 'kb0', 'netns', b)
    for (const [i, name] of [a, b].entries()) {
      ip('-n', name, 'addr', 'add', `10.91.7.${i + 1}/24`, 'dev', 'kb0')
      ip('-n', name, 'link', 'set', 'kb0', 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
    }
    // A burst that one tick fills, and a queue of 50 ms, as a router has. Packets of the size of the line: no offload, as on a real card.
    const burst = String(Math.max(16_000, Math.round((mbit * 1e6) / 8 / 250)))
    execFileSync('tc', ['-n', a, 'qdisc', 'add', 'dev', 'kb0', 'root', 'tbf', 'rate', `${mbit}mbit`, 'burst', burst, 'latency', '50ms'])
  } catch (error) {
    close()
    throw error
  }
  return { up: { namespace: a, address: '10.91.7.1' }, down: { namespace: b, address: '10.91.7.2' }, [Symbol.dispose]: close }
}

/** iperf3's goodput as the time that the file would take: what its receiver got, in whole seconds after the first. */
async function iperf({ up, down }: Line, mib: number, mbit: number): Promise<Sample> {
  const [serve, ...serveArgs] = inPlace(up, ['iperf3', '-s', '-1', '-p', String(IPERF_PORT), '--forceflush'])
  await using server = new Running(serve, serveArgs)
  await until('iperf3 listens', () => server.lines.some(l => l.includes('listening')))
  const bytes = mib * 2 ** 20
  const seconds = Math.min(MAX_IPERF_SECONDS, Math.ceil((bytes * 8) / (mbit * 1e6)))
  const args = ['iperf3', '-c', up.address, '-p', String(IPERF_PORT), '-R', '-O', '1', '-t', String(seconds), '-J']
  const [run, ...rest] = inPlace(down, ['bash', '-c', `${args.join(' ')} | tr -d '\\n\\t'`])
  const sample = await measure(
    [server],
    () => new Running(run, rest),
    last => {
      const end = last['end'] as { sum_received: { bits_per_second: number } }
      return (bytes * 8) / end.sum_received.bits_per_second
    }
  )
  return { ...sample, seconds: sample.innerSeconds! }
}

async function shaped(context: Context, mbit: number, maxMib: number): Promise<Race> {
  const { work, stack, skip } = context
  const mib = Math.min(maxMib, context.mib)
  const title = `a line of ${mbit} Mbit/s, verified`
  if (process.getuid?.() !== 0 || !isInstalled('ip') || !isInstalled('tc')) {
    skip('a shaped line needs root and tc (Debian: iproute2)')
    return { title, mib, goals: [], variants: [] }
  }
  const file = await fixtureOf(context, mib)
  const line = stack.use(openLine(mbit))
  const seeder = await startSeeder(
    join(work, `shaped-${mbit}-seeder`),
    file.path,
    ['--protocol', 'http', '--protocol', 'bittorrent'],
    line.up
  )
  stack.use(seeder.process)
  const get = { home: join(work, `shaped-${mbit}-get`), out: join(work, 'shaped-out'), servers: [seeder.process], place: line.down }
  const over = (protocol: string): Variant => ({
    name: `kith over ${protocol}`,
    run: () => getOnce({ ...get, address: seeder.share.link, args: ['--protocol', protocol] })
  })
  const variants = [over('http'), over('bittorrent')]
  if (!isInstalled('iperf3')) {
    skip('iperf3 is not installed (Debian: iperf3)')
    return { title, mib, goals: [], variants }
  }
  const theirs = 'iperf3, one connection'
  variants.push({ name: theirs, run: () => iperf(line, mib, mbit) })
  const goals = variants.slice(0, 2).map(v => ({ text: `${v.name}: at least 97 % of iperf3's rate`, ours: v.name, theirs, share: 97 }))
  return { title, mib, goals, variants, maxRuns: 2 }
}

export const shaped100 = (context: Context): Promise<Race> => shaped(context, 100, 128)
export const shaped1000 = (context: Context): Promise<Race> => shaped(context, 1000, 1024)
