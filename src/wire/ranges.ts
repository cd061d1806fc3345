/**
 * Sets of chunk numbers as sorted, disjoint, non-adjacent ranges: one spelling per set.
 *
 * | bytes | field | notes                                   |
 * | ----: | ----- | --------------------------------------- |
 * |     2 | n     | ≤ MAX_RANGES                            |
 * |  8 × n | range | first u32, count u32 ≥ 1, within 2^22  |
 *
 * Spec: docs/wire/transfer.md §2
 */
import type { Codec } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_CHUNKS, MAX_RANGES } from './limits.ts'

export interface Range {
  readonly first: number
  readonly count: number
}

export const rangesCodec: Codec<readonly Range[]> = {
  write(w, ranges) {
    if (ranges.length > MAX_RANGES) throw new KithError('WIRE_RANGE', 'too many ranges', { count: ranges.length })
    w.u16(ranges.length)
    for (const { first, count } of ranges) {
      w.u32(first)
      w.u32(count)
    }
  },
  read(r) {
    const n = r.u16()
    if (n > MAX_RANGES) throw new KithError('WIRE_RANGE', 'too many ranges', { count: n })
    const ranges: Range[] = []
    let end = -1
    for (let i = 0; i < n; i++) {
      const first = r.u32()
      const count = r.u32()
      if (count === 0 || first <= end || first + count > MAX_CHUNKS)
        throw new KithError('WIRE_RANGE', 'ranges out of order', { first, count })
      end = first + count
      ranges.push({ first, count })
    }
    return ranges
  }
}

/** Chunk numbers in any order to ranges. */
export function toRanges(chunks: Iterable<number>): Range[] {
  const ranges: { first: number; count: number }[] = []
  for (const c of [...chunks].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last && c < last.first + last.count) continue
    if (last && c === last.first + last.count) last.count++
    else ranges.push({ first: c, count: 1 })
  }
  return ranges
}

/** Whether a sorted set of ranges holds a chunk, in O(log n). */
export function inRanges(ranges: readonly Range[], chunk: number): boolean {
  let low = 0
  let high = ranges.length - 1
  while (low <= high) {
    const mid = (low + high) >> 1
    const { first, count } = ranges[mid]!
    if (chunk < first) high = mid - 1
    else if (chunk >= first + count) low = mid + 1
    else return true
  }
  return false
}

/** Number of chunks in a set of ranges. */
export const countRanges = (ranges: readonly Range[]): number => ranges.reduce((n, r) => n + r.count, 0)

/** Every chunk number of a set of ranges. */
export function* eachChunk(ranges: readonly Range[]): Generator<number> {
  for (const { first, count } of ranges) for (let i = 0; i < count; i++) yield first + i
}
