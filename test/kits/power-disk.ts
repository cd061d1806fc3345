/**
 * A disk from which power can be cut: an ext4 image inside a file system with reflinks. A copy of the image is, at once, all that ext4 had
 * written by then; mounted, it is the disk after the cut. Needs root, loop devices, xfsprogs and e2fsprogs. Everything is mounted in a
 * namespace of its own and is gone with it.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Lab } from './lab.ts'

export interface PowerDisk {
  /** Of the process that holds the mounts. */
  readonly pid: number
  /** Inside the namespace. */
  readonly path: string
  /** What is on the disk if power fails now: a folder, read and then let go of. */
  cut<T>(read: (folder: string) => T): T
}

/** Why none can be made here, in one line; undefined: it can. */
export function noPowerDisk(): string | undefined {
  const found = (name: string): boolean => ['/usr/sbin', '/sbin'].some(d => existsSync(join(d, name)))
  if (!found('mkfs.xfs') || !found('mkfs.ext4')) return 'needs Debian packages xfsprogs and e2fsprogs'
  if (!existsSync('/dev/loop-control')) return 'needs loop devices'
  return spawnSync('unshare', ['-m', 'true']).status === 0 ? undefined : 'needs mounts (run as root)'
}

const SETUP = `set -eu
cd "$1"; mkdir -p outer disk snap
truncate -s "$(($2 * 5 + 200))M" outer.img; mkfs.xfs -q -m reflink=1 outer.img; mount -o loop outer.img outer
truncate -s "$2M" outer/disk.img; mkfs.ext4 -q -F outer/disk.img; mount -o loop outer/disk.img disk
echo ready; exec cat`

/** @param mib its size */
export async function openPowerDisk(t: TestContext, lab: Lab, mib: number): Promise<PowerDisk> {
  const folder = lab.dir('power')
  const holder = spawn('unshare', ['-m', 'sh', '-c', SETUP, 'sh', folder, String(mib)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const gone = new Promise(resolve => holder.once('exit', resolve))
  t.after(async () => {
    holder.stdin.end()
    await gone
  })
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve)
    holder.once('exit', () => reject(new Error('the disk could not be made')))
  })
  const pid = holder.pid!
  const inside = (command: string): void => {
    const { status, stderr } = spawnSync('nsenter', ['-m', '-t', String(pid), 'sh', '-c', `cd '${folder}' && ${command}`])
    if (status !== 0) throw new Error(`${command}: ${stderr}`)
  }
  mkdirSync(join(folder, 'snap'), { recursive: true })
  return {
    pid,
    path: join(folder, 'disk'),
    cut(read) {
      inside('cp --reflink=always outer/disk.img outer/cut.img && mount -o loop outer/cut.img snap')
      try {
        return read(`/proc/${pid}/root${folder}/snap`)
      } finally {
        inside('umount snap; rm outer/cut.img')
      }
    }
  }
}
