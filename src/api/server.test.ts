import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import {
  downloadView,
  fileInfo,
  HEX_A,
  nodeInfo,
  receiptView,
  type ScriptedNode,
  scriptedNode,
  settlementReport,
  shareView,
  torrentView,
  walletView
} from '../../test/kits/scripted-node.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import type { NodeEvent } from '../node/types.ts'
import { readApiFile } from './api-file.node.ts'
import { createApiClient } from './client.ts'
import { createLocalClient } from './local-client.ts'
import type { NodeClient } from './node-client.ts'
import type { Route } from './route-makers.ts'
import { routes } from './routes.ts'
import { type ApiServer, type ApiServerOptions, openApiServer } from './server.node.ts'

interface Rig extends AsyncDisposable {
  readonly node: ScriptedNode
  readonly server: ApiServer
  readonly folder: string
  readonly port: number
  readonly client: NodeClient
  readonly stopped: () => number
  /** Moves the guard's minute. */
  advance(ms: number): void
}

async function openRig(options: Partial<ApiServerOptions> = {}): Promise<Rig> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-api-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const node = scriptedNode()
  let stopped = 0
  let offset = 0
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + offset }
  const local = createLocalClient(node, () => stopped++)
  const server = stack.use(await openApiServer({ client: local, clock, log: silentLogger }, { folder, port: 0, ...options }))
  const owned = stack.move()
  return {
    node,
    server,
    folder,
    port: Number(new URL(server.url).port),
    client: createApiClient({ fetch }, server),
    stopped: () => stopped,
    advance: ms => (offset += ms),
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

/** Sends bytes as they are and returns the whole answer; the connection must be closed by either side. */
function raw(port: number, text: string, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(text))
    let got = ''
    socket.setEncoding('latin1')
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no answer to: ${text.slice(0, 200)}`)))
    socket.on('data', part => (got += part))
    socket.on('error', error => ((error as NodeJS.ErrnoException).code === 'ECONNRESET' ? resolve(got) : reject(error)))
    socket.on('close', () => resolve(got))
  })
}
const statusOf = (answer: string): number => Number(answer.split(' ', 2)[1] ?? 0)
const urlOf = (route: Route): string => route.path.replace('{id}', route.path.startsWith('/v1/receipts') ? 'r1' : HEX_A)
const validBody: Record<string, unknown> = {
  share: { path: '/data/file.iso' },
  get: { address: HEX_A, folder: '/tmp' },
  createWallet: {},
  send: { to: `0x${'22'.repeat(20)}`, wei: '1' },
  settle: {},
  inspect: { address: HEX_A },
  stop: {},
  sendMessage: { to: 'laptop', text: 'hello' },
  changePeer: { peer: 'laptop', verified: true },
  verify: { peer: 'laptop' },
  grant: { to: '*', what: 'task:echo' },
  revoke: { to: '*', what: 'relay' },
  createGroup: { name: 'team', members: ['laptop'] },
  changeGroup: { add: ['laptop'] },
  sendToGroup: { text: 'hello' },
  say: { kind: 'announcement', data: { title: 'x', text: 'y' } },
  serveSkill: { name: 'echo', command: ['cat'] },
  ask: { to: 'laptop', skill: 'echo', description: 'x', input: { n: 1 } }
}

test('every host, origin and content type that is not ours changes nothing and reads nothing, on every route', async () => {
  await using rig = await openRig()
  const own = `127.0.0.1:${rig.port}`
  const hosts = [
    [own],
    ['evil.com'],
    [`127.0.0.1.evil.com:${rig.port}`],
    [],
    [own, own],
    [`[::1]:${rig.port}`],
    ['127.0.0.1'],
    [`0.0.0.0:${rig.port}`]
  ]
  const origins = [
    [],
    ['Origin: http://evil.com'],
    ['Origin: null'],
    ['Sec-Fetch-Site: cross-site'],
    [`Origin: http://127.0.0.1:${rig.port + 1}`, 'Sec-Fetch-Site: same-site']
  ]
  // A beacon of bytes has no type at all.
  const types = ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', undefined]
  let sent = 0
  for (const route of routes) {
    for (const [h, host] of hosts.entries()) {
      const answers = origins.flatMap((origin, o) =>
        types.map(async type => {
          // These are the requests that a client of ours makes.
          if (h === 0 && o === 0 && (type === 'application/json' || route.method !== 'POST')) return
          const body = JSON.stringify(validBody[route.name] ?? {})
          const lines = [`${route.method} ${urlOf(route)} HTTP/1.1`, ...host.map(x => `Host: ${x}`), ...origin]
          if (type !== undefined) lines.push(`Content-Type: ${type}`)
          if (route.method === 'POST') lines.push(`Content-Length: ${body.length}`)
          // The right token: neither defence may lean on the other.
          lines.push(`Authorization: Bearer ${rig.server.token}`, '', route.method === 'POST' ? body : '')
          const answer = await raw(rig.port, lines.join('\r\n'))
          sent++
          const expected = h !== 0 ? 421 : o !== 0 ? 403 : 415
          assert.equal(statusOf(answer), expected, `${lines.slice(0, 4).join(' | ')}\n${answer}`)
          assert.doesNotMatch(answer, /access-control-|12D3Koo|file\.iso/i)
        })
      )
      await Promise.all(answers)
    }
  }
  assert.ok(sent > 2_000, `${sent} requests`)
  assert.deepEqual(rig.node.changes, [])
  assert.equal(rig.stopped(), 0)
  assert.equal(rig.node.listeners(), 0)
})

