/** Hostile and merely odd servers: what a scripted TCP server answers, and what the source makes of it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import test from 'node:test'
import { MemoryDelivery, type MemoryDeliveryOptions, MemoryShare, seededBytes, within } from '../../../test/kits/transfer-doubles.ts'
import { utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { Endpoint, Source, Ticket } from '../protocol.ts'
import { httpProtocol } from './source.node.ts'
import { answerMac } from './ticket-mac.ts'
import { withEtag } from './url.ts'

const CHUNK = 262_144
const share = new MemoryShare(seededBytes(3 * CHUNK + 100))
const size = share.grid.size
const ticket: Ticket = { id: new Uint8Array(16).fill(1), key: new Uint8Array(32).fill(2), expiresAt: Number.MAX_SAFE_INTEGER }

/** Answers one request on a connection; `request` is its head. */
type Script = (socket: Socket, request: string, nth: number) => void

interface Rig extends AsyncDisposable {
  readonly port: number
  readonly requests: string[]
  readonly connections: () => number
  readonly source: Source
}

async function rig(script: Script, options: { plain?: boolean; etag?: string; ticket?: Ticket } = {}): Promise<Rig> {
  await using stack = new AsyncDisposableStack()
  const requests: string[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer(socket => {
    connections++
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
    let text = ''
    socket.on('data', d => {
      text += d.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        requests.push(text.slice(0, end))
        text = text.slice(end + 4)
        script(socket, requests.at(-1)!, requests.length)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(async () => {
    server.close()
    for (const s of sockets) s.destroy()
    await once(server, 'close')
  })
  const { port } = server.address() as AddressInfo
  const protocol = stack.use(httpProtocol({ clock: systemClock }))
  const extra = options.plain ? utf8(withEtag(`http://127.0.0.1:${port}/some/file?x=1`, options.etag)) : new Uint8Array()
  const seeder = options.plain ? undefined : '33'.repeat(32)
  const endpoint: Endpoint = { host: '127.0.0.1', port, extra, fileId: share.fileId, grid: share.grid, seeder, ticket: options.ticket }
  const source = await protocol.openSource(endpoint, new AbortController().signal)
  const owned = stack.move()
  return { port, requests, connections: () => connections, source, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function begin(
  source: Source,
  first = 0,
  count = 2,
  options: MemoryDeliveryOptions = {}
): { delivery: MemoryDelivery; done: Promise<void> } {
  const delivery = new MemoryDelivery(share.grid, { first, count }, options)
  const done = within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
  done.catch(() => {})
  return { delivery, done }
}
const rangeOf = (request: string): [number, number] => {
  const m = /^Range: bytes=([0-9]+)-([0-9]+)$/m.exec(request)!
  return [Number(m[1]), Number(m[2])]
}
const honest = (request: string, extra = ''): { head: string; body: Uint8Array } => {
  const [first, last] = rangeOf(request)
  return {
    head: `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ${first}-${last}/${size}\r\nContent-Length: ${last - first + 1}\r\n${extra}\r\n`,
    body: share.content.subarray(first, last + 1)
  }
}
const send = (socket: Socket, { head, body }: { head: string; body: Uint8Array }): void => {
  socket.write(head, 'latin1')
  socket.write(body)
}
/** The script's answer makes every fetch end with this code, and no complete chunk. */
function refuses(
  name: string,
  code: string,
  answer: string | ((request: string) => string),
  options: { plain?: boolean; etag?: string } = {}
): void {
  test(`${name} is ${code}`, async () => {
    await using r = await rig((socket, request) => socket.write(typeof answer === 'string' ? answer : answer(request), 'latin1'), options)
    const { delivery, done } = begin(r.source)
    await assert.rejects(done, (e: unknown) => {
      assert.ok(hasCode(e, code), `${(e as KithError).code}: ${(e as KithError).message}`)
      return true
    })
    assert.equal(delivery.chunks.size, 0)
  })
}
const HEAD = (from: number, to: number, of: number | string, length: number, more = ''): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ${from}-${to}/${of}\r\nContent-Length: ${length}\r\n${more}\r\n`
const WANT = 2 * CHUNK

refuses('HT5: the whole file from a seeder', 'SOURCE_LIED', `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\nabc`)
refuses('HT5: a later range', 'SOURCE_LIED', HEAD(1, WANT, size, WANT))
refuses('HT5: a shorter range', 'SOURCE_LIED', HEAD(0, WANT - 2, size, WANT - 1))
refuses('HT5: a longer range', 'SOURCE_LIED', HEAD(0, WANT, size, WANT + 1))
refuses('HT5: another file size', 'SOURCE_LIED', HEAD(0, WANT - 1, size + 1, WANT))
refuses('HT5: a length that is not the range', 'SOURCE_LIED', HEAD(0, WANT - 1, size, WANT + 5))
refuses('HT5: no length', 'SOURCE_LIED', `HTTP/1.1 206 x\r\nContent-Range: bytes 0-${WANT - 1}/${size}\r\n\r\n`)
refuses('HT5: no Content-Range', 'SOURCE_LIED', `HTTP/1.1 206 x\r\nContent-Length: ${WANT}\r\n\r\n`)
refuses('HT5: an endless chunked body', 'SOURCE_LIED', HEAD(0, WANT - 1, size, WANT, 'Transfer-Encoding: chunked\r\n'))
refuses(
  'HT5: a multipart answer',
  'SOURCE_LIED',
  'HTTP/1.1 206 x\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 5\r\n\r\nabcde'
)
for (const encoding of ['gzip', 'br', 'gzip, gzip', 'zstd'])
  refuses(`HT6: Content-Encoding ${encoding}`, 'ENCODING_FORBIDDEN', HEAD(0, WANT - 1, size, WANT, `Content-Encoding: ${encoding}\r\n`))
refuses('HT7: a redirect', 'REDIRECT_FORBIDDEN', 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n')
refuses('HT7: a redirect of a plain URL', 'REDIRECT_FORBIDDEN', 'HTTP/1.1 301 x\r\nLocation: file:///etc/passwd\r\n\r\n', { plain: true })
refuses('HT12: a head of 1 MB', 'SOURCE_LIED', `HTTP/1.1 206 x\r\nX: ${'y'.repeat(1_000_000)}\r\n\r\n`)
refuses('HT12: 10,000 headers', 'SOURCE_LIED', `HTTP/1.1 206 x\r\n${'X: y\r\n'.repeat(10_000)}\r\n`)
refuses('two lengths', 'SOURCE_LIED', HEAD(0, WANT - 1, size, WANT, `Content-Length: ${WANT}\r\n`))
refuses('something that is not HTTP', 'SOURCE_LIED', 'SSH-2.0-OpenSSH_9.2\r\n\r\n')
refuses('a 100 Continue nobody asked for', 'SOURCE_LOST', 'HTTP/1.1 100 Continue\r\n\r\n')
refuses('404', 'SOURCE_LOST', 'HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno')
refuses('404 with a long body', 'SOURCE_LOST', `HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\nno`)
refuses('404 with a chunked body', 'SOURCE_LOST', `HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n`)
refuses('403 of a mirror', 'SOURCE_LOST', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', { plain: true })
refuses('403 of a seeder', 'TICKET_REFUSED', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
refuses('416', 'SOURCE_LIED', 'HTTP/1.1 416 x\r\nContent-Length: 0\r\n\r\n', { plain: true })
refuses('503', 'SOURCE_BUSY', 'HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n')
refuses('429', 'SOURCE_BUSY', 'HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n')
refuses('a mirror that ignores Range', 'RANGE_UNSUPPORTED', `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`, { plain: true })
refuses('a mirror whose file changed', 'SOURCE_CHANGED', `HTTP/1.1 200 OK\r\nETag: "new"\r\nContent-Length: ${size}\r\n\r\n`, {
  plain: true,
  etag: '"old"'
})

test('402 carries the reason, cleaned of control characters', async () => {
  const body = JSON.stringify({ code: 'PAYMENT_REQUIRED', detail: 'pay \u001b[2J first\u202e' })
  await using r = await rig(socket => socket.write(`HTTP/1.1 402 x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`))
  await assert.rejects(
    begin(r.source).done,
    (e: unknown) => e instanceof KithError && e.code === 'PAYMENT_REQUIRED' && e.data['reason'] === 'pay �[2J first�'
  )
})
test('HT5: bytes beyond the announced length are cut off; the chunks before them count, the connection does not', async () => {
  await using r = await rig((socket, request) => {
    const { head, body } = honest(request)
    send(socket, { head, body: Buffer.concat([body, Buffer.alloc(1000, 1)]) })
  })
  for (const first of [0, 2]) {
    const { delivery, done } = begin(r.source, first, 2)
    await done.catch(e => assert.ok(hasCode(e, 'SOURCE_LIED'), String(e)))
    delivery.assertMatches(share)
    for (const [chunk, bytes] of delivery.chunks) assert.equal(bytes.length, share.chunk(chunk).length)
  }
})
test('HT5: a body that ends early is SOURCE_LOST after the chunks that were whole', async () => {
  await using r = await rig((socket, request) => {
    const { head, body } = honest(request)
    socket.write(head)
    socket.end(body.subarray(0, CHUNK + 1000))
  })
  const { delivery, done } = begin(r.source, 0, 3)
  await assert.rejects(done, e => hasCode(e, 'SOURCE_LOST'))
  assert.deepEqual([...delivery.chunks.keys()], [0])
  delivery.assertMatches(share)
})
test('an answer may arrive in any pieces, down to single bytes', async () => {
  await using r = await rig((socket, request) => {
    const { head, body } = honest(request, 'Set-Cookie: a\r\nStrict-Transport-Security: max-age=1\r\n')
    const bytes = Buffer.concat([Buffer.from(head), body])
    const cuts = [
      1,
      2,
      3,
      head.length - 2,
      head.length - 1,
      head.length,
      head.length + 1,
      head.length + 70_000,
      head.length + CHUNK,
      bytes.length
    ]
    let at = 0
    const next = (): void => {
      const to = cuts.shift()
      if (to === undefined || socket.destroyed) return
      socket.write(bytes.subarray(at, to), () => setImmediate(next))
      at = to
    }
    next()
  })
  const { delivery, done } = begin(r.source, 0, 4)
  await done
  assert.equal(delivery.chunks.size, 4)
  delivery.assertMatches(share)
})
test('a kept-alive connection is used again; one that went stale is replaced once', async () => {
  await using r = await rig((socket, request, nth) => {
    if (nth === 3) return void socket.destroy()
    send(socket, honest(request))
  })
  for (let i = 0; i < 2; i++) await begin(r.source, i, 1).done
  assert.equal(r.connections(), 1)
  const { delivery, done } = begin(r.source, 2, 1)
  await done
  delivery.assertMatches(share)
  assert.deepEqual([r.connections(), r.requests.length], [2, 4])
})
test('Connection: close is respected', async () => {
  await using r = await rig((socket, request) => send(socket, honest(request, 'Connection: close\r\n')))
  for (let i = 0; i < 3; i++) await begin(r.source, i, 1).done
  assert.equal(r.connections(), 3)
})
test('slots that come late: nothing is lost, doubled or written elsewhere', async () => {
  await using r = await rig((socket, request) => send(socket, honest(request)))
  const { delivery, done } = begin(r.source, 0, 4, {
    hold: chunk => (chunk % 2 ? new Promise(resolve => setTimeout(resolve, 20)) : undefined)
  })
  await done
  assert.equal(delivery.chunks.size, 4)
  delivery.assertMatches(share)
})
test('a plain URL is asked with its own path and If-Range, and a small file may come as 200', async () => {
  await using r = await rig(
    (socket, request) => {
      const [first, last] = rangeOf(request)
      if (first === 0 && last === size - 1)
        send(socket, { head: `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`, body: share.content })
      else send(socket, honest(request))
    },
    { plain: true, etag: '"v1"' }
  )
  const whole = begin(r.source, 0, 4)
  await whole.done
  whole.delivery.assertMatches(share)
  assert.match(r.requests[0]!, new RegExp(`^GET /some/file\\?x=1 HTTP/1.1\r\nHost: 127.0.0.1:${r.port}\r\n`))
  assert.match(r.requests[0]!, /\r\nIf-Range: "v1"/)
  assert.match(r.requests[0]!, /\r\nAccept-Encoding: identity/)
  assert.equal(r.source.seeder, undefined)
})
test("with a ticket an answer needs the seeder's proof, for this request and this range", async () => {
  const proofs = [
    (c: number, range: string) => answerMac(ticket.key, { status: 206, contentRange: range, counter: c }),
    (c: number, range: string) => answerMac(ticket.key, { status: 206, contentRange: range, counter: c - 1 }),
    (c: number) => answerMac(ticket.key, { status: 206, contentRange: '', counter: c }),
    () => ''
  ]
  await using r = await rig(
    (socket, request, nth) => {
      const counter = Number(/^Kith-Counter: ([0-9]+)$/m.exec(request)![1])
      const [first, last] = rangeOf(request)
      send(socket, honest(request, `Kith-Mac: ${proofs[nth - 1]!(counter, `bytes ${first}-${last}/${size}`)}\r\n`))
    },
    { ticket }
  )
  await begin(r.source).done
  for (let i = 1; i < proofs.length; i++) await assert.rejects(begin(r.source).done, e => hasCode(e, 'SOURCE_LIED'), `proof ${i}`)
  const counters = r.requests.map(q => Number(/^Kith-Counter: ([0-9]+)$/m.exec(q)![1]))
  assert.equal(new Set(counters).size, counters.length)
})
test('HT10, names: an offer cannot lead to a service port or to a name', async () => {
  await using protocol = httpProtocol({ clock: systemClock })
  const open = (host: string, port: number): Promise<Source> =>
    protocol.openSource(
      { host, port, extra: new Uint8Array(), fileId: share.fileId, grid: share.grid, seeder: '33', ticket: undefined },
      AbortSignal.timeout(5000)
    )
  for (const port of [0, 22, 25, 6379, 70_000])
    await assert.rejects(open('127.0.0.1', port), e => hasCode(e, 'URL_FORBIDDEN'), String(port))
  await assert.rejects(open('localhost', 8080), e => hasCode(e, 'FORBIDDEN_ADDRESS'))
})
