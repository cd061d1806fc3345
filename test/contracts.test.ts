/** BatchSettlement on anvil: the committed artefacts are those of the source, and random histories never break its rules. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { type Abi, decodeFunctionResult, encodeDeployData, encodeFunctionData, type Hex, parseAbi } from 'viem'
import { buildArtefacts, compile, renderModule } from '../contracts/compile.ts'
import { silentLogger } from '../src/base/log.ts'
import { SETTLEMENT_ADDRESS } from '../src/pay/chain/settlement-artefact.ts'
import { type LocalChain, openLocalChain } from '../src/pay/local-chain.node.ts'

const root = join(import.meta.dirname, '..')
const abi = parseAbi([
  'function settleOnce(bytes32 invoiceId, (address to, uint256 amount)[] shares) payable',
  'function withdraw()',
  'function owed(address) view returns (uint256)',
  'function set(bool value)',
  'function pull(address target)',
  'function pull()'
])
const invoice = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`
const account = (n: number): Hex => `0x${(0xabc000 + n).toString(16).padStart(40, '0')}`
const dev: Hex[] = []
const hostile: Record<'reverter' | 'hog' | 'bomb' | 'reenterer', Hex> = { reverter: '0x', hog: '0x', bomb: '0x', reenterer: '0x' }
let chain: LocalChain

interface Receipt {
  readonly status: Hex
  readonly gasUsed: Hex
  readonly contractAddress: Hex | null
  readonly logs: readonly { readonly address: Hex; readonly topics: readonly Hex[] }[]
}
async function send(tx: { from: Hex; to?: Hex; data: Hex; value?: bigint; gas?: number }): Promise<Receipt> {
  const hash = await chain.call('eth_sendTransaction', [
    { ...tx, value: `0x${(tx.value ?? 0n).toString(16)}`, gas: `0x${(tx.gas ?? 3_500_000).toString(16)}` }
  ])
  for (const end = Date.now() + 5_000; Date.now() < end; ) {
    const receipt = (await chain.call('eth_getTransactionReceipt', [hash])) as Receipt | null
    if (receipt) return receipt // mined at once, but not always visible at once
  }
  assert.fail(`never mined: ${hash}`)
}
const ok = (r: Receipt): boolean => r.status === '0x1'
const settle = (from: Hex, id: Hex, shares: readonly { to: Hex; amount: bigint }[], value: bigint, gas?: number): Promise<Receipt> =>
  send({
    from,
    to: SETTLEMENT_ADDRESS,
    data: encodeFunctionData({ abi, functionName: 'settleOnce', args: [id, shares] }),
    value,
    ...(gas ? { gas } : {})
  })
const balance = async (a: Hex): Promise<bigint> => BigInt((await chain.call('eth_getBalance', [a, 'latest'])) as Hex)
async function owed(a: Hex): Promise<bigint> {
  const data = encodeFunctionData({ abi, functionName: 'owed', args: [a] })
  return decodeFunctionResult({
    abi,
    functionName: 'owed',
    data: (await chain.call('eth_call', [{ to: SETTLEMENT_ADDRESS, data }, 'latest'])) as Hex
  })
}

before(async () => {
  chain = await openLocalChain({ log: silentLogger }, { port: 0, blockTimeSeconds: 0 })
  dev.push(...((await chain.call('eth_accounts')) as Hex[]))
  const payees = compile({
    'BatchSettlement.sol': join(root, 'contracts', 'BatchSettlement.sol'),
    'test-payees/Payees.sol': join(root, 'contracts', 'test-payees', 'Payees.sol')
  })
  for (const [name, contract] of [
    ['reverter', 'Reverter'],
    ['hog', 'GasHog'],
    ['bomb', 'ReturnBomb'],
    ['reenterer', 'Reenterer']
  ] as const) {
    const c = payees[contract]!
    const args = contract === 'Reenterer' ? [SETTLEMENT_ADDRESS] : []
    const data = encodeDeployData({ abi: c.abi as Abi, bytecode: `0x${c.evm.bytecode.object}`, args })
    hostile[name] = (await send({ from: dev[0]!, data })).contractAddress!
  }
})
after(() => chain[Symbol.asyncDispose]())

test('artefacts.json and the generated module are what the source compiles to', () => {
  const built = buildArtefacts()
  assert.deepEqual(JSON.parse(readFileSync(join(root, 'contracts', 'artefacts.json'), 'utf8')), built)
  assert.equal(readFileSync(join(root, 'src', 'pay', 'chain', 'settlement-artefact.ts'), 'utf8'), renderModule(built))
})

test('an invoice is settled once, for exactly its sum, with one event per payee', async () => {
  const shares = [
    { to: account(1), amount: 5n },
    { to: account(2), amount: 7n }
  ]
  assert.ok(!ok(await settle(dev[1]!, invoice(1), shares, 11n)), 'too little')
  assert.ok(!ok(await settle(dev[1]!, invoice(1), shares, 13n)), 'too much')
  assert.ok(
    !ok(
      await settle(
        dev[1]!,
        invoice(1),
        [
          { to: account(1), amount: 2n ** 256n - 1n },
          { to: account(2), amount: 2n }
        ],
        1n
      )
    ),
    'overflow'
  )
  const done = await settle(dev[1]!, invoice(1), shares, 12n)
  assert.ok(ok(done))
  assert.equal(done.logs.length, 2)
  assert.deepEqual([await balance(account(1)), await balance(account(2))], [5n, 7n])
  assert.ok(!ok(await settle(dev[1]!, invoice(1), shares, 12n)), 'replayed')
  assert.ok(ok(await settle(dev[2]!, invoice(1), shares, 12n)), 'the same id of another payer is another invoice')
})

test('payees that revert, burn gas or answer with 100 kB block nobody, and can fetch their share when they behave', async () => {
  const shares = [
    { to: hostile.reverter, amount: 3n },
    { to: hostile.hog, amount: 4n },
    { to: hostile.bomb, amount: 5n },
    { to: account(9), amount: 6n }
  ]
  const done = await settle(dev[1]!, invoice(2), shares, 18n)
  assert.ok(ok(done))
  assert.ok(BigInt(done.gasUsed) < 50_000n + 95_000n * 4n, `gas ${BigInt(done.gasUsed)} within what the client allows`)
  assert.equal(await balance(account(9)), 6n)
  assert.deepEqual([await owed(hostile.reverter), await owed(hostile.hog)], [3n, 4n])
  await send({ from: dev[0]!, to: hostile.reverter, data: encodeFunctionData({ abi, functionName: 'set', args: [false] }) })
  const pull = { from: dev[0]!, to: hostile.reverter, data: encodeFunctionData({ abi, functionName: 'pull', args: [SETTLEMENT_ADDRESS] }) }
  assert.ok(ok(await send(pull)))
  assert.deepEqual([await balance(hostile.reverter), await owed(hostile.reverter)], [3n, 0n])
  assert.ok(!ok(await send(pull)), 'nothing is left')
  await send({ from: dev[0]!, to: hostile.reverter, data: encodeFunctionData({ abi, functionName: 'set', args: [true] }) })
})

test('32 payees fit the block limit of the spec even if all of them burn what they get', async () => {
  const shares = Array.from({ length: 32 }, (_, i) => ({ to: i % 2 ? hostile.hog : account(100 + i), amount: 1n }))
  const done = await settle(dev[1]!, invoice(3), shares, 32n, 50_000 + 95_000 * 32)
  assert.ok(ok(done))
})

test('random histories: solvent, one settlement per invoice, every wei with its payee or owed to it', async () => {
  for (const seed of [1, 2, 3]) {
    let state = seed
    const random = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * n)
    }
    const targets = [...Object.values(hostile), account(11), account(12), account(13)]
    const start = await Promise.all(targets.map(async a => (await balance(a)) + (await owed(a))))
    const due = new Map<Hex, bigint>(targets.map(a => [a, 0n]))
    const settled = new Set<string>()
    for (let i = 0; i < 40; i++) {
      const op = random(10)
      if (op < 7) {
        const from = dev[1 + random(3)]!
        const id = invoice(1000 * seed + random(12))
        const shares = Array.from({ length: random(5) }, () => ({ to: targets[random(targets.length)]!, amount: BigInt(random(1000)) }))
        const sum = shares.reduce((n, s) => n + s.amount, 0n)
        const value = random(5) === 0 ? sum + 1n : sum
        const gas = random(4) === 0 ? 60_000 + random(200_000) : 3_000_000
        const done = await settle(from, id, shares, value, gas)
        if (ok(done)) {
          assert.ok(!settled.has(from + id), `seed ${seed} step ${i}: settled twice`)
          assert.equal(value, sum, `seed ${seed} step ${i}: wrong total accepted`)
          settled.add(from + id)
          for (const s of shares) due.set(s.to, due.get(s.to)! + s.amount)
        } else assert.ok(settled.has(from + id) || value !== sum || gas < 3_000_000, `seed ${seed} step ${i}: a good settlement failed`)
      } else if (op === 7)
        await send({ from: dev[0]!, to: hostile.reverter, data: encodeFunctionData({ abi, functionName: 'set', args: [random(2) === 0] }) })
      else if (op === 8)
        await send({
          from: dev[0]!,
          to: hostile.reverter,
          data: encodeFunctionData({ abi, functionName: 'pull', args: [SETTLEMENT_ADDRESS] })
        })
      else await send({ from: dev[0]!, to: hostile.reenterer, data: encodeFunctionData({ abi, functionName: 'pull', args: [] }) })
    }
    let held = 0n
    for (const [i, a] of targets.entries()) {
      const has = (await balance(a)) + (await owed(a))
      assert.equal(has - start[i]!, due.get(a), `seed ${seed}: ${a}`)
      held += await owed(a)
    }
    assert.equal(await balance(SETTLEMENT_ADDRESS), held, `seed ${seed}: the contract holds exactly what it owes`)
  }
})
