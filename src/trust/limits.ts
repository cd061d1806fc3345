/** Every number of this folder that a peer could otherwise choose (threats §B: scores and bans). */

/** A score lies between these. */
export const MAX_SCORE = 100
export const MIN_SCORE: number = -100
/** Links to a peer at or below the first are closed; at or below the second it is banned: nothing from it is read. */
export const DISCONNECT_SCORE: number = -20
export const BAN_SCORE: number = -50
/** A score goes half of its way back to 0 in this time. */
export const SCORE_HALF_LIFE_MS: number = 10 * 60_000
/** A ban stays as it is for this long before its score begins to heal. */
export const BAN_HOLD_MS: number = 30 * 60_000
/** Identities, and as many addresses, whose score is remembered; the one nearest to 0 is forgotten first. */
export const MAX_SCORES = 1000
/** Observations and scores are on disk at the latest this long after they were made. */
export const FLUSH_MS = 1000
/** Peers that the user never marked (no name, not verified, no grant); the one not seen for longest is forgotten. */
export const MAX_UNMARKED_PEERS = 10_000
/** Addresses of one peer, newest first, and characters of one. */
export const MAX_PEER_ADDRESSES = 8
export const MAX_PEER_ADDRESS_CHARS = 512
/** PeerIds of one entity. */
export const MAX_PEER_IDS = 8
/** Capabilities that a peer tells, and characters of one. */
export const MAX_PEER_CAPABILITIES = 64
export const MAX_CAPABILITY_CHARS = 128
/** Bytes of a peer's status report that are kept. */
export const MAX_PEER_STATUS_BYTES = 4096
/** Characters of a name that the user gives, and of an id. */
export const MAX_ALIAS_CHARS = 64
export const MAX_ENTITY_ID_CHARS = 128
/** Grants in all. */
export const MAX_GRANTS = 10_000
/** Characters of what a grant is for, and bytes of its limits. */
export const MAX_GRANT_WHAT_CHARS = 160
export const MAX_GRANT_LIMITS_BYTES = 2048