test('absolute-form targets, compressed bodies and upgrades are refused', async () => {
  await using rig = await openRig()
  const auth = `Host: 127.0.0.1:${rig.port}\r\nAuthorization: Bearer ${rig.server.token}\r\n`
  const absolute = await raw(rig.port, `GET http://127.0.0.1:${rig.port}/v1/info HTTP/1.1\r\n${auth}\r\n`)
  assert.equal(statusOf(absolute), 421)
  const gzip = `Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}`
  assert.equal(statusOf(await raw(rig.port, `POST /v1/stop HTTP/1.1\r\n${auth}${gzip}`)), 415)
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n'
  assert.equal(await raw(rig.port, `GET /v1/events HTTP/1.1\r\n${auth}${upgrade}`), '')
  assert.equal(rig.stopped(), 0)
})

test('a refused request is answered before its body arrives', async () => {
  await using rig = await openRig()
  const head = `POST /v1/shares HTTP/1.1\r\nHost: 127.0.0.1:${rig.port}\r\nOrigin: null\r\nContent-Type: text/plain\r\nContent-Length: 60000\r\n\r\n`
  assert.equal(statusOf(await raw(rig.port, head)), 403)
})

test('GET routes have no side effects, and every route needs the token', async () => {
  await using rig = await openRig()
  rig.node.downloadsById.set(HEX_A, downloadView({ id: HEX_A }))
  for (const route of routes) {
    const init = { method: route.method, headers: { 'Content-Type': 'application/json' } }
    const none = await fetch(rig.server.url + urlOf(route), init)
    assert.equal(none.status, 401, route.path)
    assert.equal(((await none.json()) as { code: string }).code, 'API_TOKEN_MISSING')
    if (route.method !== 'GET') continue
    const stop = new AbortController()
    const headers = { Authorization: `Bearer ${rig.server.token}` }
    const answer = await fetch(rig.server.url + urlOf(route), { headers, signal: stop.signal })
    assert.equal(answer.status, 200, route.path)
    if (route.streams) stop.abort()
    else await answer.text()
  }
  assert.deepEqual(rig.node.changes, [])
})

