/** Amounts: one spelling each, exact arithmetic. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { KithError } from '../base/errors.ts'
import { amountDue, formatCoin, MB, parseCoin, parseWei } from './wei.ts'

const wei = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n })

test('wei and coin texts round-trip', () => {
  fc.assert(fc.property(wei, n => assert.equal(parseWei(n.toString()), n)))
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 40n }), n => assert.equal(parseCoin(formatCoin(n)), n)))
})

test('whatever is no amount is BAD_PRICE', () => {
  for (const t of ['', '-1', '+1', '01', '1.0', '1e3', '0x1', ' 1', '1 ', '١', (2n ** 256n).toString(), '9'.repeat(1000)])
    assert.throws(() => parseWei(t), { code: 'BAD_PRICE' }, t)
  for (const t of ['', '.5', '1.', '1.2.3', '1e3', '-1', '0.0000000000000000001', 'Infinity', 'NaN', '1,5'])
    assert.throws(() => parseCoin(t), { code: 'BAD_PRICE' }, t)
  fc.assert(
    fc.property(fc.string(), t => {
      for (const parse of [parseWei, parseCoin]) {
        try {
          assert.ok(parse(t) >= 0n)
        } catch (e) {
          assert.ok(e instanceof KithError && e.code === 'BAD_PRICE')
        }
      }
    })
  )
})

test('the amount due is the floor of bytes times price per 2^20, and parts never add up to more than the whole', () => {
  assert.equal(amountDue(262_144, 1_000_000n), 250_000n)
  assert.equal(amountDue(1, 1n), 0n)
  const size = fc.nat({ max: 2 ** 40 })
  fc.assert(
    fc.property(size, size, fc.bigInt({ min: 0n, max: 10n ** 30n }), (a, b, price) => {
      const whole = amountDue(a + b, price)
      const parts = amountDue(a, price) + amountDue(b, price)
      assert.ok(parts <= whole && whole - parts <= 1n)
      assert.ok(whole * MB <= BigInt(a + b) * price)
    })
  )
})
