/** The message server against programs that share nothing with it: curl, and a client in Python that signs, greets and decrypts by itself. */
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { type MessageHttp, openMessageHttp } from '../../src/messaging/http-server.node.ts'
import { MemoryNetwork, NETWORK, seedOf, selfOf, type TestPeer, tempFolder } from '../kits/messaging.ts'

const run = promisify(execFile)
const python = '/usr/bin/python3'

function has(t: TestContext, debianPackage: string, command: string, args: readonly string[]): boolean {
  if (spawnSync(command, args).status === 0) return true
  if (process.env['KITH_REQUIRE_INTEROP'] === '1') assert.fail(`install the Debian package ${debianPackage}`)
  t.skip(`needs the Debian package ${debianPackage}`)
  return false
}

interface Server extends AsyncDisposable {
  readonly http: MessageHttp
  readonly peer: TestPeer
}
async function openServer(folder: string): Promise<Server> {
  await using stack = new AsyncDisposableStack()
  const peer = stack.use(await new MemoryNetwork().open(folder, 'server'))
  const deps = {
    ...{ clock: systemClock, log: silentLogger, self: await selfOf('server'), peers: () => [], stats: () => peer.messenger.stats() },
    ...{ isGranted: () => false, isBanned: () => false, penalise: () => {} }
  }
  const http = stack.use(await openMessageHttp({ ...deps, accept: link => peer.messenger.accept(link) }, { token: 'token' }))
  const owned = stack.move()
  return { http, peer, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

interface Step {
  readonly step: string
  readonly status: number
  readonly code?: string
  /** Types of messages, and what was in them if they were decrypted. */
  readonly reply?: readonly unknown[]
}

test('a client in Python greets, sends, reads acknowledgements, and is refused what it replays or forges', async t => {
  if (!has(t, 'python3-cryptography', python, ['-c', 'import cryptography'])) return
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const script = join(import.meta.dirname, 'message_http.py')
  const { stdout } = await run(python, [script, server.http.url, NETWORK, seedOf('python').toString('hex')], { timeout: 30_000 })
  const steps = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Step)
  assert.deepEqual(
    steps.map(s => [s.step, s.status, s.code]),
    [
      ['public-key', 200, undefined],
      ['handshake', 200, undefined],
      ['confirm', 200, undefined],
      ['message', 200, undefined],
      ['message', 200, undefined],
      ['message', 200, undefined],
      ['replay', 400, 'REPLAY_DETECTED'],
      ['forged', 400, 'INVALID_SIGNATURE'],
      ['message', 200, undefined],
      ['peers', 401, 'NOT_AUTHORISED']
    ]
  )
  const texts = server.peer.messenger.inbox().map(m => (m.body['content'] as { data: { text: string } }).data.text)
  assert.deepEqual(texts.reverse(), ['grüezi 1', 'grüezi 2', 'grüezi 3', 'after all'])
  // Each acknowledges what came since the one before; under load the last may be left for a request that does not come.
  const replies = steps.filter(s => s.step === 'message').flatMap(s => (s.reply ?? []) as [string, { ranges: [number, number][] }][])
  const acked = replies.filter(([type]) => type === 'ack').flatMap(([, body]) => body.ranges)
  assert.ok(acked.length > 0 && acked.every(([first, last]) => first >= 1 && last <= 4), JSON.stringify(replies))
})

test('curl sees the pages of spec 001 and their refusals', async t => {
  if (!has(t, 'curl', 'curl', ['--version'])) return
  using folder = tempFolder()
  await using server = await openServer(folder.path)
  const { url } = server.http
  const curl = async (...args: string[]): Promise<[string, string]> => {
    const { stdout } = await run('curl', ['-sS', '-m', '10', '-w', '\n%{http_code}', ...args])
    const at = stdout.lastIndexOf('\n')
    return [stdout.slice(at + 1), stdout.slice(0, at)]
  }
  const id = server.peer.id
  assert.deepEqual(await curl(`${url}/health`), ['200', JSON.stringify({ status: 'healthy', entity_id: id })])
  assert.equal((await curl(`${url}/public-key`))[0], '200')
  assert.equal((await curl(`${url}/stats`))[0], '401')
  assert.deepEqual(await curl('-H', 'Authorization: Bearer token', `${url}/peers`), [
    '200',
    JSON.stringify({ entity_id: id, peers: [], count: 0 })
  ])
  const [status, body] = await curl('-d', '{}', `${url}/message`)
  assert.deepEqual([status, (JSON.parse(body) as { error_code: string }).error_code], ['415', 'UNSUPPORTED_MEDIA_TYPE'], 'a form')
  assert.equal((await curl('--json', '{"version":"1.0"}', `${url}/message`))[0], '400')
  const big = join(folder.path, 'big.json')
  await run('truncate', ['-s', '1048577', big])
  assert.equal((await curl('--json', `@${big}`, `${url}/message`))[0], '413')
  assert.equal((await curl('--json', `@${big}`, '-H', 'Transfer-Encoding: chunked', `${url}/message`))[0], '413')
})
