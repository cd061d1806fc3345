/** amuled 2.3.3 that nobody can connect to serves us all the same: the server has it connect to us, once for the part hashes and the parts. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { PART_BYTES } from '../../src/transfer/hashing/ed2k-hash.ts'
import { eventually, seededBytes } from '../kits/transfer-doubles.ts'
import { Amuled, buildShim } from './amuled.ts'
import { Helper, hasAll, LONG_MS, namespaces, OURS, THEIRS, tempFolder } from './ed2k-lab.ts'

const SIZE = PART_BYTES + 300_000
const SEED = 99

test('a file is fetched from amuled with a low id', async t => {
  if (!hasAll(t, true)) return
  await using stack = new AsyncDisposableStack()
  const folder = await tempFolder(stack)
  const [ours, theirs] = await namespaces(stack)
  execFileSync('ip', ['-n', ours, 'rule', 'add', 'to', THEIRS, 'ipproto', 'tcp', 'dport', '4662', 'prohibit'])
  const helper = stack.use(new Helper(ours, 'ed2k-low-id.ts', [OURS, String(SIZE), String(SEED)]))
  const home = join(folder, 'amule')
  await mkdir(join(home, 'Incoming'), { recursive: true })
  await writeFile(join(home, 'Incoming', 'theirs.bin'), seededBytes(SIZE, SEED))
  const [, shim] = await Promise.all([helper.said(), buildShim(folder)])
  const ports = { tcp: 4662, udp: 4672, ec: 4712 }
  const settings = { ConnectToED2K: '1' }
  const amuled = stack.use(await Amuled.start({ folder: home, namespace: theirs, address: THEIRS, ports, settings }, shim))
  await amuled.command(`add ed2k://|server|${OURS}|4661|/`)
  await amuled.command(`connect ${OURS}:4661`)
  await eventually('amuled has a low id', async () => /eD2k: Connected.*LowID/s.test(await amuled.command('status')), LONG_MS)
  await eventually('amuled offers its file', async () => (await helper.ask<{ files: number }>()).files > 0, LONG_MS)
  const began = performance.now()
  let came: string | undefined
  await eventually('a part', async () => (came = (await helper.ask<{ came?: string }>()).came) !== undefined, LONG_MS)
  t.diagnostic(`a part after ${((performance.now() - began) / 1000).toFixed(1)} s`)
  assert.match(came!, /^ed2k low id /)
})
