/** Obfuscation and secure identification: both ends against each other, and against bytes of amuled. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { concatBytes, hexToBytes, utf8 } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { loadEd2kIdentity, makeEd2kIdentity } from './identity.node.ts'
import { Opening } from './obfuscation.node.ts'
import { Rc4 } from './rc4.ts'
import { publicKeyOf, rsaSign, rsaVerify } from './rsa.ts'
import { SecIdent } from './sec-ident.ts'

test('the key stream is that of RFC 6229', () => {
  const key = hexToBytes('0102030405060708090a0b0c0d0e0f10')
  assert.deepEqual(new Rc4(key, 0).apply(new Uint8Array(16)), hexToBytes('9ac7cc9a609d1ef7b2932899cde41b97'))
  assert.deepEqual(new Rc4(key, 1024).apply(new Uint8Array(16)), hexToBytes('bdf0324e6083dcc6d3cedd3ca8c53c16'))
})
test('an obfuscated opening works from any cuts, and what follows is read on both sides', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer({ min: 1, max: 40 }), (hash, cut) => {
      const a = Opening.to(hash)
      const b = Opening.from(hash)
      const pushAll = (o: Opening, bytes: Uint8Array): ReturnType<Opening['push']> => {
        let done: ReturnType<Opening['push']>
        for (let at = 0; at < bytes.length && !done; at += cut) done = o.push(bytes.subarray(at, at + cut))
        return done
      }
      const atB = pushAll(b, a.greeting!)
      assert.ok(atB?.reply)
      assert.equal(atB.rest.length, 0)
      const atA = a.push(concatBytes(atB.reply, atB.send.apply(utf8('from b'))))
      assert.deepEqual(atA?.rest, utf8('from b'))
      assert.deepEqual(atB.receive.apply(atA.send.apply(utf8('from a'))), utf8('from a'))
    }),
    { numRuns: 50 }
  )
})
test('noise, and a key for another user hash, is refused', () => {
  const greeting = Opening.to(new Uint8Array(16).fill(1)).greeting!
  assert.throws(
    () => Opening.from(new Uint8Array(16)).push(greeting),
    e => hasCode(e, 'ED2K_WIRE')
  )
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 12, maxLength: 40 }), noise => {
      try {
        Opening.from(new Uint8Array(16)).push(noise)
      } catch (error) {
        assert.ok(error instanceof KithError && error.code === 'ED2K_WIRE')
      }
    }),
    { numRuns: 50 }
  )
})

const KEY_1 = hexToBytes(
  '304a300d06092a864886f70d01010105000339003036023100a2ae7879f2320c0093a676290a5d64cf4c222cf810882dd6104b96052c8c4d970b67088e474927e1b607440931d7dab1020111'
)
const KEY_2 = hexToBytes(
  '304a300d06092a864886f70d01010105000339003036023100af4c4167e2f7bb447377d1052a55e9bd82922a26ad7565f52ed380d4345ef3ae09e963ebeeeaf07b033eb2aab721e405020111'
)
test('the signatures in a capture of two amuled are verified, and changed ones are not', () => {
  const of1 = hexToBytes('4563c7c47356af4ecb629de2bc37fd9169b1f1786e0c6ebb03fb29d0e6094080dc5f5393c3b4d6059fe4a2dc00bbe5eb')
  const of2 = hexToBytes('a0d939abe81ecb89960c473bc583929ae082f5c2768f8d13ec4c5bebaa31fa21fd3d4ab118ba25745bc26aef297b9aee')
  assert.ok(rsaVerify(KEY_1, concatBytes(KEY_2, hexToBytes('39378f25')), of1))
  assert.ok(rsaVerify(KEY_2, concatBytes(KEY_1, hexToBytes('991c6e37')), of2))
  assert.ok(!rsaVerify(KEY_1, concatBytes(KEY_2, hexToBytes('39378f26')), of1))
  assert.ok(!rsaVerify(KEY_2, concatBytes(KEY_2, hexToBytes('39378f25')), of1))
  fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (key, signature) => assert.ok(!rsaVerify(key, KEY_1, signature))))
})
test('two identities recognise each other; a file keeps one', () => {
  const [a, b] = [makeEd2kIdentity(), makeEd2kIdentity()]
  assert.equal(publicKeyOf(a.key!).length, 76)
  assert.ok(rsaVerify(publicKeyOf(a.key!), KEY_1, rsaSign(a.key!, KEY_1)))
  const queue: (() => void)[] = []
  const make = (key: typeof a.key, other: () => SecIdent): SecIdent =>
    new SecIdent({
      key: key!,
      mayCompute: () => true,
      send: (opcode, payload) =>
        queue.push(() => {
          const to = other()
          if (opcode === 0x87) to.onState(payload)
          else if (opcode === 0x85) to.onKey(payload)
          else to.onSignature(payload)
        })
    })
  const sideA: SecIdent = make(a.key, () => sideB)
  const sideB: SecIdent = make(b.key, () => sideA)
  sideA.begin()
  sideB.begin()
  for (let next = queue.shift(); next; next = queue.shift()) next()
  assert.deepEqual([sideA.verified, sideB.verified, sideA.remoteKey], [true, true, publicKeyOf(b.key!)])
  const folder = mkdtempSync(join(tmpdir(), 'kith-ed2k-'))
  try {
    const path = join(folder, 'identity.json')
    const made = loadEd2kIdentity(path)
    assert.deepEqual(loadEd2kIdentity(path), made)
    assert.deepEqual([made.userHash[5], made.userHash[14], statSync(path).mode & 0o777], [0x0e, 0x6f, 0o600])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
