/** Paid files with real processes and a real local chain: what is delivered is paid, once, and nothing else. */
import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { amountDue } from '../../src/wire/wei.ts'
import { downloadIn, errorCode, Lab, sha256OfFile } from '../kits/lab.ts'
import { balance, call, chainUp, fund, walletIn } from '../kits/lab-chain.ts'
import { eventually } from '../kits/transfer-doubles.ts'

const MIB = 2 ** 20
/** 0.001 coin per MB. */
const PRICE = 10n ** 15n

interface Receipt {
  readonly role: string
  readonly amountWei: string
  readonly bytes: number
  readonly state: string
  readonly countersigned: boolean
  readonly tx: string
  readonly time: number
}
interface Settlement {
  readonly state: string
  readonly totalWei: string
  readonly payees: { readonly wallet: string; readonly amountWei: string; readonly bytes: number }[]
}

suite('paid files', { concurrency: 2, timeout: 180_000 }, () => {
  test('a large file is paid in growing steps by strangers, and a limit refuses before the first paid byte', growingSteps)
  test('with the chain gone the file is there and the payment waits; it is paid once when the chain is back', chainGone)
  test('a seeder that is killed half-way is paid for what it delivered', killedSeeder)
})

async function growingSteps(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const size = 14 * MIB
  const file = lab.file('film.bin', size)
  const { rpc, process: chain } = await chainUp(lab)
  const seller = await walletIn(lab, 'seller', 2)
  await fund(rpc, await walletIn(lab, 'buyer', 1))
  const { ready } = await lab.ready('seller', 'share', file, '--price', '0.001', '--chain-rpc', rpc)
  assert.equal(ready.pricePerMb, PRICE.toString())

  assert.deepEqual(ready.httpUrls, [], 'an address for programs that cannot pay would be of no use')
  const free = await lab.api('seller').share({ path: lab.file('free.bin', 1000, 9) })
  const curl = await fetch(new URL(`/${ready.fileId}`, free.httpUrls[0]))
  const refusal = (await curl.json()) as { code: string; detail: string }
  assert.deepEqual([curl.status, refusal.code], [402, 'PAYMENT_REQUIRED'])
  assert.match(refusal.detail, /costs money.*ticket/)

  const out = lab.dir('out')
  const cheap = await lab.kith('buyer', 'get', ready.link!, '-o', out, '--chain-rpc', rpc, '--max-cost', '0.013').ended()
  assert.deepEqual([cheap.code, errorCode(cheap)], [4, 'OVER_BUDGET'], cheap.err)
  assert.ok((await lab.api('seller').shares()).every(s => s.uploadedBytes === 0))
  assert.equal(await balance(rpc, seller), 0n)

  const got = await lab.kith('buyer', 'get', ready.link!, '-o', out, '--chain-rpc', rpc, '--max-cost', '0.015').ended()
  assert.equal(got.code, 0, got.err + got.out.slice(-2000))
  assert.equal(sha256OfFile(String(got.last['path'])), ready.fileId)
  const settlement = got.last['settlement'] as Settlement
  assert.equal(settlement.state, 'confirmed')
  const due = amountDue(size, PRICE)
  assert.equal(BigInt(settlement.totalWei), due)
  assert.equal(await balance(rpc, seller), due)
  const mine = ((await lab.client('buyer', 'wallet', 'receipts', '--port', '0', '--no-lan')).last['receipts'] ?? []) as Receipt[]
  const theirs = (await lab.api('seller').receipts()) as readonly Receipt[]
  const steps = stepsOf(mine)
  t.diagnostic(`settlements of ${steps} bytes`)
  assert.ok(steps.length >= 3 && steps.length <= 6)
  assert.ok(steps[0]! <= MIB, 'the first is the credit of a stranger')
  assert.ok(steps[1]! > steps[0]! && steps[2]! > steps[1]!, 'they grow')
  for (const receipts of [mine, theirs]) {
    assert.equal(
      receipts.reduce((n, r) => n + BigInt(r.amountWei), 0n),
      due
    )
    assert.ok(receipts.every(r => r.state === 'paid' && r.countersigned && BigInt(r.amountWei) === amountDue(r.bytes, PRICE)))
  }
  assert.equal((await lab.api('seller').wallet()).earnedWei, due.toString())

  // Another stranger, over the other protocol.
  await fund(rpc, await walletIn(lab, 'second', 3))
  const options = ['--protocol', 'bittorrent', '--chain-rpc', rpc, '--max-cost', '0.015']
  const second = await lab.kith('second', 'get', ready.link!, '-o', lab.dir('out-2'), ...options).ended()
  assert.equal(second.code, 0, second.err + second.out.slice(-2000))
  assert.equal((second.last['settlement'] as Settlement).totalWei, due.toString())
  assert.equal(await balance(rpc, seller), 2n * due)

  chain.kill('SIGTERM')
  assert.equal((await chain.ended()).code, 0, 'it ended within 4.5 s, or it would be 143')
}

