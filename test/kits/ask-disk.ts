/** A small file system (tmpfs) in a mount namespace that lives as long as the test, with a node whose home is on it. Needs root. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { readApiFile } from '../../src/api/api-file.node.ts'
import { createApiClient } from '../../src/api/client.ts'
import type { AskNode } from './ask-nodes.ts'
import { KITH, type Lab, LOCAL } from './lab.ts'
import { Process } from './process.ts'

export interface AskDisk {
  /** `kith up` with its home on the disk. */
  up(...args: string[]): Promise<AskNode>
  /** Writes until nothing fits any more. */
  fill(): void
  free(): void
}

export const mayMount = (): boolean =>
  existsSync('/usr/bin/nsenter') && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0

/** @param size as mount takes it: 16m */
export async function openAskDisk(t: TestContext, lab: Lab, name: string, size: string): Promise<AskDisk> {
  const inside = lab.dir(name)
  const script = `mount -t tmpfs -o size=${size} tmpfs '${inside}' && echo ready && exec cat`
  const holder = spawn('unshare', ['-m', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  const gone = new Promise(resolve => holder.once('exit', resolve))
  const nodes: Process[] = []
  t.after(async () => {
    await Promise.all(nodes.map(n => n.destroy()))
    holder.stdin.end()
    await gone
  })
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve)
    holder.once('exit', () => reject(new Error('the disk could not be made')))
  })
  const root = `/proc/${holder.pid}/root${inside}`
  return {
    async up(...args) {
      const command = ['-m', process.execPath, KITH, 'up', '--home', join(inside, 'home'), ...LOCAL, ...args]
      const node = new Process('-t', lab.dir('outer'), [String(holder.pid), ...command], undefined, {}, '/usr/bin/nsenter')
      nodes.push(node)
      const ready = await node.line('ready')
      const api = createApiClient({ fetch }, readApiFile(join(root, 'home/state'))!)
      const [address] = ready['addresses'] as string[]
      return { process: node, api, entityId: (await api.ask.self()).entityId, address: address! }
    },
    fill() {
      const fd = openSync(join(root, 'filler'), 'a')
      try {
        for (const bytes of [2 ** 20, 4096]) fillWith(fd, new Uint8Array(bytes))
      } finally {
        closeSync(fd)
      }
    },
    free: () => rmSync(join(root, 'filler'))
  }
}

function fillWith(fd: number, block: Uint8Array): void {
  try {
    for (;;) writeSync(fd, block)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
  }
}
