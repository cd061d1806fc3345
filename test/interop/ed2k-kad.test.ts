/**
 * amuled 2.3.3 as a client of our server and as a node of our Kad: it logs in with a high id, finds one file through the server and another one through
 * Kad, and fetches both from our seeder, and a third one from a client of ours that cannot be connected to; then the server names it as a source. It wants public addresses: both live in network namespaces with
 * addresses for documentation, which it takes for such.
 */
import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { equalBytes, hexToBytes } from '../../src/base/bytes.ts'
import { LeWriter } from '../../src/transfer/ed2k/bytes.ts'
import { writeId } from '../../src/transfer/kad/kad-id.ts'
import { hostToNumber } from '../../src/transfer/kad/messages.ts'
import { eventually, seededBytes, within } from '../kits/transfer-doubles.ts'
import { Amuled, buildShim, inNamespace } from './amuled.ts'
import { seededText } from './ed2k-digest.ts'

const run = promisify(execFile)
const SIZE = 2 * 2 ** 20
const THEIR_SIZE = 100_000
const LONG_MS = 60_000
const OURS = '203.0.113.1'
const THEIRS = '203.0.113.2'
const NEEDED = [
  ['amuled', 'amule-daemon'],
  ['amulecmd', 'amule-utils'],
  ['gcc', 'gcc'],
  ['ip', 'iproute2']
] as const

/** False (after saying so) when something is missing; with KITH_REQUIRE_INTEROP=1 that is a failure. */
function hasAll(t: TestContext): boolean {
  const missing = NEEDED.find(([program]) => spawnSync('which', [program]).status !== 0)
  const noRoot = process.getuid?.() === 0 ? undefined : 'network namespaces want root'
  const why = missing ? `${missing[0]} is missing: install Debian package ${missing[1]}` : noRoot
  if (why === undefined) return true
  assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
  t.skip(why)
  return false
}

/** Two namespaces joined by a cable. */
async function namespaces(stack: AsyncDisposableStack): Promise<readonly [string, string]> {
  const id = randomBytes(3).toString('hex')
  const names = [`kith${id}a`, `kith${id}b`] as const
  for (const name of names) {
    await run('ip', ['netns', 'add', name])
    stack.defer(async () => {
      await run('ip', ['netns', 'del', name])
    })
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  }
  await run('ip', ['link', 'add', 'e0', 'netns', names[0], 'type', 'veth', 'peer', 'name', 'e0', 'netns', names[1]])
  for (const [i, name] of names.entries()) {
    await run('ip', ['-n', name, 'addr', 'add', `${[OURS, THEIRS][i]}/24`, 'dev', 'e0'])
    await run('ip', ['-n', name, 'link', 'set', 'e0', 'up'])
  }
  return names
}

/** Our node as the one contact that amuled knows, and an id of its own near it. */
async function writeKadFiles(folder: string, kadId: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true })
  const nodes = writeId(new LeWriter().u32(0).u32(2).u32(1), kadId).u32(hostToNumber(OURS)).u16(4672).u16(4662).u8(8).u32(0).u32(0).u8(1)
  await writeFile(join(folder, 'nodes.dat'), nodes.done())
  const own = new Uint8Array([...kadId.subarray(0, 4), ...randomBytes(12)])
  await writeFile(join(folder, 'preferencesKad.dat'), writeId(new LeWriter().u32(0).u16(0), own).u8(0).done())
}

test('amuled finds files through our server and through our Kad, and fetches them from us', async t => {
  if (!hasAll(t)) return
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'kith-ed2k-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const [ours, theirs] = await namespaces(stack)
  const [command, ...args] = inNamespace(ours, [
    process.execPath,
    join(import.meta.dirname, 'ed2k-networks.ts'),
    OURS,
    String(SIZE),
    String(THEIR_SIZE)
  ])
  const networks = spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(networks, 'exit')
  stack.defer(async () => {
    networks.stdin.end()
    await exited
  })
  const lines = createInterface({ input: networks.stdout })[Symbol.asyncIterator]()
  const said = async <T>(): Promise<T> => JSON.parse((await within(LONG_MS, 'our networks', lines.next())).value ?? '{}')
  const status = (): Promise<{
    clients: number
    files: number
    kadNodes: number
    isTcpOpen: boolean
    found: string[]
    called: boolean
  }> => {
    networks.stdin.write('\n')
    return said()
  }
  const [{ links, names, kadId }, shim] = await Promise.all([
    said<{ links: string[]; names: string[]; kadId: string }>(),
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
  await eventually('it offers what it has', async () => (await status()).found.includes(`${THEIRS}:4662`), LONG_MS)
  const { clients, kadNodes, isTcpOpen } = await status()
  assert.deepEqual([clients, kadNodes], [3, 1])
  t.diagnostic(`amuled has reached our port for Kad: ${isTcpOpen}`)
})
