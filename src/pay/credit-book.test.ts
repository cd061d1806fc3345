/** Credit: bounded per identity, per address and per day; durable; grows with payments and not with tiny ones. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { tempFolder } from '../../test/kits/pay.ts'
import { addressGroup, CreditBook, creditDefaults } from './credit-book.node.ts'
import { openLedger } from './ledger.node.ts'
import { MAX_LIVE_ACCOUNTS } from './limits.ts'
import type { Customer } from './types.ts'

const MB = 1024 * 1024
const CHUNK = 256 * 1024
const FILE = new Uint8Array(32).fill(1)
const DAY = 24 * 60 * 60 * 1000
const who = (peer: string, wallet = 1, address = '192.0.2.1'): Customer => ({
  peerId: peer,
  instance: peer,
  wallet: new Uint8Array(20).fill(wallet),
  address
})

interface Scene extends Disposable {
  now: number
  book: CreditBook
  /** Opens the ledger again, as after kill -9 (`exact` false) or a clean stop. */
  reopen(exact: boolean): void
}
function scene(limits: Partial<typeof creditDefaults> = {}): Scene {
  const folder = tempFolder()
  let db = openLedger(folder.path)
  const make = (): CreditBook => new CreditBook(db, () => s.now, { ...creditDefaults, ...limits })
  const s: Scene = {
    now: 1_700_000_000_000,
    book: undefined as unknown as CreditBook,
    reopen: exact => {
      if (exact) s.book[Symbol.dispose]()
      db[Symbol.dispose]()
      db = openLedger(folder.path)
      s.book = make()
    },
    [Symbol.dispose]: () => {
      db[Symbol.dispose]()
      folder[Symbol.dispose]()
    }
  }
  s.book = make()
  return s
}
/** Takes chunks until refused; how many bytes that were. */
function drain(book: CreditBook, customer: Customer, creditBytes?: number): number {
  let n = 0
  while (book.take(customer, FILE, 1n, CHUNK, creditBytes)) n += CHUNK
  return n
}

test('a stranger gets 1 MiB; other names or wallets at the same address get nothing more', () => {
  using s = scene()
  assert.equal(s.book.left(who('a')), MB)
  assert.equal(drain(s.book, who('a')), MB)
  assert.equal(s.book.left(who('a')), 0)
  assert.equal(drain(s.book, who('b')), 0)
  assert.equal(drain(s.book, who('a', 2)), 0)
  assert.equal(drain(s.book, who('a', 1, '192.0.2.2')), 0, 'nor the same one at another address')
  assert.equal(drain(s.book, who('c', 1, '192.0.2.2')), MB)
})

test('IPv6 customers of one /64 count as one address, and a mapped IPv4 address as itself', () => {
  assert.equal(addressGroup('2001:db8:1:2:3:4:5:6'), addressGroup('2001:0db8:1:2::9'))
  assert.notEqual(addressGroup('2001:db8:1:2::1'), addressGroup('2001:db8:1:3::1'))
  assert.equal(addressGroup('::ffff:192.0.2.7'), '192.0.2.7')
  assert.equal(addressGroup('fe80::1%eth0'), addressGroup('fe80::2'))
  fc.assert(fc.property(fc.ipV6(), a => assert.match(addressGroup(a), /::\/64$|^\d+\.\d+\.\d+\.\d+$/)))
})

test('all strangers of a day together stay below the daily total, and the next day begins anew', () => {
  using s = scene({ dailyStrangerBytes: 3 * MB })
  let sum = 0
  for (let i = 0; i < 6; i++) sum += drain(s.book, who(`p${i}`, 1, `192.0.2.${i}`))
  assert.equal(sum, 3 * MB)
  s.now += DAY
  assert.equal(drain(s.book, who('late', 1, '198.51.100.1')), MB)
})

test('kill -9 forgets no served byte and costs at most one step; a clean stop costs nothing', () => {
  using s = scene()
  assert.ok(s.book.take(who('a'), FILE, 1n, CHUNK))
  s.reopen(false)
  assert.equal(s.book.left(who('a')), MB - 2 * CHUNK)
  assert.ok(s.book.take(who('a'), FILE, 1n, 1000))
  s.reopen(true)
  assert.equal(s.book.left(who('a')), MB - 2 * CHUNK - 1000)
})

