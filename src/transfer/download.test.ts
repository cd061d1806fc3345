import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { MemoryFinder, openTestPeer, type TestPeer } from '../../test/kits/transfer-peer.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { formatLink, parseLink } from '../wire/link.ts'
import { freeGate, type PaymentGate } from './payment-gate.ts'

const sha = (b: Uint8Array): string => createHash('sha256').update(b).digest('hex')

interface World extends AsyncDisposable {
  readonly folder: string
  readonly content: Buffer
  readonly file: string
  peer(payments?: PaymentGate): Promise<TestPeer>
  /** A fresh, empty folder to download into. */
  target(name: string): string
}

async function openWorld(size: number): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-world-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const network = new MemoryNetwork()
  const all = new MemoryFinder('')
  const file = join(folder, 'file.bin')
  const content = randomBytes(size)
  writeFileSync(file, content)
  const owned = stack.move()
  return {
    folder,
    content,
    file,
    peer: async payments => owned.use(await openTestPeer(network, all, payments)),
    target: name => {
      mkdirSync(join(folder, name))
      return join(folder, name)
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

test('a file arrives from two seeders, verified, under its own name, with nothing else left behind', async () => {
  await using world = await openWorld(5 * 1024 * 1024 + 3)
  const [a, b, c] = [await world.peer(), await world.peer(), await world.peer()]
  const link = await a.share(world.file)
  await b.share(world.file)
  const download = c.get(link, { folder: world.target('out') })
  await download.ended
  assert.equal(download.state, 'done', download.message)
  assert.equal(sha(readFileSync(download.path!)), sha(world.content))
  assert.deepEqual(readdirSync(join(world.folder, 'out')), ['file.bin'])
  assert.equal(
    download.sources().reduce((n, s) => n + s.bytes, 0),
    world.content.length
  )
})

test('the same again finds the file there and fetches nothing; another of that name is kept, and this one gets a number', async () => {
  await using world = await openWorld(600_000)
  const [a, b] = [await world.peer(), await world.peer()]
  const link = await a.share(world.file)
  const folder = world.target('out')
  await b.get(link, { folder }).ended
  const again = b.get(link, { folder })
  await again.ended
  assert.deepEqual([again.state, again.path, again.resumedBytes, again.sources().length], ['done', join(folder, 'file.bin'), 600_000, 0])
  assert.deepEqual(readdirSync(folder), ['file.bin'])
  const other = Buffer.from(world.content)
  other[300_000]! ^= 1
  writeFileSync(join(folder, 'file.bin'), other)
  const third = b.get(link, { folder })
  await third.ended
  assert.equal(third.path, join(folder, 'file (2).bin'))
  assert.equal(sha(readFileSync(third.path!)), sha(world.content))
  assert.equal(sha(readFileSync(join(folder, 'file.bin'))), sha(other))
})

test('a bare file id is enough when the seeder is free', async () => {
  await using world = await openWorld(700_000)
  const [a, b] = [await world.peer(), await world.peer()]
  const { fileId } = parseLink(await a.share(world.file))
  const download = b.get(formatLink({ fileId, root: undefined, size: undefined, name: undefined, via: [] }), {
    folder: world.target('out')
  })
  await download.ended
  assert.equal(download.state, 'done', download.message)
  assert.equal(sha(readFileSync(download.path!)), sha(world.content))
})

test('a stopped download goes on where it was and fetches nothing twice', async () => {
  await using world = await openWorld(8 * 1024 * 1024)
  const [a, b] = [await world.peer(), await world.peer()]
  const link = await a.share(world.file, { uploadLimit: 4 * 1024 * 1024 })
  const out = world.target('out')
  const first = b.get(link, { folder: out })
  await eventually('a quarter is there', () => first.verifiedBytes >= 2 * 1024 * 1024, 30_000)
  await first.cancel()
  assert.equal(first.state, 'cancelled')
  const had = first.verifiedBytes
  const second = b.get(link, { folder: out })
  await second.ended
  assert.equal(second.state, 'done', second.message)
  assert.equal(second.resumedBytes, had)
  assert.equal(
    second.sources().reduce((n, s) => n + s.bytes, 0),
    world.content.length - had
  )
  assert.equal(sha(readFileSync(second.path!)), sha(world.content))
})

test('a link whose hash list belongs to another file ends with HASH_MISMATCH and no file', async () => {
  await using world = await openWorld(600_000)
  const [a, b] = [await world.peer(), await world.peer()]
  const good = parseLink(await a.share(world.file))
  const other = join(world.folder, 'other.bin')
  writeFileSync(other, randomBytes(600_000))
  // a seeder that announces `other` under the id of `file`: its root is consistent with its bytes, the id is not
  const lie = parseLink(await b.share(other, { announce: false }))
  const record = b.shares.records()[0]!.record
  await b.shares.add({ ...record, fileId: good.fileId })
  await b.finder.announce(good.fileId)
  await a.shares.remove(Buffer.from(good.fileId).toString('hex'))
  const c = await world.peer()
  const download = c.get(formatLink({ ...lie, fileId: good.fileId }), { folder: world.target('out') })
  await download.ended
  assert.equal(download.state, 'failed')
  assert.equal((download.error as { code: string }).code, 'HASH_MISMATCH')
  assert.deepEqual(readdirSync(join(world.folder, 'out')), [])
})

test('a seeder whose file changed stops seeding it, and the download ends with another seeder', async () => {
  await using world = await openWorld(4 * 1024 * 1024)
  const [a, b, c] = [await world.peer(), await world.peer(), await world.peer()]
  const copy = join(world.folder, 'copy.bin')
  writeFileSync(copy, world.content)
  const link = await a.share(copy)
  await b.share(world.file, { uploadLimit: 8 * 1024 * 1024 })
  appendFileSync(copy, 'x')
  writeFileSync(copy, randomBytes(world.content.length), { flag: 'r+' })
  const download = c.get(link, { folder: world.target('out') })
  await download.ended
  assert.equal(download.state, 'done', download.message)
  assert.equal(sha(readFileSync(download.path!)), sha(world.content))
  assert.equal(a.shares.records()[0]!.state, 'changed')
})

test('what is downloaded is served to others while it arrives', async () => {
  await using world = await openWorld(6 * 1024 * 1024)
  const [a, b, c] = [await world.peer(), await world.peer(), await world.peer()]
  const link = await a.share(world.file, { uploadLimit: 3 * 1024 * 1024 })
  const first = b.get(link, { folder: world.target('b') })
  await eventually('a third is there', () => first.verifiedBytes >= 2 * 1024 * 1024, 30_000)
  const second = c.get(link, { folder: world.target('c') })
  await Promise.all([first.ended, second.ended])
  assert.equal(first.state, 'done', first.message)
  assert.equal(second.state, 'done', second.message)
  const helped = second.sources().find(s => s.source.seeder === Buffer.from(b.identity.instance.key).toString('hex'))
  assert.ok(helped && helped.bytes > 0, 'the running download served chunks')
})

test('a paid seeder is left in words when payments are off', async () => {
  await using world = await openWorld(600_000)
  const [a, b, c] = [await world.peer(), await world.peer(), await world.peer()]
  const link = await a.share(world.file, { pricePerMb: 10n })
  await b.share(world.file)
  const download = c.get(link, { folder: world.target('out') })
  await download.ended
  assert.equal(download.state, 'done', download.message)
  assert.equal(download.sources().length, 1)
})

test('a bare file id survives seeders that propose false hash lists', async () => {
  await using world = await openWorld(700_000)
  const [honest, liar, buyer] = [await world.peer(), await world.peer(), await world.peer()]
  const other = join(world.folder, 'other.bin')
  writeFileSync(other, randomBytes(900_000))
  const { fileId } = parseLink(await honest.share(world.file, { announce: false }))
  await liar.share(other, { announce: false })
  await liar.shares.add({ ...liar.shares.records()[0]!.record, fileId })
  await liar.finder.announce(fileId) // the liar is found first
  await honest.finder.announce(fileId)
  const download = buyer.get(formatLink({ fileId, root: undefined, size: undefined, name: undefined, via: [] }), {
    folder: world.target('out')
  })
  await download.ended
  assert.equal(download.state, 'done', download.message)
  assert.equal(sha(readFileSync(download.path!)), sha(world.content))
})

test('a download ends although its own announcement never gets through', async () => {
  await using world = await openWorld(600_000)
  const [a, b] = [await world.peer(), await world.peer()]
  const link = await a.share(world.file)
  const { promise, resolve } = Promise.withResolvers<void>()
  // as the DHT does without peers: announcing waits until it is withdrawn
  const download = b.get(link, { folder: world.target('out'), announce: () => promise, withdraw: async () => resolve() })
  await download.ended
  assert.equal(download.state, 'done', download.message)
})

test('a download whose only seeder needs what the bill refuses ends soon, with the reason', async () => {
  await using world = await openWorld(600_000)
  const seller = { ...freeGate, terms: { wallet: new Uint8Array(20).fill(7), chainId: 98765 } }
  const [a, b] = [await world.peer(seller), await world.peer()]
  const link = await a.share(world.file, { pricePerMb: 10n })
  const download = b.get(link, { folder: world.target('out') })
  await download.ended
  assert.equal(download.state, 'failed', download.message)
  assert.equal((download.error as { code: string }).code, 'PAYMENTS_OFF')
  assert.ok(download.finishedAt! - download.startedAt < 20_000)
})
