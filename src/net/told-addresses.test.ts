import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'node:test'
import type { Scope } from './address-scope.ts'
import { mayBeTold } from './told-addresses.ts'

const R = '/p2p/12D3KooWrelay/p2p-circuit'

test('public addresses and announced names are told to all; those of a network or of this machine only there', () => {
  const addresses = {
    public: '/ip4/9.9.9.9/tcp/1',
    name: '/dns4/node.example/tcp/443/wss',
    home: '/ip4/192.168.1.7/tcp/1',
    home6: '/ip6/fd00::7/tcp/1',
    link: '/ip6/fe80::1/tcp/1',
    mapped: '/ip6/::ffff:10.0.0.1/tcp/1',
    here: '/ip4/127.0.0.1/tcp/1/ws'
  }
  const told = (...askers: Scope[]): string[] => Object.keys(addresses).filter(k => mayBeTold(addresses[k as 'home'], askers))
  const [outside, home] = [
    ['public', 'name'],
    ['public', 'name', 'home', 'home6', 'link', 'mapped']
  ]
  assert.deepEqual(told(), outside, 'who has no direct connection')
  assert.deepEqual(told('public'), outside)
  assert.deepEqual(told('unusable'), outside)
  assert.deepEqual(told('private'), home)
  assert.deepEqual(told('link-local'), home)
  assert.deepEqual(told('public', 'private'), home, 'one connection is enough')
  assert.deepEqual(told('loopback'), Object.keys(addresses))
  assert.deepEqual([mayBeTold(addresses.home + R, ['public']), mayBeTold(addresses.public + R, ['public'])], [false, true], 'relays')
})

test('DH11: identify and the DHT tell a peer of the internet no address of our network or machine, ours or a neighbour’s', t => {
  const [outer, inner] = ['9.9.9.9', '192.168.7.7']
  const script = 'ip link set lo up && ip addr add $1/32 dev lo && ip addr add $2/32 dev lo && exec "$0" "$3" $1 $2'
  const child = join(import.meta.dirname, '../../test/kits/told-child.ts')
  if (spawnSync('unshare', ['-n', 'ip', '-V']).status !== 0) {
    const why = 'needs root and Debian package iproute2'
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const run = spawnSync('unshare', ['-n', 'sh', '-c', script, process.execPath, outer, inner, child], { encoding: 'utf8', timeout: 60_000 })
  assert.equal(run.status, 0, run.stderr)
  const told = JSON.parse(run.stdout) as Record<string, Record<string, string[]>>
  const hosts = (asker: string): Record<string, string> =>
    Object.fromEntries(
      Object.entries(told[asker]!).map(([way, all]) => [way, [...new Set(all.map(a => a.split('/')[2]))].sort().join(' ')])
    )
  const ways = ['identify', 'signed', 'own in the DHT', "neighbour's in the DHT", 'by announcing']
  const all = (text: string): Record<string, string> => Object.fromEntries(ways.map(w => [w, text]))
  assert.deepEqual(hosts(outer), all(outer))
  assert.deepEqual(hosts(inner), all(`${inner} ${outer}`))
  assert.deepEqual(hosts('127.0.0.1'), all(`127.0.0.1 ${inner} ${outer}`))
})
