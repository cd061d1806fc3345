/** The user's HTTP proxy: what goes through it, how, what it hears, and proxies that refuse or lie. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import test from 'node:test'
import fc from 'fast-check'
import { anyText, anyUrl } from '../../../test/kits/any-text.ts'
import { TEST_CERTIFICATE, TEST_KEY } from '../../../test/kits/certificate.ts'
import { openTestProxy, type TestProxy } from '../../../test/kits/http-proxy.ts'
import { MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode, type KithError, textOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { temporaryTlsIdentity } from '../../platform/x509.node.ts'
import type { Endpoint, Source } from '../protocol.ts'
import { endpointOf, type ProbeOptions, probeUrl } from './probe.node.ts'
import { proxyRoute } from './proxy.ts'
import { openHttpServer } from './server.node.ts'
import { httpProtocol, httpsProtocol } from './source.node.ts'

/** An address that is neither local nor reachable: the test proxy finds it on loopback. */
const FAR = '198.51.100.7'
const tls = temporaryTlsIdentity()
const share = new MemoryShare(seededBytes(600_000))

let kitProxy: TestProxy | undefined
test.before(async () => {
  kitProxy = await openTestProxy()
})
test.after(() => kitProxy?.[Symbol.asyncDispose]())
transferProtocolKit({
  name: 'https',
  async serve(shares, gate) {
    const server = await openHttpServer({ shares, gate, clock: systemClock, log: silentLogger }, { host: '127.0.0.1', tls })
    return { host: FAR, port: server.port, extraOf: () => tls.pin, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
  protocol: () => httpsProtocol({ clock: systemClock }, { proxy: `http://127.0.0.1:${kitProxy!.port}` })
})

test('the setting is http://host:port, and an error about it never shows what was in it', () => {
  assert.equal(proxyRoute({}), undefined)
  assert.equal(proxyRoute({ proxy: '' }), undefined)
  const read = (proxy: string): unknown => proxyRoute({ proxy })!.server
  assert.deepEqual(read('http://proxy.example:3128'), { host: 'proxy.example', port: 3128, header: '' })
  assert.deepEqual(read('http://[::1]/'), { host: '::1', port: 80, header: '' })
  const header = `Proxy-Authorization: Basic ${btoa('ann:p@ss')}\r\n`
  assert.deepEqual(read('http://ann:p%40ss@proxy.example:3128'), { host: 'proxy.example', port: 3128, header })
  for (const bad of [
    'proxy:3128',
    'https://secret@p:1',
    'socks5://secret@p:1',
    'http://secret@p:1/path',
    'http://u:secret%zz@p:1',
    'http://p:1?secret'
  ])
    assert.throws(
      () => proxyRoute({ proxy: bad }),
      e => hasCode(e, 'PROXY_INVALID') && !JSON.stringify([textOf(e), (e as KithError).data]).includes('secret'),
      bad
    )
  fc.assert(
    fc.property(fc.oneof(anyText(), anyUrl), text => {
      try {
        assert.doesNotMatch(proxyRoute({ proxy: text })?.server.header ?? '', /[\r\n](?!\n?$)/)
      } catch (e) {
        assert.ok(hasCode(e, 'PROXY_INVALID'), String(e))
      }
    })
  )
})
test('this machine, the local network and what the user names are reached directly', () => {
  const route = proxyRoute({ proxy: 'http://p:1', noProxy: ['intern.example', '.dev', '203.0.113.9'] })!
  for (const direct of [
    'localhost',
    '127.0.0.1',
    '::1',
    '10.1.2.3',
    '192.168.0.1',
    'fd00::1',
    'fe80::1',
    'intern.example',
    'a.Intern.example.',
    'x.dev',
    '203.0.113.9'
  ])
    assert.equal(route.covers(direct), false, direct)
  assert.equal(route.covers('files.example', '192.168.0.1'), false)
  for (const far of ['files.example', 'notintern.example', '198.51.100.7', '2a00::1']) assert.equal(route.covers(far), true, far)
  assert.equal(route.covers('files.example', '198.51.100.7'), true)
  assert.equal(proxyRoute({ proxy: 'http://p:1', noProxy: ['*'] })!.covers('files.example'), false)
})

interface Site extends AsyncDisposable {
  readonly proxy: TestProxy
  readonly port: number
  readonly options: ProbeOptions
}
/** Our listener (with the certificate for files.test when secure) and a proxy; names do not resolve here. */
async function site(secure: boolean, credentials?: string): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const proxy = stack.use(await openTestProxy(credentials))
  const deps = { shares: shareIndex([share]), gate: new TestGate(), clock: systemClock, log: silentLogger }
  const identity = { key: TEST_KEY, certificate: TEST_CERTIFICATE, pin: new Uint8Array(32) }
  const server = stack.use(await openHttpServer(deps, { host: '127.0.0.1', tls: secure ? identity : undefined }))
  const options: ProbeOptions = {
    allowPrivate: true,
    ca: TEST_CERTIFICATE,
    proxy: `http://ann:secret@127.0.0.1:${proxy.port}`,
    resolve: () => Promise.reject(new Error('no names here'))
  }
  const owned = stack.move()
  return { proxy, port: server.port, options, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
async function fetchAll(source: Source): Promise<void> {
  const delivery = new MemoryDelivery(share.grid, { first: 0, count: share.grid.count })
  await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
  assert.equal(delivery.chunks.size, share.grid.count)
  delivery.assertMatches(share)
}

for (const secure of [false, true])
  test(`a URL of the user whose name only the proxy can resolve is fetched through it (${secure ? 'https' : 'http'})`, async () => {
    await using s = await site(secure, `Basic ${btoa('ann:secret')}`)
    const url = `${secure ? 'https' : 'http'}://files.test:${s.port}/${share.hex}`
    const probe = await probeUrl(url, s.options)
    assert.deepEqual([probe.size, probe.acceptRanges, probe.finalUrl], [share.grid.size, true, url])
    await using protocol = httpProtocol({ clock: systemClock }, s.options)
    assert.equal(protocol.proxied, true)
    await using source = await protocol.openSource(endpointOf(probe, share.fileId, share.grid), AbortSignal.timeout(5000))
    await fetchAll(source)
    assert.ok(s.proxy.asked.length >= 2)
    for (const asked of s.proxy.asked) assert.equal(asked, secure ? `CONNECT files.test:${s.port}` : `GET ${url}`)
    assert.ok(s.proxy.credentials.every(c => c === `Basic ${btoa('ann:secret')}`))
    const wrong = { ...s.options, proxy: `http://127.0.0.1:${s.proxy.port}` }
    await assert.rejects(probeUrl(url, wrong), e => hasCode(e, 'PROXY_REFUSED'))
    await using other = httpProtocol({ clock: systemClock }, wrong)
    await assert.rejects(other.openSource(endpointOf(probe, share.fileId, share.grid), AbortSignal.timeout(5000)).then(fetchAll), e =>
      hasCode(e, 'PROXY_REFUSED')
    )
  })
test('a certificate for another name is refused through a proxy too', async () => {
  await using s = await site(true)
  await assert.rejects(probeUrl(`https://other.test:${s.port}/${share.hex}`, s.options), e => hasCode(e, 'SOURCE_LOST'))
})
test('HT8, HT9: behind a proxy literals, ports and names that resolve here are checked as ever', async () => {
  await using s = await site(false)
  const strict: ProbeOptions = { ...s.options, allowPrivate: false }
  const inside: ProbeOptions = { ...strict, resolve: async () => ['127.0.0.1'] }
  for (const [url, options, code] of [
    ['http://127.0.0.1:8080/', strict, 'FORBIDDEN_ADDRESS'],
    ['http://169.254.169.254/', { ...s.options }, 'FORBIDDEN_ADDRESS'],
    ['http://files.test:8080/', inside, 'FORBIDDEN_ADDRESS'],
    ['http://files.test:22/', strict, 'URL_FORBIDDEN']
  ] as const)
    await assert.rejects(probeUrl(url, options), e => hasCode(e, code), url)
  assert.deepEqual(s.proxy.asked, [])
  await using protocol = httpProtocol({ clock: systemClock })
  const named = { ...endpoint(s.port), seeder: undefined, host: 'files.test', extra: new TextEncoder().encode('http://files.test/x') }
  await assert.rejects(protocol.openSource(named, AbortSignal.timeout(5000)), e => hasCode(e, 'FORBIDDEN_ADDRESS'), 'no proxy, no names')
})

const endpoint = (port: number, host = FAR): Endpoint => ({
  host,
  port,
  extra: new Uint8Array(),
  fileId: share.fileId,
  grid: share.grid,
  seeder: '22'.repeat(32),
  ticket: undefined
})
test('a seeder is fetched from through the proxy with its ticket; one on this network directly', async () => {
  const paid = new MemoryShare(seededBytes(600_000, 3), { pricePerMb: 7n })
  const gate = new TestGate()
  const deps = { shares: shareIndex([paid]), gate, clock: systemClock, log: silentLogger }
  await using server = await openHttpServer(deps, { host: '127.0.0.1' })
  await using proxy = await openTestProxy()
  await using protocol = httpProtocol({ clock: systemClock }, { proxy: `http://127.0.0.1:${proxy.port}` })
  const at = { fileId: paid.fileId, grid: paid.grid, ticket: gate.issue(paid, 2 * paid.grid.size) }
  for (const [host, asked] of [
    [FAR, [`GET http://${FAR}:${server.port}/${paid.hex}`]],
    ['127.0.0.1', []]
  ] as const) {
    const before = proxy.asked.length
    await using source = await protocol.openSource({ ...endpoint(server.port, host), ...at }, AbortSignal.timeout(5000))
    const delivery = new MemoryDelivery(paid.grid, { first: 0, count: 3 })
    await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
    delivery.assertMatches(paid)
    assert.deepEqual(proxy.asked.slice(before), asked)
  }
})

/** A proxy that answers CONNECT with fixed bytes. */
async function liar(answer: string): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket.on('error', () => {}))
    socket.once('data', () => socket.write(answer, 'latin1'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const s of sockets) s.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}
for (const [what, answer, code] of [
  ['says 502', 'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n', 'SOURCE_LOST'],
  ['says 407', 'HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n', 'PROXY_REFUSED'],
  ['redirects', 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n', 'SOURCE_LOST'],
  ['is no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'SOURCE_LIED'],
  ['speaks before TLS', 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 206 x\r\n\r\n', 'SOURCE_LIED'],
  ['never ends its head', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(40_000)}`, 'SOURCE_LIED'],
  ['says 200 and then no TLS', 'HTTP/1.1 200 OK\r\n\r\n', 'SOURCE_LOST']
] as const)
  test(`HT5, HT12: a proxy that ${what} is ${code}`, async () => {
    await using proxy = await liar(answer)
    await using protocol = httpsProtocol({ clock: systemClock }, { proxy: `http://127.0.0.1:${proxy.port}` })
    const signal = AbortSignal.timeout(what.includes('then no TLS') ? 300 : 5000)
    const opened = protocol.openSource({ ...endpoint(8443), extra: tls.pin }, signal)
    await assert.rejects(opened, e => hasCode(e, code) || (signal.aborted && e === signal.reason), what)
  })
test('HT12: cookies and other state that a server or proxy hands out are never sent back', async () => {
  const heard: string[] = []
  const server = createServer(socket => {
    socket
      .on('error', () => {})
      .on('data', data => {
        const request = data.toString('latin1')
        heard.push(request)
        const [first, last] = /bytes=([0-9]+)-([0-9]+)/.exec(request)!.slice(1).map(Number) as [number, number]
        socket.write(
          `HTTP/1.1 206 x\r\nContent-Range: bytes ${first}-${last}/${share.grid.size}\r\nContent-Length: ${last - first + 1}\r\n` +
            'Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nStrict-Transport-Security: max-age=9\r\nAlt-Svc: h3=":1"\r\nWWW-Authenticate: Basic\r\n\r\n'
        )
        socket.write(share.content.subarray(first, last + 1))
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  {
    await using protocol = httpProtocol({ clock: systemClock })
    await using source = await protocol.openSource(endpoint(port, '127.0.0.1'), AbortSignal.timeout(5000))
    for (let i = 0; i < 3; i++) {
      const delivery = new MemoryDelivery(share.grid, { first: i, count: 1 })
      await within(5000, 'the fetch', source.fetch(delivery, new AbortController().signal))
      delivery.assertMatches(share)
    }
  }
  server.close()
  assert.equal(heard.length, 3)
  for (const request of heard) assert.doesNotMatch(request, /cookie|authorization|upgrade|referer|if-/i)
})
