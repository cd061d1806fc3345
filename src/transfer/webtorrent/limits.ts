/** Every number that a WebRTC peer, a WebSocket tracker or its clients could otherwise choose. Listed in docs/limits.md. */

/** Candidates read from a description, and lines of one (threats BT13). The size of a description is MAX_SDP_BYTES of `src/wire`. */
export const MAX_CANDIDATES = 32
export const MAX_SDP_LINES = 512
/** Candidates of one address that are tried: more ports would make us send more to a third party than the description is long. */
export const MAX_CANDIDATES_PER_ADDRESS = 4
/** Longest line that is looked at. */
export const MAX_SDP_LINE_CHARS = 1024
/** Offers answered in a second by this node, with a burst of as many (threats BT13). */
export const OFFERS_PER_SECOND = 10
/** The same for one caller: a PeerId over libp2p, or a tracker. */
export const OFFERS_PER_CALLER_PER_SECOND = 4
/** Callers whose rate is remembered; the one unseen for longest is forgotten. */
export const MAX_RATED_CALLERS = 1024
/** Connections in all, open or being made: each holds native buffers. */
export const MAX_RTC_CONNECTIONS = 200
/** Of them those that others began, and from one address: an IPv4 address or an IPv6 /64; a relay's address stands for all who use it. */
export const MAX_ANSWERED_CONNECTIONS = 140
export const MAX_ANSWERED_PER_ADDRESS = 16
/** Answered offers whose channel is not open yet, and of one caller. */
export const MAX_PENDING_ANSWERS = 32
export const MAX_PENDING_ANSWERS_PER_CALLER = 12
/** Servers for finding our address and for relaying. */
export const MAX_ICE_SERVERS = 8

/** How long own candidates are gathered: what a STUN or TURN server answers later is left out. */
export const GATHER_MS = 3_000
/** From the other side's description to an open channel. */
export const CONNECT_MS = 20_000
/** How long whoever answers waits for the other side to come by itself: over the internet, and where packets take microseconds. */
export const HOLD_MS = 250
export const HOLD_NEAR_MS = 2_000
/** How long an offer waits for an answer: other programs use the same. */
export const OFFER_MS = 50_000
/** How long the native library may take to let go of a connection before it is counted as gone. */
export const RTC_CLOSE_MS = 2_000

/** Longest message we take, and longest we send whatever the other side takes: larger ones bring no speed. */
export const MAX_CHANNEL_MESSAGE_BYTES: number = 256 * 1024
export const SEND_MESSAGE_BYTES: number = 64 * 1024
/** A description that takes no longer ones would have us cut every block to crumbs: it is refused. */
export const MIN_CHANNEL_MESSAGE_BYTES = 1024
/** What a description means that names no longest message (RFC 8841 §6.1). */
export const DEFAULT_CHANNEL_MESSAGE_BYTES: number = 64 * 1024
/** Bytes handed to the native library at once, and down to where it has to send before it gets more. */
export const CHANNEL_HIGH_BYTES: number = 1024 * 1024
export const CHANNEL_LOW_BYTES: number = 768 * 1024
/** Bytes that may have arrived without having been looked at: all we ask for at once, twice. More closes the connection. */
export const MAX_UNREAD_BYTES: number = 20 * 1024 * 1024
/** Buffers of the native library for one connection. */
export const SCTP_BUFFER_BYTES: number = 1024 * 1024

/** Longest message of a tracker to its client: one description, escaped, and its ids. */
export const MAX_TRACKER_MESSAGE_BYTES: number = 160 * 1024
/** Messages a second from one tracker, and at once: more ends the connection. Swarms of thousands send a few. */
export const MAX_TRACKER_MESSAGES_PER_SECOND = 50
export const TRACKER_MESSAGES_BURST = 500
/** Offers sent with one announcement, and made at once. */
export const MAX_OFFERS = 5
/** Time between announcements at one tracker, whatever it asks for. */
export const MIN_WS_ANNOUNCE_MS = 30_000
export const MAX_WS_ANNOUNCE_MS: number = 60 * 60 * 1000
/** A tracker that cannot be reached is tried again after so long; the pause doubles. */
export const WS_RETRY_MS = 10_000
export const MAX_WS_RETRY_MS: number = 60 * 60 * 1000
export const WS_HANDSHAKE_MS = 10_000
/** How long a tracker may take to close when we leave. */
export const WS_CLOSE_MS = 1_000
/** A socket over which nothing came for so long is asked for a sign of life, and closed when none comes. */
export const WS_SILENCE_MS = 60_000
/** Trackers of one torrent. */
export const MAX_WS_TRACKERS = 16
/** Connections that one download holds, and that are being made for it. */
export const MAX_RTC_SWARM = 30

/** The tracker we can be: longest message of a client, which may carry MAX_RELAYED_OFFERS descriptions of the usual few KiB. */
export const MAX_CLIENT_MESSAGE_BYTES: number = 128 * 1024
export const MAX_TRACKER_SOCKETS = 2_000
/** Sockets from one address: an IPv4 address or an IPv6 /64. Loopback is exempt. */
export const MAX_TRACKER_SOCKETS_PER_ADDRESS = 32
/** Messages of one address in a second, with a burst of ten seconds' worth; the socket of the one too many is closed. */
export const TRACKER_MESSAGES_PER_SECOND = 20
/** Addresses whose rate is remembered; the one unseen for longest is forgotten. */
export const MAX_TRACKER_ADDRESSES = 8_192
export const MAX_TRACKER_SWARMS = 20_000
export const MAX_TRACKER_SWARM_PEERS = 1_000
/** Torrents that one socket may announce. */
export const MAX_SOCKET_SWARMS = 256
/** Offers of one announcement that are passed on, each to one peer; the rest is dropped. */
export const MAX_RELAYED_OFFERS = 10
/** Torrents that the sockets of one address may announce together; loopback is not exempt. */
export const MAX_ADDRESS_SWARMS = 2_048
/** Offers passed to one socket, in all its swarms, that it may still answer; the oldest goes. */
export const MAX_OPEN_OFFERS = 256
/** A peer that does not read so much is dropped. */
export const MAX_TRACKER_QUEUE_BYTES: number = 1024 * 1024
/** What clients are told: the time between their announcements. A peer is forgotten after three of them. */
export const TRACKER_INTERVAL_SECONDS = 120
/** Info-hashes of one scrape. */
export const MAX_SCRAPE_HASHES = 64
