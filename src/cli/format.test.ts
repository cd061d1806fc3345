import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../test/kits/any-text.ts'
import blns from '../../test/vectors/strings/blns.json' with { type: 'json' }
import { KithError } from '../base/errors.ts'
import { clean, formatBytes, formatDuration, formatPrice, formatWei, parseCount, parseSize, toJsonLine } from './format.ts'
import { pad, truncate, widthOf } from './text-width.ts'

test('sizes, times and money read as people write them', () => {
  assert.deepEqual([0, 999, 1000, 1_500_000, 268_435_456, 10 ** 12].map(formatBytes), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.5 MB',
    '268 MB',
    '1.0 TB'
  ])
  assert.deepEqual([0.4, 59, 200, 7500, 273_600].map(formatDuration), ['0 s', '59 s', '3 min 20 s', '2 h 5 min', '3 d 4 h'])
  assert.equal(formatWei('1500000000000000'), '0.0015 coin')
  assert.equal(formatPrice('0'), 'free')
  assert.equal(formatPrice('1000000000000000'), '0.001 coin per MB')
})

test('sizes are read in thousands and in 1024s, and nothing else is', () => {
  const good = {
    '8000000': 8e6,
    '8M': 8e6,
    '8 MB': 8e6,
    '8MB/s': 8e6,
    '512KiB': 524_288,
    '256MiB': 268_435_456,
    '1.5k': 1500,
    '3B': 3,
    '1G': 1e9
  }
  for (const [text, bytes] of Object.entries(good)) assert.equal(parseSize(text), bytes, text)
  for (const text of ['', '-1', '1e9', '0x10', '8X', '8Mi B', 'M', '1.', '99999999999999999']) assert.throws(() => parseSize(text), text)
  fc.assert(
    fc.property(fc.string(), text => {
      try {
        assert.ok(parseSize(text) >= 0)
      } catch (error) {
        assert.ok(error instanceof KithError && error.code === 'BAD_SIZE')
      }
    })
  )
})

test('text of others can neither move the cursor nor hide', () => {
  const harmful = /[\p{Cc}\u2028-\u202e\u2066-\u2069\u200b\ufeff]/u
  for (const s of blns) assert.doesNotMatch(clean(s), harmful, JSON.stringify(s))
  fc.assert(
    fc.property(anyText(), fc.integer({ min: 1, max: 40 }), (s, max) => {
      const out = clean(s, max)
      assert.doesNotMatch(out, harmful)
      assert.ok([...out].length <= max && out.isWellFormed())
    })
  )
})

test('JSON lines are one line, hold no terminal codes, and read back as they were', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), anyText()), value => {
      const line = toJsonLine(value)
      assert.doesNotMatch(line, /[\p{Cc}\u2028\u2029\u202a-\u202e]/u)
      assert.deepEqual({ ...JSON.parse(line) }, { ...value })
    })
  )
})

test('cut and padded text fits its columns', () => {
  assert.equal(widthOf('日本'), 4)
  assert.equal(truncate('日本語', 5), '日本…')
  assert.equal(pad('ab', 4), 'ab  ')
  assert.equal(pad('ab', 4, 'left'), '  ab')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 0, max: 30 }), (s, columns) => {
      assert.ok(widthOf(truncate(s, columns)) <= columns)
      assert.equal(widthOf(pad(s, columns)), columns)
    })
  )
})

test('a number is one, or refused', () => {
  assert.deepEqual(
    ['1', ' 20 ', '5000'].map(t => parseCount(t, 1000)),
    [1, 20, 1000]
  )
  for (const bad of ['', '0', '-1', 'abc', '1.5', '1e3', '9'.repeat(30)]) assert.throws(() => parseCount(bad, 9), { code: 'BAD_NUMBER' })
})
