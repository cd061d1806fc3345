/** Every number of this folder that a peer could otherwise choose (threats DH4, DH6, DH7, DH9). */

/** Size of a k-bucket, and nodes that get a provider record. */
export const K = 20
/** Queries in parallel on one path. */
export const ALPHA = 3
/** Paths of one lookup that share no node, so that one liar cannot steer all of it. */
export const DISJOINT_PATHS = 3
/** A lookup ends after this time, this many queries or this many providers. */
export const LOOKUP_TIMEOUT_MS = 30_000
export const MAX_LOOKUP_QUERIES = 128
export const MAX_PROVIDERS = 1000
/** A lookup without any DHT peer ends after this time. */
export const NO_PEERS_TIMEOUT_MS = 10_000
export const MAX_ADDRESSES_PER_PROVIDER = 25

/** Routing table: nodes at one public address, and in one network (IPv4 /24, IPv6 /48). */
export const MAX_TABLE_PER_IP = 1
export const MAX_TABLE_PER_NETWORK = 10

/** Own records are published again this often, and those of others are forgotten after VALIDITY without. */
export const REPUBLISH_MS: number = 60 * 60 * 1000
export const PROVIDER_VALIDITY_MS: number = 3 * REPUBLISH_MS
/** The same in the public DHT, where records hold for 48 hours. */
export const PUBLIC_REPUBLISH_MS: number = 22 * REPUBLISH_MS
/** How often old records are looked for. */
export const CLEANUP_MS: number = 15 * 60 * 1000
/** One publication; and the wait after a failed one, doubled each time up to the longest. */
export const PUBLISH_TIMEOUT_MS = 60_000
export const PUBLISH_RETRY_MS = 2_000
export const PUBLISH_RETRY_MAX_MS: number = 5 * 60_000
/** A first publication is looked up until somebody names us: attempts, the time of each, and the first wait, doubled each time. */
export const CONFIRM_ATTEMPTS = 5
export const CONFIRM_TIMEOUT_MS = 3_000
export const CONFIRM_WAIT_MS = 50
/** Publications at the same time. */
export const PUBLISH_PARALLEL = 4

/** Bootstrap: a round of dials, and the wait between rounds while nobody is connected and when only some are missing. */
export const BOOTSTRAP_DIAL_TIMEOUT_MS = 10_000
export const BOOTSTRAP_RETRY_MS = 1_000
export const BOOTSTRAP_RETRY_MAX_MS = 30_000
export const BOOTSTRAP_IDLE_RETRY_MS: number = 5 * 60_000
export const MAX_BOOTSTRAP = 64
/** Names that are asked for the addresses of one /dnsaddr. */
export const MAX_DNSADDR_LOOKUPS = 8

/** Unknown peers taken from LAN discovery at once, and then in an hour; and dials to them at the same time. */
export const MAX_LAN_PEERS = 256
export const MAX_LAN_DIALS = 8
export const LAN_DIAL_TIMEOUT_MS = 5_000
/** Answers that LAN discovery gives in a second, with a burst; each goes to the whole network. */
export const MDNS_REPLIES_PER_SECOND = 1
export const MDNS_REPLIES_BURST = 5
/** Answers of others that it reads in a second. */
export const MDNS_ANSWERS_PER_SECOND = 100

/** Peer records that are remembered: how many, and their bytes. The one unused for longest is forgotten. */
export const MAX_KNOWN_RECORDS = 4096
export const MAX_KNOWN_RECORD_BYTES: number = 8 * 1024 * 1024
/** How long a record that has expired still tells the prekey and the mailboxes of somebody who is away. */
export const STALE_RECORD_MS: number = 7 * 24 * 60 * 60 * 1000
/** Own records are signed anew this often. */
export const RENEW_RECORD_MS: number = 12 * 60 * 60 * 1000
/** Looking for one peer: the whole time, providers that are asked, neighbours that are asked, and the time of each. */
export const FIND_PEER_TIMEOUT_MS = 20_000
export const MAX_RECORD_PROVIDERS = 32
export const MAX_RECORD_NEIGHBOURS = 3
export const RECORD_TIMEOUT_MS = 5_000
/** Peers that are looked for at a time. */
export const MAX_PEER_FINDS = 64
/** Questions for records that are answered by asking others, in a second; and those that may be saved up. */
export const RECORD_QUESTIONS_PER_SECOND = 5
export const RECORD_QUESTIONS_BURST = 20
/** Peers that connect are asked for their record: in a second, with a burst, and at a time; and those that wait for it. */
export const RECORD_ASKS_PER_SECOND = 10
export const RECORD_ASKS_BURST = 64
export const MAX_RECORD_ASKS = 8
export const MAX_RECORD_GREETINGS = 256
/** Peers found for one capability. */
export const MAX_CAPABILITY_PEERS = 256
/** Addresses remembered beside records. */
export const MAX_RECORD_ADDRESSES = 4096
