/**
 * Recovery data for others: which hashes the blocks of a part must have. Made from the part as it is on disk, and given only if that gives
 * the top that was stored when the file was hashed. Reading a part is dear, so the last answers are kept and new ones are rationed.
 */
import { bytesToHex, concatBytes, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { AICH_BLOCK_BYTES, type AichEntry, blockHashesOf, makeRecovery, partLength, partTop } from '../hashing/aich.ts'
import { dataParts, PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Share } from '../protocol.ts'
import { MAX_KEPT_RECOVERIES, RECOVERIES_BURST, RECOVERIES_PER_SECOND } from './limits.ts'
import type { RecoveryRequest } from './recovery.ts'
import { hasWholePart } from './share-status.ts'

export class RecoveryDesk {
  readonly #fresh: TokenBucket
  /** The oldest first. */
  readonly #kept = new Map<string, readonly AichEntry[]>()

  constructor(clock: Clock) {
    this.#fresh = new TokenBucket(clock, RECOVERIES_PER_SECOND, RECOVERIES_BURST)
  }

  /**
   * @returns undefined when the root is another one, the part is not (wholly) here, or has a single block, for which this is of no use; when the
   *   bytes on disk are wrong, or too many were made lately
   * @throws FILE_CHANGED
   */
  async entriesOf(share: Share, { hash, part, root }: RecoveryRequest, signal: AbortSignal): Promise<readonly AichEntry[] | undefined> {
    const { size } = share.grid
    const { aich, aichParts } = share.ed2k ?? {}
    if (!aich || !aichParts || !equalBytes(aich, root) || part >= dataParts(size) || aichParts.length !== 20 * dataParts(size))
      return undefined
    if (partLength(size, part) <= AICH_BLOCK_BYTES || !hasWholePart(share, part)) return undefined
    const key = `${bytesToHex(hash)}/${part}`
    const kept = this.#kept.get(key)
    if (kept) return kept
    if (!this.#fresh.tryTake()) return undefined
    const blocks = await readBlockHashes(share, part, signal)
    if (!equalBytes(partTop(size, part, blocks), aichParts.subarray(20 * part, 20 * part + 20))) return undefined
    const entries = makeRecovery(size, part, blocks, aichParts)
    this.#kept.set(key, entries)
    if (this.#kept.size > MAX_KEPT_RECOVERIES) this.#kept.delete(this.#kept.keys().next().value!)
    return entries
  }
}

/** Block by block: others are served in between. */
async function readBlockHashes(share: Share, part: number, signal: AbortSignal): Promise<Uint8Array> {
  const buffer = new Uint8Array(AICH_BLOCK_BYTES)
  const length = partLength(share.grid.size, part)
  const hashes: Uint8Array[] = []
  for (let at = 0; at < length; at += AICH_BLOCK_BYTES) {
    const block = buffer.subarray(0, Math.min(AICH_BLOCK_BYTES, length - at))
    await share.read(part * PART_BYTES + at, block.length, block)
    signal.throwIfAborted()
    hashes.push(blockHashesOf(block))
  }
  return concatBytes(...hashes)
}
