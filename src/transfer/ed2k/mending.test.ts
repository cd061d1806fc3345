/** Parts that arrive with wrong blocks: AICH finds the blocks, only they are fetched again, and who sent them is blamed. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { TestClient, TestListener } from '../../../test/kits/ed2k-client.ts'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { equalBytes } from '../../base/bytes.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { Download } from '../download.node.ts'
import { makeGrid } from '../grid.ts'
import { AICH_BLOCK_BYTES, blockHashesOf, checkRecovery } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import { freeGate } from '../payment-gate.ts'
import { planEd2k } from '../plan-ed2k.node.ts'
import type { Source } from '../protocol.ts'
import { AichVotes } from './aich-votes.ts'
import { type Ed2k, openEd2k, type SwarmRequest } from './ed2k.node.ts'
import { RECOVERIES_BURST } from './limits.ts'
import { formatEd2kLink } from './link.ts'
import { decodeRecoveryAnswer, encodeRecoveryRequest } from './recovery.ts'

const LONG_MS = 10_000
const CONTENT = seededBytes(2 * PART_BYTES + 200_000)
const DIGEST = ed2kOf(CONTENT)
const LINK = formatEd2kLink({ name: 'x.bin', size: CONTENT.length, hash: DIGEST.hash, aich: DIGEST.aich })
/** In the middle of the sixth block of the first part. */
const SPOT = 5 * AICH_BLOCK_BYTES + 77

/** Gives a wrong byte at `SPOT`, so many times. */
class LyingShare extends MemoryShare {
  lies: number = Number.POSITIVE_INFINITY
  override async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    await super.read(offset, length, target)
    if (offset <= SPOT && SPOT < offset + length && this.lies-- > 0) target[SPOT - offset]! ^= 1
  }
}
interface Seeder extends AsyncDisposable {
  readonly ed2k: Ed2k
  readonly gate: TestGate
}
async function seeder(share: MemoryShare): Promise<Seeder> {
  const gate = new TestGate()
  const deps = { clock: systemClock, log: silentLogger, shares: shareIndex([share]), gate }
  const ed2k = await openEd2k(deps, { listen: { host: '127.0.0.1', port: 0 } })
  return { ed2k, gate, [Symbol.asyncDispose]: () => ed2k[Symbol.asyncDispose]() }
}
const leech = (clock: Clock = systemClock): Promise<Ed2k> =>
  openEd2k({ clock, log: silentLogger, shares: shareIndex([]), gate: new TestGate(), checkAddress: async host => host })
const peerOf = ({ ed2k }: Seeder): { host: string; port: number } => ({ host: '127.0.0.1', port: ed2k.port })

/** A swarm with these seeders, in whose order its sources are. */
async function swarmOf(
  ed2k: Ed2k,
  seeders: readonly Seeder[],
  more: Partial<SwarmRequest> = {}
): Promise<{ readonly sources: Source[]; readonly swarm: ReturnType<Ed2k['openSwarm']> }> {
  const sources: Source[] = []
  const { hash, aich } = DIGEST
  const swarm = ed2k.openSwarm({ hash, aich, size: CONTENT.length, chunkBytes: PART_BYTES, ...more, onSource: s => sources.push(s) })
  for (const s of seeders) {
    swarm.add([peerOf(s)], 'given')
    await eventually('it serves', () => sources.at(-1)?.key === `ed2k 127.0.0.1:${s.ed2k.port}` && sources.at(-1)!.has(0), LONG_MS)
  }
  return { sources, swarm }
}
async function partFrom(source: Source, part: number): Promise<Uint8Array> {
  const delivery = new MemoryDelivery(makeGrid(CONTENT.length, PART_BYTES), { first: part, count: 1 })
  await within(LONG_MS, 'a part', source.fetch(delivery, new AbortController().signal))
  return delivery.chunks.get(part)!
}
const right = (part: number): Uint8Array => CONTENT.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)

