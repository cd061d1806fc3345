/**
 * amuled 2.3.3 and ours tell each other who else has a file, and prove who they are. amuled knows one of ours, which has half of the file and names
 * another; the file is complete only if amuled asks that one. A third one of ours knows amuled alone, and is named the same one by it.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bytesToHex, equalBytes } from '../../src/base/bytes.ts'
import { PART_BYTES } from '../../src/transfer/hashing/ed2k-hash.ts'
import { eventually, seededBytes } from '../kits/transfer-doubles.ts'
import { Amuled, buildShim } from './amuled.ts'
import { Helper, hasAll, LONG_MS, namespaces, OURS, THEIRS, tempFolder } from './ed2k-lab.ts'

interface Said {
  readonly sent: number
  readonly found: readonly string[]
  readonly identified: readonly (readonly string[])[]
}

test('amuled and ours exchange sources and identify each other', async t => {
  if (!hasAll(t, true)) return
  await using stack = new AsyncDisposableStack()
  const folder = await tempFolder(stack)
  const [ours, theirs] = await namespaces(stack)
  const helper = stack.use(new Helper(ours, 'ed2k-exchange.ts', [OURS, THEIRS]))
  const home = join(folder, 'amule')
  const ports = { tcp: 4662, udp: 4672, ec: 4712 }
  const [{ link, keys }, shim] = await Promise.all([helper.said<{ link: string; keys: string[] }>(), buildShim(folder)])
  const settings = { ConnectToED2K: '1' }
  const amuled = stack.use(await Amuled.start({ folder: home, namespace: theirs, address: THEIRS, ports, settings }, shim))
  await amuled.command(`add ed2k://|server|${OURS}|4661|/`)
  await amuled.command(`connect ${OURS}:4661`)
  await eventually('amuled is connected', async () => /eD2k: Connected/.test(await amuled.command('status')), LONG_MS)
  const began = performance.now()
  const since = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s from the link`
  // Sources in links are lost until its address filter is ready: the link is given until it asks the one that it names.
  const isAsking = async (): Promise<boolean> => {
    const { identified, sent } = await helper.ask<Said>()
    if (identified[0]!.length === 0 && sent === 0) await amuled.command(`add ${link}`)
    return sent > 0
  }
  await eventually('amuled fetches from whom it was named', isAsking, LONG_MS)
  t.diagnostic(`amuled uses a source that ours named: ${since()}`)
  const named = `ed2k ${OURS}:4663`
  await eventually('amuled names it to ours', async () => (await helper.ask<Said>('ask')).found.includes(named), LONG_MS)
  t.diagnostic(`ours uses a source that amuled named: ${since()}`)
  const { identified } = await helper.ask<Said>()
  const who = bytesToHex(await amuled.userHash())
  assert.deepEqual(identified, [[who], [who]], 'amuled has proven who it is to both')
  await helper.ask('go')
  const got = async (): Promise<Uint8Array> =>
    new Uint8Array(await readFile(join(amuled.incoming, 'exchanged.bin')).catch(() => Buffer.alloc(0)))
  await eventually('amuled has the file', async () => (await got()).length === PART_BYTES + 1_000_000, LONG_MS)
  assert.ok(equalBytes(await got(), seededBytes(PART_BYTES + 1_000_000, 7)), 'the file is another one')
  await amuled[Symbol.asyncDispose]()
  // It writes down the keys of clients that sent it something and have proven that they hold them.
  const credits = (await readFile(join(home, 'clients.met'))).toString('hex')
  assert.deepEqual(
    keys.map(key => credits.includes(key)),
    [true, true],
    'and both of ours to it'
  )
})
