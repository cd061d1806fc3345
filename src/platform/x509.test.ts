import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex } from '../base/bytes.ts'
import { openTlsIdentity, pinOf, temporaryTlsIdentity } from './x509.node.ts'
import { bits, der, oid, positive } from './x509-der.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-x509-'))
test.after(() => rmSync(folder, { recursive: true }))

test('DER has one spelling: lengths, integers and object identifiers as X.690 and RFC 5280 write them', () => {
  for (const [length, head] of [
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [65_535, '0482ffff']
  ] as const)
    assert.equal(bytesToHex(der(0x04, new Uint8Array(length)).subarray(0, head.length / 2)), head)
  assert.equal(bytesToHex(oid('1.2.840.10045.4.3.2')), '06082a8648ce3d040302')
  assert.equal(bytesToHex(oid('1.2.840.113549')), '06062a864886f70d')
  assert.equal(bytesToHex(positive(Uint8Array.of(0, 0, 0x7f))), '02017f')
  assert.equal(bytesToHex(positive(Uint8Array.of(0x80))), '02020080')
  assert.equal(bytesToHex(positive(new Uint8Array(3))), '020100')
  assert.equal(bytesToHex(bits(Uint8Array.of(0x80), 7)), '03020780')
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), b => {
      const n = positive(b)
      assert.equal(BigInt(`0x${bytesToHex(n.subarray(2))}`), BigInt(`0x${bytesToHex(b)}`))
      assert.ok(n[1] === n.length - 2 && n[2]! < 0x80 && !(n.length > 3 && n[2] === 0 && n[3]! < 0x80), 'minimal and positive')
    })
  )
})

test('the certificate is read, and its signature checked, by Node and by openssl', t => {
  for (let i = 0; i < 20; i++) {
    const { certificate, key, pin } = temporaryTlsIdentity() // keys and signatures are random: leading zeros come by chance
    const read = new X509Certificate(certificate)
    assert.ok(read.verify(read.publicKey) && !read.ca)
    assert.deepEqual([read.subject, read.subjectAltName, read.validTo], ['CN=kith.invalid', 'DNS:kith.invalid', 'Dec 31 23:59:59 9999 GMT'])
    assert.deepEqual(pinOf(read), pin)
    assert.equal(
      bytesToHex(pin),
      createHash('sha256')
        .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
        .digest('hex')
    )
  }
  assert.equal(pinOf(undefined), undefined)
  if (spawnSync('which', ['openssl']).status !== 0) return t.diagnostic('openssl is not installed')
  const { certificate } = temporaryTlsIdentity()
  const path = join(folder, 'certificate.pem')
  writeFileSync(path, certificate)
  const text = execFileSync('openssl', ['x509', '-in', path, '-noout', '-text'], { encoding: 'utf8' })
  for (const part of [
    'Version: 3 (0x2)',
    'Signature Algorithm: ecdsa-with-SHA256',
    'Issuer: CN = kith.invalid',
    'ASN1 OID: prime256v1',
    'X509v3 Basic Constraints: critical\n                CA:FALSE',
    'X509v3 Key Usage: critical\n                Digital Signature',
    'TLS Web Server Authentication',
    'DNS:kith.invalid'
  ])
    assert.ok(text.includes(part), `${part} is not in ${text}`)
  execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', path, '-partial_chain', path], { stdio: 'pipe' })
})

test('the key is made once, is private, and keeps its pin; a bad key file is refused and left as it is', () => {
  const path = join(folder, 'tls', 'key.pem')
  const first = openTlsIdentity(path)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(join(folder, 'tls')), ['key.pem'])
  const again = openTlsIdentity(path)
  assert.deepEqual([again.pin, again.key], [first.pin, first.key])
  assert.notDeepEqual(openTlsIdentity(join(folder, 'other', 'key.pem')).pin, first.pin)
  chmodSync(path, 0o644)
  assert.throws(() => openTlsIdentity(path), { code: 'KEY_FILE_MODE' })
  chmodSync(path, 0o600)
  for (const [content, code] of [
    ['', 'KEY_FILE_EMPTY'],
    ['nonsense', 'KEY_FILE_DAMAGED'],
    [first.key.slice(0, 80), 'KEY_FILE_DAMAGED'],
    [ed25519Key(), 'KEY_FILE_DAMAGED']
  ] as const) {
    writeFileSync(path, content)
    assert.throws(() => openTlsIdentity(path), { code })
    assert.equal(readFileSync(path, 'utf8'), content)
  }
})

/** An Ed25519 key: right form, wrong kind. */
const ed25519Key = (): string =>
  '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n'