test('answers fit the schemas that OpenAPI shows', async () => {
  await using rig = await openRig()
  rig.node.downloadsById.set(
    HEX_A,
    downloadView({ id: HEX_A, settlement: settlementReport, error: { code: 'X', message: 'y', hint: 'z' } })
  )
  for (const route of routes) {
    if (route.streams) continue
    const body = route.body ? { body: JSON.stringify(validBody[route.name]) } : {}
    const headers = { Authorization: `Bearer ${rig.server.token}`, ...(route.body ? { 'Content-Type': 'application/json' } : {}) }
    const answer = await fetch(rig.server.url + urlOf(route), { method: route.method, headers, ...body })
    const schema = route.answers[answer.status]
    assert.ok(answer.status in route.answers, `${route.name}: ${answer.status} ${await answer.clone().text()}`)
    if (schema) schema.parse(await answer.json())
    else await answer.body?.cancel()
  }
  const document = await fetch(`${rig.server.url}/v1/openapi.json`, { headers: { Authorization: `Bearer ${rig.server.token}` } })
  const { openapi, paths, components } = (await document.json()) as {
    openapi: string
    paths: Record<string, Record<string, unknown>>
    components: { schemas: Record<string, unknown> }
  }
  assert.equal(openapi, '3.1.0')
  for (const r of routes) assert.ok(paths[r.path]?.[r.method.toLowerCase()], r.path)
  const text = JSON.stringify({ paths, components })
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) assert.ok(components.schemas[name!], name)
  assert.doesNotMatch(text, /"\$id"|__shared/)
})

test('wrong tokens are counted, and the right one still works', async () => {
  await using rig = await openRig()
  const tryToken = async (token: string): Promise<number> => {
    const answer = await fetch(`${rig.server.url}/v1/info`, { headers: { Authorization: `Bearer ${token}` } })
    await answer.text()
    return answer.status
  }
  for (let i = 0; i < 10; i++) assert.equal(await tryToken(`wrong-${i}`), 401)
  assert.equal(await tryToken('wrong'), 429)
  assert.equal(await tryToken(rig.server.token), 200)
  rig.advance(61_000)
  assert.equal(await tryToken('wrong'), 401)
})

test('a token in the URL is refused, right or wrong', async () => {
  await using rig = await openRig()
  const { token, url } = rig.server
  for (const target of [`/v1/info?token=${token}`, `/v1/info?x=${token}`, '/v1/info?access_token=x', `/${token}/v1/info`]) {
    for (const headers of [{}, { Authorization: `Bearer ${token}` }]) {
      const answer = await fetch(url + target, { headers: headers as Record<string, string> })
      assert.equal(((await answer.json()) as { code: string }).code, 'API_TOKEN_IN_URL', target)
    }
  }
})

test('api.json is private while the server runs and gone afterwards', async () => {
  const rig = await openRig()
  const path = join(rig.folder, 'api.json')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readApiFile(rig.folder), { url: rig.server.url, token: rig.server.token, pid: process.pid })
  assert.equal(Buffer.from(rig.server.token, 'base64url').length, 32)
  rmSync(path)
  await rig[Symbol.asyncDispose]()
  assert.equal(existsSync(rig.folder), false)
  assert.equal(readApiFile(rig.folder), undefined)
})

test('bodies: too large, not JSON, unknown fields, prototype keys and wrong types are refused', async () => {
  await using rig = await openRig()
  const post = async (body: string): Promise<string> => {
    const headers = { Authorization: `Bearer ${rig.server.token}`, 'Content-Type': 'application/json' }
    const answer = await fetch(`${rig.server.url}/v1/shares`, { method: 'POST', headers, body })
    return `${answer.status} ${((await answer.json()) as { code: string }).code}`
  }
  assert.equal(await post(JSON.stringify({ path: `/${'x'.repeat(12_600_000)}` })), '413 API_BODY_TOO_LARGE')
  for (const body of [
    '{',
    '[]',
    'null',
    '{}',
    '{"path":"relative"}',
    '{"path":"/a\\u0000b"}',
    '{"path":"/a","extra":1}',
    '{"path":"/a","__proto__":{"x":1}}',
    '{"path":"/a","pricePerMb":"0.1"}',
    '{"path":"/a","pricePerMb":"-1"}',
    `{"path":"/a","pricePerMb":"${'9'.repeat(79)}"}`,
    '{"path":"/a","uploadLimit":1e400}',
    '['.repeat(30_000)
  ]) {
    assert.equal(await post(body), '400 BAD_REQUEST', body.slice(0, 60))
  }
  assert.deepEqual(rig.node.changes, [])
})

