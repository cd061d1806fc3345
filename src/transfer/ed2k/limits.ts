/** Every number an eDonkey peer or link could otherwise choose. Listed in docs/limits.md. */

/** A part, the unit of eDonkey's hashes. */
export const PART_BYTES = 9_728_000
/** A block, the unit in which aMule asks and of AICH's tree. */
export const BLOCK_BYTES = 184_320
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
