/** What a source has asked for and not got: chunks with a slot, and the ranges in flight that fill them. Pure. */
import type { Grid } from '../grid.ts'
import type { ChunkRun } from '../scheduling/chunk-run.ts'
import type { ByteRange } from './parts.ts'

export type Run = ChunkRun<OpenChunk>

export interface OpenChunk extends ByteRange {
  readonly run: Run
  readonly chunk: number
  readonly slot: Uint8Array
  /** Offset in the file up to which it was asked for. */
  asked: number
  got: number
  /** Stretches that a refusal gave back. */
  readonly again: ByteRange[]
}

/** A part of a range that belongs to one chunk; without `owner` nobody wants it any more and it is thrown away. */
export interface Stretch extends ByteRange {
  owner: OpenChunk | undefined
}

/** A range that was asked for. */
export interface Pending extends ByteRange {
  readonly stretches: Stretch[]
  /** Offset of the next byte of it that comes. */
  at: number
  /** End of the packet that is coming now. */
  partEnd: number
  /** Pieces of its zlib stream so far. */
  zlib: Uint8Array[] | undefined
  zlibBytes: number
  zlibTotal: number | undefined
}

export function openChunk(grid: Grid, run: Run, chunk: number, slot: Uint8Array): OpenChunk {
  const start = chunk * grid.chunkBytes
  const end = Math.min(grid.size, start + grid.chunkBytes)
  return { run, chunk, start, end, slot: slot.subarray(0, end - start), asked: start, got: 0, again: [] }
}

export const newPending = (stretches: Stretch[]): Pending => {
  const start = stretches[0]!.start
  return { start, end: stretches.at(-1)!.end, stretches, at: start, partEnd: start, zlib: undefined, zlibBytes: 0, zlibTotal: undefined }
}

/** The stretch that an offset of a range lies in. */
export const stretchAt = (p: Pending, offset: number): Stretch | undefined => p.stretches.find(s => offset >= s.start && offset < s.end)

/** Where the bytes from `offset` on go, as far as its chunk reaches; a number when so many belong to nobody any more. */
export function targetOf(p: Pending, offset: number): Uint8Array | number {
  const s = stretchAt(p, offset)
  if (!s?.owner) return (s?.end ?? p.end) - offset
  return s.owner.slot.subarray(offset - s.owner.start, s.end - s.owner.start)
}
