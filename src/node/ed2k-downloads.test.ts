/** Downloads that began from an ed2k:// link are served to other ed2k clients while they run and, with `--seed`, afterwards. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { ed2kOf } from '../../test/interop/ed2k-digest.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate } from '../../test/kits/transfer-doubles.ts'
import { equalBytes } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openEd2k } from '../transfer/ed2k/ed2k.node.ts'
import { formatEd2kLink } from '../transfer/ed2k/link.ts'
import { PART_BYTES } from '../transfer/hashing/ed2k-hash.ts'
import { loadConfig } from './load-config.node.ts'
import { openNode } from './open.node.ts'
import { RunningNode } from './running-node.node.ts'
import type { DownloadView, KithNode } from './types.ts'

const LONG_MS = 30_000
const CONTENT = seededBytes(2 * PART_BYTES + 12_345)
const home = mkdtempSync(join(tmpdir(), 'kith-ed2k-downloads-'))
test.after(() => rmSync(home, { recursive: true, force: true }))

/** Gives one part, and the others when it is allowed to. */
class SlowShare extends MemoryShare {
  readonly rest: PromiseWithResolvers<void> = Promise.withResolvers()
  #part: number | undefined
  override async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    const part = Math.floor(offset / PART_BYTES)
    this.#part ??= part
    if (part !== this.#part) await this.rest.promise
    await super.read(offset, length, target)
  }
}

const open = (name: string): Promise<KithNode> =>
  openNode(loadConfig({ home: join(home, name), port: 0, listen: ['127.0.0.1'], mdns: false }, {}))
const peerOf = (node: KithNode): string => `127.0.0.1:${node instanceof RunningNode ? node.ports.ed2k : 0}`

async function get(node: KithNode, name: string, address: string, from: string, seed: boolean): Promise<() => DownloadView> {
  const folder = join(home, `${name}-out`)
  mkdirSync(folder)
  const { id } = await node.get({ address, folder, peers: [from], seed })
  return () => node.download(id)!
}

async function assertDone(view: () => DownloadView): Promise<void> {
  await eventually('the download ends', () => view().finishedAt !== undefined, LONG_MS)
  assert.equal(view().state, 'done', view().message)
  assert.ok(equalBytes(new Uint8Array(readFileSync(view().path!)), CONTENT), 'another file')
}

test('an ed2k link: its parts go on to others while it comes, to the last one, and so does the file afterwards', async () => {
  const digest = ed2kOf(CONTENT)
  const share = new SlowShare(CONTENT, { ed2k: digest })
  const gate = new TestGate()
  const deps = { clock: systemClock, log: silentLogger, shares: shareIndex([share]), gate }
  await using seeder = await openEd2k(deps, { listen: { host: '127.0.0.1', port: 0 } })
  const link = formatEd2kLink({ name: 'x.bin', size: CONTENT.length, hash: digest.hash })
  await using b = await open('b')
  await using c = await open('c')
  const first = await get(b, 'b', link, `127.0.0.1:${seeder.port}`, true)
  await eventually('one part is there', () => first().chunksDone === 1, LONG_MS)
  const second = await get(c, 'c', link, peerOf(b), false)
  await eventually('it went on', () => second().chunksDone === 1, LONG_MS)
  assert.equal(first().chunksDone, 1)
  share.rest.resolve()
  await Promise.all([assertDone(first), assertDone(second)])
  assert.ok(gate.sentBytes < 1.5 * CONTENT.length, 'the other one had everything from the first')
  await eventually('it is a share', () => b.shares().some(s => s.ed2k?.includes(Buffer.from(digest.hash).toString('hex'))), LONG_MS)
  await seeder[Symbol.asyncDispose]()
  await assertDone(await get(c, 'again', link, peerOf(b), false))
})
