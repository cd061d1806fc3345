/**
 * Content ids: CIDv1, codec raw (0x55), multihash sha2-256. Text is multibase base32 ("b" + lower-case base32), as IPFS tools print it.
 *
 * | bytes | field  | notes      |
 * | ----: | ------ | ---------- |
 * |     4 | prefix | 01 55 12 20 |
 * |    32 | digest | SHA-256    |
 */
import { base32ToBytes, bytesToBase32, concatBytes, equalBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'

const PREFIX = Uint8Array.of(0x01, 0x55, 0x12, 0x20)

/** CID bytes of a SHA-256 digest. */
export const cidBytes = (fileId: Uint8Array): Uint8Array<ArrayBuffer> => concatBytes(PREFIX, fileId)

/** CID text of a SHA-256 digest. */
export const formatCid = (fileId: Uint8Array): string => `b${bytesToBase32(cidBytes(fileId))}`

/** The SHA-256 digest inside a CIDv1 raw sha2-256 text. @throws BAD_LINK for any other kind of CID */
export function parseCid(text: string): Uint8Array<ArrayBuffer> {
  if (/^b[a-z2-7]{58}$/.test(text)) {
    try {
      const bytes = base32ToBytes(text.slice(1))
      if (equalBytes(bytes.subarray(0, 4), PREFIX)) return bytes.slice(4)
    } catch (cause) {
      throw new KithError('BAD_LINK', 'the CID is damaged', {}, { cause })
    }
  }
  throw new KithError(
    'BAD_LINK',
    'not a CIDv1 (raw, sha2-256)',
    {},
    { hint: 'Kith fetches single raw files: a CID that begins with bafkrei' }
  )
}
