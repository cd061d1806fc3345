/** The same behaviour over TLS, and what only TLS has: the pinned key, protocol versions, and listeners that share their limits. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'node:test'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { type TlsIdentity, temporaryTlsIdentity } from '../../platform/x509.node.ts'
import { type OpenHttp, openHttp } from '../http.node.ts'
import type { Endpoint, Source } from '../protocol.ts'
import { openHttpServer } from './server.node.ts'
import { httpsProtocol } from './source.node.ts'

const tls = temporaryTlsIdentity()
const CHUNK = 262_144

transferProtocolKit({
  name: 'https',
  async serve(shares, gate) {
    const server = await openHttpServer({ shares, gate, clock: systemClock, log: silentLogger }, { host: '127.0.0.1', tls })
    return {
      host: server.host,
      port: server.port,
      extraOf: () => tls.pin,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]()
    }
  },
  protocol: () => httpsProtocol({ clock: systemClock })
})

const share = new MemoryShare(seededBytes(3 * CHUNK + 5))

async function both(limits: { maxConnectionsPerAddress?: number } = {}): Promise<{ http: OpenHttp; gate: TestGate }> {
  const gate = new TestGate()
  const deps = { shares: shareIndex([share, paid]), gate, clock: systemClock, log: silentLogger }
  return { gate, http: await openHttp(deps, { host: '127.0.0.1', secure: { tls }, ...limits }) }
}
const paid = new MemoryShare(seededBytes(2 * CHUNK, 2), { pricePerMb: 5n })

const endpoint = (port: number, more: Partial<Endpoint> = {}): Endpoint => ({
  host: '127.0.0.1',
  port,
  extra: tls.pin,
  fileId: share.fileId,
  grid: share.grid,
  seeder: '22'.repeat(32),
  ticket: undefined,
  ...more
})
const fetchOne = async (source: Source, of: MemoryShare, chunk: number): Promise<void> => {
  const delivery = new MemoryDelivery(of.grid, { first: chunk, count: 1 })
  await within(5000, `chunk ${chunk}`, source.fetch(delivery, new AbortController().signal))
  assert.equal(delivery.chunks.size, 1)
  delivery.assertMatches(of)
}

/** A TLS server of somebody else; `heard` is everything that was said to it inside TLS. */
async function stranger(options: TlsOptions & { identity: TlsIdentity }): Promise<AsyncDisposable & { port: number; heard: () => string }> {
  let heard = ''
  const sockets = new Set<TLSSocket>()
  const server = createTlsServer({ key: options.identity.key, cert: options.identity.certificate, ...options }, socket => {
    sockets.add(socket.on('error', () => {}).on('data', d => (heard += d.toString('latin1'))))
  }).on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as { port: number }).port,
    heard: () => heard,
    [Symbol.asyncDispose]: async () => {
      for (const s of sockets) s.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}

