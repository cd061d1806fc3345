import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { bytesToHex } from '../base/bytes.ts'
import { decode } from '../base/codec.ts'
import { hasCode } from '../base/errors.ts'
import { signedCodec } from '../wire/signed.ts'
import { verifyInstanceCertificate, verifyPeerCertificate } from './certificates.ts'
import { importIdentity, openIdentity, restoreIdentity } from './open.node.ts'
import { isSigned } from './signing.ts'

const deps = { clock: { now: () => 1_700_000_000_000 } }

function home(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-identity-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'identity')
}
const code = (name: string) => (error: unknown) => hasCode(error, name)

test('the first open makes an identity, the next ones read the same', async t => {
  const folder = home(t)
  const made = await openIdentity(folder, deps)
  const read = await openIdentity(folder, deps)
  assert.equal(read.peerId, made.peerId)
  assert.deepEqual(read.instance.key, made.instance.key)
  assert.deepEqual(read.person.key, made.person.key)
  assert.deepEqual(read.peerPrivateKey, made.peerPrivateKey)
  assert.equal(read.phrase()?.split(' ').length, 12)
  assert.match(read.person.did, /^did:key:z6Mk/)
  assert.equal((await read.fingerprint()).length, 6)
  assert.deepEqual(readdirSync(folder).sort(), ['identity.json', 'recovery-phrase'])
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  for (const f of readdirSync(folder)) assert.equal(statSync(join(folder, f)).mode & 0o777, 0o600)
})

test('the certificates lead from the PeerId to the instance and the person', async t => {
  const me = await openIdentity(home(t), deps)
  const found = await verifyPeerCertificate(me.peerCertificate, me.peerId)
  assert.deepEqual(found.instanceKey, me.instance.key)
  assert.deepEqual(found.personKey, me.person.key)
  const { personKey, certificate } = await verifyInstanceCertificate(decode(signedCodec, me.instanceCertificate))
  assert.deepEqual(personKey, me.person.key)
  assert.deepEqual(certificate.instance, me.instance.key)
  const signed = await me.sign('kith/test/1', Uint8Array.of(1, 2, 3))
  assert.ok(await isSigned('kith/test/1', signed))
  assert.ok(!(await isSigned('kith/other/1', signed)))
  assert.deepEqual(signed.signer, me.instance.key)
})

test('a phrase restores the person on another device, with a new instance and peer', async t => {
  const me = await openIdentity(home(t), deps, { words: 24 })
  const phrase = me.phrase()!
  assert.equal(phrase.split(' ').length, 24)
  const again = await restoreIdentity(home(t), `  ${phrase.toUpperCase().replaceAll(' ', '\n')} `, deps)
  assert.deepEqual(again.person.key, me.person.key)
  assert.notDeepEqual(again.instance.key, me.instance.key)
  assert.notEqual(again.peerId, me.peerId)
  assert.equal(again.phrase(), phrase)
})

// Computed with Python's hashlib and cryptography, not with this program.
test('the keys of a known phrase never change', async t => {
  const phrase = 'abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about'
  const me = await restoreIdentity(home(t), phrase, deps)
  assert.equal(bytesToHex(me.person.key), '03e5e7a2289758ed2a08c35cb1029797db56e1eb0ec5e5c1fdd42bde43452300')
  assert.equal((await me.fingerprint()).join(' '), 'robust fly beyond pupil settle face')
  assert.equal(JSON.parse(await me.idFile('public')).personKeyPublic, '0420ed7462f37b4baa4c52d2cf720737ab74c98009ed24a061a1d32757836f28')
})

test('a wrong phrase, or a folder in use, is refused', async t => {
  const folder = home(t)
  const me = await openIdentity(folder, deps)
  const swapped = me.phrase()!.split(' ').reverse().slice(1).join(' ')
  for (const bad of ['', 'abandon', swapped, 'zebra '.repeat(12), 'x'.repeat(10_000)])
    await assert.rejects(restoreIdentity(home(t), bad, deps), code('BAD_PHRASE'))
  await assert.rejects(restoreIdentity(folder, me.phrase()!, deps), code('IDENTITY_EXISTS'))
})

