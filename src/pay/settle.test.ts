/** Settlement against a real chain (anvil): one payee, several, a dead seeder, a chain that is away, credit, proofs, kill at every step. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { customerOf, MemoryNet, makeFile, offerOf, openPeer, type TestFile, type TestPeer, tempFolder } from '../../test/kits/pay.ts'
import { bytesToHex } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import { amountDue } from '../wire/wei.ts'
import { type LocalChain, openLocalChain } from './local-chain.node.ts'
import type { PayOptions } from './open.node.ts'
import { chunkBytes } from './receipts.ts'
import type { Bill } from './types.ts'

const COIN = 10n ** 18n
const PRICE = 10n ** 15n
const folder = tempFolder()
const signal = new AbortController().signal
let chain: LocalChain
let options: PayOptions

before(async () => {
  chain = await openLocalChain({ log: silentLogger }, { port: 0, blockTimeSeconds: 0 })
  options = { chain: { chainId: 98765, rpcUrls: [chain.url], pollMs: 10 }, background: { minMs: 60_000 } }
})
after(async () => {
  await chain[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const balance = async (wallet: Uint8Array): Promise<bigint> =>
  BigInt(String(await chain.call('eth_getBalance', [`0x${bytesToHex(wallet)}`, 'latest'])))

/** The seeder charges for chunks and the bill hears that they were verified, as transfer does. */
function fetchChunks(
  bill: Bill,
  from: TestPeer,
  to: TestPeer,
  file: TestFile,
  price: bigint,
  chunks: readonly number[]
): string | undefined {
  for (const c of chunks) {
    const refused = from.pay.gate.charge(customerOf(to), file, price, c, chunkBytes(file.size, c))
    if (refused) return refused
    bill.delivered(from.instance, 'http', c, chunkBytes(file.size, c))
  }
  return undefined
}

test('one payee is paid by a plain transfer of exactly what the receipts say, and countersigns', async () => {
  const net = new MemoryNet()
  await using alice = await openPeer(net, join(folder.path, 'one'), 'alice', 1, options)
  await using bob = await openPeer(net, join(folder.path, 'one'), 'bob', 2, options)
  await chain.fund(alice.wallet, COIN)
  const file = makeFile('one', 4)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
  bill.admit(offerOf(bob, file, PRICE))
  assert.equal(fetchChunks(bill, bob, alice, file, PRICE, [0, 1, 2, 3]), undefined)
  const due = amountDue(file.size, PRICE)
  assert.equal(bill.owedWei, due)
  const before = await balance(bob.wallet)
  const view = await bill.settle(undefined, signal)
  assert.equal(view.state, 'confirmed', view.reason)
  assert.equal(view.totalWei, due)
  assert.equal((await balance(bob.wallet)) - before, due)
  assert.equal(bill.owedWei, 0n)
  assert.equal(bill.paidWei, due)
  const [mine] = alice.pay.receipts()
  const [his] = bob.pay.receipts()
  assert.equal(mine?.countersigned, true)
  assert.equal(mine?.state, 'paid')
  assert.equal(his?.state, 'paid')
  assert.equal((await bob.pay.view()).earnedWei, due.toString())
  assert.equal((await bill.settle(undefined, signal)).state, 'nothing-owed')
  assert.equal((await balance(bob.wallet)) - before, due)
})

