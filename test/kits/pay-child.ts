/**
 * A payer and two payees in one process that ends itself at a failpoint: `node pay-child.ts <home> <rpc url> <payees> <step or ->`.
 * Run again with "-" it goes on where it was killed. Prints one JSON line when it gets to the end.
 */
import { LOCAL_CHAIN_ID } from '../../src/pay/networks.ts'
import { chunkBytes } from '../../src/pay/receipts.ts'
import { customerOf, MemoryNet, makeFile, offerOf, openPeer } from './pay.ts'

const [home = '', url = '', payees = '1', step = '-'] = process.argv.slice(2)
const PRICE = 10n ** 15n
const options = { chain: { chainId: LOCAL_CHAIN_ID, rpcUrls: [url], pollMs: 10 }, background: { minMs: 60_000 } }
const failpoint = (name: string): void => {
  if (name === step) process.kill(process.pid, 'SIGKILL')
}
const net = new MemoryNet()
await using alice = await openPeer(net, home, 'alice', 1, options, { failpoint })
await using bob = await openPeer(net, home, 'bob', 2, options)
await using carol = await openPeer(net, home, 'carol', 3, options)
const file = makeFile('killed', 4)
const bill = await alice.pay.gate.openBill(file, { maxCostWei: 10n ** 18n })
const sellers = payees === '1' ? [bob] : [bob, carol]
if (process.argv[6] !== 'resume') {
  for (const [i, seller] of sellers.entries()) {
    bill.admit(offerOf(seller, file, PRICE))
    for (const c of [2 * i, 2 * i + 1]) {
      seller.pay.gate.charge(customerOf(alice), file, PRICE, c, chunkBytes(file.size, c))
      bill.delivered(seller.instance, 'http', c, chunkBytes(file.size, c))
    }
  }
}
const view = await bill.settle(undefined, new AbortController().signal)
await alice.pay.retryQueued()
const credit = sellers.map(s => s.pay.gate.creditFor(customerOf(alice)))
const earned = await Promise.all(sellers.map(async s => (await s.pay.view()).earnedWei))
console.log(JSON.stringify({ state: view.state, reason: view.reason, credit, earned, receipts: alice.pay.receipts().map(r => r.state) }))
