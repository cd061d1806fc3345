/** The HTTP server and client of spec 001 over real sockets, with real messengers behind them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test from 'node:test'
import { randomBytes } from '#crypto'
import { MemoryNetwork, NETWORK, note, selfOf, type TestPeer, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { temporaryTlsIdentity } from '../platform/x509.node.ts'
import { openSessions } from '../session/sessions.ts'
import { messageTime, type SecureMessage, writeSecureMessage } from '../wire/secure-message.ts'
import { type Guard, openGuard } from './guard.ts'
import { signedAuthorization } from './http/authority.ts'
import { BodyBudget } from './http/body.node.ts'
import { askPublicKey, openHttpLink } from './http-client.node.ts'
import { type MessageHttp, type MessageHttpOptions, openMessageHttp } from './http-server.node.ts'
import { MAX_HTTP_BODY_BYTES_PER_ADDRESS } from './limits.ts'
import type { MessageLink } from './link.ts'
import { sessionChannels } from './session-channel.ts'
import { newUuid } from './uuid.ts'

const TOKEN = 'secret-token'

interface Server extends AsyncDisposable {
  readonly http: MessageHttp
  readonly peer: TestPeer
  readonly penalties: string[]
  readonly granted: Set<string>
  readonly banned: Set<string>
}

/** A messenger that only listens: it has no way to connect to anybody. */
async function openServer(
  folder: string,
  options: MessageHttpOptions = {},
  guard: Guard = openGuard,
  stats: unknown = { links: 1 }
): Promise<Server> {
  await using stack = new AsyncDisposableStack()
  const peer = stack.use(await new MemoryNetwork().open(folder, 'server', { guard }))
  const [penalties, granted, banned] = [[] as string[], new Set<string>(), new Set<string>()]
  const http = stack.use(
    await openMessageHttp(
      {
        ...{ clock: systemClock, log: silentLogger, self: await selfOf('server') },
        accept: link => peer.messenger.accept(link),
        peers: () => [{ entityId: 'did:key:x', address: undefined, hasPublicKey: true }],
        stats: () => stats,
        isGranted: id => granted.has(id),
        isBanned: key => banned.has(key),
        penalise: (_key, penalty, code) => void penalties.push(`${penalty} ${code}`)
      },
      { token: TOKEN, ...options }
    )
  )
  const owned = stack.move()
  return { http, peer, penalties, granted, banned, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const openClient = (folder: string, http: MessageHttp, pin?: Uint8Array): Promise<TestPeer> =>
  new MemoryNetwork().open(folder, 'client', {
    opener: { open: async () => openHttpLink({ random: randomBytes }, { url: http.url, pin }) }
  })

const post = (http: MessageHttp, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${http.url}/message`, { method: 'POST', body: body as BodyInit, headers: { 'content-type': 'application/json', ...headers } })
const codeIn = async (r: Response): Promise<[number, string]> => [r.status, ((await r.json()) as { error_code: string }).error_code]

/** Writes raw bytes and reads until the other side closes, or what is there satisfies. */
async function raw(http: MessageHttp, bytes: string, until?: RegExp): Promise<string> {
  const socket: Socket = connect(http.port, http.host)
  let text = ''
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.write(bytes)
  await new Promise<void>(resolve => {
    socket.on('data', data => {
      text += data
      if (until?.test(text)) resolve()
    })
    socket.once('close', () => resolve())
  })
  socket.destroy()
  return text
}

test('a peer of which only the URL is known is greeted, messaged, and answers although nobody can connect to the asker', async () => {
  using folder = tempFolder()
  const tls = temporaryTlsIdentity()
  await using server = await openServer(folder.path, { tls })
  await using client = await openClient(folder.path, server.http, tls.pin)
  const signal = AbortSignal.timeout(5000)
  const { entityId } = await askPublicKey({ url: server.http.url, pin: tls.pin }, signal)
  assert.equal(entityId, server.peer.id)
  const ids = await Promise.all(
    [...Array(50)].map((_, i) => client.messenger.send({ to: entityId, type: 'agent_message', body: note(`${i}`) }))
  )
  await eventually('all delivered', () => ids.every(m => client.messenger.sent(m.id)?.state === 'delivered'))
  assert.deepEqual([server.peer.messenger.inbox().length, server.peer.messenger.inbox()[0]?.via], [50, 'http'])
  const { id } = await server.peer.messenger.send({ to: client.id, type: 'agent_message', body: note('back') })
  await eventually('answered', () => server.peer.messenger.sent(id)?.state === 'delivered')
  assert.deepEqual(client.messenger.inbox()[0]?.body, note('back'))
})

test('what a peer sends over HTTP counts against its share of frames and bytes as over a stream; beyond that it waits (threats T1)', async () => {
  using folder = tempFolder()
  const share = { frames: 0, bytes: 0, left: 400_000 }
  const guard: Guard = {
    admit: ({ entityId }, type, bytes) => {
      if (entityId === undefined || type !== undefined || bytes === 0) return undefined
      if (share.left < bytes) return 'RATE_LIMITED'
      share.frames++
      share.bytes += bytes
      share.left -= bytes
      return undefined
    },
    report: () => {}
  }
  await using server = await openServer(folder.path, {}, guard)
  await using client = await openClient(folder.path, server.http)
  const body = note('x'.repeat(10_000))
  const all = await Promise.all([...Array(60)].map(() => client.messenger.send({ to: server.peer.id, type: 'agent_message', body })))
  await eventually('some were refused', () => share.left < 20_000)
  const got = server.peer.messenger.inbox().length
  assert.ok(got < 40 && share.frames >= got && share.bytes > got * 10_000, `${got} messages for ${share.bytes} bytes`)
  share.left = Number.POSITIVE_INFINITY
  client.messenger.wake(server.peer.id)
  await eventually('the rest comes later', () => all.every(m => client.messenger.sent(m.id)?.state === 'delivered'), 20_000)
})

/** A client that names no link: its session is known by its id. */
function plainLink(http: MessageHttp, headers: Record<string, string> = {}): MessageLink {
  const arrived: Uint8Array[] = []
  return {
    ...{ via: 'http', peerId: undefined, address: undefined, closed: new AbortController().signal },
    next: () => Promise.resolve(arrived.shift()),
    send: async frame => {
      const { reply = [] } = (await (await post(http, frame, headers)).json()) as { readonly reply?: readonly unknown[] }
      for (const f of reply) arrived.push(Buffer.from(JSON.stringify(f)))
    },
    [Symbol.asyncDispose]: () => Promise.resolve()
  }
}

test('junk that is put into the session of a peer is blamed on the address that brought it, and leaves the session as it was', async () => {
  using folder = tempFolder()
  const blamed: string[] = []
  await using server = await openServer(
    folder.path,
    {},
    { admit: () => undefined, report: (who, code) => void blamed.push(`${code} ${who.entityId}`) }
  )
  const self = await selfOf('client')
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self, network: NETWORK })
  const signal = AbortSignal.timeout(5000)
  const channel = await sessionChannels(sessions).connect(plainLink(server.http), server.peer.id, signal)
  const { frame } = await channel.seal('ping', Buffer.from(JSON.stringify({ message_id: newUuid() })))
  const honest = JSON.parse(Buffer.from(frame).toString()) as object
  const junk = { ...honest, payload: { encrypted: true, data: Buffer.alloc(64).toString('base64') } }
  assert.deepEqual(await codeIn(await post(server.http, JSON.stringify(junk))), [400, 'DECRYPTION_FAILED'])
  assert.deepEqual([server.penalties, blamed], [['mid DECRYPTION_FAILED'], []])
  assert.equal((await post(server.http, frame)).status, 200)
})

test('another TLS key than the pinned one is not talked to (threats CO21)', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { tls: temporaryTlsIdentity() })
  const wrong = { url: server.http.url, pin: new Uint8Array(32) }
  await assert.rejects(askPublicKey(wrong, AbortSignal.timeout(5000)), e => hasCode(e, 'CERT_REJECTED'))
  await assert.rejects(askPublicKey({ url: server.http.url }, AbortSignal.timeout(5000)), e => hasCode(e, 'PEER_UNREACHABLE'))
})

test('what is no message, too large, of another type or endless is refused with a code (threats TA4)', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { bodyTimeoutMs: 200 })
  const { http } = server
  assert.deepEqual(await codeIn(await post(http, '{}', { 'content-type': 'text/plain' })), [415, 'UNSUPPORTED_MEDIA_TYPE'])
  assert.deepEqual(await codeIn(await post(http, '{}', { 'content-type': 'multipart/form-data; boundary=x' })), [
    415,
    'UNSUPPORTED_MEDIA_TYPE'
  ])
  assert.deepEqual(await codeIn(await post(http, '{}', { 'content-encoding': 'gzip' })), [415, 'UNSUPPORTED_MEDIA_TYPE'])
  assert.deepEqual(await codeIn(await post(http, '{"a":1,"a":2}')), [400, 'MALFORMED_JSON'])
  assert.deepEqual(await codeIn(await post(http, '{"a":1}')), [400, 'MALFORMED'])
  assert.deepEqual(await codeIn(await post(http, '[')), [400, 'MALFORMED_JSON'])
  const head = 'POST /message HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  assert.match(await raw(http, `${head}Content-Length: 1048577\r\n\r\n`), /^HTTP\/1.1 413 .*TOO_LARGE/s)
  assert.match(await raw(http, `${head}Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n`), /^HTTP\/1.1 413/)
  assert.match(await raw(http, `${head}Content-Length: 100\r\n\r\n{`), /^HTTP\/1.1 408 .*PEER_TIMEOUT/s)
  const chunk = `10000\r\n${'x'.repeat(65536)}\r\n`
  assert.match(await raw(http, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(17)}`), /^HTTP\/1.1 413/)
  assert.match(await raw(http, `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`), /^HTTP\/1.1 408/)
  await eventually('closed', () => http.connections === 0 || server.penalties.length >= 4)
  assert.ok(server.penalties.includes('mid TOO_LARGE') && server.penalties.includes('mid MALFORMED_JSON'))
})

