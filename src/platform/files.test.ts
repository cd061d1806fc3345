import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { lockFolder, makePrivateFolder, readSecretFile, writeFileDurably } from './files.node.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-files-'))
test.after(() => rmSync(folder, { recursive: true }))

test('a file is replaced whole, has mode 0600, and no temporary file stays', () => {
  const path = join(folder, 'a')
  writeFileDurably(path, 'one')
  writeFileDurably(path, new Uint8Array([116, 119, 111]))
  assert.equal(readFileSync(path, 'utf8'), 'two')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(folder), ['a'])
})

test('a symbolic link planted in place of the temporary file is not followed', () => {
  const victim = join(folder, 'victim')
  writeFileSync(victim, 'precious')
  symlinkSync(victim, join(folder, `b.tmp-${process.pid}`))
  assert.throws(() => writeFileDurably(join(folder, 'b'), 'evil'))
  assert.equal(readFileSync(victim, 'utf8'), 'precious')
})

test('secrets that others can read, or that are empty, are refused in words', () => {
  const path = join(folder, 'secret')
  writeFileDurably(path, 'x')
  assert.equal(readSecretFile(path), 'x')
  chmodSync(path, 0o644)
  assert.throws(() => readSecretFile(path), { code: 'KEY_FILE_MODE' })
  chmodSync(path, 0o600)
  writeFileSync(path, '')
  assert.throws(() => readSecretFile(path), { code: 'KEY_FILE_EMPTY' })
})

test('a folder is locked once, and free again after disposal', () => {
  const home = join(folder, 'home')
  makePrivateFolder(home)
  assert.equal(statSync(home).mode & 0o777, 0o700)
  {
    using _ = lockFolder(home)
    assert.throws(() => lockFolder(home), { code: 'ALREADY_RUNNING' })
  }
  lockFolder(home)[Symbol.dispose]()
  assert.deepEqual(readdirSync(home), [])
})

test('the lock of a killed process is taken over, that of a living one is not', async () => {
  const home = join(folder, 'other')
  const script = `import { lockFolder } from ${JSON.stringify(join(import.meta.dirname, 'files.node.ts'))}; lockFolder(${JSON.stringify(home)}); console.log('locked'); setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise<void>(resolve => child.stdout.once('data', () => resolve()))
  assert.throws(() => lockFolder(home), { code: 'ALREADY_RUNNING' })
  const ended = new Promise(resolve => child.on('close', resolve))
  child.kill('SIGKILL')
  await ended
  assert.ok(existsSync(join(home, 'lock')))
  lockFolder(home)[Symbol.dispose]()
})

test('a lock that names a pid which now belongs to another program is taken over', () => {
  const home = join(folder, 'reused')
  makePrivateFolder(home)
  writeFileSync(join(home, 'lock'), `${process.pid} 1\n`) // our pid, but not our start time
  lockFolder(home)[Symbol.dispose]()
})