test('ED10: one wrong block of a part is found, and fetched from somebody else; the rest of the part is not', async () => {
  await using liar = await seeder(new LyingShare(CONTENT, { ed2k: DIGEST }))
  await using honest = await seeder(new MemoryShare(CONTENT, { ed2k: DIGEST }))
  await using ed2k = await leech()
  const { sources, swarm } = await swarmOf(ed2k, [liar, honest])
  await using _ = swarm
  const bytes = await partFrom(sources[0]!, 0)
  assert.ok(!equalBytes(bytes, right(0)))
  assert.equal(await swarm.mend(0, bytes, sources[0]!), true)
  assert.ok(equalBytes(bytes, right(0)))
  assert.equal(honest.gate.sentBytes, AICH_BLOCK_BYTES)
  assert.equal(await swarm.mend(0, bytes, sources[0]!), false, 'nothing is wrong with it by AICH')
  assert.equal(
    await swarm.mend(0, new Uint8Array(PART_BYTES), sources[0]!),
    false,
    'nearly all of it is wrong: the whole part is fetched again'
  )
  assert.equal(honest.gate.sentBytes, AICH_BLOCK_BYTES)
})
test('a download of a part with a wrong block takes one block more, and counts it as a bad part of its source', async () => {
  const share = new LyingShare(CONTENT, { ed2k: DIGEST })
  share.lies = 1
  await using source = await seeder(share)
  await using ed2k = await leech()
  const folder = mkdtempSync(join(tmpdir(), 'kith-mend-'))
  try {
    const nobody = { given: [peerOf(source)], finders: [] }
    await using download = new Download(
      {
        clock: systemClock,
        log: silentLogger,
        payments: freeGate,
        shares: { addEd2kLink: () => () => {} } as never,
        plan: (_, signal) => planEd2k({ ed2k, ...nobody }, LINK, signal),
        announce: async () => {},
        withdraw: async () => {},
        onChange: () => {}
      },
      { address: LINK, folder, maxCostWei: undefined }
    )
    await within(2 * LONG_MS, 'the download', download.ended)
    assert.equal(download.state, 'done', download.message)
    assert.ok(equalBytes(readFileSync(download.path!), CONTENT))
    assert.equal(source.gate.sentBytes, CONTENT.length + AICH_BLOCK_BYTES)
    assert.equal(download.sources()[0]?.badChunks, 1)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
test('ED10: who mends with wrong blocks three times is out; another one mends', async () => {
  await using first = await seeder(new LyingShare(CONTENT, { ed2k: DIGEST }))
  await using second = await seeder(new LyingShare(CONTENT, { ed2k: DIGEST }))
  await using honest = await seeder(new MemoryShare(CONTENT, { ed2k: DIGEST }))
  await using ed2k = await leech()
  const { sources, swarm } = await swarmOf(ed2k, [first, second, honest])
  await using _ = swarm
  for (let time = 1; time <= 3; time++) {
    const bytes = right(0).slice()
    bytes[SPOT]! ^= 1
    assert.equal(sources[1]!.ended, false)
    assert.equal(await swarm.mend(0, bytes, sources[0]!), true)
    assert.ok(equalBytes(bytes, right(0)))
  }
  assert.deepEqual(
    sources.map(s => s.ended),
    [false, true, false]
  )
})
test('ED10: without recovery data that prove themselves nothing is mended', async () => {
  const bytes = right(0).slice()
  bytes[SPOT]! ^= 1
  await using honest = await seeder(new MemoryShare(CONTENT, { ed2k: DIGEST }))
  await using ed2k = await leech()
  for (const aich of [undefined, new Uint8Array(20)]) {
    const { sources, swarm } = await swarmOf(ed2k, [honest], { aich })
    await using _ = swarm
    assert.equal(await swarm.mend(0, bytes, sources[0]!), false)
  }
  assert.equal(honest.gate.sentBytes, 0)
})
test('a source that the download has thrown out is not connected to again', async () => {
  const clock = new FakeClock()
  await using listener = await TestListener.open()
  await using ed2k = await leech(clock)
  for (const banned of [true, false]) {
    const sources: Source[] = []
    const peers = [{ host: '127.0.0.1', port: listener.port }]
    const { hash } = DIGEST
    const swarm = ed2k.openSwarm({ hash, size: 1000, chunkBytes: PART_BYTES, peers, onSource: s => sources.push(s) })
    await using _ = swarm
    const client = await listener.accept()
    await client.greet({ abilities: { multiPacketExt: false, multiPacket: false } })
    await client.next(0x54)
    client.send(0xe3, 0x55)
    await eventually('a source', () => sources.length === 1, LONG_MS)
    if (banned) swarm.banWrong(sources[0]!)
    await sources[0]!.fetch(new MemoryDelivery(makeGrid(1000, PART_BYTES), { first: 0, count: 1 }), AbortSignal.abort()).catch(() => {})
    await sources[0]![Symbol.asyncDispose]()
    if (banned) swarm.add(peers, 'given')
    for (let i = 0; i < 20; i++) await clock.advance(60_000)
    if (!banned) await (await listener.accept()).untilClosed()
    else assert.equal(swarm.connected, 0)
  }
})
test('ED9: others get recovery data of a part that is right on disk, and of no other; they are rationed', async () => {
  const share = new MemoryShare(CONTENT, { ed2k: DIGEST })
  const broken = CONTENT.slice()
  broken[SPOT]! ^= 1
  const other = Object.assign(new MemoryShare(broken, { ed2k: { ...DIGEST, hash: new Uint8Array(16).fill(7) } }), {})
  const gate = new TestGate()
  await using ed2k = await openEd2k(
    { clock: new FakeClock(), log: silentLogger, shares: shareIndex([share, other]), gate },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  await using client = await TestClient.dial(ed2k.port)
  const ask = async (part: number, hash = DIGEST.hash, root = DIGEST.aich): Promise<ReturnType<typeof decodeRecoveryAnswer>> => {
    client.send(0xc5, 0x9b, encodeRecoveryRequest({ hash, part, root }))
    return decodeRecoveryAnswer((await client.next(0x9c)).payload)
  }
  for (const part of [0, 1, 2]) {
    const { data } = await ask(part)
    assert.deepEqual([data?.part, data?.root], [part, DIGEST.aich])
    assert.deepEqual(checkRecovery(DIGEST.aich, CONTENT.length, part, data!.nodes), blockHashesOf(right(part)))
  }
  const read = share.bytesRead
  assert.ok((await ask(1)).data)
  assert.equal(share.bytesRead, read, 'known answers cost nothing')
  assert.equal((await ask(0, other.ed2k!.hash)).data, undefined, 'wrong on disk')
  assert.ok((await ask(1, other.ed2k!.hash)).data)
  for (const [part, root] of [
    [3, DIGEST.aich],
    [0, new Uint8Array(20)]
  ] as const)
    assert.equal((await ask(part, DIGEST.hash, root)).data, undefined)
  for (let i = 5; i < RECOVERIES_BURST; i++) await ask(0, other.ed2k!.hash)
  assert.equal((await ask(2, other.ed2k!.hash)).data, undefined, 'too many at once')
})
test('a root that no link names is believed when two addresses name it and nine of ten agree', () => {
  const votes = new AichVotes()
  const [a, b] = [new Uint8Array(20).fill(1), new Uint8Array(20).fill(2)]
  for (let i = 0; i < 5; i++) votes.add('192.0.2.1', a)
  assert.equal(votes.agreed, undefined, 'one address is one vote')
  votes.add('192.0.2.2', a)
  assert.deepEqual(votes.agreed, a)
  votes.add('192.0.2.3', b)
  assert.equal(votes.agreed, undefined)
  for (let i = 4; i < 12; i++) votes.add(`192.0.2.${i}`, a)
  assert.deepEqual(votes.agreed, a)
})