test('a message for somebody else, of no session, or wrongly signed is refused, and a banned address is not heard', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { http } = server
  const self = await selfOf('client')
  const message = (more: Partial<SecureMessage>): Promise<Uint8Array> =>
    writeSecureMessage(
      {
        ...{ version: '1.1', msgType: 'ping', senderId: self.entityId, recipientId: server.peer.id, sessionId: newUuid(), sequenceNum: 0 },
        ...{
          timestamp: messageTime(Date.now()),
          nonce: Buffer.from(randomBytes(32)).toString('hex'),
          encrypted: false,
          data: new Uint8Array(2)
        },
        ...more
      },
      bytes => (more.msgType === 'handshake' ? Promise.resolve(new Uint8Array(64)) : self.signBytes(bytes))
    )
  assert.deepEqual(await codeIn(await post(http, await message({ recipientId: self.entityId }))), [400, 'MISROUTED'])
  assert.deepEqual(await codeIn(await post(http, await message({}))), [400, 'SESSION_EXPIRED'])
  assert.deepEqual(await codeIn(await post(http, await message({ msgType: 'handshake' }))), [400, 'INVALID_SIGNATURE'])
  assert.equal(http.links, 0, 'nothing is kept of it')
  server.banned.add('127.0.0.1')
  assert.deepEqual(await codeIn(await post(http, await message({}))), [429, 'RATE_LIMITED'])
})

