/** eDonkey's digest of bytes in memory, and bytes that are worth compressing. */
import { concatBytes } from '../../src/base/bytes.ts'
import type { Ed2kDigest } from '../../src/transfer/digests.ts'
import { aichRoot, blockHashesOf, partTop } from '../../src/transfer/hashing/aich.ts'
import { fileHashOf, makeHashSet, PART_BYTES } from '../../src/transfer/hashing/ed2k-hash.ts'
import { md4 } from '../../src/transfer/hashing/md4.ts'
import { seededBytes } from '../kits/transfer-doubles.ts'

export function ed2kOf(content: Uint8Array): Ed2kDigest {
  const parts = Array.from({ length: Math.ceil(content.length / PART_BYTES) }, (_, i) =>
    content.subarray(i * PART_BYTES, (i + 1) * PART_BYTES)
  )
  const hashes = makeHashSet(content.length, concatBytes(...parts.map(p => md4(p))))
  const tops = concatBytes(...parts.map((p, i) => partTop(content.length, i, blockHashesOf(p))))
  return { hash: fileHashOf(hashes), parts: hashes, aich: aichRoot(content.length, tops), aichParts: tops }
}

/** `size` letters and digits. */
export const seededText = (size: number, seed: number): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(Buffer.from(seededBytes(size / 2, seed)).toString('hex'))
