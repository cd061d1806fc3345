import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import type { Connection, MultiaddrConnection } from '@libp2p/interface'
import { within as withinMs } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { parseAddress } from './address-scope.ts'
import { type HostOptions, openHost } from './host.node.ts'
import type { Host } from './host.ts'
import { InboundPlaces } from './inbound-places.ts'
import { MAX_PENDING_CONNECTIONS } from './limits.ts'
import { ScopeGate } from './scope-gate.ts'
import { MAX_FRAME_BYTES } from './websocket-limits.ts'

const TCP = '/ip4/127.0.0.1/tcp/0'
const WS = '/ip4/127.0.0.1/tcp/0/ws'
const NONE = new Uint8Array()

interface Opened {
  readonly host: Host
  readonly gate: ScopeGate
}
async function open(t: TestContext, options: HostOptions = {}, peerPrivateKey = randomBytes(32)): Promise<Opened> {
  const gate = new ScopeGate()
  const host = await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey }, { listen: [TCP], ...options })
  t.after(() => host[Symbol.asyncDispose]())
  return { host, gate }
}
const target = ({ host }: Opened) => ({ peerId: host.peerId, addresses: host.addresses() })
const within = <T>(work: Promise<T>): Promise<T> => withinMs(10_000, 'what was waited for', work)
const code = (name: string, inner?: string) => (e: unknown) =>
  (hasCode(e, name) && (inner === undefined || (e as KithError).data.code === inner)) ||
  assert.fail(`${(e as KithError).code} ${JSON.stringify((e as KithError).data)}`)

test('request and response over TCP and WebSocket, both encrypted, with addresses on both sides', async t => {
  for (const listen of [TCP, WS]) {
    const [a, b] = [await open(t, { listen: [listen] }), await open(t)]
    a.host.rpc.handle('echo', { maxRequestBytes: 2 ** 20, perSecond: 100 }, async request => request)
    const body = randomBytes(900_000)
    const answer = await b.host.rpc.request(target(a), 'echo', body, { maxResponseBytes: 2 ** 20 })
    assert.deepEqual(Buffer.from(answer), body)
    assert.equal(b.host.rpc.addressOf(a.host.peerId), '127.0.0.1')
    assert.equal(a.host.rpc.addressOf(b.host.peerId), '127.0.0.1')
    assert.equal(b.host.libp2p.getConnections()[0]!.encryption, '/tls/1.0.0')
    assert.deepEqual(
      a.host.peers().map(p => [p.peerId, p.direction]),
      [[b.host.peerId, 'inbound']]
    )
  }
})

test('a peer that speaks only Noise is understood, in both directions', async t => {
  const [a, { createLibp2p }, { tcp }, { noise }, { yamux }] = [
    await open(t),
    await import('libp2p'),
    await import('@libp2p/tcp'),
    await import('@libp2p/noise'),
    await import('@libp2p/yamux')
  ]
  const parts = { transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] }
  for (const direction of ['inbound', 'outbound']) {
    const other = await createLibp2p({ ...parts, addresses: { listen: [TCP] } })
    t.after(() => other.stop())
    const [dialler, answerer] = direction === 'inbound' ? [other, a.host.libp2p] : [a.host.libp2p, other]
    for (const address of other.getMultiaddrs()) a.gate.allow(address.toString(), 'user')
    const connection = await within(dialler.dial(answerer.getMultiaddrs()))
    assert.equal(connection.encryption, '/noise')
    assert.ok(connection.remotePeer.equals(answerer.peerId))
  }
})

test('errors of a request have their codes', async t => {
  const [a, b] = [await open(t), await open(t)]
  a.host.rpc.handle('echo', { maxRequestBytes: 100, perSecond: 100 }, async request => request)
  a.host.rpc.handle('fail', { maxRequestBytes: 100, perSecond: 100 }, async () => assert.fail('secret'))
  a.host.rpc.handle('never', { maxRequestBytes: 100, perSecond: 100 }, () => new Promise(() => {}))
  const ask = (method: string, n: number, options = {}) =>
    b.host.rpc.request(target(a), method, new Uint8Array(n), { maxResponseBytes: 100, ...options })
  await assert.rejects(ask('echo', 101), code('PEER_REFUSED', 'REQUEST_TOO_LARGE'))
  await assert.rejects(ask('echo', 2_000_000), code('PEER_REFUSED', 'REQUEST_TOO_LARGE'))
  await assert.rejects(ask('echo', 50, { maxResponseBytes: 49 }), code('PEER_PROTOCOL'))
  await assert.rejects(ask('fail', 1), code('PEER_REFUSED', 'INTERNAL'))
  await assert.rejects(ask('nope', 1), code('PEER_REFUSED', 'UNKNOWN_METHOD'))
  await assert.rejects(ask('never', 1, { timeoutMs: 100 }), code('PEER_TIMEOUT'))
  assert.deepEqual(await ask('echo', 100), new Uint8Array(100))
  const streams = (o: Opened) => o.host.libp2p.getConnections().flatMap(c => c.streams.filter(s => s.protocol.startsWith('/kith/e')))
  const deadline = Date.now() + 5000
  while (streams(a).length + streams(b).length > 0) {
    assert.ok(Date.now() < deadline, 'streams are left over')
    await systemClock.sleep(10)
  }
})

