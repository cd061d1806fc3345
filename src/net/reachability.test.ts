/** The decision, and AutoNAT between hosts with public addresses, which live in a network namespace of their own. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { type HostOptions, openHost } from './host.node.ts'
import type { Host } from './host.ts'
import { decideReachability, type Reachability } from './reachability.ts'
import { ScopeGate } from './scope-gate.ts'

const INSIDE = 'KITH_TEST_REACHABILITY_NAMESPACE'
/** One address of ours, and eight of peers in networks so different that AutoNAT counts each. */
const OURS = '5.5.5.5'
const PEERS = Array.from({ length: 8 }, (_, i) => `${20 + i}.0.0.1`)
const SETUP = ['ip link set lo up', ...[OURS, ...PEERS].map(ip => `ip addr add ${ip}/32 dev lo`)].join(' && ')

async function open(t: TestContext, options: HostOptions): Promise<Host> {
  const deps = { clock: systemClock, log: silentLogger, gate: new ScopeGate(), peerPrivateKey: randomBytes(32) }
  const host = await openHost(deps, options)
  t.after(() => host[Symbol.asyncDispose]())
  return host
}
const at = (ip: string): string => `/ip4/${ip}/tcp/0`

if (process.env[INSIDE]) {
  test('a public address of the machine is announced and counts as public until peers say otherwise', async t => {
    const host = await open(t, { listen: [at(OURS)] })
    assert.equal(host.reachability, 'public')
    assert.equal(host.addresses().length, 1)
    const hidden = await open(t, { listen: [at(OURS)], reachability: 'private' })
    assert.equal(hidden.reachability, 'private')
    assert.deepEqual(hidden.addresses(), [])
  })

  test('a peer that can dial back proves that a host is public', async t => {
    const peer = await open(t, { listen: [at(PEERS[0]!)], autonat: true })
    const host = await open(t, { listen: [at(OURS)], autonat: true })
    await host.dial(peer.addresses()[0]!, AbortSignal.timeout(5000))
    // The library marks it once it was dialled; before that the address has no time of proof.
    const { addressManager } = (
      host.libp2p as unknown as {
        components: { addressManager: { getAddressesWithMetadata(): { lastVerified?: number; expires: number }[] } }
      }
    ).components
    await eventually(
      'it was dialled back',
      () => addressManager.getAddressesWithMetadata().some(a => a.expires > Date.now() + 1000),
      10_000
    )
    assert.equal(host.reachability, 'public')
  })

  test('peers that cannot dial back make a host private, and its address is not announced any more', async t => {
    const peers = await Promise.all(PEERS.map(ip => open(t, { listen: [at(ip)], autonat: true })))
    // Refuses every connection to it, as a firewall would.
    const host = await open(t, { listen: [at(OURS)], autonat: true, perIp: 0 })
    const heard: Reachability[] = []
    host.events.on('reachability:changed', ({ reachability }) => heard.push(reachability))
    assert.equal(host.reachability, 'public')
    for (const peer of peers) await host.dial(peer.addresses()[0]!, AbortSignal.timeout(5000))
    await eventually('peers say so', () => host.reachability === 'private', 20_000)
    assert.deepEqual(heard, ['private'])
    await eventually('the address is withdrawn', () => host.addresses().length === 0)
  })
} else {
  test('the user overrides peers, peers override addresses', () => {
    const facts = { interfaces: ['192.168.1.2'], autonat: undefined, setting: undefined }
    assert.equal(decideReachability(facts), 'unknown')
    assert.equal(decideReachability({ ...facts, interfaces: [] }), 'private')
    assert.equal(decideReachability({ ...facts, interfaces: ['127.0.0.1', '1.1.1.1'] }), 'public')
    assert.equal(decideReachability({ ...facts, interfaces: ['fd00::1', '2606:4700::1'] }), 'unknown')
    assert.equal(decideReachability({ ...facts, interfaces: ['2606:4700::1'], autonat: 'public' }), 'public')
    assert.equal(decideReachability({ ...facts, autonat: 'public' }), 'public')
    assert.equal(decideReachability({ ...facts, interfaces: ['1.1.1.1'], autonat: 'private' }), 'private')
    for (const setting of ['public', 'private'] as const)
      for (const autonat of ['public', 'private', undefined] as const)
        for (const interfaces of [[], ['1.1.1.1'], ['127.0.0.1']])
          assert.equal(decideReachability({ interfaces, autonat, setting }), setting)
  })

  test('on loopback nothing is known, without a listener nobody can connect, and the setting holds; an announced address is announced', async t => {
    assert.equal((await open(t, { listen: [at('127.0.0.1')], autonat: true })).reachability, 'unknown')
    assert.equal((await open(t, { listen: [] })).reachability, 'private')
    const forwarded = '/ip4/1.2.3.4/tcp/4801'
    const host = await open(t, { listen: [at('127.0.0.1')], reachability: 'public', announce: [forwarded] })
    assert.equal(host.reachability, 'public')
    assert.ok(host.addresses().includes(`${forwarded}/p2p/${host.peerId}`))
  })

  const supported = spawnSync('unshare', ['-rn', 'sh', '-c', SETUP], { timeout: 5000 }).status === 0
  const skip = supported ? false : 'needs network namespaces (Debian packages util-linux and iproute2, and permission)'
  test('hosts with public addresses find out whether they can be reached', { skip }, () => {
    // Inherited, it makes the inner runner skip everything.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const run = spawnSync('unshare', ['-rn', 'sh', '-c', `${SETUP} && exec "$0" --test "$1"`, process.execPath, import.meta.filename], {
      env: { ...env, [INSIDE]: '1' },
      encoding: 'utf8',
      timeout: 60_000
    })
    assert.equal(run.status, 0, run.stdout + run.stderr)
    assert.match(run.stdout, /pass [1-9]/)
  })
}
