import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { base58btc } from 'multiformats/bases/base58'
import { bytesToHex, concatBytes, hexToBytes } from '../base/bytes.ts'
import { didOfKey, keyOfDid, looksLikeDid } from './did-key.ts'

const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
/** As other software writes it. */
const reference = (multicodec: readonly number[], key: Uint8Array): string =>
  `did:key:${base58btc.encode(concatBytes(Uint8Array.from(multicodec), key))}`

test('keys become the did:key that others write, and are read back', () => {
  const known = hexToBytes('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  assert.equal(didOfKey(known), 'did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw')
  const edges = [new Uint8Array(32), new Uint8Array(32).fill(255), Uint8Array.of(...new Uint8Array(31), 1)]
  fc.assert(
    fc.property(fc.oneof(key32, fc.constantFrom(...edges)), key => {
      const did = didOfKey(key)
      assert.equal(did, reference([0xed, 0x01], key))
      assert.ok(looksLikeDid(did))
      assert.equal(bytesToHex(keyOfDid(did)!), bytesToHex(key))
    })
  )
  assert.throws(() => didOfKey(new Uint8Array(31)), RangeError)
})

test('any other text has no key', () => {
  const did = didOfKey(new Uint8Array(32).fill(7))
  const others = [
    '',
    'did:key:',
    did.slice(0, -1),
    `${did}1`,
    ` ${did}`,
    `${did}\n`,
    did.toUpperCase(),
    did.replace('z', '1'),
    did.replace('did:key:', 'did:web:'),
    `${did.slice(0, -1)}0`,
    `${did.slice(0, -1)}é`,
    'did:key:z6Mk' + 'z'.repeat(44),
    'did:key:z6Mk' + '1'.repeat(44)
  ]
  for (const multicodec of [[0xec, 0x01], [0xe7, 0x01], [0xed, 0x02], [0xed]])
    others.push(reference(multicodec, new Uint8Array(32).fill(9)))
  for (const size of [0, 31, 33]) others.push(reference([0xed, 0x01], new Uint8Array(size).fill(9)))
  for (const text of others) assert.equal(keyOfDid(text), undefined, text)
  const digits = fc.string({
    minLength: 44,
    maxLength: 44,
    unit: fc.constantFrom(...'123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz')
  })
  fc.assert(
    fc.property(fc.oneof(digits, fc.string()), tail => {
      const key = keyOfDid(`did:key:z6Mk${tail}`)
      if (key) assert.equal(didOfKey(key), `did:key:z6Mk${tail}`)
    })
  )
})