test('a flood of requests is answered RATE_LIMITED while others are served', async t => {
  const [a, b, c] = [await open(t), await open(t), await open(t)]
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 1 }, async () => NONE)
  const ask = (from: Opened): Promise<string> =>
    from.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 0 }).then(
      () => 'ok',
      e => (e as KithError).code
    )
  const results = await Promise.all(Array.from({ length: 40 }, () => ask(b)))
  const ok = results.filter(r => r === 'ok').length
  assert.ok(ok >= 5 && ok <= 10, `${ok} of 40`)
  assert.deepEqual([...new Set(results)].sort(), ['RATE_LIMITED', 'ok'])
  assert.equal(await ask(c), 'ok')
})

test('an address that nobody entitled named is not dialled', async t => {
  const a = await open(t)
  const accepted: Socket[] = []
  const server = createServer(s => void accepted.push(s))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const b = await open(t, { listen: [] })
  const { port } = server.address() as { port: number }
  const victim = `/ip4/127.0.0.1/tcp/${port}/p2p/${a.host.peerId}`
  await assert.rejects(
    b.host.rpc.request({ peerId: a.host.peerId, addresses: [victim] }, 'x', NONE, { maxResponseBytes: 1 }),
    code('PEER_UNREACHABLE')
  )
  await assert.rejects(b.host.dial(victim, AbortSignal.timeout(5000)), code('FORBIDDEN_ADDRESS'))
  assert.equal(accepted.length, 0)
  b.gate.allow(a.host.addresses()[0]!, 'user')
  assert.equal(await b.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000)), a.host.peerId)
})

test('CO21: whoever answers with another key than the expected is not talked to', async t => {
  const [a, b, c] = [await open(t), await open(t), await open(t)]
  let called = false
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => {
    called = true
    return NONE
  })
  const wrong = a.host.addresses()[0]!.replace(a.host.peerId, c.host.peerId)
  await assert.rejects(b.host.dial(wrong, AbortSignal.timeout(5000)), code('PEER_UNREACHABLE'))
  const plain = wrong.split('/p2p/')[0]!
  await assert.rejects(
    b.host.rpc.request({ peerId: c.host.peerId, addresses: [plain] }, 'x', NONE, { maxResponseBytes: 1 }),
    code('PEER_UNREACHABLE')
  )
  assert.equal(called, false)
})

test('CO20: a node does not connect to itself', async t => {
  const a = await open(t)
  await assert.rejects(a.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000)), code('PEER_UNREACHABLE'))
  await assert.rejects(a.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 }), code('PEER_UNREACHABLE'))
})

test('CO17: connections above the number for one address are refused, and places come back', async t => {
  const a = await open(t, { loopback: 3 })
  const others: Opened[] = []
  for (let i = 0; i < 4; i++) {
    const b = await open(t, { listen: [] })
    b.gate.allow(a.host.addresses()[0]!, 'user')
    others.push(b)
  }
  const dial = (b: Opened) => b.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000))
  for (const b of others.slice(0, 3)) await dial(b)
  await assert.rejects(dial(others[3]!), code('PEER_UNREACHABLE'))
  assert.equal(a.host.peers().length, 3)
  const gone = new Promise<void>(resolve => a.host.events.on('peer:disconnected', () => resolve()))
  await others[0]!.host[Symbol.asyncDispose]()
  await within(gone)
  await dial(others[3]!)
})

