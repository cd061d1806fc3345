/**
 * Encrypted files as their people meet them: the owner, somebody with the link, a seeder that only has the ciphertext, everybody else.
 * Spec 004's permission model: owner everything, storage node ciphertext only, other peers nothing, DHT and offers metadata only.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { suite, type TestContext } from 'node:test'
import { downloadIn, errorCode, Lab, LOCAL, sha256OfFile } from '../kits/lab.ts'
import type { Process } from '../kits/process.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const SIZE = 600_000
const NAME = 'diary of Ada.txt'
/** Every 64 bytes of the plaintext hold it. */
const MARK = 'Dear diary, nobody else may read this. '

suite('encrypted files', { concurrency: 2, timeout: 180_000 }, () => {
  test('owner everything, seeder ciphertext only, other peers nothing, offers and DHT metadata only', permissions)
  test('a passphrase: a wrong one keeps what arrived, the right one finishes without fetching again', passphrase)
})

const plaintext = (): string => MARK.repeat(Math.ceil(SIZE / MARK.length)).slice(0, SIZE)

/** Every file below a folder. */
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile())
    .map(e => join(e.parentPath, e.name))

/** What in a folder, its names and contents, tells any of these. */
function tellsOf(folder: string, secrets: readonly string[]): string[] {
  const forms = secrets.flatMap(s => [
    Buffer.from(s),
    Buffer.from(Buffer.from(s, 'utf8').toString('hex')),
    Buffer.from(encodeURIComponent(s))
  ])
  return filesIn(folder).filter(f => {
    const content = readFileSync(f)
    return forms.some(form => content.includes(form) || f.includes(form.toString()))
  })
}

const keyOf = (link: string): string => /#key=([A-Za-z0-9_-]{43})$/.exec(link)?.[1] ?? assert.fail('the link has no key')
/** The arguments of a process as `ps` shows them to everybody. */
const seenByPs = (p: Process): string => readFileSync(`/proc/${p.child.pid}/cmdline`, 'utf8')