test('/health and /public-key are open and always as long; /peers and /stats need the token or a grant (threats TA5)', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { http } = server
  const self = await selfOf('client')
  const get = (path: string, authorization?: string): Promise<Response> =>
    fetch(http.url + path, authorization === undefined ? {} : { headers: { authorization } })
  const key = Buffer.from((await selfOf('server')).publicKey).toString('hex')
  assert.deepEqual(await (await get('/public-key')).json(), { entity_id: server.peer.id, public_key: key })
  assert.deepEqual(await (await get('/health')).json(), { status: 'healthy', entity_id: server.peer.id })
  for (const path of ['/health', '/public-key'])
    assert.equal((await (await get(path)).text()).length, (await (await get(path)).text()).length)
  const signed = (path: string, now = Date.now(), who = self): Promise<string> =>
    signedAuthorization({ method: 'GET', path, server: server.peer.id, now, nonce: randomBytes(32) }, who)
  for (const path of ['/peers', '/stats']) {
    for (const bad of [undefined, 'Bearer wrong', await signed(path)]) {
      const r = await get(path, bad)
      assert.deepEqual(await codeIn(r), [401, 'NOT_AUTHORISED'])
    }
  }
  const told = { entity_id: server.peer.id, peers: [{ entity_id: 'did:key:x', address: null, has_public_key: true }], count: 1 }
  assert.deepEqual(await (await get('/peers', `Bearer ${TOKEN}`)).json(), told)
  assert.deepEqual(await (await get('/stats', `Bearer ${TOKEN}`)).json(), { links: 1 })
  server.granted.add(self.entityId)
  const once = await signed('/peers')
  assert.deepEqual(await (await get('/peers', once)).json(), told)
  assert.equal((await get('/peers', once)).status, 401, 'a request is good once')
  assert.equal((await get('/stats', await signed('/peers'))).status, 401, 'for one path')
  assert.equal((await get('/stats', await signed('/stats', Date.now() - 301_000))).status, 401, 'for five minutes')
  const forged = { ...(await selfOf('other')), entityId: self.entityId }
  assert.equal((await get('/stats', await signed('/stats', Date.now(), forged))).status, 429, 'and not without end')
  assert.equal((await get('/stats', `Bearer ${TOKEN}`)).status, 200, 'the owner is never locked out')
})

