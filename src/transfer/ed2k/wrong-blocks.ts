/** Which blocks of a bad part are wrong, from recovery data that is checked against the root in the link: only those are fetched again. */
import { AICH_BLOCK_BYTES, blockHashesOf, checkRecovery, partLength } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { ByteRange } from './parts.ts'
import type { RecoveryAnswer } from './recovery.ts'

export interface BadPart {
  /** AICH root of the link: 20 bytes. */
  readonly root: Uint8Array
  readonly size: number
  readonly part: number
  /** What the part has instead of its bytes; exactly as long. */
  readonly bytes: Uint8Array
}

/** @returns ranges of the file to fetch again; undefined when the answer does not prove itself, or is no answer */
export function wrongBlocks({ root, size, part, bytes }: BadPart, answer: RecoveryAnswer): ByteRange[] | undefined {
  if (answer.data?.part !== part || bytes.length !== partLength(size, part)) return undefined
  const right = checkRecovery(root, size, part, answer.data.nodes)
  if (!right) return undefined
  const have = blockHashesOf(bytes)
  const wrong: ByteRange[] = []
  for (let i = 0; i * 20 < right.length; i++) {
    const same = right.subarray(20 * i, 20 * i + 20).every((b, k) => b === have[20 * i + k])
    const start = i * AICH_BLOCK_BYTES
    if (!same) wrong.push({ start: part * PART_BYTES + start, end: part * PART_BYTES + Math.min(start + AICH_BLOCK_BYTES, bytes.length) })
  }
  return wrong
}
