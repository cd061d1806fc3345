/** Which blocks of a bad part are wrong, from recovery data that is checked against the AICH root: only those are fetched again. */
import { AICH_BLOCK_BYTES, blockHashesOf, checkRecovery } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { ByteRange } from './parts.ts'
import type { RecoveryAnswer } from './recovery.ts'

/**
 * @param root 20 bytes
 * @returns SHA-1 of every block of the part, 20 bytes each; undefined when the answer is a refusal, or does not prove itself
 */
export function rightBlocks(root: Uint8Array, size: number, part: number, { data }: RecoveryAnswer): Uint8Array | undefined {
  return data?.part === part ? checkRecovery(root, size, part, data.nodes) : undefined
}

/** @param bytes the whole part as it came @param right as `rightBlocks` gave it @returns ranges of the file, one for each wrong block */
export function blocksThatDiffer(part: number, bytes: Uint8Array, right: Uint8Array): ByteRange[] {
  const have = blockHashesOf(bytes)
  const wrong: ByteRange[] = []
  for (let i = 0; i * 20 < right.length; i++) {
    const same = right.subarray(20 * i, 20 * i + 20).every((b, k) => b === have[20 * i + k])
    const start = i * AICH_BLOCK_BYTES
    if (!same) wrong.push({ start: part * PART_BYTES + start, end: part * PART_BYTES + Math.min(start + AICH_BLOCK_BYTES, bytes.length) })
  }
  return wrong
}
