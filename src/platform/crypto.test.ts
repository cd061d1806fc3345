import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { bytesToHex, hexToBytes, utf8 } from '../base/bytes.ts'
import * as browser from './crypto.browser.ts'
import * as node from './crypto.node.ts'
import * as browserHash from './hash.browser.ts'
import * as nodeHash from './hash.node.ts'

const read = <T>(path: string): T => JSON.parse(readFileSync(join(import.meta.dirname, '../../test/vectors', path), 'utf8')) as T

interface Rfc8032 {
  readonly vectors: readonly { readonly secret: string; readonly public: string; readonly message: string; readonly signature: string }[]
}
interface Rfc5869 {
  readonly vectors: readonly {
    readonly hash: string
    readonly ikm: string
    readonly salt: string
    readonly info: string
    readonly L: number
    readonly okm: string
  }[]
}

for (const [name, crypto] of [
  ['Node', node],
  ['WebCrypto', browser]
] as const) {
  test(`${name}: the signatures of RFC 8032 are made and accepted, and nothing near them`, async () => {
    for (const v of read<Rfc8032>('rfc/rfc8032-ed25519.json').vectors) {
      const [secret, key, message, signature] = [v.secret, v.public, v.message, v.signature].map(hexToBytes) as [
        Uint8Array,
        Uint8Array,
        Uint8Array,
        Uint8Array
      ]
      assert.equal(bytesToHex(await crypto.ed25519PublicKey(secret)), v.public)
      assert.equal(bytesToHex(await crypto.ed25519Sign(secret, message)), v.signature)
      assert.ok(await crypto.ed25519Verify(key, message, signature))
      const wrong = Uint8Array.from(signature)
      wrong[40]! ^= 1
      assert.ok(!(await crypto.ed25519Verify(key, message, wrong)))
      assert.ok(!(await crypto.ed25519Verify(key, message, signature.subarray(1))))
      assert.ok(!(await crypto.ed25519Verify(key.subarray(1), message, signature)))
    }
  })

  test(`${name}: exactly 43 of 914 CCTV and 1 of 12 speccheck signatures are accepted`, async () => {
    const cctv = read<{ key: string; sig: string; msg: string }[]>('ed25519/cctv-ed25519vectors.json')
    let accepted = 0
    for (const v of cctv) if (await crypto.ed25519Verify(hexToBytes(v.key), utf8(v.msg), hexToBytes(v.sig))) accepted++
    assert.deepEqual([cctv.length, accepted], [914, 43])
    const cases = read<{ message: string; pub_key: string; signature: string }[]>('ed25519/speccheck-cases.json')
    const verdicts = await Promise.all(
      cases.map(c => crypto.ed25519Verify(hexToBytes(c.pub_key), hexToBytes(c.message), hexToBytes(c.signature)))
    )
    assert.deepEqual(verdicts.map(v => (v ? 'V' : 'X')).join(''), 'XXXVXXXXXXXX')
  })

  test(`${name}: HKDF-SHA256 of RFC 5869`, async () => {
    for (const v of read<Rfc5869>('rfc/rfc5869-hkdf.json').vectors) {
      if (v.hash !== 'sha256') continue
      assert.equal(bytesToHex(await crypto.hkdfSha256(hexToBytes(v.ikm), hexToBytes(v.info), v.L, hexToBytes(v.salt))), v.okm)
    }
  })
}

test('both leaves have the same exports and the same answers', () => {
  assert.deepEqual(Object.keys(browser).sort(), Object.keys(node).sort())
  assert.deepEqual(Object.keys(browserHash).sort(), Object.keys(nodeHash).sort())
  const message = utf8('abc')
  assert.equal(bytesToHex(nodeHash.sha256(message)), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  assert.equal(bytesToHex(nodeHash.sha1(message)), 'a9993e364706816aba3e25717850c26c9cd0d89d')
  assert.deepEqual(browserHash.sha256(message), nodeHash.sha256(message))
  assert.deepEqual(browserHash.sha1(message), nodeHash.sha1(message))
  for (const h of [nodeHash.createSha256(), browserHash.createSha256()]) {
    h.update(utf8('a'))
    h.update(utf8('bc'))
    assert.deepEqual(h.digest(), nodeHash.sha256(message))
  }
  const key = utf8('key')
  assert.deepEqual(browser.hmacSha256(key, message), node.hmacSha256(key, message))
  for (const { timingSafeEqual, randomBytes } of [node, browser]) {
    assert.ok(timingSafeEqual(key, utf8('key')) && !timingSafeEqual(key, utf8('kez')) && !timingSafeEqual(key, utf8('keys')))
    assert.notDeepEqual(randomBytes(16), randomBytes(16))
  }
})