test('several payees are paid by one transaction; a free seeder and a dead one do not disturb', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'many')
  await using alice = await openPeer(net, home, 'alice', 1, options)
  await using bob = await openPeer(net, home, 'bob', 2, options)
  await using carol = await openPeer(net, home, 'carol', 3, options)
  await using dave = await openPeer(net, home, 'dave', -1, options)
  await chain.fund(alice.wallet, COIN)
  const file = makeFile('many', 9)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
  bill.admit(offerOf(bob, file, PRICE))
  bill.admit(offerOf(carol, file, 3n * PRICE))
  bill.admit(offerOf(dave, file, 0n))
  fetchChunks(bill, bob, alice, file, PRICE, [0, 2, 4])
  fetchChunks(bill, carol, alice, file, 3n * PRICE, [1, 8])
  for (const c of [3, 5, 6, 7]) bill.delivered(dave.instance, 'bittorrent', c, CHUNK_BYTES)
  net.down.add('carol') // killed: it must be paid all the same
  const before = [await balance(bob.wallet), await balance(carol.wallet)]
  const view = await bill.settle(undefined, signal)
  assert.equal(view.state, 'confirmed', view.reason)
  assert.equal(view.payees.length, 2)
  const dueBob = amountDue(3 * CHUNK_BYTES, PRICE)
  const dueCarol = amountDue(2 * CHUNK_BYTES - 1000, 3n * PRICE)
  assert.deepEqual([(await balance(bob.wallet)) - before[0]!, (await balance(carol.wallet)) - before[1]!], [dueBob, dueCarol])
  assert.equal(view.totalWei, dueBob + dueCarol)
  assert.equal(carol.pay.receipts().length, 0)
  net.down.clear()
  await alice.pay.retryQueued()
  assert.equal((await carol.pay.view()).earnedWei, dueCarol.toString(), 'the payee that came back is told')
})

test('a payment that its seeder did not hear of is told when it asks to be paid, and not paid again', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'untold')
  await using alice = await openPeer(net, home, 'alice', 1, options)
  await using bob = await openPeer(net, home, 'bob', 2, options)
  await chain.fund(alice.wallet, COIN)
  const file = makeFile('untold', 8)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
  bill.admit(offerOf(bob, file, PRICE))
  assert.ok(fetchChunks(bill, bob, alice, file, PRICE, [0, 1, 2, 3, 4]), 'refused after 1 MiB')
  net.down.add('bob') // reachable over HTTP perhaps, but not here: it never hears of the payment
  assert.equal((await bill.settle(bob.instance, signal)).state, 'confirmed')
  const paid = await balance(bob.wallet)
  net.down.clear()
  const again = await alice.pay.gate.openBill(file, { maxCostWei: COIN }) // as a restart does
  again.admit(offerOf(bob, file, PRICE))
  const told = await again.settle(bob.instance, signal)
  assert.equal(told.state, 'confirmed', 'the download may go on with this seeder')
  assert.equal(fetchChunks(again, bob, alice, file, PRICE, [4, 5]), undefined)
  assert.equal(await balance(bob.wallet), paid)
  net.down.add('bob')
  assert.equal((await again.settle(bob.instance, signal)).state, 'confirmed')
  const after = await again.settle(bob.instance, signal)
  assert.equal(after.state, 'nothing-owed', 'a seeder that cannot be told gives no reason to go on')
})

test('a stranger takes 1 MiB, is refused in words, pays, and may take 2 MiB', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'credit')
  await using alice = await openPeer(net, home, 'alice', 1, options)
  await using bob = await openPeer(net, home, 'bob', 2, options)
  await chain.fund(alice.wallet, COIN)
  const file = makeFile('credit', 40)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
  bill.admit(offerOf(bob, file, PRICE))
  const all = Array.from({ length: file.count }, (_, i) => i)
  const rounds: number[] = []
  for (let next = 0; next < file.count; ) {
    const refused = fetchChunks(bill, bob, alice, file, PRICE, all.slice(next))
    const got = Number((bill.owedWei * 4n + PRICE - 1n) / PRICE) // the last chunk is shorter
    if (refused) assert.match(refused, /0\.001 coin per MB.*pay what you owe/)
    rounds.push(got)
    next += Math.max(1, got)
    const view = await bill.settle(bob.instance, signal)
    assert.equal(view.state, 'confirmed', view.reason)
    assert.ok(rounds.length < 10)
  }
  assert.deepEqual(rounds.slice(0, 3), [4, 8, 16])
  assert.equal(
    (await bob.pay.view()).earnedWei,
    alice.pay
      .receipts()
      .reduce((n, r) => n + BigInt(r.amountWei), 0n)
      .toString()
  )
})

