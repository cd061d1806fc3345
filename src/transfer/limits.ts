/** Numbers of this folder that a peer could otherwise choose, or that bound our own memory. Listed in docs/limits.md. */

/** Memory for chunk slots of one download. */
export const SLOT_POOL_BYTES: number = 24 * 1024 * 1024
/** A source that sends nothing for so long loses its run (threats CH8). */
export const STALL_MS = 15_000
/** Once every chunk is assigned, an idle source may race one that has been silent for so long. */
export const RACE_AFTER_MS = 1_000
/** Bad chunks after which a source is dropped for this file. */
export const MAX_BAD_CHUNKS = 3
/** Failures in a row after which a source is given up. */
export const MAX_SOURCE_FAILURES = 5
/** Sources that one download uses at once. */
export const MAX_SOURCES = 200
/** Sources that were dropped without having brought a chunk, and are still shown; the oldest is forgotten. */
export const MAX_IDLE_SOURCES_KEPT = 64
/** How often a second a source that says it has more is looked through for work at once, and how many times in a row; else within half a second. */
export const MAX_CHANGES_PER_SECOND = 2
export const MAX_CHANGES_BURST = 10
/** Bytes that one run aims at: about so long at the measured rate. */
export const RUN_MS = 500
/** Data is made durable (fdatasync) after so many new bytes: what a power cut costs at most. */
export const CHECKPOINT_BYTES: number = 64 * 1024 * 1024
/** Space that must stay free beyond the file: 5 %. */
export const SPARE_SPACE = 1.05
/** Providers asked for an offer, per download. */
export const MAX_PROVIDERS = 1_000
/** Offers asked for at the same time, and how long one may take: a thousand silent providers cost at most two and a half minutes. */
export const PARALLEL_OFFERS = 32
export const OFFER_TIMEOUT_MS = 5_000
/** Roots that a bare file id is tried with: a false one is found out when the whole file is checked. */
export const MAX_ROOTS = 5
/** After the first, a settlement with a seeder must cover so many bytes, and twice as many each further time, or the seeder is left: it would burn gas. */
export const MIN_SETTLE_BYTES: number = 512 * 1024
/** What that doubling ends at. */
export const MAX_SETTLE_STEP_BYTES: number = 16 * 1024 * 1024
/** First settlements of a download that may cover less: any number of seeders could ask for one. */
export const MAX_SMALL_SETTLEMENTS = 8
/** How long a seeder that was paid may go on asking: it sees the chain later than we do. */
export const SETTLE_GRACE_MS = 5_000
/** How long a download waits for a first source before it fails. */
export const FIRST_SOURCE_MS = 30_000
/** How long a download without any usable source keeps looking before it fails. */
export const NO_SOURCE_MS = 60_000
/** The same when there are seeders, but all were left over money: time for a free one to be found. */
export const REFUSED_MS = 5_000
/** Pause before a payment that a seeder waits for is tried again. */
export const RETRY_PAYMENT_MS = 2_000
/** Pause before a source that asked for patience, or was lost, is tried again (doubles each time). */
export const RETRY_MS = 1_000
/** How long an offer of ours holds. */
export const OFFER_LIFETIME_MS: number = 30 * 60 * 1000
/** Tickets that one peer may hold; the oldest end first, as with the next two. */
export const MAX_TICKETS_PER_PEER = 16
/** Tickets of all peers at one address (an IPv6 /64 counts as one): new names cost nothing and must not push out the tickets of others. */
export const MAX_TICKETS_PER_ADDRESS = 256
/** Tickets in all. */
export const MAX_TICKETS = 10_000
/** How old the list of chunks in an offer for a running download may be: making it anew for each question would let anybody keep us busy. */
export const HAVE_AGE_MS = 1_000
/** Shares that one node seeds. */
export const MAX_SHARES = 100_000
/** Largest .torrent file read. */
export const MAX_TORRENT_BYTES: number = 10 * 1024 * 1024
/** Longest journal line of a part file. */
export const MAX_JOURNAL_LINE: number = 512 * 1024
/** Downloads that run at once; more wait in the queue of the caller. */
export const MAX_DOWNLOADS = 64