test('C1: what an instance was served of a file, and at which lowest price, is durable before it is served', () => {
  using s = scene({ creditBytes: 8 * MB })
  const other = new Uint8Array(32).fill(2)
  for (let i = 1; i <= 6; i++) {
    assert.ok(s.book.take(who('a'), i % 2 === 0 ? FILE : other, 5n, CHUNK))
    for (const file of [FILE, other]) {
      const least = (file === FILE ? Math.floor(i / 2) : Math.ceil(i / 2)) * CHUNK
      assert.ok((s.book.served('a', file)?.bytes ?? 0) >= least, `${i}`)
    }
  }
  assert.ok(s.book.take(who('a'), FILE, 5n, 1))
  assert.ok(s.book.take(who('a'), FILE, 3n, 1))
  assert.equal(s.book.served('a', FILE)?.price, 3n, 'a lower price counts at once')
  assert.ok(s.book.take(who('a'), FILE, 9n, CHUNK))
  const used = 7 * CHUNK + 2
  s.reopen(false)
  assert.equal(s.book.served('a', FILE)?.price, 3n)
  assert.ok(s.book.left(who('a', 1, '192.0.2.9')) <= 8 * MB - used, 'also from another address')
})

test('paying restores credit and doubles it up to the cap; a payment taken back takes both back exactly', () => {
  using s = scene({ maxCreditBytes: 8 * MB })
  const seen: number[] = []
  for (let i = 0; i < 5; i++) {
    const got = drain(s.book, who('a'))
    seen.push(got / MB)
    s.book.restore('a|' + '01'.repeat(20), got)
  }
  assert.deepEqual(seen, [1, 2, 4, 8, 8])
  const before = s.book.left(who('a'))
  assert.ok(s.book.take(who('a'), FILE, 1n, 3 * CHUNK))
  const undo = s.book.restore('a|' + '01'.repeat(20), 2 * CHUNK)
  s.book.withdraw('a|' + '01'.repeat(20), undo.restored, undo.grown)
  assert.equal(s.book.left(who('a')), before - 3 * CHUNK)
  // The same where the limit on what it grows to does not hide it.
  const grows = who('b', 1, '192.0.2.2')
  const had = drain(s.book, grows)
  const later = s.book.restore('b|' + '01'.repeat(20), had)
  assert.equal(later.grown, MB)
  s.book.withdraw('b|' + '01'.repeat(20), later.restored, later.grown)
  assert.equal(s.book.left(grows), 0)
})

test('tiny payments do not buy a large default: what is unpaid never exceeds 1 MiB plus twice what was paid', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ take: fc.nat({ max: 12 }), pay: fc.nat({ max: 3 * MB }) }), { maxLength: 12 }), steps => {
      using s = scene()
      let taken = 0
      let paid = 0
      for (const step of steps) {
        for (let i = 0; i < step.take; i++) if (s.book.take(who('a'), FILE, 1n, CHUNK)) taken += CHUNK
        const pay = Math.min(step.pay, taken - paid)
        if (pay > 0) {
          s.book.restore('a|' + '01'.repeat(20), pay)
          paid += pay
        }
        assert.ok(taken - paid <= MB + 2 * paid + paid / 16 + 1, `taken ${taken} paid ${paid}`)
      }
    }),
    { numRuns: 12 }
  )
})

test('an owner may allow more for a share than strangers get', () => {
  using s = scene()
  assert.equal(drain(s.book, who('a'), 100 * MB), 100 * MB)
  assert.equal(s.book.served('a', FILE)?.price, 1n)
  assert.ok((s.book.served('a', FILE)?.bytes ?? 0) >= 100 * MB)
})

test('strangers who only ask, or are refused, cost a customer none of its credit', () => {
  using s = scene()
  assert.ok(s.book.take(who('a'), FILE, 1n, CHUNK))
  for (let i = 0; i <= MAX_LIVE_ACCOUNTS; i++) {
    s.book.left(who(`asks ${i}`, 1, '192.0.2.99'))
    assert.equal(s.book.take(who(`takes ${i}`, 1, '192.0.2.99'), FILE, 1n, 2 * MB), false)
  }
  assert.equal(s.book.left(who('a')), MB - CHUNK, 'its exact use was forgotten and rounded up to a step')
  assert.ok(s.book.take(who('a'), FILE, 1n, 3 * CHUNK))
})