test('with the chain away the debt is queued in words, and paid once when it is back', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'away')
  const away = { ...options, chain: { ...options.chain, rpcUrls: ['http://127.0.0.1:1'] } }
  const file = makeFile('away', 2)
  await using bob = await openPeer(net, home, 'bob', 2, options)
  const due = amountDue(file.size, PRICE)
  const before = await balance(bob.wallet)
  {
    await using alice = await openPeer(net, home, 'alice', 1, away)
    const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
    bill.admit(offerOf(bob, file, PRICE))
    fetchChunks(bill, bob, alice, file, PRICE, [0, 1])
    const view = await bill.settle(undefined, signal)
    assert.equal(view.state, 'queued')
    assert.match(view.reason ?? '', /cannot be reached/)
    assert.equal(bill.owedWei, due)
    assert.equal((await alice.pay.view()).queuedWei, due.toString())
  }
  await using alice = await openPeer(net, home, 'alice', 1, options)
  await chain.fund(alice.wallet, COIN)
  await alice.pay.retryQueued()
  await alice.pay.retryQueued()
  await alice.pay.settleAll()
  assert.equal((await balance(bob.wallet)) - before, due)
  assert.equal((await alice.pay.view()).queuedWei, '0')
})

test('without the settlement contract several payees are paid one by one', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'bare')
  const bare: PayOptions = {
    ...options,
    chain: { ...options.chain, settlement: { address: `0x${'11'.repeat(20)}`, codeHash: `0x${'22'.repeat(32)}` } }
  }
  await using alice = await openPeer(net, home, 'alice', 1, bare)
  await using bob = await openPeer(net, home, 'bob', 2, bare)
  await using carol = await openPeer(net, home, 'carol', 3, bare)
  await chain.fund(alice.wallet, COIN)
  const file = makeFile('bare', 4)
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: COIN })
  for (const [peer, chunks] of [
    [bob, [0, 1]],
    [carol, [2, 3]]
  ] as const) {
    bill.admit(offerOf(peer, file, PRICE))
    fetchChunks(bill, peer, alice, file, PRICE, chunks)
  }
  const before = [await balance(bob.wallet), await balance(carol.wallet)]
  const view = await bill.settle(undefined, signal)
  assert.equal(view.state, 'confirmed', view.reason)
  assert.equal((await balance(bob.wallet)) - before[0]!, amountDue(2 * CHUNK_BYTES, PRICE))
  assert.equal((await balance(carol.wallet)) - before[1]!, amountDue(2 * CHUNK_BYTES - 1000, PRICE))
  assert.deepEqual(
    [bob, carol].map(p => p.pay.receipts()[0]?.state),
    ['paid', 'paid']
  )
})

test('offers beyond the limits, on another chain or without wallet are refused before the first byte', async () => {
  const net = new MemoryNet()
  const home = join(folder.path, 'refuse')
  await using bob = await openPeer(net, home, 'bob', 2, options)
  await using poor = await openPeer(net, home, 'poor', -1, options)
  await using alice = await openPeer(net, home, 'alice', 1, { ...options, budgetWeiPerDay: 5n * PRICE })
  const file = makeFile('refuse', 16)
  const code = (wanted: string) => (error: unknown) => hasCode(error, wanted)
  const off = await poor.pay.gate.openBill(file, { maxCostWei: COIN })
  assert.throws(() => off.admit(offerOf(bob, file, PRICE)), code('PAYMENTS_OFF'))
  off.admit(offerOf(bob, file, 0n))
  const bill = await alice.pay.gate.openBill(file, { maxCostWei: 3n * PRICE })
  assert.throws(() => bill.admit(offerOf(bob, file, PRICE)), code('OVER_BUDGET'))
  bill.admit(offerOf(bob, file, PRICE), 2 * 1024 * 1024) // most of the file is there already
  assert.throws(() => bill.admit(offerOf(bob, file, 1n, 1)), code('WRONG_CHAIN'))
  assert.throws(() => bill.admit(offerOf(poor, file, 1n)), code('INVALID_ADDRESS'))
  const other = await alice.pay.gate.openBill(makeFile('refuse2', 16), { maxCostWei: COIN })
  assert.throws(() => other.admit(offerOf(bob, makeFile('refuse2', 16), PRICE)), code('OVER_BUDGET'), 'the day')
  const free = await alice.pay.gate.openBill(makeFile('refuse3', 1), { maxCostWei: 0n })
  assert.throws(() => free.admit(offerOf(bob, makeFile('refuse3', 1), 1n)), code('OVER_BUDGET'))
})
