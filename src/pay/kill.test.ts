/** A payer killed with SIGKILL right after each step of a settlement, then started again: everybody is paid exactly once. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { MemoryNet, openPeer, phrases, tempFolder } from '../../test/kits/pay.ts'
import { bytesToHex } from '../base/bytes.ts'
import { silentLogger } from '../base/log.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import { amountDue } from '../wire/wei.ts'
import { addressOfKey } from './chain/transaction.ts'
import { type LocalChain, openLocalChain } from './local-chain.node.ts'
import { LOCAL_CHAIN_ID } from './networks.ts'
import { failpointNames } from './types.ts'
import { keyFromPhrase } from './wallet.node.ts'

const PRICE = 10n ** 15n
const CHILD = join(import.meta.dirname, '..', '..', 'test', 'kits', 'pay-child.ts')
const folder = tempFolder()
/** A home with wallets, copied for every case: making them is slow on purpose. */
const template = join(folder.path, 'template')
let chain: LocalChain
const wallets: Uint8Array[] = []

before(async () => {
  chain = await openLocalChain({ log: silentLogger }, { port: 0, blockTimeSeconds: 0 })
  const net = new MemoryNet()
  const options = { chain: { chainId: LOCAL_CHAIN_ID, rpcUrls: [] } }
  for (const [i, name] of ['alice', 'bob', 'carol'].entries())
    await (await openPeer(net, template, name, i + 1, options))[Symbol.asyncDispose]()
  for (const p of phrases) wallets.push(addressOfKey(await keyFromPhrase(p)))
  await chain.fund(wallets[1]!, 10n ** 18n)
})
after(async () => {
  await chain[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const balance = async (i: number): Promise<bigint> =>
  BigInt(String(await chain.call('eth_getBalance', [`0x${bytesToHex(wallets[i]!)}`, 'latest'])))

function run(...args: string[]): Promise<{ readonly signal: string | null; readonly out: string; readonly err: string }> {
  const { promise, resolve } = Promise.withResolvers<{ signal: string | null; out: string; err: string }>()
  const child = spawn(process.execPath, [CHILD, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  child.stdout.on('data', (b: Buffer) => (out += b))
  child.stderr.on('data', (b: Buffer) => (err += b))
  child.on('close', (_, signal) => resolve({ signal, out, err }))
  return promise
}

for (const [i, step] of failpointNames.entries()) {
  // both ways of paying where the transaction is durable and not yet sent; one of them elsewhere
  const ways = step === 'tx:stored' ? ['1', '2'] : [String(1 + (i % 2))]
  for (const payees of ways) {
    test(`killed at ${step} with ${payees} payee(s): paid exactly once after the restart`, async () => {
      const home = join(folder.path, `${i}-${payees}`)
      cpSync(template, home, { recursive: true })
      const before = [await balance(2), await balance(3)]
      const first = await run(home, chain.url, payees, step)
      assert.equal(first.signal, 'SIGKILL', `the step was never reached: ${first.out} ${first.err}`)
      const second = await run(home, chain.url, payees, '-', 'resume')
      assert.equal(second.signal, null, second.err)
      const said = JSON.parse(second.out) as { credit: number[]; earned: string[]; receipts: string[] }
      const due =
        payees === '1'
          ? [amountDue(2 * CHUNK_BYTES, PRICE), 0n]
          : [amountDue(2 * CHUNK_BYTES, PRICE), amountDue(2 * CHUNK_BYTES - 1000, PRICE)]
      assert.deepEqual([(await balance(2)) - before[0]!, (await balance(3)) - before[1]!], due, JSON.stringify(said))
      assert.deepEqual(said.receipts, Array(Number(payees)).fill('paid'))
      assert.deepEqual(said.earned, due.slice(0, Number(payees)).map(String))
      assert.ok(
        said.credit.every(c => c <= 2 * 1024 * 1024),
        'credit grew once'
      )
    })
  }
}
