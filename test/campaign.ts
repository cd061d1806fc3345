/**
 * The long forms of fault tests, for before a release and after a change of what they test: `npm run campaign [-- word …]` runs those
 * whose name contains one of the words, one after the other, and says at the end what each took. Hours in all; each can be stopped.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'

interface Long {
  readonly name: string
  readonly file: string
  readonly env: Readonly<Record<string, string>>
  /** What the short form in `npm test` has less of. */
  readonly what: string
}

const LONG: readonly Long[] = [
  {
    name: 'last-source',
    file: 'test/faults/last-source.test.ts',
    env: { KITH_SEEDS: '100' },
    what: '100 random orders in which sources of six protocols die'
  },
  {
    name: 'kill',
    file: 'test/faults/kill.test.ts',
    env: { KITH_KILLS: '50' },
    what: '50 kills of a download over HTTP and 50 over BitTorrent'
  },
  {
    name: 'messages',
    file: 'test/faults/messages.test.ts',
    env: { KITH_KILLS: '60', KITH_CAMPAIGN: '1' },
    what: 'messengers killed four times at each named moment, and 60 times at random'
  },
  {
    name: 'ask',
    file: 'test/faults/ask-*.test.ts',
    env: { KITH_KILLS: '10', KITH_CAMPAIGN: '1' },
    what: 'nodes that send messages and tasks: cut apart for minutes, stopped, killed, on full disks, with wrong clocks, without power'
  },
  {
    name: 'long',
    file: 'test/faults/ask-long.test.ts',
    env: { KITH_MINUTES: '60' },
    what: 'an hour of messages at random, with kills and pauses: memory and descriptors stay flat (in no short form)'
  },
  {
    name: 'power',
    file: 'test/faults/power.test.ts',
    env: { KITH_CAMPAIGN: '1' },
    what: 'power cuts while a file is fetched'
  },
  {
    name: 'ed2k',
    file: 'test/interop/ed2k.test.ts',
    env: { KITH_ED2K_MIB: '200' },
    what: 'amuled fetches 200 MiB, plain and obfuscated'
  },
  {
    name: 'bad-link',
    file: 'test/faults/bad-link.test.ts',
    env: { KITH_CAMPAIGN: '1' },
    what: '10 MiB over nine bad links, over HTTP, BitTorrent and Kith, and with one direction bad'
  }
]

const root = join(import.meta.dirname, '..')
const words = process.argv.slice(2)
const chosen = LONG.filter(l => words.length === 0 || words.some(w => l.name.includes(w)))
if (chosen.length === 0) {
  console.error(`there is no campaign ${words.join(' ')}: ${LONG.map(l => l.name).join(', ')}`)
  process.exit(1)
}

function runOne({ file, env }: Long): Promise<number> {
  const args = ['--test', file]
  const child = spawn(process.execPath, args, { cwd: root, env: { KITH_REQUIRE_INTEROP: '1', ...process.env, ...env }, stdio: 'inherit' })
  return new Promise(resolve => child.on('exit', code => resolve(code ?? 1)))
}

const lines: string[] = []
for (const long of chosen) {
  const begun = performance.now()
  const code = await runOne(long)
  lines.push(`${code === 0 ? 'passed' : 'FAILED'}  ${long.name}: ${long.what} (${Math.round((performance.now() - begun) / 1000)} s)`)
  if (code !== 0) process.exitCode = 1
}
console.log(`\n${lines.join('\n')}`)
