import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { shake128 } from '@noble/hashes/sha3.js'
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../base/bytes.ts'
import { hmacSha256, x25519PublicKey } from '../platform/crypto.node.ts'
import { type HpkeContext, setupRecipient, setupSender } from './hpke.ts'

const vector = JSON.parse(readFileSync(join(import.meta.dirname, '../../test/vectors/rfc/rfc9180-hpke.json'), 'utf8')) as Record<
  string,
  string
>
const bytes = (field: string): Uint8Array => hexToBytes(vector[field]!)

/** DeriveKeyPair of RFC 9180 §7.1.3: only the vectors need it. */
function secretOf(ikm: Uint8Array): Uint8Array {
  const suite = concatBytes(utf8('KEM'), Uint8Array.of(0, 0x20))
  const prk = hmacSha256(new Uint8Array(), concatBytes(utf8('HPKE-v1'), suite, utf8('dkp_prk'), ikm))
  return hmacSha256(prk, concatBytes(Uint8Array.of(0, 32), utf8('HPKE-v1'), suite, utf8('sk'), Uint8Array.of(1)))
}

/** Nonce of message `i`: §5.2. */
function nonceOf(context: HpkeContext, i: number): Uint8Array {
  const nonce = Uint8Array.from(context.baseNonce)
  nonce[11]! ^= i & 0xff
  nonce[10]! ^= i >> 8
  return nonce
}

test('a thousand messages are sealed and opened as RFC 9180 has them', async () => {
  const info = bytes('info')
  assert.equal(bytesToHex(secretOf(bytes('ikmR'))), vector['skRm'])
  assert.equal(bytesToHex(await x25519PublicKey(bytes('skRm'))), vector['pkRm'])
  const sender = (await setupSender(bytes('pkRm'), info, secretOf(bytes('ikmE'))))!
  assert.equal(bytesToHex(sender.enc), vector['enc'])
  const recipient = (await setupRecipient(bytes('enc'), bytes('skRm'), info))!
  const [source, sink] = [shake128.create({}), shake128.create({})]
  const draw = (): Uint8Array => source.xof(source.xof(1)[0]!)
  for (let i = 0; i < 1000; i++) {
    const [aad, plaintext] = [draw(), draw()]
    const sealed = await sender.context.aead.seal(nonceOf(sender.context, i), plaintext, aad)
    sink.update(sealed)
    assert.deepEqual(await recipient.aead.open(nonceOf(recipient, i), sealed, aad), Uint8Array.from(plaintext))
  }
  assert.equal(bytesToHex(sink.xof(16)), vector['encryptions_accumulated'])
})

test('a key of small order is refused on both sides', async () => {
  const info = bytes('info')
  assert.equal(await setupSender(new Uint8Array(32), info, bytes('skRm')), undefined)
  assert.equal(await setupRecipient(new Uint8Array(32), bytes('skRm'), info), undefined)
})
