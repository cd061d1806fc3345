/**
 * amuled 2.3.3 fetches from us, plain and obfuscated, and we fetch from it. A downloading amuled wants a public address and a server: it
 * lives in a network namespace of its own with an address for documentation, which it takes for public, beside a second one with our
 * seeder and a server of twenty lines. A seeding one needs nothing but loopback.
 */
import assert from 'node:assert/strict'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { equalBytes } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { loadEd2kIdentity } from '../../src/transfer/ed2k/identity.node.ts'
import { formatEd2kLink } from '../../src/transfer/ed2k/link.ts'
import { PART_BYTES } from '../../src/transfer/hashing/ed2k-hash.ts'
import { md4 } from '../../src/transfer/hashing/md4.ts'
import { planEd2k } from '../../src/transfer/plan-ed2k.node.ts'
import type { Source } from '../../src/transfer/protocol.ts'
import { eventually, MemoryDelivery, seededBytes, shareIndex, TestGate, within } from '../kits/transfer-doubles.ts'
import { Amuled, buildShim, freePorts } from './amuled.ts'
import { ed2kOf } from './ed2k-digest.ts'
import { Helper, hasAll, LONG_MS, namespaces, OURS, THEIRS, tempFolder } from './ed2k-lab.ts'

const MIB = 2 ** 20

async function seedTo(mode: 'plain' | 'obfuscated' | 'wrong', size: number): Promise<{ readonly sent: number; readonly ms: number }> {
  await using stack = new AsyncDisposableStack()
  const folder = await tempFolder(stack)
  const [ours, theirs] = await namespaces(stack)
  const seeder = stack.use(new Helper(ours, 'ed2k-seeder.ts', [OURS, String(size), mode, join(folder, 'identity.json')]))
  const { link } = await seeder.said<{ link: string }>()
  const ports = { tcp: 4662, udp: 4672, ec: 4712 }
  const settings = { ConnectToED2K: '1' }
  const options = { folder: join(folder, 'amule'), namespace: theirs, address: THEIRS, ports, settings }
  const amuled = stack.use(await Amuled.start(options, await buildShim(folder)))
  await amuled.command(`add ed2k://|server|${OURS}|4661|/`)
  await amuled.command(`connect ${OURS}:4661`)
  await eventually('amuled is connected', async () => /eD2k: Connected/.test(await amuled.command('status')), LONG_MS)
  await amuled.command(`add ${link}`)
  const path = join(amuled.incoming, 'kith seeds.bin')
  const got = async (): Promise<Uint8Array> => new Uint8Array(await readFile(path).catch(() => Buffer.alloc(0)))
  await eventually('amuled has the file', async () => (await got()).length === size, LONG_MS)
  assert.ok(equalBytes(await got(), seededBytes(size)), 'the file is another one')
  return await seeder.end<{ sent: number; ms: number }>()
}

/** Fetches all parts that one source has into memory, checking each. */
async function fetchAll(source: Source, delivery: MemoryDelivery, hashes: Uint8Array): Promise<Uint8Array> {
  await eventually('the client serves us', () => source.has(0) || source.ended === true, LONG_MS)
  await within(LONG_MS, 'all parts', source.fetch(delivery, new AbortController().signal))
  for (const [part, bytes] of delivery.chunks)
    assert.ok(equalBytes(md4(bytes), hashes.subarray(16 * part, 16 * part + 16)), `part ${part} is wrong`)
  return Buffer.concat([...delivery.chunks.entries()].sort(([a], [b]) => a - b).map(([, bytes]) => bytes))
}

describe('amuled', { concurrency: 4 }, () => {
  for (const mode of ['plain', 'obfuscated'] as const)
    test(`amuled fetches 20 MiB from us, ${mode}`, async t => {
      if (!hasAll(t, true)) return
      const size = Number(process.env['KITH_ED2K_MIB'] ?? 20) * MIB
      const { sent, ms } = await seedTo(mode, size)
      t.diagnostic(`${(size / MIB / (ms / 1000)).toFixed(1)} MiB/s from the first byte to the last`)
      assert.ok(sent >= size)
    })

  test('amuled mends a part of ours that came with a wrong block, by our recovery data', async t => {
    if (!hasAll(t, true)) return
    const { sent } = await seedTo('wrong', 10 * MIB)
    t.diagnostic(`${sent - 10 * MIB} bytes more than the file`)
    assert.ok(sent > 10 * MIB && sent < 15 * MIB, `${sent} bytes`)
  })

  test('we fetch 10 MiB and an exact part from amuled, by link, with its part hashes, and mend a part by its recovery data', async t => {
    if (!hasAll(t, false)) return
    await using stack = new AsyncDisposableStack()
    const folder = await tempFolder(stack)
    const [tcp = 0, udp = 0, ec = 0] = await freePorts(3)
    const options = { folder: join(folder, 'amule'), address: '127.0.0.1', ports: { tcp, udp, ec } }
    const amuled = stack.use(await Amuled.start(options, await buildShim(folder)))
    const files = [
      { name: 'ten.bin', content: seededBytes(10 * MIB) },
      { name: 'part.bin', content: seededBytes(PART_BYTES, 2).subarray(0, PART_BYTES) }
    ]
    for (const { name, content } of files) {
      await writeFile(join(folder, name), content)
      await copyFile(join(folder, name), join(amuled.incoming, name))
    }
    await amuled.command('reload shared')
    await eventually(
      'amuled has hashed the files',
      async () => {
        const shared = await amuled.command('show shared')
        return files.every(f => shared.includes(f.name))
      },
      LONG_MS
    )
    const deps = { clock: systemClock, log: silentLogger, shares: shareIndex([]), gate: new TestGate() }
    const ed2k = stack.use(await openEd2k(deps, { identity: loadEd2kIdentity(join(folder, 'identity.json')) }))
    const crypt = { supported: true, requested: true, required: false }
    const plain = { host: '127.0.0.1', port: tcp }
    const obfuscated = { ...plain, userHash: await amuled.userHash(), crypt }
    for (const { name, content } of files) {
      const { hash, aich } = ed2kOf(content)
      const link = formatEd2kLink({ name, size: content.length, hash })
      const plan = await within(
        LONG_MS,
        'the part hashes',
        planEd2k({ ed2k, given: [obfuscated], finders: [] }, link, new AbortController().signal)
      )
      assert.equal(plan.grid.chunkBytes, PART_BYTES)
      assert.ok(plan.hashes.algorithm === 'md4')
      const { of } = plan.hashes
      const first = Promise.withResolvers<Source>()
      await using swarm = ed2k.openSwarm({
        hash,
        aich,
        size: content.length,
        chunkBytes: PART_BYTES,
        peers: [plain], // a busy amuled now and then breaks an obfuscated stream, always between two packets
        trust: 'given',
        onSource: source => first.resolve(source)
      })
      const delivery = new MemoryDelivery(plan.grid, { first: 0, count: plan.grid.count })
      const began = performance.now()
      const hashes = Buffer.concat(Array.from({ length: plan.grid.count }, (_, i) => of(i)))
      const source = await within(LONG_MS, 'a source', first.promise)
      const got = await fetchAll(source, delivery, hashes)
      t.diagnostic(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`)
      assert.ok(equalBytes(got, content), `${name} is another file`)
      const part = content.slice(0, PART_BYTES)
      part[500_000]! ^= 1
      assert.equal(await within(LONG_MS, 'mending', swarm.mend(0, part, source)), true, 'amuled has recovery data, and sends a block anew')
      assert.ok(equalBytes(part, content.subarray(0, PART_BYTES)))
    }
  })
})
