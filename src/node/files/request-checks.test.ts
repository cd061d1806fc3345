import assert from 'node:assert/strict'
import test from 'node:test'
import { codeOf } from '../../base/errors.ts'
import { parseAddress } from '../../transfer/address.ts'
import { parseConfigFile } from '../config-file.ts'
import { PROTOCOLS } from '../protocols.ts'
import { parsePublicAddress } from '../public-address.ts'
import type { GetRequest, ShareRequest } from '../types.ts'
import { checkGetRequest, checkShareRequest } from './request-checks.ts'

const ID = 'ab'.repeat(32)
const MAGNET = `magnet:?xt=urn:btih:${'ab'.repeat(20)}`
const ED2K = `ed2k://|file|x|10|${'ab'.repeat(16)}|/`

const get = (address: string, more: Partial<GetRequest> = {}): void =>
  checkGetRequest(parseAddress(address), { address, folder: '/', ...more })
const share = (more: Partial<ShareRequest>): void => checkShareRequest({ path: '/f', ...more })
const code = (work: () => void): string => {
  try {
    work()
    return 'none'
  } catch (error) {
    return codeOf(error)
  }
}

test('rates, peers, trackers and protocols that make no sense are refused by name', () => {
  for (const limit of [0, 1, 1023, Number.NaN])
    assert.equal(
      code(() => get(ID, { limit })),
      'BAD_RATE'
    )
  assert.equal(
    code(() => share({ uploadLimit: 0 })),
    'BAD_RATE'
  )
  for (const peer of ['nonsense', ':1', 'h:0', 'h:65536', 'h:1:2', 'a b:1', '[::1]', `${'x'.repeat(300)}:1`, '1.2.3.4:5\n'])
    assert.equal(
      code(() => get(ID, { peers: [peer] })),
      'BAD_ADDRESS',
      peer
    )
  for (const tracker of ['', 'x', 'ftp://x', 'http://', 'http:// x', `http://${'x'.repeat(3000)}`, 'wss:/x', 'file:///etc/passwd']) {
    assert.equal(
      code(() => get(ID, { trackers: [tracker] })),
      'BAD_ADDRESS',
      tracker
    )
    assert.equal(
      code(() => share({ trackers: [tracker] })),
      'BAD_ADDRESS',
      tracker
    )
  }
  for (const name of ['', 'ftp', 'HTTP', 'http ', '__proto__', 'x'.repeat(5000)]) {
    assert.equal(
      code(() => get(ID, { protocols: ['http', name] })),
      'UNKNOWN_PROTOCOL',
      name
    )
    assert.equal(
      code(() => get(ID, { prefer: name })),
      'UNKNOWN_PROTOCOL',
      name
    )
    assert.equal(
      code(() => share({ protocols: [name] })),
      'UNKNOWN_PROTOCOL',
      name
    )
  }
  const peers = ['192.0.2.7:6881', '[2001:db8::1]:1', 'host.example:65535']
  const trackers = ['https://x/announce', 'udp://x:1', 'ws://127.0.0.1:2', 'wss://x', 'http://[::1]:3/a?b']
  assert.equal(
    code(() => get(ID, { limit: 1024, peers, trackers, protocols: PROTOCOLS, prefer: 'ed2k' })),
    'none'
  )
  assert.equal(
    code(() => share({ uploadLimit: 1024, trackers, protocols: PROTOCOLS })),
    'none'
  )
})

test('an address is only fetched over protocols that know what it is', () => {
  const kinds: [string, readonly string[]][] = [
    [ID, PROTOCOLS],
    [MAGNET, ['bittorrent', 'webtorrent']],
    ['/x.torrent', ['bittorrent', 'webtorrent']],
    [ED2K, ['ed2k']],
    ['https://x/y', ['http', 'https']]
  ]
  for (const [address, right] of kinds) {
    assert.equal(
      code(() => get(address)),
      'none'
    )
    for (const name of PROTOCOLS)
      assert.equal(
        code(() => get(address, { protocols: [name] })),
        right.includes(name) ? 'none' : 'UNKNOWN_PROTOCOL'
      )
  }
})

test('a config file names protocols that exist', () => {
  const parse = (protocols: unknown) => code(() => void parseConfigFile(JSON.stringify({ version: 1, protocols }), 'config.json'))
  assert.equal(parse([...PROTOCOLS]), 'none')
  for (const wrong of [[], ['ftp'], ['http', 7], 'http']) assert.equal(parse(wrong), 'BAD_CONFIG')
})

test('which file a link means is read without its key', () => {
  const cid = 'bafkreib44slubfajsakdnx6bu2xg25svk5ymxgxtjx2xcao7ugqvkknlde'
  for (const link of [
    `kith:${cid}`,
    `kith:${cid}?enc=key`,
    `kith:${cid}?size=5&enc=passphrase&name=a%23b`,
    `kith:${cid}?enc=key&size=5#key=cut`
  ]) {
    const address = parsePublicAddress(link)
    assert.ok(address.kind === 'kith' && address.link.encrypted === undefined)
  }
  assert.deepEqual(parsePublicAddress('/a#b.torrent'), { kind: 'torrent', path: '/a#b.torrent' })
})
