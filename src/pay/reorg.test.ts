/** Payer and payee on a chain that reorganises, forgets and lies: paid once, credited once (threats PY3-PY6, C12, C13). */
import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { type FakeChain, faults, openFakeChain } from '../../test/kits/fake-chain.ts'
import { customerOf, MemoryNet, makeFile, offerOf, openPeer, type TestPeer, tempFolder } from '../../test/kits/pay.ts'
import { bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { amountDue } from '../wire/wei.ts'
import type { PayOptions } from './open.node.ts'
import { chunkBytes } from './receipts.ts'
import type { Bill } from './types.ts'

const PRICE = 10n ** 15n
const folder = tempFolder()
/** Homes with wallets, copied for every scene: making them is slow on purpose. */
const template = join(folder.path, 'template')
before(async () => {
  const options = { chain: { chainId: 98765, rpcUrls: [] } }
  for (const [i, name] of ['alice', 'bob'].entries())
    await (await openPeer(new MemoryNet(), template, name, i + 1, options))[Symbol.asyncDispose]()
})
after(() => folder[Symbol.dispose]())
const MB = 1024 * 1024

async function scene(
  name: string,
  chain: FakeChain,
  confirmations = 1
): Promise<AsyncDisposable & { alice: TestPeer; bob: TestPeer; bill: Bill; due: bigint; net: MemoryNet }> {
  const net = new MemoryNet()
  cpSync(template, join(folder.path, name), { recursive: true })
  const options: PayOptions = {
    chain: { chainId: 98765, rpcUrls: [chain.url], pollMs: 2, confirmations, settlement: null },
    background: { minMs: 60_000 }
  }
  const alice = await openPeer(net, join(folder.path, name), 'alice', 1, options)
  const bob = await openPeer(net, join(folder.path, name), 'bob', 2, options)
  const file = makeFile(name, 4)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: 10n ** 18n })
  bill.admit(offerOf(bob, file, PRICE))
  for (let c = 0; c < 4; c++) {
    assert.equal(bob.pay.gate.charge(customerOf(alice), file, PRICE, c, chunkBytes(file.size, c)), undefined)
    bill.delivered(bob.instance, 'http', c, chunkBytes(file.size, c))
  }
  const close = async (): Promise<void> => {
    await alice[Symbol.asyncDispose]()
    await bob[Symbol.asyncDispose]()
  }
  return { alice, bob, bill, due: amountDue(file.size, PRICE), net, [Symbol.asyncDispose]: close }
}