test('connections that never finish their handshake do not keep others from theirs (threats HS3)', async t => {
  const a = await open(t)
  const port = parseAddress(a.host.addresses()[0]!)!.port!
  const silent: Socket[] = []
  t.after(() => silent.forEach(s => void s.destroy()))
  for (let i = 0; i < 2 * MAX_PENDING_CONNECTIONS; i++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.${i % 4}.66` })
    socket.on('error', () => {})
    silent.push(socket)
    await new Promise(resolve => socket.once('connect', resolve))
  }
  const b = await open(t)
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  await b.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 })
})

test('CO16: who comes from where there is none yet takes the place of one of many', () => {
  const places = (from: readonly string[], maxConnections: number) => {
    const closed: string[] = []
    const connections = from.map((ip, i) => ({
      ...{ status: 'open', direction: 'inbound', timeline: { open: i }, streams: [], remoteAddr: `/ip4/${ip}/tcp/1` },
      abort: () => void closed.push(ip)
    })) as unknown as Connection[]
    return { closed, taking: new InboundPlaces({ connections: () => connections, maxConnections }) }
  }
  const coming = (ip: string): MultiaddrConnection =>
    ({ remoteAddr: `/ip4/${ip}/tcp/1`, addEventListener: () => {} }) as unknown as MultiaddrConnection
  const { closed, taking } = places(['9.9.9.9', '8.8.8.1', '8.8.8.2', '8.8.8.3'], 4)
  assert.equal(taking.take(coming('8.8.8.4')), false, 'of the same network')
  assert.equal(taking.take(coming('1.1.1.1')), true)
  assert.deepEqual(closed, ['8.8.8.1'])
  assert.equal(places(['9.9.9.9', '8.8.8.1'], 2).taking.take(coming('1.1.1.1')), false, 'nobody has more than one')
})

test('CO16: connections above the total are refused', async t => {
  const a = await open(t, { maxConnections: 2 })
  const results: string[] = []
  for (let i = 0; i < 4; i++) {
    const b = await open(t, { listen: [] })
    b.gate.allow(a.host.addresses()[0]!, 'user')
    results.push(
      await b.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000)).then(
        () => 'ok',
        e => (e as KithError).code
      )
    )
  }
  assert.ok(a.host.peers().length <= 2)
  assert.ok(results.includes('PEER_UNREACHABLE'), results.join())
})

test('who is refused is cut off, and neither taken nor dialled again, over any protocol, until it is refused no more', async t => {
  const [a, b] = [await open(t), await open(t)]
  for (const o of [a, b]) o.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  const ask = (from: Opened, to: Opened): Promise<string> =>
    from.host.rpc.request(target(to), 'x', NONE, { maxResponseBytes: 1 }).then(
      () => 'ok',
      e => (e as KithError).code
    )
  assert.deepEqual([await ask(b, a), await ask(a, b)], ['ok', 'ok'])
  const banned = new Set([b.host.peerId])
  const gone = Promise.withResolvers<void>()
  b.host.events.on('peer:disconnected', () => gone.resolve())
  using refusing = a.host.refuse(peerId => banned.has(peerId))
  await within(gone.promise)
  assert.notEqual(await ask(b, a), 'ok')
  assert.equal(await ask(a, b), 'PEER_UNREACHABLE')
  const by = AbortSignal.timeout(5000)
  await assert.rejects(a.host.streams.open(target(b), 'kith', { maxFrameBytes: 10, signal: by }), code('PEER_UNREACHABLE'))
  await assert.rejects(a.host.dial(b.host.addresses()[0]!, by), code('PEER_UNREACHABLE'))
  const c = await open(t)
  c.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  assert.equal(await ask(c, a), 'ok', 'others are not')
  assert.deepEqual(
    a.host.peers().map(p => p.peerId),
    [c.host.peerId]
  )
  banned.clear()
  assert.deepEqual([await ask(b, a), await ask(a, b)], ['ok', 'ok'])
  void refusing
})

/** A WebSocket by hand, to send what no library sends. Resolves with what came back when the other side closes. */
async function rawWebSocket(port: number, frame: Uint8Array): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const parts: Buffer[] = []
  const closed = new Promise(resolve => socket.once('close', resolve))
  socket.write(
    `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`
  )
  await new Promise<void>(resolve => {
    socket.on('data', part => {
      parts.push(part)
      if (String(part).includes('101 Switching')) resolve()
    })
  })
  socket.write(frame)
  await within(closed)
  return Buffer.concat(parts)
}
const closeFrame = (status: number) => Buffer.from([0x88, 2, status >> 8, status & 255])

test('CO5-CO10: malformed and oversized WebSocket frames close the connection, and only that', async t => {
  const a = await open(t, { listen: [WS] })
  const { port } = parseAddress(a.host.addresses()[0]!)!
  const header = (opcode: number, length: bigint): Buffer => {
    const b = Buffer.alloc(14)
    b[0] = opcode
    b[1] = 0xff
    b.writeBigUInt64BE(length, 2)
    return b
  }
  const tiny = Buffer.from([0x00, 0x80, 0, 0, 0, 0])
  const cases: readonly (readonly [string, Uint8Array, number])[] = [
    ['CO5 unmasked', Buffer.from([0x82, 1, 0]), 1002],
    ['CO6 reserved opcode', Buffer.from([0x83, 0x80, 0, 0, 0, 0]), 1002],
    ['CO7 fragmented ping', Buffer.from([0x09, 0x80, 0, 0, 0, 0]), 1002],
    ['CO8 above the limit', header(0x82, BigInt(MAX_FRAME_BYTES + 1)), 1009],
    ['CO8 2^63-1', header(0x82, 2n ** 63n - 1n), 1009],
    ['CO10 empty fragments', Buffer.concat([Buffer.from([0x02, 0x80, 0, 0, 0, 0]), ...Array<Buffer>(100).fill(tiny)]), 1008],
    ['CO13 compressed', Buffer.from([0xc2, 0x80, 0, 0, 0, 0]), 1002]
  ]
  for (const [name, frame, status] of cases) {
    const answer = await rawWebSocket(port!, frame)
    assert.ok(answer.includes(closeFrame(status)), `${name}: ${answer.subarray(-8).toString('hex')}`)
  }
  const b = await open(t)
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  await b.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 })
})

test('HS7: the longest message that Noise can name, which is none, ends its connection and nothing else', async t => {
  const a = await open(t)
  const { port } = parseAddress(a.host.addresses()[0]!)!
  const line = (text: string): Buffer => Buffer.from(`${String.fromCharCode(text.length + 1)}${text}\n`)
  for (const length of [65_535, 64]) {
    const socket = connect(port!, '127.0.0.1')
    socket.on('error', () => {})
    const prefix = Buffer.alloc(2)
    prefix.writeUInt16BE(length)
    // The first message of a handshake is a key and anything; the second must decrypt.
    const junk = Buffer.concat([prefix, randomBytes(length)])
    socket.write(Buffer.concat([line('/multistream/1.0.0'), line('/noise'), junk, junk]))
    const closed = new Promise(resolve => socket.resume().once('close', resolve))
    await within(closed)
  }
  const b = await open(t)
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  await b.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 })
})

test('bytes that are not libp2p harm nobody', async t => {
  const a = await open(t, { listen: [TCP, WS] })
  for (const address of a.host.addresses()) {
    for (const junk of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      randomBytes(5000),
      Buffer.from([0x13]),
      Buffer.from('\x13/multistream/1.0.0\n')
    ]) {
      const socket = connect(parseAddress(address)!.port!, '127.0.0.1')
      socket.on('error', () => {})
      await new Promise(resolve => socket.once('connect', resolve))
      socket.resume().end(junk)
      await within(new Promise(resolve => socket.once('close', resolve)))
    }
  }
  const b = await open(t)
  a.host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  await b.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 })
})

test('a raw stream that breaks the framing only loses that stream', async t => {
  const [a, b] = [await open(t), await open(t)]
  let calls = 0
  a.host.rpc.handle('x', { maxRequestBytes: 10, perSecond: 99 }, async () => {
    calls++
    return NONE
  })
  b.gate.allow(a.host.addresses()[0]!, 'user')
  await b.host.dial(a.host.addresses()[0]!, AbortSignal.timeout(5000))
  const [connection] = b.host.libp2p.getConnections()
  for (const bytes of [Uint8Array.of(255, 255, 255, 255), Uint8Array.of(0, 0, 0, 1, 1, 1), Uint8Array.of(0, 0), NONE]) {
    const stream = await connection!.newStream('/kith/x/1')
    const closed = new Promise(resolve => stream.addEventListener('close', resolve, { once: true }))
    stream.addEventListener('message', () => {})
    if (bytes.length > 0) stream.send(bytes)
    await stream.close({ signal: AbortSignal.timeout(2000) }).catch(() => {})
    await within(closed)
  }
  assert.equal(calls, 0)
  await b.host.rpc.request(target(a), 'x', NONE, { maxResponseBytes: 1 })
  assert.equal(calls, 1)
})

test('a taken port is an error in words', async t => {
  const a = await open(t)
  const taken = a.host.addresses()[0]!.split('/p2p/')[0]!
  await assert.rejects(open(t, { listen: [TCP, taken] }), code('LISTEN_FAILED'))
})

test('after closing, requests under way and new ones fail with HOST_CLOSED, and closing twice is closing once', async t => {
  const [a, b] = [await open(t), await open(t)]
  const asked = Promise.withResolvers<void>()
  a.host.rpc.handle('never', { maxRequestBytes: 1, perSecond: 9 }, (_, { signal }) => {
    asked.resolve()
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  const running = b.host.rpc.request(target(a), 'never', NONE, { maxResponseBytes: 1 })
  const failed = assert.rejects(running, code('HOST_CLOSED'))
  await asked.promise
  await Promise.all([b.host[Symbol.asyncDispose](), b.host[Symbol.asyncDispose]()])
  await failed
  await assert.rejects(b.host.rpc.request(target(a), 'never', NONE, { maxResponseBytes: 1 }), code('HOST_CLOSED'))
})
