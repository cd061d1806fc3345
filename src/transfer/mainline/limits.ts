/** Every number that a node of BitTorrent's DHT could otherwise choose. Listed in docs/limits.md. */

/** Longest datagram that is looked at; the longest useful one holds an item of 1,000 bytes. */
export const MAX_DATAGRAM_BYTES = 4_096
/** Longest datagram that is sent: fits one packet on every path. */
export const MAX_SENT_BYTES = 1_400
/** Bytes of somebody else's transaction id that are sent back. */
export const MAX_TRANSACTION_BYTES = 32
/** Bytes of a token that we keep and send back. */
export const MAX_TOKEN_BYTES = 64
/** Nodes and peers read of one answer. */
export const MAX_NODES_PER_ANSWER = 16
export const MAX_VALUES_PER_ANSWER = 100
/** An answer to an address that has proved nothing is at most so many times as long as the question (threats BT8). */
export const MAX_AMPLIFICATION = 3
/** Datagrams answered a second for one address, and at once; the same for everybody together. Beyond it they are ignored. */
export const QUERIES_PER_SECOND = 20
export const QUERIES_BURST = 100
export const ALL_QUERIES_PER_SECOND = 500
export const ALL_QUERIES_BURST = 1_000
/** Signatures checked a second for one address, and at once. */
export const SIGNATURES_PER_SECOND = 1
export const SIGNATURES_BURST = 20
/** Addresses whose rates are remembered; the oldest go first. */
export const MAX_RATED_ADDRESSES = 2_000
/** Addresses that have answered us, and for how long that counts; the oldest go first. */
export const MAX_PROVEN_ADDRESSES = 2_000
export const PROVEN_MS: number = 15 * 60_000
/** Answers held back until their address has answered a ping. */
export const MAX_HELD_ANSWERS = 64
/** A token is good for at least this long and at most twice as long. */
export const TOKEN_MS: number = 5 * 60_000

/** Nodes of one bucket of the routing table, and those that are asked to keep something (BEP 5: 8). */
export const BUCKET_NODES = 8
/** Times that a node may fail to answer before it is dropped. */
export const MAX_FAILURES = 3
/** A node that was silent for so long is asked whether it is there before it is counted on. */
export const QUESTIONABLE_MS: number = 15 * 60_000
/** How often the table is looked over, and nodes asked then. */
export const CARE_MS = 60_000
export const MAX_CARE_PINGS = 16
/** New contacts of the table that are asked for a sign of life at once. */
export const MAX_PENDING_PINGS = 32
/** Nodes that must agree on our public address before our id is made from it (BEP 42), and voters that are remembered. */
export const ADDRESS_VOTES = 5
export const MAX_VOTERS = 64

/** Time for one answer. */
export const ANSWER_MS = 2_500
/** Our questions that wait for an answer, all together. */
export const MAX_TRANSACTIONS = 512
/** Questions of one look-up at once, and in all. */
export const LOOKUP_PARALLEL = 4
export const MAX_LOOKUP_QUERIES = 128
/** Candidates that a look-up remembers: the closest stay. */
export const MAX_LOOKUP_CANDIDATES = 100
/** Peers that one look-up brings. */
export const MAX_LOOKUP_PEERS = 1_000
/** Look-ups at once; further ones wait. */
export const MAX_LOOKUPS = 16

/** Torrents whose peers are kept for others; the one that was announced longest ago goes first. */
export const MAX_STORED_TORRENTS = 2_000
/** Peers kept of one torrent; the oldest go first. */
export const MAX_STORED_PEERS = 500
/** Announcements, and items, kept of one address (an IPv6 /64 counts as one). */
export const MAX_STORED_PER_ADDRESS = 200
/** How long an announcement is kept. */
export const STORED_PEER_MS: number = 30 * 60_000
/** Items of BEP 44 that are kept, and for how long; the oldest go first. */
export const MAX_STORED_ITEMS = 1_000
export const STORED_ITEM_MS: number = 2 * 60 * 60_000
/** Longest value and salt of an item (threats BT10). */
export const MAX_ITEM_BYTES = 1_000
export const MAX_SALT_BYTES = 64
/** Peers in one answer. */
export const MAX_ANSWERED_PEERS = 50

/** Our announcements are renewed after so long. */
export const ANNOUNCE_MS: number = 15 * 60_000
/** One that nobody kept is tried again after so long; the pause doubles. */
export const ANNOUNCE_RETRY_MS = 5_000
/** Hosts asked for the first nodes, and the pause before they are asked again while the table is empty; it doubles. */
export const MAX_BOOTSTRAP = 100
export const BOOTSTRAP_RETRY_MS = 5_000
export const MAX_BOOTSTRAP_RETRY_MS: number = 5 * 60_000
/** Nodes that are handed over at the end, for the next start. */
export const MAX_SAVED_NODES = 100

/** A search that goes on looks again after so long, doubled each time; in a network of many nodes, where a look-up costs more, later. */
export const SEARCH_MS = 500
export const WIDE_SEARCH_MS = 15_000
export const MAX_SEARCH_MS: number = 5 * 60_000
/** A node that has just come is given so long to settle before announcements and searches turn to it. */
export const SETTLE_MS = 250
