import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import test from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf, hasCode, KithError } from '../../base/errors.ts'
import { type BValue, bdict, encodeBencode } from './bencode.ts'
import { announce, type CheckAddress } from './tracker.node.ts'
import { compactPeers, readHttpAnswer, readUdpAnnounce, readUdpConnect, type TrackerAnswer } from './tracker.ts'

const announcement = {
  infoHash: Uint8Array.from({ length: 20 }, (_, i) => i * 13),
  peerId: new Uint8Array(20).fill(0x41),
  port: 6881,
  left: 5,
  event: 'started'
} as const
const checkAddress: CheckAddress = async host => host
const ask = (tracker: string, check = checkAddress): Promise<TrackerAnswer> =>
  announce({ clock: systemClock, checkAddress: check }, tracker, 'given', announcement, AbortSignal.timeout(8000))
const failsWith = async (work: Promise<unknown>, code: string): Promise<void> => assert.equal(await work.then(() => 'none', codeOf), code)
const answerOf = (fields: Record<string, BValue>): Uint8Array => encodeBencode(bdict(fields))

test('any answer is read or refused with TRACKER_FAILED', () => {
  const peers = fc.oneof(fc.uint8Array(), fc.array(fc.constant(bdict({ ip: utf8('::1'), port: 5 }))), fc.maxSafeInteger())
  const built = fc
    .record({ interval: fc.maxSafeInteger(), peers, peers6: fc.uint8Array() }, { requiredKeys: [] })
    .map(f => answerOf(f as Record<string, BValue>))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), built), fc.uint8Array({ maxLength: 40 }), (body, datagram) => {
      for (const read of [() => readHttpAnswer(body), () => readUdpConnect(datagram, 0), () => readUdpAnnounce(datagram, 0, 4)]) {
        try {
          read()
        } catch (e) {
          assert.ok(hasCode(e, 'TRACKER_FAILED'), String(e))
        }
      }
    })
  )
})
test('compact lists give addresses with a port; the rest of an entry is ignored', () => {
  assert.deepEqual(compactPeers(Uint8Array.of(1, 2, 3, 4, 0x1a, 0xe1, 5, 6, 7, 8, 0, 0, 9), 4), [{ host: '1.2.3.4', port: 6881 }])
  const v6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80)
  assert.deepEqual(compactPeers(v6, 16), [{ host: '2001:db8:0:0:0:0:0:1', port: 80 }])
})
test('BT12: of a million peers 200 are kept, and the interval is held between a minute and two hours', () => {
  const answer = readHttpAnswer(answerOf({ interval: -1, peers: new Uint8Array(174_000 * 6).fill(1) }))
  assert.equal(answer.peers.length, 200)
  assert.equal(answer.intervalMs, 60_000)
  assert.equal(readHttpAnswer(answerOf({ interval: 1e9 })).intervalMs, 7_200_000)
  const list = Array(1000).fill(bdict({ ip: utf8('192.0.2.7'), port: 7 }))
  assert.equal(readHttpAnswer(answerOf({ peers: list })).peers.length, 200)
  assert.throws(() => readHttpAnswer(answerOf({ peers: new Uint8Array(1_200_000) })), KithError)
})

