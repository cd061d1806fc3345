import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { BAN_HOLD_MS, SCORE_HALF_LIFE_MS } from './limits.ts'
import { PENALTIES, type Penalty, Scores } from './scores.ts'

const setUp = (max?: number): { clock: { at: number; monotonic(): number }; scores: Scores } => {
  const clock = { at: 5000, monotonic: () => clock.at }
  return { clock, scores: new Scores({ clock }, undefined, max) }
}

test('a score fades by half every ten minutes', () => {
  const { clock, scores } = setUp()
  scores.add('a', -40, 'X')
  assert.equal(scores.view('a').standing, 'disconnect')
  clock.at += SCORE_HALF_LIFE_MS
  assert.deepEqual(scores.view('a'), { score: -20, standing: 'disconnect', bannedForMs: 0 })
  clock.at += 1000
  assert.equal(scores.view('a').standing, 'good')
  clock.at += 12 * SCORE_HALF_LIFE_MS
  assert.equal(scores.view('a').score, 0)
  assert.equal(scores.size, 0, 'forgotten')
})

test('a ban holds for half an hour before it begins to fade, and says how long it lasts', () => {
  const { clock, scores } = setUp()
  assert.equal(scores.add('a', PENALTIES.fatal, 'X').score, -100)
  assert.equal(scores.view('a').bannedForMs, BAN_HOLD_MS + SCORE_HALF_LIFE_MS)
  clock.at += BAN_HOLD_MS
  assert.equal(scores.view('a').score, -100)
  clock.at += SCORE_HALF_LIFE_MS - 1
  assert.equal(scores.view('a').standing, 'banned')
  clock.at += 2
  assert.equal(scores.view('a').standing, 'disconnect')
})

test('whatever is added in whatever order, a score is between -100 and 100 and fades towards 0', () => {
  const step = fc.record({ points: fc.constantFrom(...Object.values(PENALTIES), 5, 40), ms: fc.nat(3_600_000) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const { clock, scores } = setUp()
      for (const { points, ms } of steps) {
        const { score } = scores.add('a', points, 'X')
        assert.ok(score >= -100 && score <= 100)
        clock.at += ms
        assert.ok(Math.abs(scores.view('a').score) <= Math.abs(score))
      }
    })
  )
})

test('when there are as many as there may be, the score nearest to 0 is forgotten first', () => {
  const { scores } = setUp(3)
  for (const [who, penalty] of [
    ['a', 'fatal'],
    ['b', 'high'],
    ['c', 'low'],
    ['d', 'mid']
  ] as [string, Penalty][]) {
    scores.add(who, PENALTIES[penalty], 'X')
  }
  assert.deepEqual(scores.keys().sort(), ['a', 'c', 'd'])
  for (let i = 0; i < 100; i++) scores.add(`new ${i}`, -1, 'X')
  assert.equal(scores.view('a').standing, 'banned')
  assert.equal(scores.size, 3)
})

test('a ban by the user holds until the user ends it: no time, no other offence or reward, and no flood of names does', () => {
  const { clock, scores } = setUp(10)
  scores.ban('a')
  scores.add('a', PENALTIES.low, 'X')
  scores.add('a', 200, '')
  for (let i = 0; i < 100; i++) scores.add(`b${i}`, PENALTIES.fatal, 'X')
  clock.at += 365 * 24 * 3_600_000
  assert.equal(scores.view('a').standing, 'banned')
  assert.equal(scores.size <= 10, true)
  scores.remove('a')
  assert.equal(scores.view('a').standing, 'good')
})
