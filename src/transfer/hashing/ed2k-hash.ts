/**
 * eDonkey's name of a file: MD4 of each part of 9,728,000 bytes (the hash set), and MD4 over those. A file shorter than a part has its own
 * MD4. For a file of exactly n parts eMule adds the MD4 of an empty part, the original eDonkey did not: both are accepted, the
 * first is published. (MD4 can be forged at will: these hashes find files, SHA-256 decides.)
 */
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { md4 } from './md4.ts'

export const PART_BYTES = 9_728_000
const HASH = 16
/** MD4 of nothing: RFC 1320 A.5. */
const EMPTY: Uint8Array = md4(new Uint8Array())

/** Parts that hold bytes; 1 for an empty file. */
export const dataParts = (size: number): number => Math.max(1, Math.ceil(size / PART_BYTES))

/** Hashes in eMule's hash set: one more than `dataParts` when the last part is full. 1 means that the file hash is the only one. */
export const hashSetCount = (size: number): number => Math.floor(size / PART_BYTES) + 1

/** The hash set as eMule has it, from the MD4 of every part that holds bytes. */
export const makeHashSet = (size: number, partHashes: Uint8Array): Uint8Array =>
  hashSetCount(size) > dataParts(size) ? concatBytes(partHashes, EMPTY) : partHashes

/** The file's hash from a hash set of either convention: of one hash it is that hash. */
export const fileHashOf = (hashSet: Uint8Array): Uint8Array => (hashSet.length === HASH ? hashSet : md4(hashSet))

/** The hash that the original eDonkey gives such a file; undefined when it is the same. @param hashSet eMule's */
export function oldFileHash(size: number, hashSet: Uint8Array): Uint8Array | undefined {
  const old = hashSet.subarray(0, dataParts(size) * HASH)
  return old.length === hashSet.length ? undefined : fileHashOf(old)
}

/** The hash set of whichever convention gives this file hash. @param hashSet eMule's, that of a file of this name */
export function hashSetFor(fileHash: Uint8Array, size: number, hashSet: Uint8Array): Uint8Array {
  return equalBytes(fileHashOf(hashSet), fileHash) ? hashSet : hashSet.subarray(0, dataParts(size) * HASH)
}

/**
 * Checks a hash set that somebody sent for a file hash and size from a link; either convention.
 * @returns eMule's hash set: `dataParts(size)` hashes that name bytes, perhaps followed by that of the empty part
 * @throws INVALID_PROOF when the count is wrong or the hashes do not give the file hash (threats ED3)
 */
export function checkHashSet(fileHash: Uint8Array, size: number, hashSet: Uint8Array): Uint8Array {
  const short = dataParts(size) * HASH
  if (hashSet.length === short || hashSet.length === hashSetCount(size) * HASH) {
    const full = makeHashSet(size, hashSet.subarray(0, short))
    const isSet = hashSet.length === short || equalBytes(full, hashSet)
    const old = oldFileHash(size, full)
    if (isSet && (equalBytes(fileHashOf(full), fileHash) || (old && equalBytes(old, fileHash)))) return full
  }
  throw new KithError('INVALID_PROOF', 'the list of part hashes does not belong to this file', { bytes: hashSet.length, size })
}
