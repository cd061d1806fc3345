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
/** The same for a source that never brought a byte: its seeder has other protocols, and others are there. */
export const MAX_SILENT_FAILURES = 2
/** Sources that one download uses at once. */
export const MAX_SOURCES = 200
/** Sources that were dropped without having brought a chunk, and are still shown; the oldest is forgotten. */
export const MAX_IDLE_SOURCES_KEPT = 64
/** How often a second a source that says it has more is looked through for work at once, and how many times in a row; else within half a second. */
export const MAX_CHANGES_PER_SECOND = 2
export const MAX_CHANGES_BURST = 10
/** Bytes that one run aims at: about so long at the measured rate. */
export const RUN_MS = 500
/** Chunks among which the rarest come first, from the first that nobody brought: 256 MiB, so the page cache still holds them for the whole-file hash. */
export const RARITY_WINDOW = 1024
/** How long a count of who has what holds. */
export const RARITY_EVERY_MS = 2_000
/** Questions "have you this chunk?" that all sources together are asked between two looks at the clock (half a second): 3 % of a core. */
export const LOOKS_PER_TICK = 500_000
/** Chunks that a sequential download fetches beyond the first that is missing: 8 MiB. */
export const SEQUENTIAL_WINDOW = 32
/** Longest run of a sequential download, in chunks: several sources share the window. */
export const SEQUENTIAL_RUN = 4
/** Under a download limit no more runs are under way than get so much each: a server would give up on a reader that is slower. */
export const MIN_LANE_BYTES_PER_SECOND: number = 64 * 1024
/** A source is slow when it was in use for so long and then brings less than this share of the best, or than so many bytes a second. */
export const SLOW_AFTER_MS = 10_000
export const SLOW_SHARE: number = 1 / 8
export const SLOW_BYTES_PER_SECOND: number = 32 * 1024
/** How long what a retired source has under way is waited for. */
export const RETIRE_MS = 15_000
/** How often one seeder is tried over another protocol because it was slow. */
export const MAX_SWITCHES = 3
/** Seeders with which a protocol must have failed, having worked with none, before it is tried last. */
export const FAILING_SEEDERS = 2
/** Swarms of other programs that one download joins per protocol: a false offer may name any. */
export const MAX_OTHER_SWARMS = 3
/** Longest list of hashes by which an offer names one: three info-hashes (hybrid, v2, plain). Each is a swarm that is joined on a stranger's word. */
export const MAX_OTHER_HASHES_BYTES = 60
/** Data is made durable (fdatasync) after so many new bytes. */
export const CHECKPOINT_BYTES: number = 32 * 1024 * 1024
/** Where the disk is slower than the sources, they wait while so much is not durable: what a power cut costs at most. */
export const MAX_AT_RISK_BYTES: number = 64 * 1024 * 1024
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
/** Sources that have brought nothing for so long are shown as waiting. */
export const SILENT_MS = 5_000
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
/** Torrents of others that one node seeds on. */
export const MAX_KEPT_TORRENTS = 10_000
/** Largest .torrent file read. */
export const MAX_TORRENT_BYTES: number = 10 * 1024 * 1024
/** Longest journal line of a part file. */
export const MAX_JOURNAL_LINE: number = 512 * 1024
/** Downloads that run at once; more wait in the queue of the caller. */
export const MAX_DOWNLOADS = 64
/** A file above this, with more BitTorrent seeders than the next number, is fetched over BitTorrent first (spec 004). */
export const LARGE_FILE_BYTES: number = 100 * 1024 * 1024
export const MANY_SEEDERS = 5
/** How long `kith info` looks for seeders when it finds none. */
export const INFO_WAIT_MS = 10_000
/** Entries (a range of chunks, or a seeder that has all) that one answer of `kith info` lists; seeders beyond them are only counted. */
export const MAX_INFO_RANGES = 65_536

/** Characters of any address that a user gives: ed2k links may hold the hash of every part. Each kind has its own, smaller limit. */
export const MAX_ADDRESS_CHARS: number = 256 * 1024