async function withServer(handler: (url: string, response: ServerResponse) => void, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer((q, s) => handler(q.url ?? '', s))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const address = server.address()
    await use(`http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/announce`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}
test('an HTTP tracker is told everything and its answer is read', async () => {
  let asked = ''
  const handler = (url: string, s: ServerResponse): void => {
    asked = url
    s.end(answerOf({ interval: 120, peers: Uint8Array.of(192, 0, 2, 1, 0, 99) }))
  }
  await withServer(handler, async url => {
    assert.deepEqual(await ask(`${url}?key=1`), { intervalMs: 120_000, peers: [{ host: '192.0.2.1', port: 99 }] })
  })
  const hash = /info_hash=((?:%[0-9a-f]{2}){20})&/.exec(asked)?.[1]?.replaceAll('%', '')
  assert.equal(hash, bytesToHex(announcement.infoHash))
  for (const part of ['key=1', 'port=6881', 'left=5', 'compact=1', 'event=started']) assert.ok(asked.includes(part), part)
})
for (const [why, handler] of [
  ['redirects', (_: string, s: ServerResponse) => s.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
  ['sends gzip', (_: string, s: ServerResponse) => s.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(new Uint8Array(1e6)))],
  ['sends more than 1 MiB', (_: string, s: ServerResponse) => s.end(new Uint8Array(1024 * 1024 + 1))],
  ['refuses', (_: string, s: ServerResponse) => s.end(answerOf({ 'failure reason': utf8('no') }))],
  ['sends a page', (_: string, s: ServerResponse) => s.end('<html>')],
  ['hangs up', (_: string, s: ServerResponse) => s.destroy()]
] as const) {
  test(`a tracker that ${why} is TRACKER_FAILED`, () =>
    withServer(handler as (u: string, s: ServerResponse) => void, url => failsWith(ask(url), 'TRACKER_FAILED')))
}
test('a forbidden address is not connected to', () =>
  withServer(
    () => assert.fail('it was asked'),
    url =>
      failsWith(
        ask(url, async () => {
          throw new KithError('FORBIDDEN_ADDRESS', 'no')
        }),
        'FORBIDDEN_ADDRESS'
      )
  ))

async function udpTracker(answer: (q: Buffer, reply: (b: Uint8Array) => void) => void): Promise<Socket & AsyncDisposable> {
  const socket = createSocket('udp4')
  socket.on('message', (q, from) => answer(q, b => socket.send(b, from.port, from.address)))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return Object.assign(socket, { [Symbol.asyncDispose]: () => new Promise<void>(resolve => socket.close(() => resolve())) })
}
const u32 = (...v: number[]): Buffer => Buffer.concat(v.map(x => Buffer.from([x >>> 24, x >>> 16, x >>> 8, x])))
test('a UDP tracker: connect, announce; a lost datagram is sent again and answers to others are ignored', async () => {
  let connects = 0
  let announced: Buffer | undefined
  await using tracker = await udpTracker((q, reply) => {
    const transaction = q.readUInt32BE(12)
    if (q.readUInt32BE(8) === 0) {
      if (++connects === 1) return
      reply(u32(0, transaction ^ 1, 7, 7))
      reply(u32(0, transaction, 1, 2))
    } else {
      announced = q
      reply(Buffer.concat([u32(1, transaction, 300, 0, 1), Buffer.from([192, 0, 2, 9, 0, 7])]))
    }
  })
  const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 20, signal) }
  const answer = await announce(
    { clock, checkAddress },
    `udp://127.0.0.1:${tracker.address().port}`,
    'given',
    announcement,
    AbortSignal.timeout(8000)
  )
  assert.deepEqual(answer, { intervalMs: 300_000, peers: [{ host: '192.0.2.9', port: 7 }] })
  assert.deepEqual(
    [announced?.subarray(0, 8), announced?.subarray(16, 36), announced?.length],
    [u32(1, 2), Buffer.from(announcement.infoHash), 98]
  )
})
test('a UDP tracker that refuses, answers too little, or never is TRACKER_FAILED', async () => {
  for (const answer of [(t: number) => Buffer.concat([u32(3, t), Buffer.from('no')]), (t: number) => u32(0, t, 1), () => undefined]) {
    await using tracker = await udpTracker((q, reply) => {
      const b = answer(q.readUInt32BE(12))
      if (b) reply(b)
    })
    const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal) }
    const url = `udp://127.0.0.1:${tracker.address().port}/announce`
    await failsWith(announce({ clock, checkAddress }, url, 'given', announcement, AbortSignal.timeout(8000)), 'TRACKER_FAILED')
  }
})
