/** Compression towards ordinary clients: negotiated, only where it helps, with tags of its own, never for Kith. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import test from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { CODINGS, chooseCoding } from './coding.ts'
import { MAX_ENCODED_BYTES } from './limits.ts'
import { type HttpServer, type HttpServerOptions, openHttpServer } from './server.node.ts'
import { httpProtocol } from './source.node.ts'

const textOf = (size: number): Uint8Array<ArrayBuffer> => {
  const line = 'the quick brown fox jumps over the lazy dog; '
  return new Uint8Array(Buffer.from(line.repeat(Math.ceil(size / line.length)).slice(0, size)))
}
const share = new MemoryShare(textOf(700_001), { mime: 'text/plain', name: 'a.txt' })

async function serve(shares: readonly MemoryShare[], options: HttpServerOptions = {}): Promise<{ server: HttpServer; gate: TestGate }> {
  const gate = new TestGate()
  const deps = { shares: shareIndex(shares), gate, clock: systemClock, log: silentLogger }
  return { gate, server: await openHttpServer(deps, { host: '127.0.0.1', ...options }) }
}
interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Buffer
}
async function get(server: HttpServer, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const asked = request({ host: server.host, port: server.port, path, headers, method, agent: false }).end()
  const [res] = await once(asked, 'response')
  const parts: Buffer[] = []
  for await (const part of res) parts.push(part)
  return { status: res.statusCode, headers: res.headers, body: Buffer.concat(parts) }
}

test('Accept-Encoding is read as RFC 9110 says; nonsense counts for nothing', () => {
  for (const [header, coding] of [
    [undefined, undefined],
    ['', undefined],
    ['identity', undefined],
    ['gzip', 'gzip'],
    ['GZIP', 'gzip'],
    ['gzip, deflate, br, zstd', 'br'],
    ['gzip;q=1.0, br;q=0.5', 'gzip'],
    ['br;q=0, gzip', 'gzip'],
    ['*', 'br'],
    ['*;q=0', undefined],
    ['gzip;q=0.5, identity', undefined],
    ['br;q=0,*', 'gzip'],
    ['gzip;q=2', undefined],
    ['gzip;q=0.0001', undefined],
    ['x-gzip', undefined]
  ] as const)
    assert.equal(chooseCoding(header), coding, header)
  fc.assert(
    fc.property(fc.array(fc.constantFrom('gzip', 'br', '*', 'identity', ';q=', '0', '1', '.5', ',', ' ', '\t', 'x')), parts => {
      const coding = chooseCoding(parts.join(''))
      assert.ok(coding === undefined || CODINGS.includes(coding))
    })
  )
})
test('text goes out in gzip or brotli to who asks, with a tag of its own and no word about the digest of other bytes', async () => {
  const { server, gate } = await serve([share])
  await using _ = server
  for (const [accept, coding, decode] of [
    ['gzip', 'gzip', gunzipSync],
    ['gzip, br', 'br', brotliDecompressSync]
  ] as const) {
    const before = gate.sentBytes
    const { status, headers, body } = await get(server, `/${share.hex}`, { 'accept-encoding': accept })
    assert.deepEqual([status, headers['content-encoding'], headers['vary']], [200, coding, 'accept-encoding'])
    assert.equal(headers['etag'], `"${share.hex}-${coding}"`)
    for (const none of ['content-length', 'repr-digest', 'content-digest', 'accept-ranges']) assert.equal(headers[none], undefined, none)
    assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable')
    assert.ok(body.length < share.content.length / 10)
    await eventually('what flowed is what counts', () => gate.sentBytes - before === body.length)
    assert.equal(Buffer.compare(decode(body), share.content), 0)
  }
  const plain = await get(server, `/${share.hex}`)
  const digest = `sha-256=:${Buffer.from(share.fileId).toString('base64')}:`
  assert.deepEqual(
    ['vary', 'content-encoding', 'content-digest', 'repr-digest', 'content-length'].map(h => plain.headers[h]),
    ['accept-encoding', undefined, digest, digest, String(share.content.length)]
  )
})
test('conditions work with every tag; ranges, chunks and HEAD are of the file as it is', async () => {
  const { server } = await serve([share])
  await using _ = server
  const accept = { 'accept-encoding': 'gzip' }
  for (const tag of [`"${share.hex}"`, `"${share.hex}-gzip"`, `"${share.hex}-br"`]) {
    const { status, headers } = await get(server, `/${share.hex}`, { ...accept, 'if-none-match': tag })
    assert.deepEqual([status, headers['etag'], headers['vary']], [304, tag, 'accept-encoding'])
  }
  const part = await get(server, `/${share.hex}`, { ...accept, range: 'bytes=5-9' })
  assert.deepEqual([part.status, part.headers['content-encoding'], part.body.toString()], [206, undefined, 'uick '])
  assert.deepEqual([part.headers['etag'], part.headers['content-digest']], [`"${share.hex}"`, undefined])
  const mixed = await get(server, `/${share.hex}`, { range: 'bytes=5-9', 'if-range': `"${share.hex}-gzip"` })
  assert.deepEqual([mixed.status, mixed.body.length], [200, share.content.length], 'a part of other bytes is of no use')
  const head = await get(server, `/${share.hex}`, accept, 'HEAD')
  assert.deepEqual([head.status, head.headers['content-encoding'], head.headers['etag']], [200, undefined, `"${share.hex}"`])
  assert.equal((await get(server, `/file/${share.hex}/chunk/0`, accept)).headers['content-encoding'], undefined)
})
test('never: for paid files, for what does not shrink, for other types, very small and very large files, HTTP/1.0', async () => {
  const never = [
    new MemoryShare(textOf(5000), { mime: 'text/plain', pricePerMb: 1n }),
    new MemoryShare(seededBytes(700_000, 5), { mime: 'text/plain' }),
    new MemoryShare(textOf(5001), { mime: 'application/zip' }),
    new MemoryShare(textOf(5002), { mime: 'application/octet-stream' }),
    new MemoryShare(textOf(1000), { mime: 'text/plain' }),
    new MemoryShare(textOf(MAX_ENCODED_BYTES + 1), { mime: 'text/plain' })
  ]
  const { server } = await serve([...never, share])
  await using _ = server
  for (const [i, s] of never.entries()) {
    const { headers } = await get(server, `/${s.hex}`, { 'accept-encoding': 'gzip, br', ...(i === 5 ? { range: 'bytes=0-9' } : {}) })
    assert.equal(headers['content-encoding'], undefined, `${i}`)
    assert.equal(headers['vary'], i === 1 ? 'accept-encoding' : undefined, `${i}`)
  }
  const socket = connect(server.port, '127.0.0.1').on('error', () => {})
  socket.end(`GET /${share.hex} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n`)
  const [first] = await once(socket, 'data')
  assert.doesNotMatch(String(first).slice(0, 1000), /content-encoding/i)
  socket.destroy()
})
test('HT6: a Kith peer asks for no coding and gets none, with a ticket even if it asked', async () => {
  const { server, gate } = await serve([share])
  await using _ = server
  await using protocol = httpProtocol({ clock: systemClock })
  const endpoint = { host: server.host, port: server.port, extra: new Uint8Array(), fileId: share.fileId, grid: share.grid }
  const ticket = gate.issue(share, 0)
  for (const more of [
    { seeder: '22'.repeat(32), ticket },
    { seeder: '22'.repeat(32), ticket: undefined }
  ]) {
    await using source = await protocol.openSource({ ...endpoint, ...more }, AbortSignal.timeout(5000))
    const delivery = new MemoryDelivery(share.grid, { first: 0, count: share.grid.count })
    await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
    delivery.assertMatches(share)
  }
})
test('no more than two answers are compressed at once; a client that stalls or leaves gives its place back', async () => {
  const big = new MemoryShare(
    seededBytes(40 * 2 ** 20).map(b => 97 + (b & 15)),
    { mime: 'text/plain' }
  ) // shrinks to about a half
  const { server } = await serve([big, share], { writeStallMs: 400 })
  await using _ = server
  const encodingOf = async (accept: string): Promise<unknown> =>
    (await get(server, `/${share.hex}`, { 'accept-encoding': accept })).headers['content-encoding']
  const slow = [1, 2].map(() => {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {})
    socket.pause().write(`GET /${big.hex} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n`)
    return socket
  })
  await eventually('both places are taken', async () => (await encodingOf('gzip')) === undefined)
  slow[0]!.destroy()
  await eventually('one has left', async () => (await encodingOf('br')) === 'br')
  await eventually('the other was dropped', () => server.connections === 0, 10_000)
  assert.equal(await encodingOf('gzip'), 'gzip')
  slow[1]!.destroy()
})
test('a file that changed on disk is refused before anything is promised', async () => {
  const gone = new MemoryShare(textOf(50_000), { mime: 'text/plain' })
  const { server } = await serve([gone])
  await using _ = server
  gone.changed = true
  assert.equal((await get(server, `/${gone.hex}`, { 'accept-encoding': 'gzip' })).status, 410)
  gone.changed = false
  assert.equal((await get(server, `/${gone.hex}`, { 'accept-encoding': 'gzip' })).headers['content-encoding'], 'gzip')
  gone.changed = true
  await assert.rejects(
    within(5000, 'the cut', get(server, `/${gone.hex}`, { 'accept-encoding': 'gzip' })),
    'it was looked at before: cut off'
  )
})
