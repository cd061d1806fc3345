/**
 * Runs the tests: `npm test [-- pattern …]`. Unit tests beside the code and everything under test/, two files at a time.
 * With KITH_REQUIRE_INTEROP=1 a missing third-party program fails instead of skipping.
 */
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const wanted = process.argv.slice(2)
const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root })
  .sort()
  .filter(f => wanted.length === 0 || wanted.some(w => f.includes(w)))
if (files.length === 0) {
  console.error(`no test file matches ${wanted.join(' ')}`)
  process.exit(1)
}
const runner = spawn(process.execPath, ['--test', '--test-concurrency=2', '--test-timeout=240000', ...files], {
  cwd: root,
  stdio: 'inherit'
})
runner.on('exit', code => process.exit(code ?? 1))
