import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { TEST_CERTIFICATE, TEST_KEY } from '../../../test/kits/certificate.ts'
import { MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { endpointOf, probeUrl } from './probe.node.ts'
import { openHttpServer } from './server.node.ts'
import { httpProtocol } from './source.node.ts'

const LOCAL = { allowPrivate: true }

async function site(listener: RequestListener, tls = false): Promise<AsyncDisposable & { readonly port: number; readonly base: string }> {
  const server = tls ? createTlsServer({ key: TEST_KEY, cert: TEST_CERTIFICATE }, listener) : createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    base: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}
const content = seededBytes(600_000)
/** Serves `content` with ranges under any path. */
const files: RequestListener = (req, res) => {
  const m = /^bytes=([0-9]+)-([0-9]+)$/.exec(req.headers.range ?? '')
  if (!m) return void res.writeHead(200, { 'content-length': content.length }).end(content)
  const [first, last] = [Number(m[1]), Number(m[2])]
  res.writeHead(206, { 'content-range': `bytes ${first}-${last}/${content.length}`, 'content-length': last - first + 1, etag: '"v1"' })
  res.end(content.subarray(first, last + 1))
}

test('our own listener is probed with everything it says, and fetched from as a plain URL', async () => {
  const share = new MemoryShare(seededBytes(600_000), { name: 'große Datei.iso' })
  const gate = new TestGate()
  await using server = await openHttpServer(
    { shares: shareIndex([share]), gate, clock: systemClock, log: silentLogger },
    { host: '127.0.0.1' }
  )
  const url = `http://127.0.0.1:${server.port}/${share.hex}`
  const probe = await probeUrl(url, LOCAL)
  const { port } = server
  const expected = {
    size: 600_000,
    etag: `"${share.hex}"`,
    acceptRanges: true,
    name: 'große Datei.iso',
    finalUrl: url,
    address: '127.0.0.1',
    port,
    sha256: share.hex
  }
  assert.deepEqual(probe, expected)
  await using protocol = httpProtocol({ clock: systemClock })
  await using source = await protocol.openSource(endpointOf(probe, share.fileId, share.grid), new AbortController().signal)
  const delivery = new MemoryDelivery(share.grid, { first: 0, count: 3 })
  await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
  assert.equal(delivery.chunks.size, 3)
  delivery.assertMatches(share)
})
test('https: the certificate is checked, and a good one is fetched from', async () => {
  await using s = await site(files, true)
  const share = new MemoryShare(content)
  await assert.rejects(probeUrl(`${s.base}/a.bin`, LOCAL), e => hasCode(e, 'SOURCE_LOST'))
  const named = { ...LOCAL, ca: TEST_CERTIFICATE, resolve: async () => ['127.0.0.1'] }
  await assert.rejects(probeUrl(`https://other.test:${s.port}/a.bin`, named), e => hasCode(e, 'SOURCE_LOST'))
  const probe = await probeUrl(`https://files.test:${s.port}/a.bin`, named)
  assert.deepEqual([probe.size, probe.name, probe.acceptRanges], [content.length, 'a.bin', true])
  await using protocol = httpProtocol({ clock: systemClock }, { ca: TEST_CERTIFICATE })
  await using source = await protocol.openSource(endpointOf(probe, share.fileId, share.grid), new AbortController().signal)
  const hold = (chunk: number): Promise<void> | undefined => (chunk === 1 ? new Promise(resolve => setTimeout(resolve, 20)) : undefined)
  const delivery = new MemoryDelivery(share.grid, { first: 0, count: 3 }, { hold })
  await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
  assert.equal(delivery.chunks.size, 3)
  delivery.assertMatches(share)
})
test("redirects are followed within the user's own host, five at most", async () => {
  await using s = await site((req, res) => {
    const n = Number(/^\/hop([0-9]+)$/.exec(req.url ?? '')?.[1] ?? 0)
    if (n === 0) files(req, res)
    else res.writeHead(302, { location: n === 1 ? '/dir/end%20name.bin#x' : `/hop${n - 1}` }).end()
  })
  const probe = await probeUrl(`${s.base}/hop5`, LOCAL)
  assert.deepEqual([probe.finalUrl, probe.name], [`${s.base}/dir/end%20name.bin`, 'end name.bin'])
  await assert.rejects(probeUrl(`${s.base}/hop6`, LOCAL), e => hasCode(e, 'REDIRECT_FORBIDDEN'))
})
test('HT7: redirects to files, other schemes, private or other local addresses, or in a circle are refused', async () => {
  const locations = [
    'file:///etc/passwd',
    'ftp://x/',
    'http://127.0.0.1:1/x',
    'http://localhost:8080/',
    'http://192.168.1.1/',
    'http://[::1]:8080/',
    'http://169.254.169.254/',
    '/7',
    'http://u:p@127.0.0.1/',
    'http://['
  ]
  await using s = await site((req, res) => void res.writeHead(302, { location: locations[Number(req.url!.slice(1))]! }).end())
  for (const i of locations.keys()) {
    await assert.rejects(probeUrl(`${s.base}/${i}`, LOCAL), e => hasCode(e, 'REDIRECT_FORBIDDEN'), locations[i])
  }
})
test('HT7: no redirect from https to http', async () => {
  await using s = await site((_req, res) => void res.writeHead(301, { location: `http://127.0.0.1:${s.port}/` }).end(), true)
  await assert.rejects(probeUrl(`${s.base}/`, { ...LOCAL, ca: TEST_CERTIFICATE }), e => hasCode(e, 'REDIRECT_FORBIDDEN'))
})
test('HT9: a public name that redirects within itself stays at the address it had', async () => {
  let asked = 0
  await using s = await site((req, res) => (req.url === '/a' ? void res.writeHead(302, { location: '/b' }).end() : files(req, res)))
  const probe = await probeUrl(`http://rebind.test:${s.port}/a`, {
    ...LOCAL,
    resolve: async () => [asked++ === 0 ? '127.0.0.1' : '127.0.0.2']
  })
  assert.deepEqual([asked, probe.address], [1, '127.0.0.1'])
})
test("without the user's word a private URL is not even connected to", async () => {
  let requests = 0
  await using s = await site((_req, res) => {
    requests++
    res.end()
  })
  await assert.rejects(probeUrl(`${s.base}/`), e => hasCode(e, 'FORBIDDEN_ADDRESS'))
  await assert.rejects(probeUrl(`http://name.test:${s.port}/`, { resolve: async () => ['127.0.0.1'] }), e =>
    hasCode(e, 'FORBIDDEN_ADDRESS')
  )
  assert.equal(requests, 0)
})
test('what servers without ranges, sizes or success say is passed on', async () => {
  await using s = await site((req, res) => {
    if (req.url === '/plain') return void res.writeHead(200, { 'content-length': 5 }).end('abcde')
    if (req.url === '/stream') return void res.write('a')
    if (req.url === '/gzip') return void res.writeHead(200, { 'content-encoding': 'gzip' }).end('x')
    if (req.url === '/empty') return void res.writeHead(416, { 'content-range': 'bytes */0' }).end()
    if (req.url === '/silent') return
    res.writeHead(404).end()
  })
  const plain = await probeUrl(`${s.base}/plain`, LOCAL)
  assert.deepEqual([plain.size, plain.acceptRanges, plain.etag, plain.sha256], [5, false, undefined, undefined])
  assert.equal((await probeUrl(`${s.base}/stream`, LOCAL)).size, undefined)
  assert.equal((await probeUrl(`${s.base}/empty`, LOCAL)).size, 0)
  await assert.rejects(probeUrl(`${s.base}/gzip`, LOCAL), e => hasCode(e, 'ENCODING_FORBIDDEN'))
  await assert.rejects(probeUrl(`${s.base}/none`, LOCAL), e => hasCode(e, 'HTTP_STATUS'))
  await assert.rejects(probeUrl(`${s.base}/silent`, { ...LOCAL, timeoutMs: 100 }), e => hasCode(e, 'SOURCE_LOST'))
})