async function chainGone(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const size = 8 * MIB
  const file = lab.file('film.bin', size)
  const { rpc, process: chain } = await chainUp(lab)
  const seller = await walletIn(lab, 'seller', 2)
  await fund(rpc, await walletIn(lab, 'buyer', 1))
  await twoBlocks(rpc) // the funding is in the state file then
  const share = ['share', file, '--price', '0.001', '--credit', '8MiB', '--upload-limit', '4MiB', '--chain-rpc', rpc]
  const { ready } = await lab.ready('seller', ...share)
  const get = lab.kith('buyer', 'get', ready.link!, '-o', lab.dir('out'), '--chain-rpc', rpc, '--max-cost', '1')
  await get.find('some chunks', l => (downloadIn(l)?.chunksDone ?? 0) > 0)
  await chain.destroy()
  const got = await get.ended()
  assert.equal(got.code, 0, got.err + got.out.slice(-2000))
  assert.equal(sha256OfFile(String(got.last['path'])), ready.fileId)
  const settlement = got.last['settlement'] as Settlement & { readonly reason: string }
  assert.equal(settlement.state, 'queued')
  assert.match(settlement.reason, /chain endpoint .* cannot be reached/)

  const again = await chainUp(lab, rpc)
  assert.equal(await balance(again.rpc, seller), 0n)
  // A node that comes up pays by itself.
  await lab.ready('buyer', 'up', '--chain-rpc', rpc)
  const due = amountDue(size, PRICE)
  await eventually('the queued payment is made', async () => (await balance(rpc, seller)) === due, 30_000)
  await eventually('and settled', async () => (await lab.api('buyer').wallet()).queuedWei === '0', 30_000)
  const settled = await lab.client('buyer', 'settle')
  assert.equal(settled.code, 0, settled.err)
  await twoBlocks(rpc)
  assert.equal(await balance(rpc, seller), due, 'paid exactly once')
  await eventually('the seller knows', async () => (await lab.api('seller').wallet()).earnedWei === due.toString(), 30_000)
}

async function killedSeeder(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const size = 12 * MIB
  const file = lab.file('film.bin', size)
  const { rpc } = await chainUp(lab)
  const seller = await walletIn(lab, 'seller', 2)
  await fund(rpc, await walletIn(lab, 'buyer', 1))
  const options = ['--upload-limit', '4MiB', '--chain-rpc', rpc]
  const sold = await lab.ready('seller', 'share', file, '--price', '0.001', '--credit', '12MiB', ...options)
  const gift = await lab.ready('giver', 'share', file, '--bootstrap', sold.ready.addresses[0]!, ...options)
  const get = lab.kith('buyer', 'get', gift.ready.link!, '-o', lab.dir('out'), '--chain-rpc', rpc, '--max-cost', '1')
  const paid = (s: { pricePerMb: string; bytes: number }): boolean => s.pricePerMb !== '0' && s.bytes >= MIB
  await get.find('1 MiB from the paid seeder', l => downloadIn(l)?.sources.some(paid) ?? false)
  await sold.process.destroy()
  const got = await get.ended()
  assert.equal(got.code, 0, got.err + got.out.slice(-2000))
  assert.equal(sha256OfFile(String(got.last['path'])), gift.ready.fileId)
  const sources = got.last['sources'] as { pricePerMb: string; bytes: number }[]
  const delivered = sources.filter(s => s.pricePerMb !== '0').reduce((n, s) => n + s.bytes, 0)
  assert.ok(delivered >= MIB && delivered < size, `${delivered}`)
  const due = amountDue(delivered, PRICE)
  const settlement = got.last['settlement'] as Settlement
  assert.deepEqual([settlement.state, settlement.totalWei], ['confirmed', due.toString()])
  assert.equal(await balance(rpc, seller), due)
}

/** Bytes that each transaction paid for, in the order in which they were made. */
function stepsOf(receipts: readonly Receipt[]): number[] {
  const byTx = new Map<string, number>()
  for (const r of receipts.toSorted((a, b) => a.time - b.time)) byTx.set(r.tx, (byTx.get(r.tx) ?? 0) + r.bytes)
  return [...byTx.values()]
}

async function twoBlocks(rpc: string): Promise<void> {
  const now = await call(rpc, 'eth_blockNumber')
  await eventually('two more blocks', async () => BigInt(await call(rpc, 'eth_blockNumber')) >= BigInt(now) + 2n, 10_000)
}
