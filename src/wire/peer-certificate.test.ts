import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { type Codec, decode, encode } from '../base/codec.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { instanceCertificateCodec } from './instance-certificate.ts'
import { MAX_PEER_CHAIN_BYTES, peerCertificateCodec, peerChainCodec } from './peer-certificate.ts'
import { signedCodec } from './signed.ts'

const vector = JSON.parse(readFileSync(new URL('../../test/vectors/identity/certificates.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>

const plain = { noNullPrototype: true }
const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n })
const time = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const signed = fc.record({ body: fc.uint8Array({ maxLength: 80 }), signer: bytes(32), signature: bytes(64) }, plain)
const instances = fc.record({ instance: bytes(32), encryption: bytes(32), issuedAt: time }, plain)
const peers = fc.record({ peerId: fc.uint8Array({ minLength: 1, maxLength: 64 }), issuedAt: time }, plain)
const chains = fc.record({ peer: signed, instance: fc.option(signed, { nil: undefined }) }, plain)

test('the vectors decode and encode to themselves', () => {
  const same = <T>(codec: Codec<T>, hex: string | undefined): void =>
    assert.equal(bytesToHex(encode(codec, decode(codec, hexToBytes(hex!)))), hex)
  same(instanceCertificateCodec, vector.instance)
  same(signedCodec, vector.signedInstance)
  same(peerCertificateCodec, vector.peer)
  same(peerChainCodec, vector.chain)
  same(peerChainCodec, vector.chainBare)
})

test('generated certificates survive a round trip', () => {
  fc.assert(fc.property(instances, v => assert.deepEqual(decode(instanceCertificateCodec, encode(instanceCertificateCodec, v)), v)))
  fc.assert(fc.property(peers, v => assert.deepEqual(decode(peerCertificateCodec, encode(peerCertificateCodec, v)), v)))
  fc.assert(fc.property(chains, v => assert.deepEqual(decode(peerChainCodec, encode(peerChainCodec, v)), v)))
})

test('any bytes decode and re-encode identically, or throw a WIRE_ error', () => {
  const seeds = ['instance', 'peer', 'chain', 'chainBare'].map(k => hexToBytes(vector[k]!))
  /** Random bytes, and vectors with one byte changed, cut or added. */
  const input = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc
      .tuple(fc.constantFrom(...seeds), fc.nat(), fc.nat(255))
      .map(([b, at, v]) => Uint8Array.from(b).fill(v, at % b.length, (at % b.length) + 1)),
    fc.tuple(fc.constantFrom(...seeds), fc.nat()).map(([b, n]) => b.slice(0, n % b.length))
  )
  for (const codec of [instanceCertificateCodec, peerCertificateCodec, peerChainCodec] as Codec<unknown>[]) {
    fc.assert(
      fc.property(input, b => {
        let value: unknown
        try {
          value = decode(codec, b)
        } catch (e) {
          assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
          return
        }
        assert.deepEqual(encode(codec, value), Uint8Array.from(b))
      }),
      { numRuns: 500 }
    )
  }
})

test('a chain beyond its limit is refused before it is read', () => {
  assert.throws(
    () => decode(peerChainCodec, new Uint8Array(MAX_PEER_CHAIN_BYTES + 1)),
    (e: unknown) => hasCode(e, 'WIRE_RANGE')
  )
})