/** Waits for a condition that other work brings about. */
async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 5_000; !condition(); ) {
    if (Date.now() > end) assert.fail(`never happened: ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}
const passes = async (...peers: TestPeer[]): Promise<void> => {
  for (const p of peers) await p.pay.retryQueued()
}
const credit = (s: { alice: TestPeer; bob: TestPeer }): number => s.bob.pay.gate.creditFor(customerOf(s.alice))

/** Alice settles while the chain mines. */
async function settleAndMine(s: { bill: Bill }, chain: FakeChain, blocks = 1): Promise<string> {
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  chain.mine(blocks)
  const view = await settling
  assert.equal(view.state, 'confirmed', view.reason)
  return view.tx!
}

test('a reorg takes the credit of a payment back, and gives it again once when the payment returns in another block', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('reorg', chain)
  const tx = await settleAndMine(s, chain)
  assert.equal(credit(s), 2 * MB)
  chain.reorg(1, false) // the transaction is gone, and forgotten
  await passes(s.bob)
  assert.ok(credit(s) <= 1000, `credit after the reorg: ${credit(s)}`)
  assert.equal((await s.bob.pay.view()).earnedWei, '0')
  await passes(s.alice)
  await passes(s.alice)
  assert.deepEqual(
    chain.pool.map(t => t.hash),
    [tx],
    'the same bytes are sent again'
  )
  chain.mine(2)
  await passes(s.alice, s.bob, s.bob)
  assert.equal(credit(s), 2 * MB)
  assert.equal((await s.bob.pay.view()).earnedWei, s.due.toString())
  chain.mine(12)
  await passes(s.alice, s.bob)
  assert.deepEqual([await s.alice.pay.retryQueued(), await s.bob.pay.retryQueued()], [0, 0], 'final: nothing is watched any more')
})

test('a payment counts only at the configured depth', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('depth', chain, 3)
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  chain.mine(2)
  const asked = chain.requests
  await until('looked again', () => chain.requests > asked + 10)
  assert.equal((await s.bob.pay.view()).earnedWei, '0')
  assert.ok(!s.net.calls.includes('paid'), 'nor does who paid take it for done')
  chain.mine(1)
  assert.equal((await settling).state, 'confirmed')
  assert.equal((await s.bob.pay.view()).earnedWei, s.due.toString())
})

test('a transaction that another one of the wallet replaced is shown and waits for a person, then is paid once', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('replaced', chain)
  const stop = new AbortController()
  const settling = s.bill.settle(undefined, stop.signal)
  await until('sent', () => chain.pool.length > 0)
  chain.mineForeign(`0x${bytesToHex(s.alice.wallet)}`, 0)
  const view = await settling
  assert.equal(view.state, 'queued')
  assert.match(view.reason ?? '', /took its place/)
  await passes(s.alice, s.alice)
  assert.equal(chain.pool.length, 0, 'an endpoint could lie about the first: no second payment by itself')
  const all = s.alice.pay.settleAll()
  await until('sent again', () => chain.pool.length > 0)
  chain.mine()
  assert.equal((await all)[0]?.state, 'confirmed')
  assert.equal(chain.mined.filter(t => t.value === s.due).length, 1)
  assert.equal((await s.bob.pay.view()).earnedWei, s.due.toString())
})

test('a replacement counts only at the configured depth, too', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('shallow', chain, 3)
  chain.mine(5)
  let isOver = false
  const settling = s.bill.settle(undefined, new AbortController().signal).finally(() => (isOver = true))
  await until('sent', () => chain.pool.length > 0)
  chain.mineForeign(chain.pool[0]!.from, 0)
  const asked = chain.requests
  await until('looked again', () => chain.requests > asked + 20)
  assert.ok(!isOver)
  chain.mine(3)
  assert.match((await settling).reason ?? '', /took its place/)
})

test('when the transaction that seemed replaced is in the chain after all, no second one is made', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('lied', chain)
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  const first = chain.pool[0]!
  chain.mineForeign(first.from, 0)
  assert.equal((await settling).state, 'queued')
  chain.reorg(1, false)
  chain.pool = [first]
  chain.mine()
  assert.equal((await s.alice.pay.settleAll())[0]?.state, 'confirmed')
  assert.deepEqual([chain.mined.filter(t => t.value === s.due).length, chain.pool.length], [1, 0])
})

test('a node that forgets its pool does not make a nonce be used twice', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('forgets', chain)
  await s.alice.pay.send(`0x${'12'.repeat(20)}`, '5')
  chain.pool = []
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('both are sent', () => chain.pool.length === 2)
  assert.deepEqual(chain.pool.map(t => t.nonce).sort(), [0, 1])
  chain.mine()
  assert.equal((await settling).state, 'confirmed')
})

test('the same transaction does not pay for two invoices, and an underpaying or foreign one pays for none', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('used', chain)
  const tx = await settleAndMine(s, chain)
  const file = makeFile('used2', 1)
  const bill = await s.alice.pay.gate.openBill(file, { maxCostWei: 10n ** 18n })
  bill.admit(offerOf(s.bob, file, PRICE))
  assert.equal(s.bob.pay.gate.charge(customerOf(s.alice), file, PRICE, 0, chunkBytes(file.size, 0)), undefined)
  bill.delivered(s.bob.instance, 'http', 0, chunkBytes(file.size, 0))
  const settling = bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  const second = chain.pool[0]!
  const before = await s.bob.pay.view()
  // the first transaction and one with too little value, shown under the second one's hash
  for (const value of [second.value - 1n, s.due]) {
    chain.pool = []
    const input = value === s.due ? chain.mined.find(t => t.hash === tx)!.input : second.input
    chain.blocks.push({ hash: `0x${'ab'.repeat(32)}`, txs: [{ ...second, value, input }] })
    await until('asked', () => s.net.calls.filter(c => c === 'paid').length > 1)
    assert.equal((await s.bob.pay.view()).earnedWei, before.earnedWei)
    chain.blocks.pop()
  }
  chain.pool = [second]
  chain.mine()
  await settling
})

test('seeded storms of reorgs, faults and lost pools: every debt is paid by one transaction and credited once', async () => {
  const kinds = Object.entries(faults).filter(([name]) => name !== 'hang' && name !== 'huge')
  for (let seed = 1; seed <= 12; seed++) {
    await using chain = await openFakeChain()
    await using s = await scene(`storm${seed}`, chain)
    const random = mulberry32(seed)
    let settled = false
    const settling = s.bill.settle(undefined, new AbortController().signal).finally(() => (settled = true))
    const progress = async (): Promise<void> => {
      const asked = chain.requests
      await passes(s.alice, s.bob)
      await until(`seed ${seed}: progress`, () => settled || chain.requests > asked + 3)
    }
    for (let i = 0; i < 12; i++) {
      const [, fault] = kinds[random(kinds.length)]!
      const op = random(8)
      if (op === 0) chain.fault = () => (random(4) === 0 ? fault : undefined)
      else if (op === 1) chain.fault = () => undefined
      else if (op <= 3) chain.reorg(1 + random(5), random(2) === 0)
      else if (op === 4) chain.pool = []
      else chain.mine(1 + random(2))
      await progress()
    }
    chain.fault = () => undefined
    while (!settled) {
      chain.mine()
      await progress()
    }
    await settling
    for (let i = 0; i < 4; i++) {
      await passes(s.alice, s.bob)
      chain.mine(i < 2 ? 1 : 6)
    }
    await passes(s.alice, s.bob)
    const payments = chain.mined.filter(t => t.value === s.due)
    assert.equal(payments.length, 1, `seed ${seed}: payments on the chain`)
    assert.equal((await s.bob.pay.view()).earnedWei, s.due.toString(), `seed ${seed}`)
    assert.equal(credit(s), 2 * MB, `seed ${seed}: credit`)
  }
})

/** A small seeded generator: the same storm for the same seed. */
function mulberry32(seed: number): (n: number) => number {
  let a = seed
  return n => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

test('a transaction that was not carried out pays nobody, is shown, and waits for a person (threats PY4)', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('failed', chain)
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  const { hash } = chain.pool[0]!
  // Who paid sees it carried out, so that it is told to the other.
  chain.mine(2)
  chain.fault = () => {
    if (s.net.calls.includes('paid')) chain.failed.add(hash)
    return undefined
  }
  await settling
  assert.ok(chain.failed.has(hash), 'the other was told')
  assert.equal((await s.bob.pay.view()).earnedWei, '0')
  assert.ok(credit(s) < MB)
})
test('who paid is told that the chain did not carry it out', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('refused', chain)
  const settling = s.bill.settle(undefined, new AbortController().signal)
  await until('sent', () => chain.pool.length > 0)
  chain.failed.add(chain.pool[0]!.hash)
  chain.mine()
  const view = await settling
  assert.equal(view.state, 'queued')
  assert.match(view.reason ?? '', /did not carry out/)
  assert.equal((await s.bob.pay.view()).earnedWei, '0')
})
test('an endpoint that answers about another transaction confirms nothing (threats PY5)', async () => {
  for (const method of ['eth_getTransactionReceipt', 'eth_getTransactionByHash']) {
    await using chain = await openFakeChain()
    await using s = await scene(`other ${method}`, chain)
    chain.namesOther = method
    const settling = s.bill.settle(undefined, new AbortController().signal)
    await until('sent', () => chain.pool.length > 0)
    chain.mine(2)
    await settling
    assert.equal((await s.bob.pay.view()).earnedWei, '0')
    chain.namesOther = ''
    await passes(s.alice, s.alice)
    await until('told', () => s.net.calls.includes('paid'))
    await passes(s.bob)
    assert.equal((await s.bob.pay.view()).earnedWei, s.due.toString())
  }
})

test('a fault of the chain never becomes anything but a code', async () => {
  await using chain = await openFakeChain()
  await using s = await scene('codes', chain)
  for (const fault of Object.values(faults).filter(f => f !== faults['hang'])) {
    chain.fault = () => fault
    await s.alice.pay.send(`0x${'12'.repeat(20)}`, '1').then(
      () => assert.fail('sent'),
      e => assert.ok(e instanceof KithError, String(e))
    )
    const view = await s.alice.pay.view()
    assert.equal(view.balanceWei, undefined)
    assert.ok((view.problem ?? '').length > 0)
  }
})