test('CO21: another key than the pinned one is SOURCE_LIED, and hears not one byte of HTTP', async () => {
  await using other = await stranger({ identity: temporaryTlsIdentity() })
  await using protocol = httpsProtocol({ clock: systemClock })
  const open = (extra: Uint8Array): Promise<Source> => protocol.openSource(endpoint(other.port, { extra }), AbortSignal.timeout(5000))
  await assert.rejects(open(tls.pin), e => hasCode(e, 'SOURCE_LIED'))
  for (const extra of [new Uint8Array(), tls.pin.subarray(1), new Uint8Array(33)])
    await assert.rejects(open(extra), e => hasCode(e, 'SOURCE_LIED'), `${extra.length} bytes`)
  assert.equal(other.heard(), '')
})
test('CO21: TLS 1.2 is not spoken, in either direction', async () => {
  await using old = await stranger({ identity: tls, maxVersion: 'TLSv1.2' })
  await using protocol = httpsProtocol({ clock: systemClock })
  await assert.rejects(protocol.openSource(endpoint(old.port), AbortSignal.timeout(5000)), e => hasCode(e, 'SOURCE_LOST'))
  assert.equal(old.heard(), '')
  const { http } = await both()
  await using _ = http
  const client = connectTls({ host: '127.0.0.1', port: http.secureServer!.port, maxVersion: 'TLSv1.2', rejectUnauthorized: false })
  await assert.rejects(within(5000, 'the refusal', once(client, 'secureConnect')))
})
test('CO21: a resumed session never stands in for the key', async () => {
  const { http } = await both()
  await using _ = http
  for (let i = 0; i < 3; i++) {
    await using source = await http.secureProtocol.openSource(endpoint(http.secureServer!.port), AbortSignal.timeout(5000))
    await fetchOne(source, share, i)
  }
  await using other = await stranger({ identity: temporaryTlsIdentity() })
  await assert.rejects(http.secureProtocol.openSource(endpoint(other.port), AbortSignal.timeout(5000)), e => hasCode(e, 'SOURCE_LIED'))
})
test('what is no TLS, or stops in the middle of the handshake, harms nobody and is closed', async () => {
  const gate = new TestGate()
  const deps = { shares: shareIndex([share]), gate, clock: systemClock, log: silentLogger }
  await using server = await openHttpServer(deps, { host: '127.0.0.1', tls, headersTimeoutMs: 300, deadlineCheckMs: 50 })
  const ends = async (bytes: Uint8Array | string): Promise<string> => {
    const socket = connect(server.port, '127.0.0.1').on('error', () => {})
    let got = ''
    socket.on('data', d => (got += d.toString('latin1')))
    socket.write(bytes)
    await within(5000, `the end of ${JSON.stringify(bytes).slice(0, 60)}`, once(socket, 'close'))
    return got
  }
  assert.doesNotMatch(await ends(`GET /${share.hex} HTTP/1.1\r\nHost: x\r\n\r\n`), /HTTP/)
  await ends(seededBytes(2000, 4))
  await ends(Uint8Array.of(22, 3, 1, 2, 0, 1, 0))
  const silent = connect(server.port, '127.0.0.1').on('error', () => {})
  await within(5000, 'a silent client to be closed', once(silent, 'close'))
  const idle = connectTls({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false }).on('error', () => {})
  await once(idle, 'secureConnect')
  idle.resume()
  await within(5000, 'a client without a request to be closed', once(idle, 'close'))
  await eventually('no connection is left', () => server.connections === 0)
  await using protocol = httpsProtocol({ clock: systemClock })
  await using source = await protocol.openSource(endpoint(server.port), AbortSignal.timeout(5000))
  await fetchOne(source, share, 3)
})
test('HT4: both listeners count connections together', async () => {
  const { http } = await both({ maxConnectionsPerAddress: 2 })
  await using _ = http
  const sockets = [connect(http.server.port, '127.0.0.1'), connect(http.secureServer!.port, '127.0.0.1')]
  for (const s of sockets)
    await once(
      s.on('error', () => {}),
      'connect'
    )
  await eventually('both are open', () => http.server.connections === 1 && http.secureServer!.connections === 1)
  const third = connect(http.secureServer!.port, '127.0.0.1').on('error', () => {})
  await within(5000, 'the third to be closed', once(third, 'close'))
  for (const s of sockets) s.destroy()
  await eventually('none is open', () => http.server.connections === 0 && http.secureServer!.connections === 0)
  await using source = await http.secureProtocol.openSource(endpoint(http.secureServer!.port), AbortSignal.timeout(5000))
  await fetchOne(source, share, 0)
})
test('one ticket is good over both, each counter once in all', async () => {
  const { http, gate } = await both()
  await using _ = http
  const ticket = gate.issue(paid, paid.grid.size)
  const at = { fileId: paid.fileId, grid: paid.grid, ticket }
  await using secure = await http.secureProtocol.openSource(endpoint(http.secureServer!.port, at), AbortSignal.timeout(5000))
  await using plain = await http.protocol.openSource(
    endpoint(http.server.port, { ...at, extra: new Uint8Array() }),
    AbortSignal.timeout(5000)
  )
  await fetchOne(secure, paid, 0)
  await fetchOne(plain, paid, 1)
  assert.equal(
    gate.admitted.reduce((n, a) => n + a.bytes, 0),
    paid.grid.size
  )
  assert.deepEqual([secure.protocol, plain.protocol], ['https', 'http'])
})
