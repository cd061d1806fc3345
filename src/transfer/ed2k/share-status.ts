/** Which parts of a share are here: those of which every chunk is. */
import { dataParts, PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Share } from '../protocol.ts'
import { type PartStatus, statusOf } from './file-request.ts'

/** Shares that were complete once: looking at each chunk of a large file for every packet would let anybody keep us busy. (threats ED9) */
const complete = new WeakMap<Share, PartStatus>()

export function statusOfShare(share: Share): PartStatus {
  const known = complete.get(share)
  if (known) return known
  const status = statusOf(share.grid.size, part => hasWholePart(share, part))
  if (status.complete) complete.set(share, status)
  return status
}

export function hasWholePart(share: Share, part: number): boolean {
  const { grid } = share
  if (part >= dataParts(grid.size)) return false
  const last = Math.floor((Math.min(grid.size, (part + 1) * PART_BYTES) - 1) / grid.chunkBytes)
  for (let c = Math.floor((part * PART_BYTES) / grid.chunkBytes); c <= last; c++) if (!share.has(c)) return false
  return true
}

/** Whether this chunk, which has just come, made a part whole. */
export function makesPart(share: Share, chunk: number): boolean {
  const { chunkBytes, size } = share.grid
  const first = Math.floor((chunk * chunkBytes) / PART_BYTES)
  const last = Math.floor((Math.min(size, (chunk + 1) * chunkBytes) - 1) / PART_BYTES)
  for (let part = first; part <= last; part++) if (hasWholePart(share, part)) return true
  return false
}
