/** The verified chunks of a running download as a share, so that others can fetch them already. Free of charge. */
import { type FileHandle, open } from 'node:fs/promises'
import { KithError } from '../../base/errors.ts'
import type { PartFile } from '../part-file.node.ts'
import type { Plan } from '../plan.node.ts'
import type { Share } from '../protocol.ts'

export interface PartialShare extends Share {
  /** Tells those who listen that a chunk can be had now. */
  tell(chunk: number): void
  /** Ends reading; requests that are under way fail. */
  close(): Promise<void>
}

export function partialShare(plan: Plan, part: PartFile): PartialShare {
  let file: Promise<FileHandle> | undefined
  let closed = false
  const listeners = new Set<(chunk: number) => void>()
  const unknown = new Uint8Array(32) // what others made goes by their own hash alone
  return {
    fileId: plan.fileId ?? unknown,
    root: plan.root ?? unknown,
    grid: plan.grid,
    name: plan.name,
    mime: plan.mime,
    pricePerMb: 0n,
    pieces: plan.torrent?.pieces,
    torrent: plan.torrent,
    ed2k: plan.ed2k,
    has: chunk => !closed && part.done[chunk] === 1,
    async read(offset, length, target) {
      if (closed) throw new KithError('FILE_CHANGED', 'the download has ended')
      file ??= open(part.path, 'r')
      const handle = await file
      const left = Math.max(0, Math.min(length, plan.grid.size - offset))
      target.fill(0, left, length) // what is asked for behind the end of a torrent of v2 alone
      for (let at = 0; at < left; ) {
        const { bytesRead } = await handle.read(target, at, left - at, offset + at)
        if (bytesRead === 0) throw new KithError('FILE_CHANGED', 'the part file is shorter than recorded')
        at += bytesRead
      }
    },
    onChunk(listener, signal) {
      listeners.add(listener)
      signal.addEventListener('abort', () => listeners.delete(listener), { once: true })
    },
    tell(chunk) {
      for (const listener of listeners) listener(chunk)
    },
    async close() {
      closed = true
      const handle = await file?.catch(() => undefined)
      await handle?.close()
    }
  }
}
