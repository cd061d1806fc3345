import assert from 'node:assert/strict'
import test from 'node:test'
import { dnsaddrPeer, resolveDnsaddr } from './dnsaddr.ts'
import { MAX_DNSADDR_LOOKUPS } from './limits.ts'
import { publicBootstrap } from './public-dht.ts'

const P = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
const Q = 'QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ'

test('names lead to names and to addresses of that peer alone', async () => {
  const zone: Record<string, readonly string[]> = {
    '_dnsaddr.boot.example': [`dnsaddr=/dnsaddr/a.boot.example/p2p/${P}`, `dnsaddr=/dnsaddr/b.boot.example/p2p/${Q}`, 'v=spf1', 'dnsaddr='],
    '_dnsaddr.a.boot.example': [
      `dnsaddr=/ip4/1.1.1.1/tcp/4001/p2p/${P}`,
      `dnsaddr=/ip4/1.1.1.1/tcp/4001/p2p/${Q}`,
      `/ip4/2.2.2.2/tcp/1/p2p/${P}`
    ]
  }
  const asked: string[] = []
  const lookup = async (name: string): Promise<readonly string[]> => {
    asked.push(name)
    return zone[name] ?? Promise.reject(new Error('ENOTFOUND'))
  }
  assert.deepEqual(await resolveDnsaddr(`/dnsaddr/Boot.example/p2p/${P}`, lookup), [`/ip4/1.1.1.1/tcp/4001/p2p/${P}`])
  assert.deepEqual(asked, ['_dnsaddr.boot.example', '_dnsaddr.a.boot.example'])
  assert.deepEqual(await resolveDnsaddr(`/dnsaddr/nowhere.example/p2p/${P}`, lookup), [])
})

test('circles and endless names end', async () => {
  let asked = 0
  const endless = async (name: string): Promise<readonly string[]> => {
    asked++
    return Array.from({ length: 50 }, (_, i) => `dnsaddr=/dnsaddr/x${i}.${name.slice('_dnsaddr.'.length)}/p2p/${P}`)
  }
  assert.deepEqual(await resolveDnsaddr(`/dnsaddr/a.example/p2p/${P}`, endless), [])
  assert.equal(asked, MAX_DNSADDR_LOOKUPS)
  const circle = async (): Promise<readonly string[]> => [`dnsaddr=/dnsaddr/a.example/p2p/${P}`]
  assert.deepEqual(await resolveDnsaddr(`/dnsaddr/a.example/p2p/${P}`, circle), [])
})

test('only a name with a PeerId is such an address', () => {
  for (const bad of [
    '',
    '/dnsaddr/a.example',
    `/dns4/a.example/tcp/1/p2p/${P}`,
    `/dnsaddr/a/b/p2p/${P}`,
    `/dnsaddr/a.example/p2p/${P}/x`,
    '/dnsaddr/a.example/p2p/0'
  ])
    assert.equal(dnsaddrPeer(bad), undefined, bad)
  assert.equal(publicBootstrap.filter(a => dnsaddrPeer(a) !== undefined).length, publicBootstrap.length - 1)
})
