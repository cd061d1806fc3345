/**
 * Runs the tests: `npm test [-- pattern …]`. Unit tests beside the code and everything under test/, five files at a time: most of a test
 * is waiting. Those that take longest begin first, so that none of them is left alone at the end. Their `kith` processes run the bundle that
 * is published, of this source: it starts in half the time.
 * With KITH_REQUIRE_INTEROP=1 a missing third-party program fails instead of skipping.
 */
import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, globSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const FILES_AT_ONCE = 5
/** Several times what all of it takes: after that something hangs. */
const MAX_RUN_MS = 20 * 60_000
/** Longest first; the rest takes less than ten seconds each. */
const LONG = [
  'test/e2e/share-get.test.ts',
  'test/e2e/paid.test.ts',
  'test/interop/ed2k.test.ts',
  'test/faults/kill.test.ts',
  'test/interop/bittorrent.test.ts',
  'test/interop/ed2k-kad.test.ts',
  'test/e2e/demo.test.ts',
  'test/faults/bad-link.test.ts',
  'src/cli/cli.test.ts',
  'test/faults/hostile-seeders.test.ts',
  'test/e2e/',
  'test/faults/',
  'test/interop/',
  'src/transfer/download',
  'src/transfer/settle-pace.test.ts',
  'src/node/',
  'src/cli/real-node.test.ts',
  'src/pay/',
  'kit.test.ts',
  'src/discovery/',
  'src/net/'
]
const rank = (file: string): number => {
  const at = LONG.findIndex(part => file.includes(part))
  return at < 0 ? LONG.length : at
}

const root = join(import.meta.dirname, '..')
const wanted = process.argv.slice(2)
const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
  .sort()
  .filter(f => wanted.length === 0 || wanted.some(w => f.includes(w)))
  .sort((a, b) => rank(a) - rank(b))
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`)
  process.exit(1)
}
// Each process ends by itself, or is ended by test/ends.ts with an error. `--test-force-exit` would save a second for each that has used
// libp2p, which leaves a timer behind, but loses reports: of 182 tests 168 to 182 were seen.
/** Compiled code, shared by all processes of the run: it costs a quarter of a second to compile it anew in each. */
const code = mkdtempSync(join(tmpdir(), 'kith-test-code-'))
/** The program as it is in the package. Within node_modules, where it finds what is not bundled. */
const program = mkdtempSync(join(root, 'node_modules', '.kith-test-'))
const clean = (): void => {
  for (const folder of [code, program]) rmSync(folder, { recursive: true, force: true })
}
mkdirSync(join(program, 'bin'))
for (const file of ['package.json', 'bin/kith.mjs']) copyFileSync(join(root, file), join(program, file))
const built = spawnSync(process.execPath, [join(root, 'build.ts'), join(program, 'dist')], { stdio: ['ignore', 'ignore', 'inherit'] })
if (built.status !== 0) {
  clean()
  process.exit(1)
}
const options = ['--test', '--import=./test/ends.ts', `--test-concurrency=${FILES_AT_ONCE}`, '--test-timeout=240000']
// A process group of its own, so that nothing of it is left when it has to be ended.
const runner = spawn(process.execPath, [...options, ...files], {
  cwd: root,
  env: { NODE_COMPILE_CACHE: code, TEST_KITH_MAIN: join(program, 'dist/main.js'), ...process.env },
  stdio: 'inherit',
  detached: true
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => runner.kill(signal))
const late = setTimeout(() => {
  console.error(`the tests did not end within ${MAX_RUN_MS / 60_000} minutes and were stopped`)
  process.kill(-runner.pid!, 'SIGKILL')
}, MAX_RUN_MS)
runner.on('exit', exitCode => {
  clearTimeout(late)
  clean()
  process.exit(exitCode ?? 1)
})
