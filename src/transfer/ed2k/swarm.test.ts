/** Kith with Kith over eDonkey links: part hashes, obfuscation, finders, and the blocks that recovery data calls wrong. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { TestListener } from '../../../test/kits/ed2k-client.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { AICH_BLOCK_BYTES, blockHashesOf, makeRecovery, partTop } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import { md4 } from '../hashing/md4.ts'
import type { FeedContext } from '../plan.node.ts'
import { planEd2k } from '../plan-ed2k.node.ts'
import type { Share, Source } from '../protocol.ts'
import { type Ed2k, type Ed2kOptions, openEd2k } from './ed2k.node.ts'
import { encodeHashSet } from './file-request.ts'
import { formatEd2kLink } from './link.ts'
import type { Ed2kPeer } from './peers.ts'
import type { Ed2kFinder } from './swarm.node.ts'
import { blocksThatDiffer, rightBlocks } from './wrong-blocks.ts'

const LONG_MS = 10_000
const CONTENT = seededBytes(2 * PART_BYTES + 12_345)
const DIGEST = ed2kOf(CONTENT)
const PART_HASHES = [0, 1, 2].map(i => md4(CONTENT.subarray(i * PART_BYTES, (i + 1) * PART_BYTES)))
const LINK = formatEd2kLink({ name: 'x.bin', size: CONTENT.length, hash: DIGEST.hash, aich: DIGEST.aich })

const open = (shares: readonly Share[], options: Ed2kOptions = {}): Promise<Ed2k> =>
  openEd2k(
    { clock: systemClock, log: silentLogger, shares: shareIndex(shares), gate: new TestGate(), checkAddress: async host => host },
    options
  )
const listen = { host: '127.0.0.1', port: 0 }
const finderOf = (...peers: Ed2kPeer[]): Ed2kFinder => ({
  async *find() {
    yield* peers
  }
})
/** The part of a download that a feed sees. */
function context(sources: Source[]): FeedContext {
  const grid = { size: CONTENT.length, chunkBytes: PART_BYTES, count: 3 }
  const rest = { bytesLeft: () => 1, admit: () => {}, note: () => {}, onDropped: () => {}, wantsMore: () => true }
  return { ...rest, grid, add: (source: Source) => sources.push(source) > 0 } as unknown as FeedContext
}
async function fetchWith(ed2k: Ed2k, given: readonly Ed2kPeer[], finders: readonly Ed2kFinder[]): Promise<void> {
  const stop = new AbortController()
  const plan = await within(LONG_MS, 'the plan', planEd2k({ ed2k, given, finders }, LINK, stop.signal))
  assert.deepEqual([plan.grid.count, plan.name, plan.hashes.algorithm], [3, 'x.bin', 'md4'])
  const sources: Source[] = []
  const feeding = plan.feed(context(sources), stop.signal)
  try {
    await eventually('a source that serves', () => sources.some(s => s.has(0)), LONG_MS)
    const source = sources.find(s => s.has(0))!
    const delivery = new MemoryDelivery(plan.grid, { first: 0, count: 3 })
    await within(LONG_MS, 'all parts', source.fetch(delivery, stop.signal))
    const { hashes } = plan
    assert.ok(hashes.algorithm === 'md4')
    for (const [part, hash] of PART_HASHES.entries()) assert.deepEqual(new Uint8Array(hashes.of(part)), hash)
    assert.ok(equalBytes(concatBytes(...[0, 1, 2].map(i => delivery.chunks.get(i)!)), CONTENT))
  } finally {
    stop.abort()
    await feeding
  }
}

