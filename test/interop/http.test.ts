/** Ordinary clients fetch and resume from our listener; our source fetches from nginx. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { temporaryTlsIdentity } from '../../src/platform/x509.node.ts'
import { makeGrid } from '../../src/transfer/grid.ts'
import { endpointOf, probeUrl } from '../../src/transfer/http/probe.node.ts'
import { openHttpServer } from '../../src/transfer/http/server.node.ts'
import { httpProtocol } from '../../src/transfer/http/source.node.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../kits/transfer-doubles.ts'

const run = promisify(execFile)
const MIB = 2 ** 20
const SIZE = 24 * MIB + 12_345

/** False (after saying so) when a program is missing; with KITH_REQUIRE_INTEROP=1 that is a failure. */
function has(t: TestContext, program: string, debianPackage: string): boolean {
  if (spawnSync('which', [program]).status === 0) return true
  assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', `${program} is missing: install Debian package ${debianPackage}`)
  t.skip(`${program} is missing: install Debian package ${debianPackage}`)
  return false
}

interface Rig extends AsyncDisposable {
  readonly share: MemoryShare
  readonly url: string
  readonly folder: string
}
async function rig(): Promise<Rig> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'kith-http-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const share = new MemoryShare(seededBytes(SIZE), { name: 'großes Bild.iso' })
  const deps = { shares: shareIndex([share]), gate: new TestGate(), clock: systemClock, log: silentLogger }
  const server = stack.use(await openHttpServer(deps, { host: '127.0.0.1' }))
  const owned = stack.move()
  return { share, folder, url: `http://127.0.0.1:${server.port}/${share.hex}`, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
const same = async (path: string, share: MemoryShare): Promise<void> =>
  assert.equal(Buffer.compare(await readFile(path), share.content), 0, `${path} is not the file`)

/** Starts a client, kills it with SIGKILL once `ready()`, and returns when it is gone. */
async function killWhen(command: string, args: readonly string[], ready: () => boolean): Promise<void> {
  const child = spawn(command, args, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  try {
    await eventually(`${command} is half-way`, () => child.exitCode !== null || ready(), 15_000)
    assert.equal(child.exitCode, null, `${command} ended by itself`)
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}
const sizeOf = (path: string): number => (existsSync(path) ? statSync(path).size : 0)

test('curl fetches the whole file, a range, and resumes a killed download', async t => {
  if (!has(t, 'curl', 'curl')) return
  await using r = await rig()
  const path = join(r.folder, 'whole')
  await run('curl', ['-sSf', '-o', path, r.url])
  await same(path, r.share)
  const { stdout } = await run('curl', ['-sSf', '-r', '262000-263000', r.url], { encoding: 'buffer' })
  assert.equal(Buffer.compare(stdout, r.share.content.subarray(262_000, 263_001)), 0)
  const resumed = join(r.folder, 'resumed')
  await killWhen('curl', ['-sS', '--limit-rate', '8M', '-o', resumed, r.url], () => sizeOf(resumed) > MIB)
  const had = sizeOf(resumed)
  assert.ok(had < SIZE)
  const rest = await run('curl', ['-sSf', '-C', '-', '-w', '%{http_code} %{size_download}', '-o', resumed, r.url])
  await same(resumed, r.share)
  assert.equal(rest.stdout, `206 ${SIZE - had}`, 'only the rest was fetched')
  await run('curl', ['-sSf', '-OJ', '--output-dir', r.folder, r.url])
  await same(join(r.folder, 'gro_es Bild.iso'), r.share) // curl takes the ASCII form of the name
})
test('curl fetches over TLS 1.3 from the key it pins, and from no other', async t => {
  if (!has(t, 'curl', 'curl')) return
  await using r = await rig()
  const tls = temporaryTlsIdentity()
  const deps = { shares: shareIndex([r.share]), gate: new TestGate(), clock: systemClock, log: silentLogger }
  await using server = await openHttpServer(deps, { host: '127.0.0.1', tls })
  const path = join(r.folder, 'secure')
  const pinned = (pin: Uint8Array): readonly string[] => [
    '-sSk',
    '--tlsv1.3',
    '--pinnedpubkey',
    `sha256//${Buffer.from(pin).toString('base64')}`
  ]
  const url = `https://127.0.0.1:${server.port}/${r.share.hex}`
  await run('curl', [...pinned(tls.pin), '-o', path, url])
  await same(path, r.share)
  const CURLE_SSL_PINNEDPUBKEYNOTMATCH = 90
  await assert.rejects(run('curl', [...pinned(temporaryTlsIdentity().pin), '-o', path, url]), { code: CURLE_SSL_PINNEDPUBKEYNOTMATCH })
  await assert.rejects(run('curl', ['-sSk', '--tls-max', '1.2', '-o', path, url]), { code: 35 })
})
test('wget resumes a killed download', async t => {
  if (!has(t, 'wget', 'wget')) return
  await using r = await rig()
  const path = join(r.folder, 'file')
  await killWhen('wget', ['-q', '--limit-rate=8m', '-O', path, r.url], () => sizeOf(path) > MIB)
  const had = sizeOf(path)
  const rest = await run('wget', ['-nv', '-S', '-c', '-O', path, r.url])
  await same(path, r.share)
  assert.match(rest.stderr, new RegExp(`content-length: ${SIZE - had}\\b`, 'i'), 'only the rest was fetched')
})
test('aria2 fetches over four connections and resumes after being killed', async t => {
  if (!has(t, 'aria2c', 'aria2')) return
  await using r = await rig()
  const args = [
    '-q',
    '-x4',
    '-s4',
    '-k1M',
    '--auto-save-interval=1',
    '--file-allocation=none',
    '--no-conf',
    '-d',
    r.folder,
    '-o',
    'file',
    r.url
  ]
  const path = join(r.folder, 'file')
  const control = `${path}.aria2`
  const savedAt = (): number => (existsSync(control) ? statSync(control).mtimeMs : 0)
  let first = 0
  await killWhen('aria2c', ['--max-download-limit=6M', ...args], () => {
    first ||= savedAt()
    return first > 0 && savedAt() > first // it recorded what it has
  })
  const log = join(r.folder, 'log')
  await run('aria2c', ['-c', `--log=${log}`, '--log-level=info', ...args])
  await same(path, r.share)
  const starts = [...(await readFile(log, 'utf8')).matchAll(/^Range: bytes=([0-9]+)-/gm)].map(m => Number(m[1]))
  assert.ok(starts.length >= 3 && !starts.includes(0), `only the rest was asked for: ${starts.join(' ')}`)
  await run('aria2c', ['-c', `--checksum=sha-256=${r.share.hex}`, ...args])
})

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
interface Nginx extends AsyncDisposable {
  readonly port: number
  readonly child: ChildProcess
}
/** An nginx with one server, whose directives are `server`; it ends when disposed. */
async function startNginx(folder: string, server: string): Promise<Nginx> {
  const port = await freePort()
  await mkdir(join(folder, 'n'))
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(n => `${n}_temp_path ${folder}/n/${n};`).join(' ')
  const conf = `daemon off; master_process off; pid ${folder}/n/pid; error_log ${folder}/n/error; events {}
    http { access_log off; ${temp} gzip on; gzip_types *; proxy_cache_path ${folder}/n/cache keys_zone=kith:1m; server { listen 127.0.0.1:${port}; ${server} } }`
  await writeFile(join(folder, 'n', 'conf'), conf)
  const child = spawn('nginx', ['-e', join(folder, 'n', 'error'), '-c', join(folder, 'n', 'conf')], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  await eventually('nginx listens', () => listensOn(port), 10_000).catch(async error => {
    await stop()
    throw error
  })
  return { port, child, [Symbol.asyncDispose]: stop }
}
const listensOn = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.destroy())
    socket.on('error', () => resolve(false)).on('close', failed => resolve(!failed))
  })
test('nginx in front of us keeps what we say may be kept: the second fetch is a hit, also of a range, and per coding', async t => {
  if (!has(t, 'nginx', 'nginx') || !has(t, 'curl', 'curl')) return
  await using r = await rig()
  const text = new MemoryShare(new Uint8Array(Buffer.from('all work and no play\n'.repeat(50_000))), { mime: 'text/plain', name: 'a.txt' })
  const gate = new TestGate()
  const deps = { shares: shareIndex([r.share, text]), gate, clock: systemClock, log: silentLogger }
  await using server = await openHttpServer(deps, { host: '127.0.0.1' })
  const directives = `proxy_cache kith; proxy_http_version 1.1; add_header X-Cache $upstream_cache_status always; location / { proxy_pass http://127.0.0.1:${server.port}; }`
  await using nginx = await startNginx(r.folder, directives)
  const path = join(r.folder, 'got')
  const fetch = async (share: MemoryShare, ...more: string[]): Promise<string> => {
    const args = ['-sSf', '-o', path, '-w', '%{http_code} %header{x-cache} %header{content-encoding}', ...more]
    return (await run('curl', [...args, `http://127.0.0.1:${nginx.port}/${share.hex}`])).stdout.trim()
  }
  assert.equal(await fetch(r.share), '200 MISS')
  const sent = gate.sentBytes
  assert.equal(await fetch(r.share), '200 HIT')
  await same(path, r.share)
  assert.equal(await fetch(r.share, '-r', '100-199'), '206 HIT')
  assert.equal(Buffer.compare(await readFile(path), r.share.content.subarray(100, 200)), 0)
  assert.equal(await fetch(r.share, '-H', `If-None-Match: "${r.share.hex}"`), '304 HIT')
  assert.equal(gate.sentBytes, sent, 'we were not asked again')
  assert.equal(await fetch(text, '--compressed', '-H', 'Accept-Encoding: gzip'), '200 MISS gzip')
  assert.equal(await fetch(text, '--compressed', '-H', 'Accept-Encoding: gzip'), '200 HIT gzip')
  await same(path, text)
  assert.equal(await fetch(text, '-H', 'Accept-Encoding: identity'), '200 MISS', 'Vary keeps them apart')
  await same(path, text)
})
test('our source fetches from nginx: probe, redirect, every chunk, keep-alive; killed, it is SOURCE_LOST', async t => {
  if (!has(t, 'nginx', 'nginx')) return
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'kith-nginx-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const share = new MemoryShare(seededBytes(5 * MIB + 3))
  await mkdir(join(folder, 'www'))
  await writeFile(join(folder, 'www', 'file.bin'), share.content)
  const nginx = stack.use(await startNginx(folder, `root ${join(folder, 'www')}; location /moved { return 302 /file.bin; }`))
  const url = `http://127.0.0.1:${nginx.port}/moved`
  const probe = await probeUrl(url, { allowPrivate: true })
  assert.deepEqual([probe.size, probe.acceptRanges, probe.name], [share.grid.size, true, 'file.bin'])
  assert.match(probe.etag ?? '', /^"/)
  await using protocol = httpProtocol({ clock: systemClock })
  await using source = await protocol.openSource(endpointOf(probe, share.fileId, makeGrid(probe.size ?? 0)), new AbortController().signal)
  for (const [first, count] of [
    [0, 8],
    [8, 13],
    [20, 1]
  ] as const) {
    const delivery = new MemoryDelivery(share.grid, { first, count })
    await within(10_000, `chunks from ${first}`, source.fetch(delivery, new AbortController().signal))
    assert.equal(delivery.chunks.size, count)
    delivery.assertMatches(share)
  }
  await nginx[Symbol.asyncDispose]()
  const delivery = new MemoryDelivery(share.grid, { first: 0, count: 1 })
  await assert.rejects(within(10_000, 'the fetch', source.fetch(delivery, new AbortController().signal)), { code: 'SOURCE_LOST' })
})
