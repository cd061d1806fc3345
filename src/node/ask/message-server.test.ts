import assert from 'node:assert/strict'
import test from 'node:test'
import { urlForOthers } from './message-server.node.ts'

test('the URL of a server on all addresses names one that others can write down', () => {
  const own = ['/ip4/127.0.0.1/tcp/4801/p2p/X', '/ip4/192.168.1.7/tcp/4801/p2p/X', '/ip6/2001:4860::7/tcp/4801/p2p/X']
  assert.equal(urlForOthers('http://[::]:4809', own), 'http://[2001:4860::7]:4809')
  assert.equal(urlForOthers('https://0.0.0.0:4809', own.slice(0, 2)), 'https://192.168.1.7:4809')
  assert.equal(urlForOthers('http://[::]:4809', own.slice(0, 1)), 'http://127.0.0.1:4809')
  assert.equal(urlForOthers('http://[::]:4809', []), 'http://[::]:4809')
  assert.equal(urlForOthers('http://127.0.0.1:4809', own), 'http://127.0.0.1:4809')
  const relayed = '/ip4/192.0.2.1/tcp/1/p2p/R/p2p-circuit/p2p/X'
  assert.equal(urlForOthers('http://[::]:4809', [relayed]), 'http://[::]:4809')
})
