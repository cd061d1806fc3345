/** Signed: a signature fits one domain and one body only. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { ed25519PublicKey, ed25519Sign, ed25519Verify } from '../platform/crypto.node.ts'
import { MAX_SIGNED_BYTES } from './limits.ts'
import { signedBytes, signedCodec } from './signed.ts'

test('signed bodies round-trip; any bytes decode and re-encode identically or throw a WIRE_ code', () => {
  const fixed = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n })
  fc.assert(
    fc.property(fc.uint8Array(), fixed(32), fixed(64), (body, signer, signature) => {
      assert.deepEqual(decode(signedCodec, encode(signedCodec, { body, signer, signature })), { body, signer, signature })
    })
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), b => {
      try {
        assert.deepEqual(encode(signedCodec, decode(signedCodec, b)), b)
      } catch (e) {
        assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'))
      }
    })
  )
})

test('a body above the limit is refused by its length alone', () => {
  const header = new Uint8Array(4)
  new DataView(header.buffer).setUint32(0, MAX_SIGNED_BYTES + 1)
  assert.throws(() => decode(signedCodec, header), { code: 'WIRE_RANGE' })
})

test('a signature is worth nothing under another domain, also when domain and body run together', async () => {
  const seed = new Uint8Array(32).fill(7)
  const key = await ed25519PublicKey(seed)
  const body = new TextEncoder().encode('b')
  const signature = await ed25519Sign(seed, signedBytes('kith/a/1', body))
  assert.equal(await ed25519Verify(key, signedBytes('kith/a/1', body), signature), true)
  assert.equal(await ed25519Verify(key, signedBytes('kith/a/2', body), signature), false)
  assert.equal(await ed25519Verify(key, signedBytes('kith/a/1b', new Uint8Array()), signature), false)
  assert.equal(await ed25519Verify(key, signedBytes('kith/a', new TextEncoder().encode('/1b')), signature), false)
})
