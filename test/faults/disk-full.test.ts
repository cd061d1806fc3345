/**
 * A full disk (threats ST2): a node whose home and downloads are on a small file system of their own, filled and freed by the test. It
 * says what is wrong, goes on by itself when there is space again, and loses nothing, also when it is killed meanwhile.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readApiFile } from '../../src/api/api-file.node.ts'
import { createApiClient } from '../../src/api/client.ts'
import type { NodeClient } from '../../src/api/node-client.ts'
import type { DownloadView } from '../../src/node/types.ts'
import { followDownload, isOver, KITH, Lab, LOCAL, sha256Of } from '../kits/lab.ts'
import { Process } from '../kits/process.ts'

const MIB = 2 ** 20
const SIZE = 12 * MIB

test('on a full disk a node waits, says so, goes on by itself, and keeps everything when it is killed', { timeout: 120_000 }, async t => {
  if (!mayMount()) return t.skip('needs to mount a tmpfs in a namespace of its own (run as root)')
  const lab = new Lab(t)
  const disk = await openSmallDisk(t, lab, '56m')
  const [one, two] = await Promise.all(
    [1, 2].map(n => lab.ready(`seeder-${n}`, 'share', lab.file(`${n}.bin`, SIZE, n), '--upload-limit', '8MiB'))
  )
  let node = await disk.up()

  // 1. Space returns: it goes on by itself.
  const out = disk.dir('out')
  const first = await node.get({ address: one!.ready.link!, folder: disk.folder('out') })
  await followDownload(node, first.id, d => d.verifiedBytes >= 2 * MIB)
  disk.fill()
  const waits = await followDownload(node, first.id, d => isOver(d) || d.state === 'waiting')
  assert.equal(waits.state, 'waiting', waits.message)
  assert.match(waits.message, /no space left.*goes on/)
  const small = lab.file('small.bin', 100_000, 3)
  await assert.rejects(node.share({ path: small }), { code: 'DISK_FULL' })
  assert.equal((await node.shares()).length, 0, 'what was not acknowledged is not there')
  disk.free()
  const done = await followDownload(node, first.id, isOver)
  assert.equal(done.state, 'done', done.message)
  assert.equal(sha256Of(readFileSync(join(out, '1.bin'))), one!.ready.fileId)
  assert.equal((await node.share({ path: small })).state, 'seeding')

  // 2. It is killed while the disk is full.
  const second = await node.get({ address: two!.ready.link!, folder: disk.folder('out') })
  await followDownload(node, second.id, d => d.verifiedBytes >= 2 * MIB)
  disk.fill()
  const full: DownloadView = await followDownload(node, second.id, d => isOver(d) || d.state === 'waiting')
  await disk.kill()
  disk.free()
  node = await disk.up()
  assert.deepEqual(
    (await node.shares()).map(s => s.name),
    ['small.bin']
  )
  const running = (await node.downloads())[0] ?? (await node.get({ address: two!.ready.link!, folder: disk.folder('out') }))
  const end = await followDownload(node, running.id, isOver)
  assert.equal(end.state, 'done', end.message)
  assert.ok(end.resumedBytes >= full.verifiedBytes - MIB, `${end.resumedBytes} of ${full.verifiedBytes} were kept`)
  assert.equal(sha256Of(readFileSync(join(out, '2.bin'))), two!.ready.fileId)
})

const mayMount = (): boolean =>
  existsSync('/usr/bin/nsenter') && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

interface SmallDisk {
  /** Path inside the namespace. */
  folder(name: string): string
  /** Makes a folder. @returns its path as this process sees it */
  dir(name: string): string
  /** Writes until nothing fits any more. */
  fill(): void
  free(): void
  /** Starts a node whose home is on the disk. */
  up(): Promise<NodeClient>
  kill(): Promise<void>
}

/** A tmpfs in a mount namespace that lives as long as the test. */
async function openSmallDisk(t: TestContext, lab: Lab, size: string): Promise<SmallDisk> {
  const inside = lab.dir('disk')
  const holder = spawn('unshare', ['-m', 'sh', '-c', `mount -t tmpfs -o size=${size} tmpfs '${inside}' && echo ready && exec cat`], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  const gone = new Promise(resolve => holder.once('exit', resolve))
  let node: Process | undefined
  t.after(async () => {
    await node?.destroy()
    holder.stdin.end()
    await gone
  })
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve)
    holder.once('exit', () => reject(new Error('the disk could not be made')))
  })
  const root = `/proc/${holder.pid}/root${inside}`
  const filler = join(root, 'filler')
  return {
    folder: name => join(inside, name),
    dir(name) {
      mkdirSync(join(root, name))
      return join(root, name)
    },
    fill() {
      const fd = openSync(filler, 'w')
      try {
        for (const bytes of [MIB, 4096]) fillWith(fd, new Uint8Array(bytes))
      } finally {
        closeSync(fd)
      }
    },
    free: () => rmSync(filler),
    async up() {
      const args = ['-m', process.execPath, KITH, 'up', '--home', join(inside, 'home'), ...LOCAL]
      node = new Process('-t', lab.dir('outer'), [String(holder.pid), ...args], undefined, {}, '/usr/bin/nsenter')
      await node.line('ready')
      return createApiClient({ fetch }, readApiFile(join(root, 'home/state'))!)
    },
    kill: async () => void (await node?.destroy())
  }
}

function fillWith(fd: number, block: Uint8Array): void {
  try {
    for (;;) writeSync(fd, block)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
}
