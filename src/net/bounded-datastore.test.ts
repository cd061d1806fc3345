import assert from 'node:assert/strict'
import test from 'node:test'
import { BoundedDatastore, type DatastoreRule } from './bounded-datastore.ts'

type Key = Parameters<BoundedDatastore['put']>[0]
/** libp2p passes Key objects; only their text counts. */
const key = (text: string): Key => ({ toString: () => text }) as Key
const value = Uint8Array.of(1)
const PEERS: DatastoreRule = { prefix: '/peers/', max: 3, maxBytes: 4, keep: k => k.endsWith('friend') }
const PROVIDERS: DatastoreRule = {
  prefix: '/dht/provider/',
  max: 6,
  maxBytes: 8,
  maxPerGroup: 3,
  maxPerAuthor: 4,
  keep: k => k.endsWith('/me')
}

const keys = async (store: BoundedDatastore, prefix: string): Promise<string[]> => {
  const found: string[] = []
  for await (const k of store.queryKeys({ prefix })) found.push(k.toString())
  return found
}
const nameOf = (work: () => unknown): string => {
  try {
    work()
    return 'none'
  } catch (e) {
    return (e as Error).name
  }
}

test('DH8: the peer unused for longest makes room, never one that is to be kept', async () => {
  const store = new BoundedDatastore([PEERS])
  store.put(key('/peers/friend'), value)
  for (const p of ['a', 'b']) store.put(key(`/peers/${p}`), value)
  store.get(key('/peers/a'))
  store.put(key('/peers/c'), value)
  assert.deepEqual((await keys(store, '/peers')).sort(), ['/peers/a', '/peers/c', '/peers/friend'])
  for (let i = 0; i < 10_000; i++) store.put(key(`/peers/${i}`), value)
  assert.equal(store.size('/peers/'), 3)
  assert.ok(store.has(key('/peers/friend')))
})

test('DH4: records are bounded by file, by provider and together; our own stay', async () => {
  const store = new BoundedDatastore([PROVIDERS])
  store.put(key('/dht/provider/F/me'), value)
  for (let i = 0; i < 100; i++) store.put(key(`/dht/provider/F/p${i}`), value)
  assert.equal((await keys(store, '/dht/provider/F')).length, 3)
  assert.ok(store.has(key('/dht/provider/F/me')))
  for (let i = 0; i < 3; i++) store.put(key(`/dht/provider/G${i}/spam`), value)
  for (let i = 0; i < 100; i++) store.put(key(`/dht/provider/H${i}/q${i}`), value)
  assert.equal(store.size('/dht/provider/'), 6)
  assert.ok(store.has(key('/dht/provider/F/me')))
})

test('one provider cannot fill the store', () => {
  const store = new BoundedDatastore([PROVIDERS])
  for (let i = 0; i < 4; i++) store.put(key(`/dht/provider/G${i}/spam`), value)
  assert.equal(
    nameOf(() => store.put(key('/dht/provider/G9/spam'), value)),
    'QuotaError'
  )
  store.put(key('/dht/provider/G0/spam'), value)
  store.delete(key('/dht/provider/G0/spam'))
  store.put(key('/dht/provider/G9/spam'), value)
})

test('neither the first nor the last to come can hold every place of a file', () => {
  const rule = { ...PROVIDERS, max: 1000, maxPerGroup: 100 }
  const store = new BoundedDatastore([rule])
  for (let i = 0; i < 100; i++) store.put(key(`/dht/provider/F/early${i}`), value)
  for (let i = 0; i < 100; i++) store.put(key(`/dht/provider/F/late${i}`), value)
  const early = Array.from({ length: 100 }, (_, i) => store.has(key(`/dht/provider/F/early${i}`))).filter(Boolean).length
  assert.ok(early > 5 && early < 95, `${early} of the early ones are left`)
  // The same for all files together.
  const full = new BoundedDatastore([{ ...rule, max: 100 }])
  for (let i = 0; i < 200; i++) full.put(key(`/dht/provider/F${i}/p${i}`), value)
  const first = Array.from({ length: 100 }, (_, i) => full.has(key(`/dht/provider/F${i}/p${i}`))).filter(Boolean).length
  assert.equal(full.size('/dht/provider/'), 100)
  assert.ok(first > 5 && first < 95, `${first} of the first files are left`)
})

test('missing, too large and unknown entries have the names libp2p looks for', () => {
  const store = new BoundedDatastore([PEERS])
  assert.equal(
    nameOf(() => store.get(key('/peers/x'))),
    'NotFoundError'
  )
  assert.equal(
    nameOf(() => store.put(key('/peers/x'), new Uint8Array(5))),
    'ValueTooLargeError'
  )
  assert.equal(
    nameOf(() => store.put(key('/other/x'), value)),
    'QuotaError'
  )
})

test('queries see a prefix, filtered, ordered and cut', async () => {
  const store = new BoundedDatastore([PEERS, { prefix: '/', max: 10, maxBytes: 9 }])
  for (const t of ['/peers/b', '/peers/a', '/x/1']) store.put(key(t), value)
  assert.deepEqual(await keys(store, '/peers'), ['/peers/b', '/peers/a'])
  assert.deepEqual((await keys(store, '/')).length, 3)
  const found: string[] = []
  const orders = [(a: { key: Key }, b: { key: Key }) => (a.key.toString() < b.key.toString() ? -1 : 1) as -1 | 1]
  for await (const p of store.query({ prefix: '/peers', orders, limit: 1 })) found.push(p.key.toString())
  assert.deepEqual(found, ['/peers/a'])
  const batch = store.batch()
  batch.put(key('/x/2'), value)
  batch.delete(key('/x/1'))
  await batch.commit()
  assert.deepEqual(await keys(store, '/x'), ['/x/2'])
})
