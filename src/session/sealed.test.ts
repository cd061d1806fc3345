import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { countedRandom, openInstance } from '../../test/kits/sessions.ts'
import { utf8 } from '../base/bytes.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_PREKEYS, PREKEY_KEPT_MS, PREKEY_ROTATION_MS } from './limits.ts'
import { MemoryPrekeys, readPrekey, rotatePrekeys } from './prekeys.ts'
import { openSealed, sealTo } from './sealed.ts'

const random = countedRandom('sealed')
const [bob, eve] = await Promise.all([openInstance(2), openInstance(3)])
const { clock, self } = bob

test('what is sealed to a prekey opens for its owner only, and only unchanged', async () => {
  const store = new MemoryPrekeys()
  const prekey = await readPrekey((await rotatePrekeys({ clock, random, self }, store)).signed, self.entityId, clock)
  const [plaintext, aad] = [utf8('{"a":1}'), utf8('hop')]
  const sealed = await sealTo({ random }, self.entityId, prekey, plaintext, aad)
  assert.deepEqual(await openSealed(store, self.entityId, sealed, aad), plaintext)
  assert.notDeepEqual(await sealTo({ random }, self.entityId, prekey, plaintext, aad), sealed)
  await assert.rejects(openSealed(store, eve.self.entityId, sealed, aad), { code: 'DECRYPTION_FAILED' })
  await assert.rejects(openSealed(store, self.entityId, sealed), { code: 'DECRYPTION_FAILED' })
  await assert.rejects(openSealed(new MemoryPrekeys(), self.entityId, sealed, aad), { code: 'UNKNOWN_PREKEY' })
  for (let i = 0; i < sealed.length; i++) {
    const changed = Uint8Array.from(sealed)
    changed[i]! ^= 1
    await assert.rejects(openSealed(store, self.entityId, changed, aad), error => error instanceof KithError)
  }
})

test('any bytes are refused with a code, sealed or as a prekey', async () => {
  const store = new MemoryPrekeys()
  await rotatePrekeys({ clock, random, self }, store)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async bytes => {
      await assert.rejects(openSealed(store, self.entityId, bytes), error => error instanceof KithError)
      await assert.rejects(readPrekey(bytes, self.entityId, clock), error => error instanceof KithError)
    }),
    { numRuns: 300 }
  )
})

test('there is a new prekey every week, and the secret of one is gone after two', async () => {
  const { clock, self } = await openInstance(4)
  const store = new MemoryPrekeys()
  const first = await rotatePrekeys({ clock, random, self }, store)
  await clock.advance(PREKEY_ROTATION_MS - 1)
  assert.equal((await rotatePrekeys({ clock, random, self }, store)).id, first.id)
  await clock.advance(1)
  const second = await rotatePrekeys({ clock, random, self }, store)
  assert.notEqual(second.id, first.id)
  assert.ok(store.get(first.id))
  assert.ok(await readPrekey(second.signed, self.entityId, clock))
  await clock.advance(1)
  await assert.rejects(readPrekey(first.signed, self.entityId, clock), { code: 'EXPIRED' })
  await clock.advance(PREKEY_KEPT_MS - PREKEY_ROTATION_MS - 1)
  await rotatePrekeys({ clock, random, self }, store)
  assert.equal(store.get(first.id), undefined)
  assert.equal(store.list().length, 2)
})

test('a prekey of a clock that was wrong is replaced, and their number is bounded', async () => {
  const { self } = await openInstance(4)
  const store = new MemoryPrekeys()
  for (let days = 100; days > 0; days--) await rotatePrekeys({ clock: { now: () => days * 86_400_000 }, random, self }, store)
  assert.ok(store.list().length <= MAX_PREKEYS)
  const current = await rotatePrekeys({ clock: { now: () => 86_400_000 }, random, self }, store)
  assert.ok(await readPrekey(current.signed, self.entityId, { now: () => 86_400_000 }))
  await assert.rejects(readPrekey(current.signed, self.entityId, { now: () => 86_400_000 - CLOCK_WINDOW_MS - 1 }), { code: 'EXPIRED' })
})

test('a prekey that another instance signed is refused', async () => {
  const { signed } = await rotatePrekeys({ clock, random, self }, new MemoryPrekeys())
  await assert.rejects(readPrekey(signed, eve.self.entityId, clock), { code: 'IDENTITY_MISMATCH' })
  const changed = Uint8Array.from(signed)
  changed[20]! ^= 1
  await assert.rejects(readPrekey(changed, self.entityId, clock), error => hasCode(error, 'WIRE_SIGNATURE'))
})