async function permissions(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = join(lab.dir('mine'), NAME)
  writeFileSync(file, plaintext())
  const debug = ['--log-level', 'debug']
  const owner = await lab.ready('owner', 'share', file, '--encrypt', ...debug)
  const { link, cid, fileId, encrypted, name } = owner.ready
  assert.deepEqual([encrypted, name], [true, NAME], 'the owner sees what it is')
  const key = keyOf(link!)
  const secrets = [key, MARK, NAME]
  const cut = link!.split('#')[0]!
  assert.notEqual(fileId, sha256OfFile(file), 'the address is that of the ciphertext')
  for (const address of [owner.ready.magnet, owner.ready.ed2k, cid, ...owner.ready.httpUrls!, cut])
    assert.ok(!/Ada|diary/.test(decodeURIComponent(address!)), address)

  // A seeder that was told the CID: it stores, serves and checks what it cannot read.
  const seeder = lab.kith('seeder', 'get', cid!, '-o', lab.dir('seeder-out'), '--seed', '--bootstrap', owner.ready.addresses[0]!, ...debug)
  const seeding = await seeder.line('ready')
  assert.equal(sha256OfFile(String((seeding['download'] as { path: string }).path)), fileId)
  await eventually('it shares the ciphertext', async () => (await lab.api('seeder').shares())[0]?.state === 'seeding')
  for (const folder of ['seeder', 'seeder-out']) assert.deepEqual(tellsOf(join(lab.folder, folder), secrets), [])
  // Metadata: what offers tell anybody who asks; for that no key is needed. Nor is one forgotten silently.
  const info = await lab.client('seeder', 'info', cut)
  assert.deepEqual([info.last['file_hash'], info.last['total_seeders']], [fileId, 1], info.err)
  const keyless = await lab.client('seeder', 'get', cut, '-o', lab.dir('nothing'))
  assert.deepEqual([keyless.code, errorCode(keyless)], [2, 'BAD_LINK'])
  assert.match(keyless.err, /lacks its key/)
  const theirs = JSON.stringify(await lab.api('seeder').status())
  for (const secret of secrets) assert.ok(!info.out.includes(secret) && !theirs.includes(secret))

  // Sharing it again encrypts and hashes nothing again.
  const again = await lab.client('owner', 'share', file, '--encrypt')
  assert.deepEqual([again.last['fileId'], keyOf(String(again.last['link']))], [fileId, key])
  assert.equal(readdirSync(join(lab.folder, 'owner/data/encrypted')).length, 2, 'one ciphertext and its record')

  // Two with the whole link, from stdin and (worse) as an argument. The seeder, which cannot read it, is enough for them.
  await lab.api('owner').stop()
  assert.equal((await owner.process.ended()).code, 0)
  const whole = link!.replace(/via=[^#&]*/, `via=${(seeding['addresses'] as string[])[0]}`)
  const stdin = ['get', '-', '-o', lab.dir('friend-out'), '--seed', ...LOCAL, ...debug]
  const friend = lab.start('friend', stdin, `${whole}\n`)
  const careless = lab.kith('careless', 'get', whole, '-o', lab.dir('careless-out'), ...debug)
  await eventually('ps does not show the key', () => !seenByPs(careless).includes(key))
  const done = await friend.line('ready')
  const got = done['download'] as { path: string; name: string; address: string }
  assert.equal(readFileSync(got.path, 'utf8'), plaintext())
  assert.deepEqual([got.name, got.path, got.address], [NAME, join(lab.folder, 'friend-out', NAME), whole.split('#')[0]])
  await eventually('the ciphertext is shared on', async () => (await lab.api('friend').shares())[0]?.fileId === fileId)
  const carelessEnd = await careless.ended()
  assert.deepEqual([carelessEnd.code, readdirSync(join(lab.folder, 'careless-out'))], [0, [NAME]], carelessEnd.err)

  // No log, no output and no file holds the key, but for the owner's answer and record, which is of mode 0600.
  for (const p of [owner.process, seeder, friend, careless]) assert.ok(!p.err.includes(key) && !p.err.includes(MARK), 'logs')
  for (const p of [seeder, friend, careless]) assert.ok(!p.out.includes(key))
  assert.ok(!seenByPs(friend).includes(key))
  for (const home of ['friend', 'careless', 'careless-out'])
    assert.deepEqual(
      tellsOf(join(lab.folder, home), [key, MARK.repeat(2)]).filter(f => !f.endsWith(NAME)),
      []
    )
  const records = tellsOf(join(lab.folder, 'owner'), [key])
  assert.deepEqual(
    records.map(f => statSync(f).mode & 0o777),
    [0o600]
  )
  assert.deepEqual(tellsOf(join(lab.folder, 'owner'), [MARK]), [], 'the plaintext stays where the user has it')

  // unshare takes ciphertext and key away, and leaves the file.
  await lab.ready('owner', 'up')
  const status = await lab.client('owner', 'status')
  assert.equal(keyOf(String((status.last['shares'] as { link: string }[])[0]?.link)), key, 'the owner can give the link again')
  assert.equal((await lab.client('owner', 'unshare', link!)).code, 0)
  assert.deepEqual(readdirSync(join(lab.folder, 'owner/data/encrypted')), [])
  assert.deepEqual(tellsOf(join(lab.folder, 'owner/data'), [key, NAME]), [])
  assert.equal(readFileSync(file, 'utf8'), plaintext())
}

async function passphrase(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const file = join(lab.dir('mine'), NAME)
  writeFileSync(file, plaintext())
  const secret = (name: string, text: string): string[] => {
    const path = join(lab.folder, name)
    writeFileSync(path, `${text}\n`, { mode: 0o600 })
    return ['--passphrase-file', path]
  }
  const words = 'correct horse battery staple'
  const right = secret('right', words)
  const wrong = secret('wrong', 'Correct horse battery staple')
  const { ready, process } = await lab.ready('owner', 'share', file, '--encrypt', ...right)
  assert.match(ready.link!, /enc=passphrase/)
  assert.ok(!ready.link!.includes('#'), 'there is no key to give away')
  await lab.ready('b', 'up')
  const out = lab.dir('out')
  const none = await lab.client('b', 'get', ready.link!, '-o', out)
  assert.deepEqual([none.code, errorCode(none)], [2, 'WRONG_KEY'], none.err)
  assert.match(none.err, /--passphrase/)
  // The wrong one is told with the first chunk; what has arrived is kept.
  const bad = await lab.client('b', 'get', ready.link!, '-o', out, ...wrong)
  assert.deepEqual([bad.code, errorCode(bad)], [2, 'WRONG_KEY'], bad.err)
  const kept = bad.lines.map(downloadIn).findLast(d => d !== undefined)
  assert.ok(kept && kept.verifiedBytes > 0)
  assert.ok(
    readdirSync(out).every(f => f.startsWith('.kith-')),
    'no plaintext, not even a wrong one'
  )
  const good = await lab.client('b', 'get', ready.link!, '-o', out, ...right)
  assert.equal(good.code, 0, good.err)
  assert.equal(good.last['resumedBytes'], kept.verifiedBytes, 'nothing was fetched twice')
  assert.equal(readFileSync(join(out, NAME), 'utf8'), plaintext())
  assert.deepEqual(readdirSync(out), [NAME])
  assert.deepEqual(tellsOf(join(lab.folder, 'b'), [words]), [])
  assert.deepEqual(tellsOf(join(lab.folder, 'owner'), [words]), [])
  assert.ok(!JSON.stringify([await lab.api('owner').status(), await lab.api('b').status()]).includes(words))
  assert.ok(!process.out.includes(words))
}
