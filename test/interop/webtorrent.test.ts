/** The standard WebTorrent bundle in Chromium fetches from us and seeds to us; two of our nodes meet through a TURN server. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { eventually } from '../kits/transfer-doubles.ts'

const run = promisify(execFile)
const ADDRESS = '10.99.77.1'

/** False (after saying so) when something is missing; with KITH_REQUIRE_INTEROP=1 that is a failure. */
function has(t: TestContext, program: string, debianPackage: string): boolean {
  if (spawnSync('which', [program]).status === 0) return true
  return missing(t, `${program} is missing: install Debian package ${debianPackage}`)
}
function missing(t: TestContext, why: string): false {
  assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
  t.skip(why)
  return false
}

/** A network of its own with loopback and one other address: WebRTC in Chromium does not work on loopback alone. */
async function openNamespace(): Promise<{ readonly name: string } & AsyncDisposable> {
  const name = `kith-wt-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
  await run('ip', ['netns', 'add', name])
  const ip = (...args: string[]): Promise<unknown> => run('ip', ['-n', name, ...args])
  await ip('link', 'set', 'lo', 'up')
  await ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
  await ip('addr', 'add', `${ADDRESS}/24`, 'dev', 'v0')
  for (const device of ['v0', 'v1']) await ip('link', 'set', device, 'up')
  return { name, [Symbol.asyncDispose]: async () => void (await run('ip', ['netns', 'del', name])) }
}

/** Whether this user may make network namespaces. */
function canIsolate(t: TestContext): boolean {
  if (!has(t, 'ip', 'iproute2')) return false
  const name = `kith-try-${process.pid}`
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return missing(t, 'network namespaces need root')
  execFileSync('ip', ['netns', 'del', name])
  return true
}

async function inNamespace<T>(name: string, script: string, ...args: string[]): Promise<T> {
  const file = join(import.meta.dirname, script)
  const { stdout } = await run('ip', ['netns', 'exec', name, process.execPath, file, ...args], { timeout: 60_000, killSignal: 'SIGKILL' })
  return JSON.parse(stdout) as T
}

interface Browsed {
  readonly fetched: { readonly name: string; readonly size: number; readonly sha256: string; readonly wanted: string }
  readonly seeded: { readonly sha256: string; readonly wanted: string }
}

test('a browser with the standard WebTorrent bundle fetches from our seeder and seeds to our downloader, by our tracker', async t => {
  if (!has(t, 'chromium', 'chromium') || !canIsolate(t)) return
  await using stack = new AsyncDisposableStack()
  const namespace = stack.use(await openNamespace())
  const profile = await mkdtemp(join(tmpdir(), 'kith-chromium-'))
  stack.defer(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }))
  const { fetched, seeded } = await inNamespace<Browsed>(namespace.name, 'wt-browser.ts', profile)
  assert.equal(fetched.sha256, fetched.wanted)
  assert.equal(fetched.name, 'from-kith.bin')
  assert.equal(seeded.sha256, seeded.wanted)
})

test('two nodes that may use nothing but a TURN server exchange a file through coturn', async t => {
  if (!has(t, 'turnserver', 'coturn') || !canIsolate(t)) return
  await using stack = new AsyncDisposableStack()
  const namespace = stack.use(await openNamespace())
  const folder = await mkdtemp(join(tmpdir(), 'kith-turn-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const settings = [
    '-n',
    '--no-tls',
    '--no-dtls',
    '--no-cli',
    '--lt-cred-mech',
    '--user=kith:secret',
    '--realm=kith.test',
    '--log-file=stdout'
  ]
  const files = [`--pidfile=${join(folder, 'pid')}`, `--userdb=${join(folder, 'db')}`]
  const listen = [`--listening-ip=${ADDRESS}`, `--relay-ip=${ADDRESS}`, '--listening-port=3478']
  const server = spawn('ip', ['netns', 'exec', namespace.name, 'turnserver', ...settings, ...files, ...listen], {
    stdio: 'ignore'
  })
  stack.defer(() => stop(server))
  const listening = async (): Promise<boolean> =>
    (await run('ip', ['netns', 'exec', namespace.name, 'ss', '-Hlun', 'sport', '=', ':3478'])).stdout !== ''
  await eventually('coturn listens', listening, 10_000)
  const { chunks, source } = await inNamespace<{ readonly chunks: number; readonly source: string }>(
    ...([namespace.name, 'wt-turn.ts', ADDRESS, 'kith', 'secret'] as const)
  )
  assert.equal(chunks, 4)
  assert.match(source, /^webtorrent 10\.99\.77\.1:\d+$/)
})

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise(resolve => child.on('exit', resolve))
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await ended
}
