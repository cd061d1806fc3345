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

/** A message of spec 003 with its signature: what one gossip message may carry (threats BL6). */
export const MAX_CHAOS_MESSAGE_BYTES: number = 64 * 1024
/** An agent's id: a did:key, or a name. */
export const MAX_AGENT_ID_BYTES = 256
/** Names, titles, moods and other short texts in messages of agents. */
export const MAX_AGENT_NAME_BYTES = 256
/** Long texts in messages of agents: what is proposed, discussed, announced. */
export const MAX_AGENT_TEXT_BYTES: number = 16 * 1024
/** Members of an alliance, capabilities of an agent, tags of a meme, kinds of agents in a network state. */
export const MAX_ALLIANCE_MEMBERS = 256
export const MAX_AGENT_CAPABILITIES = 64
export const MAX_MEME_TAGS = 16
export const MAX_AGENT_KINDS = 256
/** A meme that travels inside the message; larger ones go as a link. */
export const MAX_MEME_BYTES: number = 48 * 1024
/** A block that is proposed: transactions, the bytes of one, and memes. */
export const MAX_BLOCK_TRANSACTIONS = 4096
export const MAX_TRANSACTION_BYTES: number = 16 * 1024
export const MAX_BLOCK_MEMES = 64
/** A peer record: its body, agents in it, names in one list, bytes of a name, of an agent's certificate and of a prekey, peers it names. */
export const MAX_RECORD_BYTES: number = 16 * 1024
export const MAX_RECORD_AGENTS = 16
export const MAX_RECORD_NAMES = 64
export const MAX_RECORD_NAME_BYTES = 64
export const MAX_AGENT_CERTIFICATE_BYTES = 512
export const MAX_PREKEY_BYTES = 512
export const MAX_RECORD_VIA = 4
/** How long a peer record may claim to hold. */
export const MAX_RECORD_AGE_MS: number = 24 * 60 * 60 * 1000
/** How far away a peer record may be asked for: peers that ask in turn. */
export const MAX_RECORD_DEPTH = 3
/** Peers that may carry a sealed envelope on (threats RT11). */
export const MAX_HOPS = 8
/** Content of a sealed envelope: a whole message and what sealing adds; and an envelope with head and hops. */
export const MAX_SEALED_BYTES: number = 1024 * 1024 + 4096
export const MAX_ENVELOPE_BYTES: number = 1024 * 1024 + 8192
/** How long an envelope may wait. */
export const MAX_ENVELOPE_AGE_MS: number = 7 * 24 * 60 * 60 * 1000
/** Characters of an error code inside an answer. */
export const MAX_WIRE_CODE_CHARS = 64
/** Envelopes that an owner collects, or says to have, in one request. */
export const MAX_COLLECTED = 256
/** Peers that an owner makes known to its mailbox, and bytes of what stands for one. */
export const MAX_KNOWN_TAGS = 4096
export const KNOWN_TAG_BYTES = 8
/** A group: operations a new one follows at once, bytes of its name, operations and keys in one update, bytes of an operation. */
export const MAX_GROUP_PARENTS = 32
export const MAX_GROUP_NAME_BYTES = 128
export const MAX_GROUP_OPS = 1024
export const MAX_GROUP_UPDATE_EPOCHS = 16
export const MAX_GROUP_OP_BYTES = 1400
/** The last sequence number of a session in one direction: 2^53 - 1 is refused, so that adding one is always exact (threats SM25). */
export const MAX_SEQUENCE_NUM: number = Number.MAX_SAFE_INTEGER - 1
/** Payload of a message that has no business being large: pings, states, errors, refusals. */
export const MAX_SMALL_PAYLOAD_BYTES: number = 16 * 1024
/** Texts for people in payloads: reasons, descriptions, what went wrong. */
export const MAX_PAYLOAD_TEXT_CHARS = 4096
/** Tasks that a status report may claim. */
export const MAX_STATUS_TASKS = 1_000_000
/** What a peer says about itself or another: addresses and their length, capabilities, skills and the length of a skill's name. */
export const MAX_PEER_ADDRESSES = 32
export const MAX_ADDRESS_CHARS = 512
export const MAX_PEER_CAPABILITIES = 256
export const MAX_PEER_SKILLS = 256
export const MAX_SKILL_NAME_CHARS = 64
/** Peers in one answer to a discovery. */
export const MAX_DISCOVERED_PEERS = 64
/** A payload that goes in parts, its parts, the bytes of one, and the ranges in one request to send parts again. */
export const MAX_CHUNKED_BYTES: number = 8 * 1024 * 1024
export const MAX_MESSAGE_CHUNKS = 1024
export const MAX_MESSAGE_CHUNK_BYTES: number = 256 * 1024
export const MAX_MISSING_RANGES = 256
/** Name that a sender before version 1.1 gives itself. */
export const MAX_LEGACY_ID_CHARS = 256
/** Content of a group's message. */
export const MAX_GROUP_MESSAGE_BYTES: number = 1024 * 1024