test('paths and methods that are not of the protocol are refused', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { http } = server
  assert.equal((await fetch(`${http.url}/`)).status, 200)
  assert.deepEqual(await codeIn(await fetch(`${http.url}/peers/`)), [404, 'NOT_FOUND'])
  assert.deepEqual(await codeIn(await fetch(`${http.url}/message`)), [405, 'METHOD_NOT_ALLOWED'])
  assert.equal((await fetch(`${http.url}/health`, { method: 'OPTIONS' })).status, 405)
  assert.match(await raw(http, 'GET http://elsewhere/health HTTP/1.1\r\nHost: x\r\n\r\n', /\}$/), /^HTTP\/1.1 404/)
})

test('a client that is silent, slow, or sends too many headers is let go (threats CO1-CO3), and connections have a number (CO16)', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { headTimeoutMs: 150, checkMs: 50, maxConnections: 2 })
  const { http } = server
  const [silent, slow] = await Promise.all([raw(http, ''), raw(http, 'GET /health HTT')])
  assert.ok(/^(HTTP\/1.1 408|$)/.test(silent) && slow.startsWith('HTTP/1.1 408'))
  await eventually('gone', () => http.connections === 0)
  const many = [...Array(80)].map((_, i) => `x-${i}: 1\r\n`).join('')
  assert.match(await raw(http, `GET /health HTTP/1.1\r\nHost: x\r\n${many}\r\n`, /\}$/), /^HTTP\/1.1 431/)
  await eventually('gone', () => http.connections === 0)
  assert.match(await raw(http, `GET /health HTTP/1.1\r\nHost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1.1 431/)
  await eventually('all gone', () => http.connections === 0)
  const held = [connect(http.port, http.host), connect(http.port, http.host)]
  await eventually('both there', () => http.connections === 2)
  assert.match(await raw(http, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 503/)
  for (const socket of held) socket.destroy()
})

test('CO15: a client that does not read its answer is dropped, and others are served meanwhile', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { writeStallMs: 100 }, openGuard, 'x'.repeat(32 * 1024 * 1024))
  const { http } = server
  const socket = connect(http.port, http.host)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.pause().write(`GET /stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`)
  assert.equal((await fetch(`${http.url}/health`, { headers: { connection: 'close' } })).status, 200)
  await eventually('dropped', () => http.connections === 0)
  socket.destroy()
})

test('CO17: one address has so many connections, and no more', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { loopback: 3 })
  const { http } = server
  const held = Array.from({ length: 3 }, () => connect(http.port, http.host))
  await eventually('all there', () => http.connections === 3)
  assert.match(await raw(http, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 503/)
  held.pop()!.destroy()
  await eventually('one has gone', () => http.connections === 2)
  assert.match(await raw(http, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n', /\}$/), /^HTTP\/1.1 200/)
  for (const socket of held) socket.destroy()
})

test('CO16: idle connections from one network do not keep others out', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path, { maxConnections: 4 })
  const { http } = server
  const held = Array.from({ length: 4 }, () => connect({ port: http.port, host: http.host, localAddress: '127.0.0.66' }))
  for (const socket of held) socket.on('error', () => {})
  await eventually('all there', () => http.connections === 4)
  for (let i = 0; i < 3; i++) assert.match(await raw(http, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n', /\}$/), /^HTTP\/1.1 200/)
  for (const socket of held) socket.destroy()
})

test('CO18: a thousand short connections leave nothing behind', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { http } = server
  const short = (i: number): Promise<void> =>
    new Promise(resolve => {
      const socket = connect(http.port, http.host, () => {
        if (i % 3 === 0) socket.destroy()
        else socket.end(i % 3 === 1 ? 'GET /hea' : 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
      })
      socket.on('error', () => {}).resume()
      socket.once('close', () => resolve())
    })
  for (let i = 0; i < 1000; i += 40) await Promise.all(Array.from({ length: 40 }, (_, n) => short(i + n)))
  await eventually('all gone', () => http.connections === 0)
  assert.equal(http.links, 0)
  assert.equal((await fetch(`${http.url}/health`)).status, 200)
})

test('requests that are sent behind each other without waiting are few at a time', async () => {
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { http } = server
  const name = 'ab'.repeat(16)
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self: await selfOf('client'), network: NETWORK })
  const link = plainLink(http, { 'kith-link': name })
  await sessionChannels(sessions).connect(link, server.peer.id, AbortSignal.timeout(5000))
  const collect = `POST /message HTTP/1.1\r\nHost: x\r\nKith-Link: ${name}\r\nPrefer: wait=25\r\nContent-Length: 0\r\n\r\n`
  // Cut off, not waited for.
  assert.doesNotMatch(await raw(http, collect.repeat(5000)), /collected/)
  assert.equal((await fetch(`${http.url}/health`)).status, 200)
})

test('messages that are not settled yet count for the address that brought them, and others find room', () => {
  const budget = new BodyBudget()
  const mebi = 1024 * 1024
  let taken = 0
  while (budget.take('a', mebi)) taken++
  assert.equal(taken, MAX_HTTP_BODY_BYTES_PER_ADDRESS / mebi)
  budget.giveBack('a', mebi)
  assert.equal(budget.take('b', mebi), true)
  for (const address of ['c', 'd', 'e', 'f']) while (taken < 64 && budget.take(address, mebi)) taken++
  assert.equal(budget.take('g', mebi), false, 'and all have a number together')
})
