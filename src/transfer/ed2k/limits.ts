/** Every number an eDonkey peer or link could otherwise choose. Listed in docs/limits.md. */
import { AICH_BLOCK_BYTES } from '../aich.ts'
import { PART_BYTES } from '../ed2k-hash.ts'

/** Largest packet, opcode and payload together: aMule has the same (threats ED1). */
export const MAX_PACKET_BYTES = 2_000_000
/** What a packed packet may inflate to; more is refused, not cut (threats ED1). */
export const MAX_INFLATED_BYTES = 250_000
/** Tags in one list (threats ED2). */
export const MAX_TAGS = 255
/** Longest name of a tag. */
export const MAX_TAG_NAME_BYTES = 255
/** Longest blob in a tag. */
export const MAX_TAG_BLOB_BYTES: number = 64 * 1024

/** Nickname, file name, comment and reason in packets, in bytes; longer ones are refused. */
export const MAX_TEXT_BYTES = 4096
/** Longest packet kept in memory before the hello of a peer, and after it for kinds that need no more. Longer ones of unknown kinds are skipped. */
export const MAX_HELLO_BYTES: number = 16 * 1024
export const MAX_CONTROL_BYTES: number = 64 * 1024
/** Ranges in one request. */
export const RANGES_PER_REQUEST = 3
/** Longest range that may be asked for: three blocks (threats ED5). */
export const MAX_RANGE_BYTES: number = 3 * AICH_BLOCK_BYTES
/** Parts of a file: the field in packets has 16 bits. */
export const MAX_PARTS = 65_535
/** Largest file: what so many parts hold. */
export const MAX_FILE_BYTES: number = (MAX_PARTS - 1) * PART_BYTES
/** Sources in one answer of source exchange. */
export const MAX_EXCHANGED_SOURCES = 500
/** Bytes by which a compressed range may be longer than what it inflates to (threats ED4). */
export const COMPRESSION_SLACK_BYTES = 1024

/** Longest ed2k link in characters (threats ED7). */
export const MAX_ED2K_LINK_CHARS: number = 256 * 1024
/** Sources kept of a link; the rest is ignored. */
export const MAX_LINK_SOURCES = 64
/** UTF-8 bytes of the name in a link. */
export const MAX_LINK_NAME_BYTES = 1024
