import assert from 'node:assert/strict'
import test from 'node:test'
import { ipv4Host, ownHost, tcpHost } from './listen-hosts.ts'

test('each listener takes the address that serves most', () => {
  const hosts = (...listen: string[]) => [tcpHost(listen), ipv4Host(listen), ownHost(listen)]
  assert.deepEqual(hosts('0.0.0.0', '::'), ['::', '0.0.0.0', '127.0.0.1'])
  assert.deepEqual(hosts('0.0.0.0'), ['0.0.0.0', '0.0.0.0', '127.0.0.1'])
  assert.deepEqual(hosts('::'), ['::', '::', '[::1]'])
  assert.deepEqual(hosts('127.0.0.1'), ['127.0.0.1', '127.0.0.1', '127.0.0.1'])
  assert.deepEqual(hosts('fd00::1', '10.0.0.1'), ['fd00::1', '10.0.0.1', '[fd00::1]'])
})
