/** Every number a peer could otherwise choose, for the layouts in this folder. The full list is docs/limits.md. */

/** Chunk size of Kith's own addressing (DESIGN §6). */
export const CHUNK_BYTES: number = 256 * 1024
/** At most 2²² chunks: 1 TiB. */
export const MAX_CHUNKS: number = 2 ** 22
/** Chunk hashes in one page of the hash list. */
export const HASHES_PER_PAGE = 8192
/** Longest display name of a file in bytes of UTF-8. */
export const MAX_NAME_BYTES = 1024
export const MAX_MIME_BYTES = 128
/** Longest libp2p PeerId in bytes (identity multihash of an Ed25519 key is 38). */
export const MAX_PEER_ID_BYTES = 64
/** Chunk ranges in an offer or a receipt part. */
export const MAX_RANGES = 4096
/** Protocols in an offer. */
export const MAX_OFFER_PROTOCOLS = 8
export const MAX_PROTOCOL_NAME_BYTES = 32
/** Protocol-specific bytes in an offer entry, for example the BitTorrent info-hash. */
export const MAX_PROTOCOL_EXTRA_BYTES = 256
/** Digits of an amount in wei: 2^256 has 78. */
export const MAX_WEI_DIGITS = 78
/** A signed body; the largest is an offer or receipt with all ranges. */
export const MAX_SIGNED_BYTES: number = 256 * 1024
/** How long an offer may claim to hold. */
export const MAX_OFFER_AGE_MS: number = 24 * 60 * 60 * 1000
/** How far in the future a date in signed data may lie: clocks differ. */
export const MAX_CLOCK_SKEW_MS: number = 5 * 60 * 1000
/** Longest `kith:` link in characters. */
export const MAX_LINK_CHARS = 4096
/** Addresses in a link. */
export const MAX_LINK_VIA = 8
/** Merkle audit path: log2(2^22) levels. */
export const MAX_PROOF_HASHES = 22
/** A ticket is good for so long; the downloader renews it. */
export const TICKET_LIFETIME_MS: number = 60 * 60 * 1000
/** Plaintext in a segment of an encrypted file: one cipher call per segment, large enough that calls cost nothing. */
export const ENCRYPTED_SEGMENT_BYTES: number = 256 * 1024
/** PBKDF2 iterations that a head may ask for (threats CH15). */
export const MIN_KDF_ITERATIONS = 600_000
export const MAX_KDF_ITERATIONS = 10_000_000
/** A whole SecureMessage in any encoding, and any other JSON text that is read at once (threats SM5). */
export const MAX_MESSAGE_FRAME_BYTES: number = 1024 * 1024
/** Arrays and objects inside each other (threats SM4). */
export const MAX_JSON_DEPTH = 64
/** Characters of a number: the longest in RFC 8785's spelling is -2.2250738585072014e-308. */
export const MAX_JSON_NUMBER_CHARS = 25
