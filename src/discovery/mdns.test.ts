/** mDNS in a network namespace of its own, so that no real network hears us. Skips where namespaces or multicast are not allowed. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openHost } from '../net/host.node.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import { mdnsService } from './mdns.ts'

const INSIDE = 'KITH_TEST_MDNS_NAMESPACE'
const SETUP =
  'ip link set lo up && ip link add k0 type veth peer name k1 && ip addr add 10.99.0.1/24 dev k0 && ip link set k0 up && ip link set k1 up'

function isSupported(): boolean {
  return spawnSync('unshare', ['-rn', 'sh', '-c', SETUP], { timeout: 5000 }).status === 0
}

async function openNode(seed: Uint8Array) {
  const gate = new ScopeGate()
  const services = { mdns: await mdnsService({ gate, log: silentLogger }, { intervalMs: 500 }) }
  return openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: seed }, { listen: ['/ip4/10.99.0.1/tcp/0'], services })
}

if (process.env[INSIDE]) {
  test('two nodes in one network connect', async () => {
    await using a = await openNode(randomBytes(32))
    await using b = await openNode(randomBytes(32))
    const deadline = Date.now() + 10_000
    while (a.peers().length === 0) {
      assert.ok(Date.now() < deadline, 'they did not find each other')
      await systemClock.sleep(50)
    }
    assert.equal(a.peers()[0]!.peerId, b.peerId)
  })
} else {
  const skip = isSupported() ? false : 'needs network namespaces (Debian packages util-linux and iproute2, and permission)'
  test('nodes in one network find each other by mDNS', { skip }, () => {
    const run = spawnSync('unshare', ['-rn', 'sh', '-c', `${SETUP} && exec "$0" --test "$1"`, process.execPath, import.meta.filename], {
      env: { ...process.env, [INSIDE]: '1', NODE_TEST_CONTEXT: '' },
      encoding: 'utf8',
      timeout: 30_000
    })
    assert.equal(run.status, 0, run.stdout + run.stderr)
  })
}
