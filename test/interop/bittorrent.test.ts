/**
 * Real third-party programs fetch from us and seed to us, each in a network namespace of its own with one address on its loopback
 * device (transmission refuses 127.0.0.0/8). They run at the same time, because most of it is their timers.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { programs } from './bt-programs.ts'

const HOST = '10.99.0.1'
const IN_NAMESPACE = `ip link set lo up && ip addr add ${HOST}/32 dev lo && exec "$@"`
const required = process.env['KITH_REQUIRE_INTEROP'] === '1'
const run = promisify(execFile)

const works = (command: string, args: readonly string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0

function missing(name: string): string | undefined {
  const program = programs[name]!
  const check =
    name === 'libtorrent' ? works(program.command, ['-c', 'import libtorrent']) : works('sh', ['-c', `command -v ${program.command}`])
  if (!check) return `needs the Debian package ${program.package}`
  return works('unshare', ['-rn', 'ip', 'link', 'set', 'lo', 'up'])
    ? undefined
    : 'needs a network namespace of its own (Debian packages util-linux, iproute2)'
}

/** Program, and the case that is run with it. */
const cases = [
  ...Object.keys(programs).map(name => [name, 'bt-case.ts', name] as const),
  ['libtorrent v2', 'bt-v2-case.ts'] as const,
  ['libtorrent and aria2, after our restart,', 'bt-reseed-case.ts'] as const
]

test('other programs fetch from us and seed to us, checked by SHA-256', { concurrency: true }, async t => {
  await Promise.all(
    cases.map(([name, script, ...args]) =>
      t.test(name, { timeout: 100_000 }, async t => {
        const why = missing(name.split(' ')[0]!) ?? (name.includes('aria2') ? missing('aria2') : undefined)
        if (why) {
          assert.ok(!required, why)
          t.skip(why)
          return
        }
        const inside = ['-rn', 'sh', '-c', IN_NAMESPACE, 'sh', process.execPath, join(import.meta.dirname, script), ...args, HOST]
        const { stdout } = await run('unshare', inside, { timeout: 95_000 })
        const result = JSON.parse(stdout) as { ok: boolean; theyFetchedMs: number; weFetchedMs: number; sources: readonly string[] }
        t.diagnostic(`${name}: fetched from us in ${result.theyFetchedMs} ms, we from it in ${result.weFetchedMs} ms`)
        assert.ok(result.ok)
        assert.ok(result.sources.length > 0)
      })
    )
  )
})
