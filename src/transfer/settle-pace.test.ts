import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { MemoryFinder, openTestPeer } from '../../test/kits/transfer-peer.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { MAX_SMALL_SETTLEMENTS, MIN_SETTLE_BYTES } from './limits.ts'
import { freeGate, type PaymentGate } from './payment-gate.ts'
import { SettlePace } from './settle-pace.ts'

const CHUNK = 256 * 1024
const terms = { wallet: new Uint8Array(20).fill(7), chainId: 98765 }

test('a seeder that wants to be paid after every chunk cannot make a download settle for every chunk', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-gas-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'file.bin'), randomBytes(24 * CHUNK))
  let settlements = 0
  let credit = CHUNK
  const greedy: PaymentGate = {
    ...freeGate,
    terms,
    charge: (_customer, _file, _price, _chunk, bytes) => {
      if (credit < bytes) return 'pay first'
      credit -= bytes
      return undefined
    }
  }
  const buying: PaymentGate = {
    ...freeGate,
    openBill: async (file, options) => ({
      ...(await freeGate.openBill(file, options)),
      admit: () => {},
      settle: async () => {
        settlements++
        credit = CHUNK
        return { state: 'confirmed', tx: '0x1', invoiceId: 'x', totalWei: 1n, gasUsed: 21_000n, payees: [] }
      }
    })
  }
  const network = new MemoryNetwork()
  const all = new MemoryFinder('')
  const seller = stack.use(await openTestPeer(network, all, greedy))
  const buyer = stack.use(await openTestPeer(network, all, buying))
  const link = await seller.share(join(folder, 'file.bin'), { pricePerMb: 10n })
  mkdirSync(join(folder, 'out'))
  const download = buyer.get(link, { folder: join(folder, 'out') })
  await download.ended
  assert.ok(settlements <= 2, `${settlements} transactions for ${download.chunksDone} chunks`)
  assert.equal(download.state, 'failed')
  assert.equal((download.error as { code: string }).code, 'PAYMENT_REQUIRED')
})

test('settlements grow; first small ones are few; a seeder that was just paid is given a moment', () => {
  const pace = new SettlePace()
  pace.delivered('a', CHUNK)
  assert.equal(pace.decide('a', 0), 'settle', 'the first time for whatever it is owed')
  pace.settled('a', 1000)
  assert.equal(pace.decide('a', 1001), 'wait')
  assert.equal(pace.decide('a', 20_000), 'leave')
  for (let needed = MIN_SETTLE_BYTES, at = 1; at < 4; needed *= 2, at++) {
    pace.delivered('a', needed - 1)
    assert.equal(pace.decide('a', 100_000), 'leave')
    pace.delivered('a', 1)
    assert.equal(pace.decide('a', 100_000), 'settle')
    pace.settled('a', 50_000)
  }
  for (let i = 1; i < MAX_SMALL_SETTLEMENTS; i++) {
    assert.equal(pace.decide(`sybil ${i}`, 0), 'settle')
    pace.settled(`sybil ${i}`, 0)
  }
  assert.equal(pace.decide('one more', 0), 'leave')
  pace.delivered('one more', MIN_SETTLE_BYTES)
  assert.equal(pace.decide('one more', 0), 'settle')
})

test('of a seeder that is used and brings nothing, nothing is written down', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-idle-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const shared = join(folder, 'shared')
  mkdirSync(shared)
  writeFileSync(join(shared, 'file.bin'), randomBytes(4 * CHUNK))
  const miser: PaymentGate = { ...freeGate, terms, charge: () => 'pay first' }
  const buying: PaymentGate = {
    ...freeGate,
    openBill: async (file, options) => ({ ...(await freeGate.openBill(file, options)), admit: () => {} })
  }
  const network = new MemoryNetwork()
  const all = new MemoryFinder('')
  const seller = stack.use(await openTestPeer(network, all, miser))
  const buyer = stack.use(await openTestPeer(network, all, buying))
  const link = await seller.share(join(shared, 'file.bin'), { pricePerMb: 10n })
  const download = buyer.get(link, { folder })
  await download.ended
  assert.equal(download.sources().length, 1, 'it was used')
  const journal = readdirSync(folder).find(f => f.endsWith('.journal'))!
  const written = readFileSync(join(folder, journal), 'utf8')
  assert.ok(!/^s /m.test(written), 'its offer could be a new one every second')
})
