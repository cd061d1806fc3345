/** How a file is cut into chunks, the unit that is fetched, verified, blamed and paid. Pure arithmetic. */
import { CHUNK_BYTES } from '../wire/limits.ts'

export interface Grid {
  /** Bytes of the file. */
  readonly size: number
  /** Bytes of every chunk but the last. Kith's own is 256 KiB; a foreign torrent brings its piece length. */
  readonly chunkBytes: number
  /** Number of chunks; 0 for an empty file. */
  readonly count: number
}

export const makeGrid = (size: number, chunkBytes: number = CHUNK_BYTES): Grid => ({
  size,
  chunkBytes,
  count: Math.ceil(size / chunkBytes)
})

/** Bytes of chunk `i`; the last one is shorter. */
export const chunkLength = (grid: Grid, i: number): number => Math.min(grid.chunkBytes, grid.size - i * grid.chunkBytes)

/** Byte offset of chunk `i` in the file. */
export const chunkOffset = (grid: Grid, i: number): number => i * grid.chunkBytes