test('unknown paths and traversals are 404, known ones with another method are 405', async () => {
  await using rig = await openRig()
  const auth = `Host: 127.0.0.1:${rig.port}\r\nAuthorization: Bearer ${rig.server.token}\r\nConnection: close\r\n\r\n`
  for (const path of ['/', '/v1', '/v1/../api.json', '/v1/%2e%2e/api.json', '/.git/config', '/main.js.map', '/v1/info/']) {
    assert.equal(statusOf(await raw(rig.port, `GET ${path} HTTP/1.1\r\n${auth}`)), 404, path)
  }
  const wrong = await raw(rig.port, `PUT /v1/shares HTTP/1.1\r\n${auth}`)
  assert.equal(statusOf(wrong), 405)
  assert.match(wrong, /allow: GET, POST/i)
  assert.equal(statusOf(await raw(rig.port, `HEAD /v1/events HTTP/1.1\r\n${auth}`)), 405)
  assert.equal(rig.node.listeners(), 0)
})

test('the API listens on loopback only', async () => {
  await assert.rejects(openRig({ host: '0.0.0.0' }), e => hasCode(e, 'API_NOT_LOOPBACK'))
  await assert.rejects(openRig({ host: '192.168.1.2' }), e => hasCode(e, 'API_NOT_LOOPBACK'))
  await using rig = await openRig()
  await assert.rejects(openRig({ port: rig.port }), e => hasCode(e, 'API_PORT_IN_USE'))
})

test('the client gives what the node gives, and its errors with code and hint', async () => {
  await using rig = await openRig()
  const { client, node } = rig
  assert.deepEqual(await client.info(), nodeInfo)
  assert.deepEqual(await client.status(), JSON.parse(JSON.stringify(await node.status())))
  assert.deepEqual(await client.shares(), [shareView()])
  const wallet = JSON.parse(JSON.stringify(walletView))
  assert.deepEqual(await client.wallet(), wallet)
  assert.deepEqual(await client.createWallet({ phrase: 'a b c' }), wallet)
  assert.deepEqual(await client.send({ to: `0x${'22'.repeat(20)}`, wei: '5' }), { tx: `0x${'44'.repeat(32)}` })
  assert.deepEqual(await client.receipts(), [JSON.parse(JSON.stringify(receiptView))])
  assert.deepEqual(await client.proof('r1'), { receipt: 'r1', merkle: [HEX_A] })
  assert.deepEqual(await client.settle(), [settlementReport])
  assert.equal((await client.share({ path: '/data/b', pricePerMb: '7' })).pricePerMb, '7')
  assert.equal((await client.get({ address: 'magnet:?xt=urn:btih:00&dn=a b', folder: '/tmp' })).address, 'magnet:?xt=urn:btih:00&dn=a b')
  assert.equal((await client.download('d1')).id, 'd1')
  assert.equal((await client.cancel('d1')).state, 'cancelled')
  assert.deepEqual(await client.inspect(HEX_A), fileInfo)
  await assert.rejects(client.inspect('kith:x'), e => hasCode(e, 'NO_SOURCES'))
  assert.equal((await client.unshare(HEX_A)).state, 'stopped')
  await client.stop()
  assert.equal(rig.stopped(), 1)
  await assert.rejects(
    client.unshare('kith:x?a=b/c#d'),
    (e: unknown) => hasCode(e, 'UNKNOWN_SHARE') && (e as KithError).hint === 'run: kith status'
  )
  assert.equal(node.changes.at(-1), 'unshare:kith:x?a=b/c#d')
  const [torrent] = await client.torrents()
  assert.deepEqual(torrent, torrentView)
  assert.equal((await client.dropTorrent(torrentView.infoHash)).state, 'stopped')
  await assert.rejects(client.dropTorrent(torrentView.magnet), { code: 'UNKNOWN_SHARE' })
  await assert.rejects(client.download('nope'), e => hasCode(e, 'UNKNOWN_DOWNLOAD'))
  await rig[Symbol.asyncDispose]()
  await assert.rejects(client.info(), e => hasCode(e, 'NODE_UNREACHABLE'))
})

test('faults inside the node become INTERNAL without their text', async () => {
  await using rig = await openRig()
  rig.node.script.get = () => Promise.reject(new Error('secret /home/me'))
  await assert.rejects(
    rig.client.get({ address: HEX_A, folder: '/tmp' }),
    e => hasCode(e, 'INTERNAL') && !(e as Error).message.includes('secret')
  )
})

