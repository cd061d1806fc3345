import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { canonicalIp, networkOf, parseAddress, rateKeyOf, type Scope, scopeOfAddress, scopeOfIp } from './address-scope.ts'

const SCOPES: Readonly<Record<Scope, readonly string[]>> = {
  loopback: [
    '127.0.0.1',
    '127.255.0.3',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::127.0.0.1',
    '2002:7f00:1::'
  ],
  private: [
    '10.0.0.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '100.64.0.1',
    '198.18.0.1',
    'fc00::1',
    'fd12::1',
    '::ffff:10.1.2.3',
    '2002:c0a8:0101::1'
  ],
  'link-local': ['169.254.169.254', 'fe80::1', 'febf::1', 'fe80::1%eth0', '::ffff:169.254.1.1'],
  public: [
    '1.1.1.1',
    '172.15.0.1',
    '172.32.0.1',
    '100.63.0.1',
    '100.128.0.1',
    '192.169.0.1',
    '2606:4700::1111',
    '2a00::1',
    '2001:4860::8888',
    '::ffff:8.8.8.8'
  ],
  unusable: [
    '0.0.0.0',
    '0.1.2.3',
    '224.0.0.1',
    '239.1.1.1',
    '240.0.0.1',
    '255.255.255.255',
    '192.0.2.1',
    '198.51.100.1',
    '203.0.113.1',
    '192.0.0.1',
    '::',
    '::127.0.0.1',
    '::2',
    'ff02::1',
    '2001:db8::1',
    '2001::1',
    '100::1',
    'fec0::1',
    '4000::1',
    '3fff::1',
    '',
    'localhost',
    '127.1',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '2130706433',
    '127.0.0.01',
    '256.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    ' 127.0.0.1',
    ':::1',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::ffff:127.0.0.256',
    '12345::',
    '[::1]',
    '1:2:3:4:5:6:7:8::'
  ]
}

test('every address has the scope that its network gives it, however it is spelled', () => {
  for (const [scope, ips] of Object.entries(SCOPES)) for (const ip of ips) assert.equal(scopeOfIp(ip), scope, ip)
})

test('multiaddrs have the scope of their host; names and relays have none', () => {
  assert.equal(scopeOfAddress('/ip4/127.0.0.1/tcp/4801/p2p/12D3KooW'), 'loopback')
  assert.equal(scopeOfAddress('/ip6/2606:4700::1111/tcp/4802/ws'), 'public')
  assert.equal(scopeOfAddress('/ip6zone/eth0/ip6/fe80::1/tcp/1'), 'link-local')
  assert.equal(scopeOfAddress('/ip4/192.168.0.9/udp/4801/quic-v1'), 'private')
  for (const bad of [
    '',
    '/',
    'x',
    '/ip4/1.1.1.1',
    '/ip4/1.1.1.1/tcp/0',
    '/ip4/1.1.1.1/tcp/65536',
    '/ip4/1.1.1.1/tcp/1e3',
    '/ip4//tcp/1',
    '/dns4/localhost/tcp/1',
    '/dnsaddr/x/tcp/1',
    '/unix/tmp',
    '/ip4/1.1.1.1/tcp/1/p2p/x/p2p-circuit',
    `/ip4/1.1.1.1/tcp/1/${'x'.repeat(600)}`
  ])
    assert.equal(scopeOfAddress(bad), 'unusable', bad)
})

test('an address through a relay names the relay as host, and the peer at its end', () => {
  const relay = { host: '1.1.1.1', isName: false, port: 4801, relay: 'R' }
  assert.deepEqual(parseAddress('/ip4/1.1.1.1/tcp/4801/p2p/R/p2p-circuit/p2p/P'), { ...relay, peerId: 'P' })
  assert.deepEqual(parseAddress('/ip4/1.1.1.1/tcp/4801/p2p/R/p2p-circuit'), { ...relay, peerId: undefined })
  assert.equal(parseAddress('/ip4/1.1.1.1/tcp/4801/ws/p2p/R/p2p-circuit/p2p/P')?.relay, 'R')
  assert.equal(parseAddress('/ip4/1.1.1.1/tcp/4801/p2p/P')?.relay, undefined)
  for (const bad of [
    '/p2p-circuit',
    '/p2p/R/p2p-circuit',
    '/ip4/1.1.1.1/tcp/1/p2p-circuit/p2p/P',
    '/ip4/1.1.1.1/tcp/1/p2p/R/ws/p2p-circuit/p2p/P',
    '/ip4/1.1.1.1/tcp/1/p2p/R/p2p-circuit/p2p',
    '/ip4/1.1.1.1/tcp/1/p2p/R/p2p-circuit/p2p/',
    '/ip4/1.1.1.1/tcp/1/p2p/R/p2p-circuit/ip4/10.0.0.1/tcp/80',
    '/ip4/1.1.1.1/tcp/1/p2p/R/p2p-circuit/p2p/Q/p2p-circuit/p2p/P'
  ])
    assert.equal(parseAddress(bad), undefined, bad)
})

test('one customer is one key: an IPv4 address, or a whole IPv6 /64', () => {
  assert.equal(rateKeyOf('192.0.2.7'), rateKeyOf('::ffff:192.0.2.7'))
  assert.equal(rateKeyOf('2606:4700:1:2::1'), rateKeyOf('2606:4700:1:2:ffff::9'))
  assert.notEqual(rateKeyOf('2606:4700:1:2::1'), rateKeyOf('2606:4700:1:3::1'))
  assert.equal(networkOf('192.0.2.7'), networkOf('192.0.2.200'))
  assert.notEqual(networkOf('192.0.2.7'), networkOf('192.0.3.7'))
})

test('generated addresses keep their value, and any text is read without throwing', () => {
  fc.assert(fc.property(fc.ipV4(), ip => assert.equal(canonicalIp(ip), ip)))
  fc.assert(
    fc.property(fc.ipV6(), ip => {
      const full = canonicalIp(ip)
      assert.ok(full !== undefined, ip)
      assert.equal(canonicalIp(full), full)
      assert.equal(scopeOfIp(ip), scopeOfIp(full))
    })
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc
          .array(fc.constantFrom('ip4', 'ip6', 'tcp', 'p2p', 'p2p-circuit', '1.1.1.1', '::1', '80', '', 'ip6zone'))
          .map(p => `/${p.join('/')}`)
      ),
      text => {
        parseAddress(text)
        scopeOfIp(text)
        rateKeyOf(text)
      }
    )
  )
})
