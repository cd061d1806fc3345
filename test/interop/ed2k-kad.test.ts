/**
 * amuled 2.3.3 as a client of our server and as a node of our Kad: it logs in with a high id, finds one file through the server and another one through
 * Kad, and fetches both from our seeder, and a third one from a client of ours that cannot be connected to; then the server names it as a source. What
 * our node of Kad published amuled keeps, and gives to another node of ours when the first one is gone. It wants public addresses: both live in network namespaces with
 * addresses for documentation, which it takes for such.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { equalBytes, hexToBytes } from '../../src/base/bytes.ts'
import { LeWriter } from '../../src/transfer/ed2k/bytes.ts'
import { writeId } from '../../src/transfer/kad/kad-id.ts'
import { hostToNumber } from '../../src/transfer/kad/messages.ts'
import { eventually, seededBytes } from '../kits/transfer-doubles.ts'
import { Amuled, buildShim } from './amuled.ts'
import { seededText } from './ed2k-digest.ts'
import { Helper, hasAll, LONG_MS, namespaces, OURS, THEIRS, tempFolder } from './ed2k-lab.ts'

const SIZE = 2 * 2 ** 20
const THEIR_SIZE = 100_000

/** Our node as the one contact that amuled knows, and an id of its own near it. */
async function writeKadFiles(folder: string, kadId: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true })
  const nodes = writeId(new LeWriter().u32(0).u32(2).u32(1), kadId).u32(hostToNumber(OURS)).u16(4672).u16(4662).u8(8).u32(0).u32(0).u8(1)
  await writeFile(join(folder, 'nodes.dat'), nodes.done())
  const own = new Uint8Array([...kadId.subarray(0, 4), ...randomBytes(12)])
  await writeFile(join(folder, 'preferencesKad.dat'), writeId(new LeWriter().u32(0).u16(0), own).u8(0).done())
}

test('amuled finds files through our server and through our Kad, and fetches them from us', async t => {
  if (!hasAll(t, true)) return
  await using stack = new AsyncDisposableStack()
  const folder = await tempFolder(stack)
  const [ours, theirs] = await namespaces(stack)
  const networks = stack.use(new Helper(ours, 'ed2k-networks.ts', [OURS, String(SIZE), THEIRS, String(THEIR_SIZE)]))
  interface Status {
    readonly clients: number
    readonly files: number
    readonly kadNodes: number
    readonly isTcpOpen: boolean
    readonly found: readonly string[]
    /** Found through amuled's part of Kad. */
    readonly alone: readonly string[]
  }
  const [{ links, names, kadId }, shim] = await Promise.all([
    networks.said<{ links: string[]; names: string[]; kadId: string }>(),
    buildShim(folder)
  ])
  const home = join(folder, 'amule')
  await writeKadFiles(home, hexToBytes(kadId))
  await mkdir(join(home, 'Incoming'), { recursive: true })
  await writeFile(join(home, 'Incoming', 'theirs.bin'), seededBytes(THEIR_SIZE, 99))
  const amuled = stack.use(
    await Amuled.start(
      {
        folder: home,
        namespace: theirs,
        address: THEIRS,
        ports: { tcp: 4662, udp: 4672, ec: 4712 },
        settings: { ConnectToED2K: '1', ConnectToKad: '1', IsClientCryptLayerSupported: '0' }
      },
      shim
    )
  )
  await amuled.command(`add ed2k://|server|${OURS}|4661|/`)
  await amuled.command(`connect ${OURS}:4661`)
  await eventually('amuled has a high id', async () => /eD2k: Connected.*HighID/s.test(await amuled.command('status')), LONG_MS)
  await amuled.command('connect kad')
  await eventually('amuled is in Kad', async () => /Kad: Connected/.test(await amuled.command('status')), LONG_MS)
  const began = performance.now()
  for (const link of links) await amuled.command(`add ${link}`)
  for (const [i, name] of names.entries()) {
    const got = async (): Promise<Uint8Array> => new Uint8Array(await readFile(join(amuled.incoming, name)).catch(() => Buffer.alloc(0)))
    await eventually(`amuled has the file ${name}`, async () => (await got()).length === SIZE, LONG_MS)
    assert.ok(equalBytes(await got(), i === 0 ? seededText(SIZE, 1) : seededBytes(SIZE, i + 1)), 'the file is another one')
    t.diagnostic(`${name}: ${((performance.now() - began) / 1000).toFixed(1)} s from the links`)
  }
  // What it shares itself the server names to us.
  await eventually('it offers what it has', async () => (await networks.ask<Status>()).found.includes(`${THEIRS}:4662`), LONG_MS)
  const { clients, kadNodes, isTcpOpen } = await networks.ask<Status>()
  assert.deepEqual([clients, kadNodes], [3, 1])
  t.diagnostic(`amuled has reached our port for Kad: ${isTcpOpen}`)
  // What our node published amuled keeps, and gives to others when that node is gone.
  const isKept = async (): Promise<boolean> => (await networks.ask<Status>('alone')).alone.includes(`${OURS}:4662`)
  await eventually('amuled gives another node what ours published', isKept, LONG_MS)
})
