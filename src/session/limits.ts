/** Every number that the other side of a session could otherwise choose. */

/** How far the date of a message may lie from our clock (threats SM10). */
export const CLOCK_WINDOW_MS = 300_000
/** From the first to the last message of a handshake (threats HS3). */
export const HANDSHAKE_TIMEOUT_MS = 10_000
/** Handshakes that others have begun and not finished, all together (a few KiB each), and from one link. */
export const MAX_HALF_OPEN = 256
export const MAX_HALF_OPEN_PER_LINK = 4
/** Handshakes that we have begun and not finished. */
export const MAX_PENDING = 256
/** Wrong answers within one handshake before it is given up: each costs a verification. */
export const MAX_BAD_ANSWERS = 3
/** Handshakes that one link may begin; a rekey is one an hour. */
export const HANDSHAKES_PER_MINUTE = 60
export const HANDSHAKE_BURST = 20
/** All links together: a hundred cost 4 % of a core (threats HS9). */
export const HANDSHAKES_PER_SECOND = 100
/** How many of these are for networks that took little of them: one in a second each, and so many at once. */
export const RESERVED_HANDSHAKES_PER_SECOND = 40
export const RESERVED_BURST_PER_NETWORK = 5
/** Links, and networks, whose rate of handshakes is remembered; the one that was quiet longest is forgotten. */
export const MAX_RATED_LINKS = 1024
/** Versions in an offer, and characters of one. */
export const MAX_VERSIONS = 8
export const MAX_VERSION_CHARS = 8
/** Bytes of a certificate in a handshake. */
export const MAX_CERTIFICATE_BYTES = 4096

/** Sessions of one peer; the one that was idle longest is closed for another (threats SM26). */
export const MAX_SESSIONS_PER_PEER = 16
/** Sessions of all peers. */
export const MAX_SESSIONS = 4096
/** A session asks for a new one after so long or so many messages, ... */
export const REKEY_AFTER_MS: number = 60 * 60 * 1000
export const REKEY_AFTER_MESSAGES: number = 2 ** 20
/** ... and ends this much later: what is under way may still arrive. */
export const SESSION_DRAIN_MS: number = 5 * 60 * 1000
/** Messages in one direction, at most: the nonce never comes near its end (threats SM25). */
export const MAX_SESSION_MESSAGES: number = 2 ** 21

/** How far ahead of the next expected number a message may be (threats SM24). */
export const MAX_SEQUENCE_GAP = 2000
/** Messages, and bytes of them, that wait for an earlier one. */
export const MAX_REORDERED_MESSAGES = 256
export const MAX_REORDERED_BYTES: number = 2 ** 20
/** Ranges in an acknowledgement; the oldest are forgotten: the sender tries them again. */
export const MAX_ACK_RANGES = 64
/** Messages whose tag is remembered, to tell a repeated message from a repeated nonce (threats SM28). */
export const REMEMBERED_TAGS = 256

/** Nonces of one sender that are remembered for messages outside a session (threats SM14). */
export const MAX_NONCES_PER_PEER = 4096
/** Senders whose nonces are remembered; more are told to come back later. */
export const MAX_NONCE_PEERS = 16_384

/** A new prekey is made so often, ... */
export const PREKEY_ROTATION_MS: number = 7 * 24 * 60 * 60 * 1000
/** ... and its secret half deleted so long after it was made. */
export const PREKEY_KEPT_MS: number = 14 * 24 * 60 * 60 * 1000
/** Prekeys on disk: more than two or three means that a clock went wild. */
export const MAX_PREKEYS = 16
/** A sealed message with everything around it. */
export const MAX_SEALED_BYTES: number = 2 ** 20
