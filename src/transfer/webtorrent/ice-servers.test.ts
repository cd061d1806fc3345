import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { KithError } from '../../base/errors.ts'
import { readIceServers } from './ice-servers.ts'

test('STUN and TURN servers are read as RFC 7064 and 7065 write them', () => {
  const servers = [
    { url: 'stun:stun.example.org' },
    { url: 'stun:[2001:db8::1]:3479' },
    { url: 'turn:192.0.2.1:3478?transport=udp', username: 'u', credential: 'p' }
  ]
  assert.deepEqual(readIceServers(servers), [
    { hostname: 'stun.example.org', port: 3478 },
    { hostname: '2001:db8::1', port: 3479 },
    { hostname: '192.0.2.1', port: 3478, username: 'u', password: 'p', relayType: 'TurnUdp' }
  ])
})

test('what cannot be used is refused in words', () => {
  for (const url of [
    '',
    'http://x',
    'stun:',
    'stun:a b',
    'stun:x:0',
    'stun:x:70000',
    'stuns:x',
    'turn:x',
    'turn:x?transport=tcp',
    'stun:x?y'
  ])
    assert.throws(() => readIceServers([{ url }]), { code: 'BAD_ICE_SERVER' }, url)
  assert.throws(() => readIceServers(Array.from({ length: 9 }, () => ({ url: 'stun:x' }))), { code: 'BAD_ICE_SERVER' })
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map(s => `stun:${s}`)
      ),
      url => {
        try {
          readIceServers([{ url, username: 'u', credential: 'p' }])
        } catch (error) {
          assert.ok(error instanceof KithError && error.code === 'BAD_ICE_SERVER')
        }
      }
    )
  )
})
