import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test from 'node:test'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { Ticket } from '../protocol.ts'
import { type HttpServer, type HttpServerOptions, openHttpServer } from './server.node.ts'
import { answerMac, requestMac } from './ticket-mac.ts'

const CHUNK = 262_144

async function serve(
  shares: readonly MemoryShare[],
  options: HttpServerOptions = {}
): Promise<{ server: HttpServer; gate: TestGate; base: string }> {
  const gate = new TestGate()
  const deps = { shares: shareIndex(shares), gate, clock: systemClock, log: silentLogger }
  const server = await openHttpServer(deps, { host: '127.0.0.1', ...options })
  return { server, gate, base: `http://127.0.0.1:${server.port}` }
}

/** Sends bytes on a fresh connection and returns everything until the server closes it. */
async function raw(port: number, text: string, deadlineMs = 5000): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    let got = ''
    socket.on('data', d => (got += d.toString('latin1'))).on('error', () => {})
    socket.write(text, 'latin1')
    await within(deadlineMs, `the server to close after ${JSON.stringify(text.slice(0, 150))}`, once(socket, 'close'))
    return got
  } finally {
    socket.destroy()
  }
}
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? 0)
const get = (base: string, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Response> =>
  fetch(base + path, { method, headers, redirect: 'manual' })

test('a whole file, one range, one chunk and HEAD are served with the headers ordinary clients need', async () => {
  const share = new MemoryShare(seededBytes(2 * CHUNK + 7), { name: 'naïve "x".txt', mime: 'text/html' })
  const { server, base } = await serve([share])
  await using _ = server
  const whole = await get(base, `/${share.hex}`)
  assert.equal(whole.status, 200)
  assert.equal(Buffer.compare(Buffer.from(await whole.arrayBuffer()), share.content), 0)
  const expected: Record<string, string> = {
    etag: `"${share.hex}"`,
    'accept-ranges': 'bytes',
    'content-length': String(share.content.length),
    'cache-control': 'public, max-age=31536000, immutable',
    'content-disposition': `attachment; filename="na_ve _x_.txt"; filename*=UTF-8''na%C3%AFve%20%22x%22.txt`,
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
    'access-control-allow-origin': '*',
    'repr-digest': `sha-256=:${Buffer.from(share.fileId).toString('base64')}:`,
    'content-type': 'text/html'
  }
  for (const [name, value] of Object.entries(expected)) assert.equal(whole.headers.get(name), value, name)
  const head = await get(base, `/${share.hex}`, {}, 'HEAD')
  assert.deepEqual(
    [head.status, head.headers.get('content-length'), (await head.arrayBuffer()).byteLength],
    [200, String(share.content.length), 0]
  )
  const part = await get(base, `/${share.hex}`, { range: `bytes=${CHUNK - 3}-${CHUNK + 4}` })
  assert.deepEqual([part.status, part.headers.get('content-range')], [206, `bytes ${CHUNK - 3}-${CHUNK + 4}/${share.content.length}`])
  assert.equal(Buffer.compare(Buffer.from(await part.arrayBuffer()), share.content.subarray(CHUNK - 3, CHUNK + 5)), 0)
  for (const i of [0, 2]) {
    const chunk = await get(base, `/file/${share.hex}/chunk/${i}`)
    assert.equal(chunk.headers.get('etag'), `"${share.hex}-${i}"`)
    assert.equal(Buffer.compare(Buffer.from(await chunk.arrayBuffer()), share.chunk(i)), 0)
  }
})
test('conditions: If-None-Match answers 304, If-Range that fits a part, that does not the whole', async () => {
  const share = new MemoryShare(seededBytes(5000))
  const { server, base } = await serve([share])
  await using _ = server
  const etag = `"${share.hex}"`
  for (const value of [etag, `"x", ${etag}`, `W/${etag}`, '*'])
    assert.equal((await get(base, `/${share.hex}`, { 'if-none-match': value })).status, 304)
  assert.equal((await get(base, `/${share.hex}`, { 'if-none-match': '"other"' })).status, 200)
  assert.equal((await get(base, `/${share.hex}`, { range: 'bytes=0-1', 'if-range': etag })).status, 206)
  assert.equal((await get(base, `/${share.hex}`, { range: 'bytes=0-1', 'if-range': '"other"' })).status, 200)
})
test('HT1: Range that asks for several parts, nothing, or nonsense', async () => {
  const share = new MemoryShare(seededBytes(5000))
  const { server, base } = await serve([share])
  await using _ = server
  for (const range of ['bytes=-0', 'bytes=5000-', `bytes=${2n ** 64n}-`, 'rows=0-1', `bytes=${'0-,'.repeat(1000)}0-`]) {
    const answer = await get(base, `/${share.hex}`, { range })
    assert.deepEqual([answer.status, answer.headers.get('content-range')], [416, 'bytes */5000'], range)
    await answer.body?.cancel()
  }
  for (const range of ['bytes=5-1', 'x', 'bytes=a-b']) assert.equal((await get(base, `/${share.hex}`, { range })).status, 400, range)
})
test('HT2: only a hash that is shared leads anywhere', async () => {
  const share = new MemoryShare(seededBytes(5000))
  const { server } = await serve([share])
  await using _ = server
  const paths = [
    `/file/${share.hex}/chunk/../../../etc/passwd`,
    `/%2e%2e/${share.hex}`,
    `/${share.hex}%00`,
    `//${share.hex}`,
    `/${share.hex}/`,
    `/${share.hex}?x`,
    `/${share.hex.toUpperCase()}`,
    `/${'0'.repeat(64)}`,
    `/file/${share.hex}/chunk/1`,
    `/file/${share.hex}/chunk/-1`,
    `/file/${share.hex}/chunk/00`,
    `/file/${share.hex}/chunk/9999999`,
    `/${'a'.repeat(8000)}`,
    `http://127.0.0.1/${share.hex}`,
    '/',
    '*'
  ]
  for (const path of paths) {
    const status = statusOf(await raw(server.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`))
    assert.ok(status === 404 || status === 400, `${path}: ${status}`)
  }
  assert.equal(statusOf(await raw(server.port, `GET /${share.hex} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)), 200)
})
test('HT3: what two parsers could read differently is refused and the connection closed', async () => {
  const share = new MemoryShare(seededBytes(50))
  const { server } = await serve([share])
  await using _ = server
  const line = `GET /${share.hex} HTTP/1.1\r\nHost: x\r\n`
  const smuggled = `GET /${share.hex} HTTP/1.1\r\nHost: y\r\n\r\n`
  const cases = [
    `${line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${line}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde${smuggled}`,
    `${line}Transfer-Encoding: xchunked\r\n\r\n${smuggled}`,
    `${line}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${line}Content-Length: 5\r\n\r\nabcde${smuggled}`,
    `GET /${share.hex} HTTP/1.1\nHost: x\n\n`,
    `${line}X: a\r\n b\r\n\r\n`,
    `${line}X : a\r\n\r\n`,
    `${line}X: a\u0000b\r\n\r\n`,
    `GET /${share.hex}\r\n\r\n`,
    `POST /${share.hex} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort`
  ]
  for (const text of cases) {
    const answer = await raw(server.port, text)
    assert.ok([400, 405].includes(statusOf(answer)), `${JSON.stringify(text.slice(0, 120))}: ${answer.slice(0, 80)}`)
    assert.equal(answer.match(/HTTP\/1\.1 [0-9]{3}/g)?.length, 1, `${JSON.stringify(text)} got ${answer}`)
  }
})
test('CO3: too many or too large headers are 431, other methods 405', async () => {
  const share = new MemoryShare(seededBytes(50))
  const { server, base } = await serve([share])
  await using _ = server
  const many = Array.from({ length: 1000 }, (_, i) => `a${i}: b\r\n`).join('')
  assert.equal(statusOf(await raw(server.port, `GET /${share.hex} HTTP/1.1\r\nHost: x\r\n${many}\r\n`)), 431)
  assert.equal(statusOf(await raw(server.port, `GET /${share.hex} HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(65_536)}\r\n\r\n`)), 431)
  for (const method of ['OPTIONS', 'DELETE', 'PUT']) {
    const answer = await get(base, `/${share.hex}`, {}, method)
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD'])
  }
})
test('CO1, CO2, HT4: silence, a trickling head and an idle kept-alive connection are closed at their deadlines', async () => {
  const share = new MemoryShare(seededBytes(50))
  const { server } = await serve([share], { headersTimeoutMs: 300, requestTimeoutMs: 600, keepAliveMs: 300, deadlineCheckMs: 50 })
  await using _ = server
  const silent = raw(server.port, '', 4000)
  const trickle = (async () => {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {})
    const timer = setInterval(() => socket.write('a'), 20)
    socket.write('GET / HTTP/1.1\r\nX: ').valueOf()
    socket.resume()
    await within(4000, 'a trickling head to be cut', once(socket, 'close')).finally(() => clearInterval(timer))
  })()
  const idle = raw(server.port, `GET /${share.hex} HTTP/1.1\r\nHost: x\r\n\r\n`, 4000)
  await trickle
  assert.ok([0, 408].includes(statusOf(await silent)))
  assert.equal(statusOf(await idle), 200)
})
test('CO15: a client that does not read is dropped after the stall time, and its buffers come free', async () => {
  const share = new MemoryShare(seededBytes(48 * 2 ** 20))
  const { server } = await serve([share], { writeStallMs: 300 })
  await using _ = server
  const socket = connect(server.port, '127.0.0.1').on('error', () => {})
  socket.pause()
  socket.write(`GET /${share.hex} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await eventually('the server took it', () => server.connections === 1)
  await eventually('the server drops it', () => server.connections === 0, 6000)
  assert.ok(share.bytesRead < share.content.length)
  socket.destroy()
})
test('HT4: connections per address and in all are capped, and come free again', async () => {
  const share = new MemoryShare(seededBytes(50))
  const { server, base } = await serve([share], { maxConnectionsPerAddress: 4, maxConnections: 6 })
  await using _ = server
  const sockets: Socket[] = []
  for (let i = 0; i < 4; i++) {
    sockets.push(connect(server.port, '127.0.0.1').on('error', () => {}))
    await once(sockets[i]!, 'connect')
  }
  await eventually('four are open', () => server.connections === 4)
  assert.equal(statusOf(await raw(server.port, '')), 503)
  for (const s of sockets) s.destroy()
  await eventually('none is open', () => server.connections === 0)
  assert.equal((await get(base, `/${share.hex}`)).status, 200)
})
test('pipelined requests are answered in order; a packet full of them is not a packet full of buffers', async () => {
  const share = new MemoryShare(seededBytes(CHUNK))
  const { server } = await serve([share])
  await using _ = server
  const part = (n: number, more = ''): string => `GET /${share.hex} HTTP/1.1\r\nHost: x\r\nRange: bytes=${n}-${n}\r\n${more}\r\n`
  const answer = await raw(server.port, part(1) + part(2) + part(3, 'Connection: close\r\n'))
  assert.deepEqual(
    [...answer.matchAll(/content-range: bytes ([0-9]+)/g)].map(m => m[1]),
    ['1', '2', '3']
  )
  share.bytesRead = 0
  await raw(server.port, `GET /${share.hex} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(600))
  assert.ok(share.bytesRead <= 17 * CHUNK, `${share.bytesRead} bytes were read for a flood`)
})
test('CO18: many short connections leave nothing behind', async () => {
  const share = new MemoryShare(seededBytes(50))
  const { server } = await serve([share])
  await using _ = server
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        const socket = connect(server.port, '127.0.0.1').on('error', () => {})
        await once(socket, 'connect')
        socket.destroy()
      })
    )
  }
  await eventually('no connection is left', () => server.connections === 0)
})
test('a partial share gives 416 for a part it lacks, 404 for the whole', async () => {
  const share = new MemoryShare(seededBytes(3 * CHUNK), { chunks: [1] })
  const { server, base } = await serve([share])
  await using _ = server
  assert.equal((await get(base, `/${share.hex}`)).status, 404)
  assert.equal((await get(base, `/file/${share.hex}/chunk/0`)).status, 404)
  assert.equal((await get(base, `/${share.hex}`, { range: `bytes=0-${2 * CHUNK - 1}` })).status, 416)
  assert.equal((await get(base, `/${share.hex}`, { range: `bytes=${CHUNK}-${2 * CHUNK - 1}` })).status, 206)
})
test('a port that is taken is HTTP_LISTEN', async () => {
  const { server } = await serve([])
  await using _ = server
  await assert.rejects(serve([], { port: server.port }), e => hasCode(e, 'HTTP_LISTEN'))
})

