import assert from 'node:assert/strict'
import test from 'node:test'
import { openInstance } from '../../test/kits/sessions.ts'
import { fingerprintOf } from '../identity/phrase.ts'
import { verificationWords } from './fingerprint.ts'

test('both screens show the same twelve words, and others for anybody else', async () => {
  const [a, b, c] = await Promise.all([openInstance(1), openInstance(2), openInstance(3)])
  const words = verificationWords(a.self.entityId, b.self.entityId)
  assert.deepEqual(verificationWords(b.self.entityId, a.self.entityId), words)
  assert.equal(words.length, 12)
  assert.deepEqual(new Set(words), new Set([...fingerprintOf(a.self.publicKey), ...fingerprintOf(b.self.publicKey)]))
  assert.notDeepEqual(verificationWords(a.self.entityId, c.self.entityId), words)
  assert.throws(() => verificationWords(a.self.entityId, 'did:key:z6Mk'), { code: 'UNKNOWN_SENDER' })
})