test('ST5: a key file that others may read, is empty, cut short or altered is refused and kept', async t => {
  const folder = home(t)
  await openIdentity(folder, deps)
  const path = join(folder, 'identity.json')
  const whole = readFileSync(path, 'utf8')
  const refused = async (content: string, expected: string): Promise<void> => {
    writeFileSync(path, content)
    await assert.rejects(openIdentity(folder, deps), code(expected), `content of ${content.length} characters`)
    assert.equal(readFileSync(path, 'utf8'), content)
  }
  await refused('', 'KEY_FILE_EMPTY')
  for (let n = 1; n < whole.length - 2; n += 97) await refused(whole.slice(0, n), 'IDENTITY_DAMAGED')
  const file = JSON.parse(whole)
  const alter = (change: (f: typeof file) => void): string => {
    const copy = structuredClone(file)
    change(copy)
    return JSON.stringify(copy)
  }
  await refused(
    alter(f => (f.instance.sign = f.person.sign)),
    'IDENTITY_DAMAGED'
  )
  await refused(
    alter(f => (f.peer.seed = 'ab'.repeat(32))),
    'IDENTITY_DAMAGED'
  )
  await refused(
    alter(f => (f.peerCertificate = f.peerCertificate.replace(/.$/, (c: string) => (c === '0' ? '1' : '0')))),
    'IDENTITY_DAMAGED'
  )
  await refused(
    alter(f => delete f.person),
    'IDENTITY_DAMAGED'
  )
  await refused(
    alter(f => (f.version = 2)),
    'IDENTITY_NEWER'
  )
  await refused('[]', 'IDENTITY_DAMAGED')
  await refused('null', 'IDENTITY_DAMAGED')
  writeFileSync(path, whole)
  chmodSync(path, 0o644)
  await assert.rejects(openIdentity(folder, deps), code('KEY_FILE_MODE'))
  chmodSync(path, 0o600)
  chmodSync(join(folder, 'recovery-phrase'), 0o640)
  const me = await openIdentity(folder, deps)
  assert.throws(() => me.phrase(), code('KEY_FILE_MODE'))
})

test('a folder that lost its key file is refused, not filled again', async t => {
  const folder = home(t)
  await openIdentity(folder, deps)
  unlinkSync(join(folder, 'identity.json'))
  await assert.rejects(openIdentity(folder, deps), code('IDENTITY_DAMAGED'))
  assert.deepEqual(readdirSync(folder), ['recovery-phrase'])
})

test('what a crash while creating left behind does not count as an identity', async t => {
  const folder = home(t)
  mkdirSync(`${folder}.new`, { recursive: true })
  writeFileSync(join(`${folder}.new`, 'recovery-phrase'), 'half')
  const me = await openIdentity(folder, deps)
  assert.equal(me.phrase()?.split(' ').length, 12)
})

test('the user may remove the phrase', async t => {
  const folder = home(t)
  const made = await openIdentity(folder, deps)
  unlinkSync(join(folder, 'recovery-phrase'))
  const me = await openIdentity(folder, deps)
  assert.equal(me.phrase(), undefined)
  assert.equal(me.peerId, made.peerId)
})

test('the secret .id.json moves a person and an instance; altered ones are refused', async t => {
  const me = await openIdentity(home(t), deps)
  const secret = await me.idFile('secret', 'wss://relay.example')
  const other = await importIdentity(home(t), secret, deps)
  assert.deepEqual(other.person.key, me.person.key)
  assert.deepEqual(other.instance.key, me.instance.key)
  assert.equal(other.phrase(), undefined)
  assert.equal(await other.idFile('public'), await me.idFile('public'))
  const file = JSON.parse(secret)
  for (const bad of [
    '',
    '{}',
    await me.idFile('public'),
    JSON.stringify({ ...file, personKeySecret: file.instanceKeySecret }),
    JSON.stringify({ ...file, personSignKeyPublic: file.instanceSignKeyPublic }),
    JSON.stringify({ ...file, personEmail: 'a@b' }),
    ' '.repeat(10_000)
  ])
    await assert.rejects(importIdentity(home(t), bad, deps), code('BAD_ID_FILE'))
})

test('secrets do not appear when an identity is printed', async t => {
  const me = await openIdentity(home(t), deps)
  const { inspect } = await import('node:util')
  const text = inspect(me, { depth: 9, showHidden: true }) + JSON.stringify(me)
  assert.ok(!text.includes(bytesToHex(me.peerPrivateKey).slice(0, 16)))
  assert.ok(!text.includes(me.phrase()!))
  assert.ok(!text.includes(String(me.peerPrivateKey.slice(0, 8))))
})
