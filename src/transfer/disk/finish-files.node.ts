/** From a complete part file to what the user asked for: one file, or the folder of a torrent with several. Never overwrites. */
import { mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { KithError } from '../../base/errors.ts'
import { syncFolder } from '../../platform/files.node.ts'
import { assertSpace, type PartFile } from '../part-file.node.ts'
import type { Plan } from '../plan.node.ts'
import { numberedName, safeName } from '../safe-name.ts'

/** Where a download ended up. */
export interface FinishedFiles {
  /** Of the file or the folder. */
  readonly path: string
  /** Every file, and where in the content its bytes begin. */
  readonly files: readonly { readonly path: string; readonly offset: number; readonly length: number }[]
}

/** @throws DISK_FULL, PATH_FORBIDDEN */
export async function finishFiles(part: PartFile, folder: string, plan: Plan): Promise<FinishedFiles> {
  const name = safeName(plan.name, plan.stem)
  if (!plan.files) {
    const path = await part.finish(folder, name)
    return { path, files: [{ path, offset: 0, length: plan.grid.size }] }
  }
  assertSpace(folder, plan.grid.size) // the files are copied out of the part file, which is deleted after
  const root = newFolder(folder, name)
  await using source = await open(part.path, 'r')
  const taken = new Map<string, 'file' | 'folder'>()
  const files: FinishedFiles['files'][number][] = []
  for (const file of plan.files) {
    const segments = file.path.map((s, i) => safeName(s, `${plan.stem}-${i}`))
    const target = freePath(root, segments, taken)
    mkdirSync(join(target, '..'), { recursive: true })
    await copyRange(source, target, file.offset, file.length)
    files.push({ path: target, offset: file.offset, length: file.length })
  }
  syncFolder(root)
  await part.discard()
  return { path: root, files }
}

function newFolder(parent: string, name: string): string {
  for (let n = 1; n < 10_000; n++) {
    const path = join(parent, n === 1 ? name : numberedName(name, n))
    try {
      mkdirSync(path) // not recursive: an existing folder is somebody's, and is never written into
      return path
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
  throw new KithError('PATH_FORBIDDEN', 'too many folders of that name', { parent })
}

/**
 * Two names that differ only in case or normal form would be one file on some systems, and a hostile torrent may have a file where another
 * of its files has a folder: the later one gets a number (threats CH12).
 */
function freePath(root: string, segments: readonly string[], taken: Map<string, 'file' | 'folder'>): string {
  return segments.reduce((parent, segment, i) => {
    const isFolder = i < segments.length - 1
    for (let n = 1; ; n++) {
      const path = join(parent, n === 1 ? segment : numberedName(segment, n))
      const key = path.normalize('NFC').toLowerCase()
      const known = taken.get(key)
      if (known === 'file' || (known === 'folder' && !isFolder)) continue
      taken.set(key, isFolder ? 'folder' : 'file')
      return path
    }
  }, root)
}

async function copyRange(source: Awaited<ReturnType<typeof open>>, target: string, offset: number, length: number): Promise<void> {
  await using out = await open(target, 'wx', 0o644)
  const block = new Uint8Array(1024 * 1024)
  for (let at = 0; at < length; ) {
    const { bytesRead } = await source.read(block, 0, Math.min(block.length, length - at), offset + at)
    if (bytesRead === 0) throw new KithError('PART_CORRUPT', 'the part file is too short')
    await out.write(block, 0, bytesRead)
    at += bytesRead
  }
  await out.sync()
}
