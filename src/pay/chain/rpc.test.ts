/** The JSON-RPC client against a node that misbehaves in every way of threats PY5 and PY12. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { type FakeChain, faults, openFakeChain } from '../../../test/kits/fake-chain.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { parseJson, readCount, readData, readHash, readQuantity } from './quantity.ts'
import { JsonRpc } from './rpc.node.ts'

const signal = new AbortController().signal
const client = (...chains: (FakeChain | string)[]): JsonRpc =>
  new JsonRpc({ log: silentLogger }, { urls: chains.map(c => (typeof c === 'string' ? c : c.url)), chainId: 98765, timeoutMs: 1_500 })

for (const [name, fault] of Object.entries(faults)) {
  test(`an endpoint that answers with ${name} is an error with a code, and the second endpoint is used`, async () => {
    await using bad = await openFakeChain()
    await using good = await openFakeChain()
    good.mine(6)
    bad.fault = () => fault
    await assert.rejects(client(bad).session(signal), e => e instanceof KithError && /^RPC_/.test(e.code), name)
    assert.equal(await (await client(bad, good).session(signal)).blockNumber(), 6)
    bad.fault = method => (method === 'eth_chainId' ? undefined : fault)
    const late = (await client(bad, good).session(signal)).blockNumber()
    if (name === 'error') await assert.rejects(late, e => codeOf(e) === 'RPC_REFUSED', 'what a node refuses, it would refuse elsewhere too')
    else assert.equal(await late, 6, 'a session moves on too')
  })
}

test('an endpoint on another chain is never used, nor one that changes to another', async () => {
  await using wrong = await openFakeChain(1)
  await using good = await openFakeChain()
  await assert.rejects(client(wrong).session(signal), e => codeOf(e) === 'WRONG_CHAIN')
  assert.equal((await client(wrong, good).session(signal)).chainId, 98765)
  const rpc = client(good)
  await rpc.session(signal)
  good.chainId = 1
  await assert.rejects(rpc.session(signal), e => codeOf(e) === 'WRONG_CHAIN')
})

test('addresses that are no URL, and none at all, are RPC_ERROR', async () => {
  for (const urls of [[], ['ftp://127.0.0.1/'], ['nonsense'], ['http://127.0.0.1:1']])
    await assert.rejects(client(...urls).session(signal), e => codeOf(e) === 'RPC_ERROR')
})

test('the host is shown, never the path or the credentials of an address', () => {
  assert.deepEqual(client('https://user:secret@node.example/v3/KEY').hosts, ['node.example'])
})

test('whatever a reader is given, only RPC_ERROR escapes, and quantities round-trip', () => {
  const readers = [
    readQuantity,
    readCount,
    readHash,
    (v: unknown, w: string) => readData(v, 64, w),
    (v: unknown) => (typeof v === 'string' ? parseJson(v) : undefined)
  ]
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.string(), fc.json({ maxDepth: 40 })), v => {
      for (const read of readers) {
        try {
          read(v, 'value')
        } catch (e) {
          assert.ok(e instanceof KithError && e.code === 'RPC_ERROR', String(e))
        }
      }
    })
  )
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), n => assert.equal(readQuantity(`0x${n.toString(16)}`, 'n'), n)))
})
