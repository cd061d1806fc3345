/**
 * BitTorrent's DHT and encryption with programs that others wrote: libtorrent and aria2 know only our node, find what we share through it,
 * and we find what they share. All in a network namespace with one address for each, because a node has one.
 */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'

const IN_NAMESPACE = 'ip link set lo up && for i in 1 2 3 4 5; do ip addr add 10.99.0.$i/32 dev lo; done && exec "$@"'
const required = process.env['KITH_REQUIRE_INTEROP'] === '1'
const run = promisify(execFile)

const works = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0

function missing(): string | undefined {
  if (!works('/usr/bin/python3', '-c', 'import libtorrent')) return 'needs the Debian package python3-libtorrent'
  if (!works('aria2c', '--version')) return 'needs the Debian package aria2'
  if (!works('unshare', '-rn', 'ip', 'link', 'set', 'lo', 'up')) return 'needs a network namespace (Debian packages util-linux, iproute2)'
  return undefined
}

test('libtorrent and aria2 find and fetch our share through our DHT node, and we theirs, all encrypted', { timeout: 70_000 }, async t => {
  const why = missing()
  if (why) {
    assert.ok(!required, why)
    t.skip(why)
    return
  }
  const inside = ['-rn', 'sh', '-c', IN_NAMESPACE, 'sh', process.execPath, join(import.meta.dirname, 'mainline-case.ts')]
  const { stdout } = await run('unshare', inside, { timeout: 65_000 })
  const { ok, nodes, hash: _, ...times } = JSON.parse(stdout) as { ok: boolean; nodes: number; hash: string }
  t.diagnostic(`ms: ${JSON.stringify(times)}`)
  assert.ok(ok)
  assert.ok(nodes >= 3)
})
