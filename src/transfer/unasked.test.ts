import assert from 'node:assert/strict'
import test from 'node:test'
import { peersNamed, trackersNamed, unaskedText } from './unasked.ts'

test('a link of somebody at home says what has to be named', () => {
  const named = trackersNamed(['wss://tracker.example/', 'ws://192.168.1.7:4808'])
  assert.equal(
    unaskedText(named, []),
    'the link names 192.168.1.7, in a private network; such are asked only when you name them: --tracker ws://192.168.1.7:4808'
  )
  assert.equal(unaskedText(named, ['ws://192.168.1.7:4808']), undefined)
  assert.match(unaskedText(peersNamed([{ host: '127.0.0.1', port: 4807 }]), [])!, /on this machine; .*: --peer 127\.0\.0\.1:4807$/)
  assert.match(unaskedText(peersNamed([{ host: 'fd00::7', port: 1 }]), [])!, /--peer \[fd00::7\]:1$/)
})

test('nothing is said of public addresses, of names, and of what cannot be read', () => {
  const named = [
    ...trackersNamed(['udp://tracker.example:1337/announce', 'nonsense', 'ws://']),
    ...peersNamed([{ host: '8.8.8.8', port: 1 }])
  ]
  assert.equal(unaskedText(named, []), undefined)
})
