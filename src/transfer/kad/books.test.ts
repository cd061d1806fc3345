import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { Lanes } from './lanes.ts'
import {
  BUCKET_NODES,
  FINDS_PER_MINUTE,
  MAX_STORED_PER_ADDRESS,
  MAX_STORED_PER_FILE,
  MAX_STORED_SOURCES,
  SEARCH_FINDS_PER_MINUTE,
  STORED_MS
} from './limits.ts'
import type { Contact } from './messages.ts'
import { AskedRates, AskingPace } from './pace.ts'
import { SourceStore } from './source-store.ts'
import type { KeptSource } from './sources.ts'
import { KadTable } from './table.ts'
import { walk } from './walk.ts'

const idOf = (n: number, lead = 0): Uint8Array => {
  const id = new Uint8Array(16)
  id[0] = lead
  new DataView(id.buffer).setUint32(12, n)
  return id
}
const source = (n: number, host = `8.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, tcpPort = 4662): KeptSource => ({
  client: idOf(n),
  host,
  kind: 1,
  tcpPort,
  udpPort: 4672,
  size: 100,
  tags: []
})
const contact = (n: number, lead: number, host = `8.8.${n}.1`): Contact => ({
  id: idOf(n, lead),
  host,
  port: 4672,
  tcpPort: 4662,
  version: 8
})
const never = (): AbortSignal => new AbortController().signal

test('ED6: what is kept for others is bounded for each file, each address and in all, and expires', () => {
  const clock = new FakeClock()
  const store = new SourceStore(clock)
  const file = idOf(1, 1)
  for (let i = 0; i < MAX_STORED_PER_FILE + 5; i++) assert.ok(store.add(file, source(i)))
  assert.equal(store.size, MAX_STORED_PER_FILE)
  assert.equal(store.load(file), 100)
  assert.deepEqual(
    store.sources(file, 0, 2).map(s => s.host),
    [source(MAX_STORED_PER_FILE + 3).host, source(MAX_STORED_PER_FILE + 4).host]
  )
  assert.equal(store.sources(file, 99, 10).length, 0)
  assert.equal(store.sources(file, 100, 10).length, 10)
  // The same client, or another at the same address and port, takes the place of the old one.
  assert.ok(store.add(file, source(7, '9.9.9.9')))
  assert.ok(store.add(file, source(8_000, '9.9.9.9')))
  assert.equal(store.sources(file, 0, MAX_STORED_PER_FILE).filter(s => s.host === '9.9.9.9').length, 1)
  // A thousand files of one address.
  const kept = Array.from({ length: MAX_STORED_PER_ADDRESS + 5 }, (_, i) => store.add(idOf(i, 2), source(i, '7.7.7.7')))
  assert.equal(kept.filter(Boolean).length, MAX_STORED_PER_ADDRESS)
  for (let i = 0; store.size < MAX_STORED_SOURCES; i++) store.add(idOf(i >> 9, 3), source(i, `6.${i >> 16}.${(i >> 8) & 255}.${i & 255}`))
  assert.ok(!store.add(idOf(1, 9), source(1, '5.5.5.5')))
  clock.advance(STORED_MS)
  store.sweep()
  assert.equal(store.size, 0)
  assert.ok(store.add(idOf(1, 2), source(1, '7.7.7.7')))
})

test('ED6: one node for each address, two neighbours and ten nodes of a bucket; old ones stay while they answer', () => {
  const table = new KadTable(idOf(0), host => host.startsWith('8.'))
  assert.ok(table.answered(contact(1, 0x80), 1))
  assert.ok(!table.answered(contact(2, 0x80, '8.8.1.1'), 1)) // another id at the same address
  assert.ok(table.answered(contact(2, 0x80, '8.8.1.2'), 1))
  assert.ok(!table.wants(contact(3, 0x80, '8.8.1.3')))
  assert.ok(table.wants(contact(3, 0x40, '8.8.1.3'))) // another bucket
  assert.ok(!table.wants(contact(1, 0x80, '8.9.1.1'))) // an id that is there
  assert.ok(!table.wants({ ...contact(0, 0), host: '8.9.1.1' })) // our own
  for (let i = 3; table.size < BUCKET_NODES; i++) table.answered(contact(i, 0x80), i)
  assert.ok(!table.answered(contact(99, 0x80), 99))
  table.failed(contact(1, 0x80))
  assert.ok(table.answered(contact(99, 0x80), 99))
  assert.equal(table.at(contact(1, 0x80)), undefined)
  table.failed(contact(99, 0x80))
  assert.equal(table.answered(contact(99, 0x80), 100), false) // it has answered again
  table.failed(contact(99, 0x80))
  table.failed(contact(99, 0x80))
  assert.equal(table.size, BUCKET_NODES - 1)
  // In the user's own network neighbours are no reason.
  const lan = new KadTable(idOf(0), () => false)
  for (let i = 0; i < 5; i++) assert.ok(lan.answered(contact(i + 1, 0x80, `10.0.0.${i + 1}`), 1))
})

test('a walk finds the nearest nodes, asks each once, and survives those that are silent or name many', async () => {
  const all = Array.from({ length: 100 }, (_, i) => contact(i, 0, `9.9.${i}.9`))
  const target = idOf(50)
  const asked: number[] = []
  const ask = async (c: Contact): Promise<readonly Contact[]> => {
    const n = c.id[15]!
    asked.push(n)
    if (n === 51) throw new Error('silent')
    // Each knows those whose id differs in one bit, and its neighbours.
    return [1, 2, 4, 8, 16, 32, 64].flatMap(bit => all[n ^ bit] ?? []).concat(all.slice(Math.max(0, n - 2), n + 3))
  }
  const found = await walk({ ask, mayContact: c => c.id[15] !== 52 }, target, [all[0]!, all[99]!], never())
  assert.equal(found.length, BUCKET_NODES)
  assert.deepEqual(found[0]?.id, target)
  assert.ok(found.every(c => c.id[15] !== 51 && c.id[15] !== 52))
  assert.equal(new Set(asked).size, asked.length)
  const over = AbortSignal.abort()
  assert.deepEqual(await walk({ ask, mayContact: () => true }, target, all, over), [])
})

test('others are answered at the pace of aMule, and asked at less', async () => {
  const clock = new FakeClock()
  const rates = new AskedRates(clock)
  const pace = new AskingPace(clock)
  const taken = (): number => Array.from({ length: 50 }, () => rates.tryTake('find', 'a')).filter(Boolean).length
  assert.equal(taken(), FINDS_PER_MINUTE)
  assert.equal(taken(), 0)
  assert.ok(rates.tryTake('find', 'b') && rates.tryTake('hello', 'a'))
  await clock.advance(60_000)
  assert.equal(taken(), FINDS_PER_MINUTE)
  for (let i = 0; i < SEARCH_FINDS_PER_MINUTE; i++) await pace.take('find', 'a', 'looking', never())
  let came = false
  const waits = pace.take('find', 'a', 'looking', never()).then(() => {
    came = true
  })
  await pace.take('find', 'a', 'publishing', never()) // has its own share
  await clock.advance(5_000)
  assert.ok(!came)
  await clock.advance(10_000)
  await waits
})

test('lanes are handed on in turn; who gives up takes none', async () => {
  const lanes = new Lanes(1)
  const first = await lanes.take(never())
  const gone = new AbortController()
  const second = lanes.take(gone.signal)
  const third = lanes.take(never())
  gone.abort(new Error('given up'))
  await assert.rejects(second, /given up/)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  using _third = await third
  await assert.rejects(lanes.take(AbortSignal.abort()))
})