function ticketed(share: MemoryShare, ticket: Ticket, counter: number, range = ''): Record<string, string> {
  return {
    'kith-ticket': bytesToHex(ticket.id),
    'kith-counter': String(counter),
    'kith-mac': requestMac(ticket.key, { method: 'GET', path: `/${share.hex}`, range, counter }),
    ...(range === '' ? {} : { range })
  }
}
test('a paid file: 402 with the reason as problem+json, no bytes, and HEAD still describes it', async () => {
  const share = new MemoryShare(seededBytes(1000), { pricePerMb: 5n })
  const { server, base, gate } = await serve([share])
  await using _ = server
  const answer = await get(base, `/${share.hex}`)
  assert.deepEqual([answer.status, answer.headers.get('content-type')], [402, 'application/problem+json'])
  const problem = (await answer.json()) as Record<string, unknown>
  assert.deepEqual(
    [problem['code'], problem['status'], problem['detail']],
    ['PAYMENT_REQUIRED', 402, 'this file is paid and no ticket was shown']
  )
  assert.equal((await get(base, `/${share.hex}`, {}, 'HEAD')).status, 200)
  assert.equal(gate.sentBytes, 0)
})
test('a ticket: authentic answers, and no replay, forgery or use for another file', async () => {
  const share = new MemoryShare(seededBytes(1000), { pricePerMb: 5n })
  const other = new MemoryShare(seededBytes(1000, 2), { pricePerMb: 5n })
  const { server, base, gate } = await serve([share, other])
  await using _ = server
  const ticket = gate.issue(share, 10_000)
  const headers = ticketed(share, ticket, 7, 'bytes=0-99')
  const good = await get(base, `/${share.hex}`, headers)
  assert.equal(good.status, 206)
  assert.equal(good.headers.get('kith-mac'), answerMac(ticket.key, { status: 206, contentRange: 'bytes 0-99/1000', counter: 7 }))
  assert.equal((await good.arrayBuffer()).byteLength, 100)
  const codeOf = async (path: string, h: Record<string, string>): Promise<unknown> => {
    const answer = await get(base, path, h)
    assert.equal(answer.status, 403)
    return ((await answer.json()) as Record<string, unknown>)['code']
  }
  assert.equal(await codeOf(`/${share.hex}`, headers), 'TICKET_REPLAYED')
  assert.equal(await codeOf(`/${share.hex}`, { ...ticketed(share, ticket, 8, 'bytes=0-99'), range: 'bytes=0-999' }), 'TICKET_MAC')
  assert.equal(await codeOf(`/${other.hex}`, ticketed(other, ticket, 9)), 'TICKET_UNKNOWN')
  assert.equal(await codeOf(`/${share.hex}`, { ...ticketed(share, ticket, 9), 'kith-counter': '10' }), 'TICKET_MAC')
  assert.equal(await codeOf(`/${share.hex}`, { 'kith-ticket': bytesToHex(ticket.id) }), 'TICKET_MALFORMED')
  assert.equal((await get(base, `/${share.hex}`, ticketed(share, ticket, 6, 'bytes=0-0'))).status, 206, 'overtaken, inside the window')
  assert.equal(gate.credit.get(bytesToHex(ticket.id)), 10_000 - 101)
})
test('T4: a client that breaks off is not charged for chunks that were never offered', async () => {
  const share = new MemoryShare(seededBytes(64 * CHUNK), { pricePerMb: 5n })
  const { server, gate } = await serve([share])
  await using _ = server
  const ticket = gate.issue(share, share.content.length)
  const lines = Object.entries(ticketed(share, ticket, 1)).map(([k, v]) => `${k}: ${v}\r\n`)
  const socket = connect(server.port, '127.0.0.1').on('error', () => {})
  socket.write(`GET /${share.hex} HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`)
  await once(socket, 'data')
  socket.destroy()
  await eventually('the server noticed', () => server.connections === 0)
  const charged = gate.admitted.reduce((n, a) => n + a.bytes, 0)
  assert.ok(charged <= gate.sentBytes + CHUNK, `charged ${charged}, written ${gate.sentBytes}`)
})