test('events of one download begin with how it is now; leaving ends the subscription', async () => {
  await using rig = await openRig()
  const { client, node } = rig
  await client.get({ address: HEX_A, folder: '/tmp' })
  const stop = new AbortController()
  const seen: NodeEvent[] = []
  const events = await client.events({ download: 'd1' }, stop.signal)
  assert.equal(node.listeners(), 1)
  node.emit({ type: 'upload:progress', fileId: HEX_A, bytes: 1 })
  for await (const event of events) {
    seen.push(event)
    if (seen.length === 1) node.emit({ type: 'download:changed', download: downloadView({ state: 'done', name: '\ud800' }) })
    else stop.abort()
  }
  assert.deepEqual(
    seen.map(e => e.type === 'download:changed' && e.download.state),
    ['fetching', 'done']
  )
  await until(() => node.listeners() === 0, 'the subscription ends')
  await assert.rejects(client.events({ download: 'nope' }, new AbortController().signal), e => hasCode(e, 'UNKNOWN_DOWNLOAD'))
})

test('at most 16 event streams; closing the server ends them', async () => {
  await using rig = await openRig()
  const stop = new AbortController()
  const streams = await Promise.all(Array.from({ length: 16 }, () => rig.client.events({}, stop.signal)))
  await assert.rejects(rig.client.events({}, stop.signal), e => hasCode(e, 'API_BUSY'))
  const ended = Promise.all(streams.map(drain))
  await rig[Symbol.asyncDispose]()
  assert.deepEqual((await ended).flat(), [])
  assert.equal(rig.node.listeners(), 0)
})

test('a share outlives the request that began it, and stops when nobody asks any more', async () => {
  await using rig = await openRig({ jobs: { waitMs: 20, abandonedMs: 1_500 } })
  let finish: (view: ReturnType<typeof shareView>) => void = () => {}
  let calls = 0
  let aborted = false
  rig.node.script.share = (request, signal) => {
    calls++
    return new Promise((resolve, reject) => {
      finish = resolve
      signal?.addEventListener('abort', () => {
        aborted = true
        reject(new KithError('CANCELLED', 'stopped'))
      })
      if (request.path === '/done') resolve(shareView())
    })
  }
  let answers = 0
  const counting: typeof fetch = async (input, init) => {
    const answer = await fetch(input, init)
    if (answer.status === 202) answers++
    return answer
  }
  const wanted = createApiClient({ fetch: counting }, rig.server).share({ path: '/slow' })
  await until(() => answers === 3, 'three answers say that hashing goes on')
  finish(shareView({ path: '/slow' }))
  assert.equal((await wanted).path, '/slow')
  assert.equal(calls, 1)
  assert.equal(aborted, false)
  const leave = new AbortController()
  const left = rig.client.share({ path: '/left' }, leave.signal)
  await until(() => calls === 2, 'hashing began')
  leave.abort()
  await assert.rejects(left)
  await until(() => aborted, 'the abandoned job stops')
})

async function drain(events: AsyncIterable<NodeEvent>): Promise<NodeEvent[]> {
  const out: NodeEvent[] = []
  for await (const event of events) out.push(event)
  return out
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 5_000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`)
    await systemClock.sleep(5)
  }
}

test('api.json of a crashed process is ignored; one that others may read is refused', async () => {
  await using rig = await openRig()
  const text = readFileSync(join(rig.folder, 'api.json'), 'utf8')
  const { writeFileSync, chmodSync } = await import('node:fs')
  const path = join(rig.folder, 'api.json')
  writeFileSync(path, text.replace(String(process.pid), '999999999'))
  assert.equal(readApiFile(rig.folder), undefined)
  writeFileSync(path, '{"url":"http://evil.com:1","token":"x","pid":1}')
  assert.throws(
    () => readApiFile(rig.folder),
    e => hasCode(e, 'API_ANSWER')
  )
  chmodSync(path, 0o644)
  assert.throws(
    () => readApiFile(rig.folder),
    e => hasCode(e, 'KEY_FILE_MODE')
  )
})
