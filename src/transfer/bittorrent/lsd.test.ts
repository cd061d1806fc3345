import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import test from 'node:test'
import fc from 'fast-check'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { MAX_LSD_TORRENTS } from './limits.ts'
import { type Lsd, type LsdOptions, openLsd } from './lsd.node.ts'
import { decodeLsd, encodeLsd } from './lsd.ts'
import type { PeerAddress } from './urls.ts'

const hash = (n: number): Uint8Array<ArrayBuffer> => new Uint8Array(20).fill(n)

test('the message of BEP 14 is read; others, and what does not belong, are not', () => {
  const text = `BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: ${'0a'.repeat(20)}\r\ncookie: me\r\n\r\n\r\n`
  assert.deepEqual(decodeLsd(utf8(text)), { port: 6881, infoHashes: [hash(10)], cookie: 'me' })
  assert.equal(String.fromCharCode(...encodeLsd({ port: 6881, infoHashes: [hash(10)], cookie: 'me' })), text)
  assert.deepEqual(decodeLsd(utf8(text.replace('Infohash', 'INFOHASH').replace('Port', 'port')))?.port, 6881)
  for (const bad of ['', 'GET / HTTP/1.1\r\n', text.replace('6881', '0'), text.replace('6881', '70000'), text.replace('0a0a', 'zz0a')])
    assert.equal(decodeLsd(utf8(bad)), undefined)
  const many = encodeLsd({ port: 1, infoHashes: Array.from({ length: 25 }, (_, i) => hash(i)), cookie: undefined })
  assert.ok((decodeLsd(many)?.infoHashes.length ?? 0) <= MAX_LSD_TORRENTS)
})
test('what is written is read back, and any bytes are read or not', () => {
  const hashes = fc.array(fc.uint8Array({ minLength: 20, maxLength: 20 }), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_535 }), hashes, (port, infoHashes) => {
      const read = decodeLsd(encodeLsd({ port, infoHashes, cookie: 'c' }))
      assert.deepEqual([read?.port, read?.infoHashes.map(bytesToHex), read?.cookie], [port, infoHashes.map(bytesToHex), 'c'])
    })
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), b => void decodeLsd(b)))
  fc.assert(fc.property(fc.string(), t => void decodeLsd(utf8(`BT-SEARCH * HTTP/1.1\r\n${t.toWellFormed()}`))))
})

/** A port for the group that nobody else uses at the moment. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>(resolve => socket.bind(0, resolve))
  const { port } = socket.address()
  await new Promise<void>(resolve => socket.close(resolve))
  return port
}

test('two on one network find each other, whoever comes first; a stranger that floods costs little', async () => {
  const options: LsdOptions = { interface: '127.0.0.1', port: await freePort() }
  const open = (tcpPort: number): Promise<Lsd> => openLsd({ clock: systemClock, log: silentLogger }, tcpPort, options)
  await using first = await open(7001)
  const heard: Record<'first' | 'second', PeerAddress[]> = { first: [], second: [] }
  using _a = first.announce(hash(1), p => void heard.first.push(p))
  using _other = first.announce(hash(2))
  await using second = await open(7002)
  using _b = second.announce(hash(1), p => void heard.second.push(p))
  await eventually('both heard the other', () => heard.first.length > 0 && heard.second.length > 0)
  assert.equal(heard.first[0]!.port, 7002)
  assert.equal(heard.second[0]!.port, 7001)
  const flood = createSocket('udp4')
  await new Promise<void>(resolve => flood.bind(0, '127.0.0.1', resolve))
  flood.setMulticastInterface('127.0.0.1')
  for (let i = 0; i < 500; i++)
    flood.send(encodeLsd({ port: 2000 + i, infoHashes: [hash(1)], cookie: 'x' }), options.port!, '239.192.152.143')
  await new Promise<void>(resolve => flood.send(utf8('end'), options.port!, '239.192.152.143', () => resolve()))
  await eventually('some of it is heard', () => heard.first.length > 10)
  await new Promise<void>(resolve => flood.close(resolve))
  assert.ok(heard.first.length < 150, `${heard.first.length} of 500`)
})
