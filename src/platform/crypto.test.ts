import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type Crypto, VECTOR_FILES, type Vectors, verdictsOf } from '../../test/kits/crypto-verdicts.ts'
import { bytesToHex, hexToBytes, utf8 } from '../base/bytes.ts'
import * as browser from './crypto.browser.ts'
import * as node from './crypto.node.ts'
import * as browserHash from './hash.browser.ts'
import * as nodeHash from './hash.node.ts'

const read = <T>(path: string): T => JSON.parse(readFileSync(join(import.meta.dirname, '../../test/vectors', path), 'utf8')) as T

const vectors = Object.fromEntries(Object.entries(VECTOR_FILES).map(([set, path]) => [set, read<unknown>(path)])) as unknown as Vectors

/** A letter for each case, as verdictsOf writes them. */
const wanted = <T>(groups: readonly { readonly tests: readonly T[] }[], isValid: (t: T) => boolean): string =>
  groups.flatMap(g => g.tests.map(t => (isValid(t) ? 'V' : 'X'))).join('')

interface Rfc7748 {
  readonly vectors: readonly { readonly scalar: string; readonly u: string; readonly out: string }[]
  readonly iterated: { readonly start: string; readonly after1: string }
}
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
] as const satisfies readonly (readonly [string, Crypto])[]) {
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

  test(`${name}: Wycheproof, CCTV and speccheck vectors have exactly the wanted verdicts (threats SM16, SM27, HS1, HS2)`, async () => {
    const verdicts = await verdictsOf(crypto, vectors)
    const count = (set: keyof typeof verdicts): [number, number] => [verdicts[set].length, verdicts[set].split('V').length - 1]
    assert.deepEqual(count('cctv'), [914, 43])
    assert.equal(verdicts.speccheck, 'XXXVXXXXXXXX')
    assert.equal(
      verdicts.ed25519,
      wanted(vectors.ed25519.testGroups, t => t.result === 'valid')
    )
    // All points but the 31 that give zero, also those that a strict reader could refuse: twist and non-canonical ones.
    assert.equal(
      verdicts.x25519,
      wanted(vectors.x25519.testGroups, t => !/^0*$/.test(t.shared ?? ''))
    )
    assert.deepEqual(count('x25519'), [518, 487])
    const gcm = vectors.aesGcm.testGroups.filter(g => g.keySize === 256)
    assert.equal(verdicts.aesGcm, gcm.map(g => wanted([g], t => t.result === 'valid' && g.ivSize === 96 && g.tagSize === 128)).join(''))
    assert.equal(
      verdicts.hkdf,
      wanted(vectors.hkdf.testGroups, t => t.result === 'valid')
    )
  })

  test(`${name}: X25519 of RFC 7748, and a key of another length is refused`, async () => {
    const { vectors: cases, iterated } = read<Rfc7748>('rfc/rfc7748-x25519.json')
    for (const v of cases) assert.equal(bytesToHex((await crypto.x25519(hexToBytes(v.scalar), hexToBytes(v.u)))!), v.out)
    const a = hexToBytes(iterated.start) // the base point, too
    assert.equal(bytesToHex((await crypto.x25519(a, a))!), iterated.after1)
    assert.equal(bytesToHex(await crypto.x25519PublicKey(a)), iterated.after1)
    assert.equal(await crypto.x25519(a, new Uint8Array(31)), undefined)
    await assert.rejects(crypto.x25519(new Uint8Array(31), a), { code: 'BAD_KEY' })
  })

  test(`${name}: AES-GCM takes tags of 16 and nonces of 12 bytes only (threats SM27)`, async () => {
    const [key, nonce, aad] = [crypto.randomBytes(32), crypto.randomBytes(12), utf8('header')]
    const aead = crypto.openAead(key)
    const sealed = await aead.seal(nonce, utf8('abc'), aad)
    assert.equal(sealed.length, 19)
    assert.deepEqual(await aead.open(nonce, sealed, aad), utf8('abc'))
    assert.deepEqual(await crypto.aesGcmOpen(key, nonce, await crypto.aesGcmSeal(key, nonce, utf8('abc'), aad), aad), utf8('abc'))
    for (const tag of [0, 4, 8, 12, 15]) assert.equal(await aead.open(nonce, sealed.subarray(0, 3 + tag), aad), undefined)
    for (const bytes of [0, 8, 11, 13, 16]) {
      assert.equal(await aead.open(new Uint8Array(bytes), sealed, aad), undefined)
      await assert.rejects(async () => aead.seal(new Uint8Array(bytes), sealed, aad), { code: 'BAD_NONCE' })
    }
    assert.equal(await aead.open(nonce, sealed, utf8('headers')), undefined)
    assert.throws(() => crypto.openAead(new Uint8Array(16)), { code: 'BAD_KEY' })
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
    const all = Array.from({ length: 2000 }, (_, i) => randomBytes(16 + (i % 60)))
    assert.equal(new Set(all.map(b => bytesToHex(b.subarray(0, 16)))).size, 2000)
    assert.ok(all.every((b, i) => b.length === 16 + (i % 60)))
  }
})
