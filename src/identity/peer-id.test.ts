import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { hexToBytes } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import { didOfKey, keyOfDid, keyOfPeerId, peerIdOfKey, peerIdToBytes, peerIdToText } from './peer-id.ts'

test('PeerIds are those of libp2p', async () => {
  const { keys } = await import('@libp2p/crypto')
  const { peerIdFromPrivateKey } = await import('@libp2p/peer-id')
  const peer = peerIdFromPrivateKey(await keys.generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(3)))
  const bytes = peerIdOfKey(peer.publicKey!.raw)
  assert.equal(peerIdToText(bytes), peer.toString())
  assert.deepEqual(Uint8Array.from(peerIdToBytes(peer.toString())), bytes)
  assert.deepEqual(keyOfPeerId(bytes), peer.publicKey!.raw)
})

test('PeerIds of RSA keys are carried, but hold no key', () => {
  const bytes = peerIdToBytes('QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC')
  assert.equal(bytes.length, 34)
  assert.equal(keyOfPeerId(bytes), undefined)
})

test('did:key of RFC 8032 test 1 key', () => {
  const key = hexToBytes('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  assert.equal(didOfKey(key), 'did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw')
  assert.deepEqual(keyOfDid(didOfKey(key)), key)
  assert.equal(keyOfDid(peerIdToText(peerIdOfKey(key))), undefined)
})

test('any text is a PeerId with one spelling, or BAD_PEER_ID', () => {
  const texts = fc.oneof(fc.string(), fc.uint8Array({ maxLength: 70 }).map(peerIdToText), fc.constantFrom('1', '12D3', 'x'.repeat(1000)))
  fc.assert(
    fc.property(texts, text => {
      try {
        assert.equal(peerIdToText(peerIdToBytes(text)), text)
      } catch (e) {
        assert.ok(hasCode(e, 'BAD_PEER_ID'), String(e))
      }
    }),
    { numRuns: 1000 }
  )
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), k =>
      assert.deepEqual(peerIdToBytes(peerIdToText(peerIdOfKey(k))), peerIdOfKey(k))
    )
  )
})
