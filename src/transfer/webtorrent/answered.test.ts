import assert from 'node:assert/strict'
import test from 'node:test'
import { AnsweredPlaces } from './answered.ts'
import { MAX_ANSWERED_CONNECTIONS, MAX_ANSWERED_PER_ADDRESS, MAX_RTC_CONNECTIONS } from './limits.ts'

test('BT13: who connects to us cannot take every connection, nor one address more than its share', () => {
  const places = new AnsweredPlaces()
  const held = Array.from({ length: MAX_ANSWERED_PER_ADDRESS }, (_, i) => places.enter(`[2001:db8:0:1::${i + 1}]:4000`))
  assert.ok(held.every(Boolean))
  assert.equal(places.enter('[2001:db8:0:1::ffff]:4000'), undefined)
  held[0]?.()
  held[0]?.()
  assert.ok(places.enter('[2001:db8:0:1::ffff]:4000'))
  assert.equal(places.enter('[2001:db8:0:1::fffe]:4000'), undefined, 'a place is given back once')
  for (let i = 0; !places.isFull; i++) assert.ok(places.enter(`127.0.0.1:${4000 + i}`), 'this machine is not counted')
  assert.equal(places.enter('192.0.2.1:4000'), undefined)
  assert.ok(MAX_ANSWERED_CONNECTIONS < MAX_RTC_CONNECTIONS)
})
