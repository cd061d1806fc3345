/** Ranges that are served, as pieces of chunks. Pure. */
import type { Share } from '../protocol.ts'
import { SEND_BYTES } from './limits.ts'
import type { ByteRange } from './parts.ts'

/** A stretch of one chunk, at most a buffer long. */
export interface Piece extends ByteRange {
  readonly chunk: number
}

/** Whether a share has every chunk of a range now. */
export const hasRange = (share: Share, { start, end }: ByteRange): boolean => {
  const { chunkBytes } = share.grid
  for (let c = Math.floor(start / chunkBytes); c * chunkBytes < end; c++) if (!share.has(c)) return false
  return true
}

/** A range cut at the borders of chunks, and into what fits a buffer. */
export function piecesOf({ start, end }: ByteRange, chunkBytes: number): Piece[] {
  const pieces: Piece[] = []
  for (let at = start; at < end; ) {
    const chunk = Math.floor(at / chunkBytes)
    const stop = Math.min(end, (chunk + 1) * chunkBytes, at + SEND_BYTES)
    pieces.push({ chunk, start: at, end: stop })
    at = stop
  }
  return pieces
}

/** Whether two ranges have the same start and end. */
export const same =
  (a: ByteRange) =>
  (b: ByteRange): boolean =>
    a.start === b.start && a.end === b.end