test('a link is fetched from a client that the user names, with its part hashes', async () => {
  await using seeder = await open([new MemoryShare(CONTENT, { ed2k: DIGEST })], { listen })
  await using ed2k = await open([])
  await fetchWith(ed2k, [{ host: '127.0.0.1', port: seeder.port }], [])
})
test('a client that takes only obfuscated connections is reached when its user hash is known, and not otherwise', async () => {
  await using seeder = await open([new MemoryShare(CONTENT, { ed2k: DIGEST })], { listen, obfuscation: 'require' })
  await using ed2k = await open([])
  const peer = { host: '127.0.0.1', port: seeder.port }
  const crypt = { supported: true, requested: true, required: true }
  await fetchWith(ed2k, [], [finderOf({ ...peer, userHash: seeder.userHash, crypt })])
  for (const known of [peer, { ...peer, crypt }, { ...peer, crypt, userHash: new Uint8Array(16) }])
    await assert.rejects(planEd2k({ ed2k, given: [known], finders: [] }, LINK, new AbortController().signal), { code: 'NO_SOURCES' })
})
test('ED3: part hashes that do not give the hash of the file are not believed; the next client is asked', async () => {
  await using liar = await TestListener.open()
  await using ed2k = await open([])
  const lying = (async () => {
    const client = await liar.accept()
    await client.greet()
    await client.next(0x51)
    client.send(0xe3, 0x52, encodeHashSet(DIGEST.hash, new Uint8Array(48)))
    await client.untilClosed()
  })()
  await using seeder = await open([new MemoryShare(CONTENT, { ed2k: DIGEST })], { listen })
  const told = Promise.withResolvers<void>()
  void lying.then(told.resolve, told.reject)
  const finder: Ed2kFinder = {
    async *find() {
      yield { host: '127.0.0.1', port: liar.port }
      await told.promise
      yield { host: '127.0.0.1', port: seeder.port }
    }
  }
  await within(LONG_MS, 'the plan', planEd2k({ ed2k, given: [], finders: [finder] }, LINK, new AbortController().signal))
})
test('a file shorter than a part, and a link with its part hashes, need nobody for a plan; without anybody there is no source', async () => {
  await using ed2k = await open([])
  const plan = (text: string): ReturnType<typeof planEd2k> => planEd2k({ ed2k, given: [], finders: [] }, text, new AbortController().signal)
  assert.equal((await plan(formatEd2kLink({ name: 'x', size: 5, hash: DIGEST.hash }))).grid.count, 1)
  const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')
  const set = [0, 1, 2].map(i => hex(DIGEST.parts.subarray(16 * i, 16 * i + 16))).join(':')
  const withSet = await plan(`ed2k://|file|x|${CONTENT.length}|${hex(DIGEST.hash)}|p=${set}|/`)
  assert.ok(withSet.hashes.algorithm === 'md4' && equalBytes(withSet.hashes.of(1), DIGEST.parts.subarray(16, 32)))
  await assert.rejects(plan(LINK), { code: 'NO_SOURCES' })
  await assert.rejects(plan('ed2k://|file|x|5|zz|/'), { code: 'BAD_ED2K_LINK' })
})
test('recovery data names the wrong blocks of a part, and is not believed when it was changed', () => {
  const partOf = (i: number): Uint8Array<ArrayBuffer> => CONTENT.slice(i * PART_BYTES, (i + 1) * PART_BYTES)
  const tops = concatBytes(...[0, 1, 2].map(i => partTop(CONTENT.length, i, blockHashesOf(partOf(i)))))
  for (const part of [0, 1, 2]) {
    const bytes = partOf(part)
    const nodes = makeRecovery(CONTENT.length, part, blockHashesOf(bytes), tops).map(n => ({ id: n.id, hash: n.hash.slice() }))
    const answer = { hash: DIGEST.hash, data: { part, root: DIGEST.aich, nodes } }
    const right = rightBlocks(DIGEST.aich, CONTENT.length, part, answer)!
    assert.deepEqual(blocksThatDiffer(part, bytes, right), [])
    bytes[bytes.length - 1]! ^= 1
    const start = Math.floor((bytes.length - 1) / AICH_BLOCK_BYTES) * AICH_BLOCK_BYTES
    assert.deepEqual(blocksThatDiffer(part, bytes, right), [{ start: part * PART_BYTES + start, end: part * PART_BYTES + bytes.length }])
    nodes[0]!.hash[0]! ^= 1
    for (const no of [answer, { hash: DIGEST.hash, data: undefined }])
      assert.equal(rightBlocks(DIGEST.aich, CONTENT.length, part, no), undefined)
  }
})
test('who fetches a file names those that it fetches it from', async () => {
  await using seeder = await open([new MemoryShare(CONTENT, { ed2k: DIGEST })], { listen })
  await using half = await open([new MemoryShare(CONTENT, { ed2k: DIGEST, chunks: [0] })], { listen })
  await using asker = await open([])
  const swarmOf = (ed2k: Ed2k, port: number, sources: Source[]) =>
    ed2k.openSwarm({
      hash: DIGEST.hash,
      size: CONTENT.length,
      chunkBytes: PART_BYTES,
      peers: [{ host: '127.0.0.1', port }],
      onSource: source => void sources.push(source)
    })
  const its: Source[] = []
  await using _its = swarmOf(half, seeder.port, its)
  await eventually('its source', () => its.length === 1, LONG_MS)
  const ours: Source[] = []
  await using _ours = swarmOf(asker, half.port, ours)
  const keys = (): string[] => ours.map(s => s.key).sort()
  await eventually('both', () => ours.length === 2, LONG_MS)
  assert.deepEqual(keys(), [seeder.port, half.port].map(port => `ed2k 127.0.0.1:${port}`).sort())
})
