/** Every number a BitTorrent peer, tracker, torrent or magnet could otherwise choose. Listed in docs/limits.md. */

/** Deepest nesting of lists and dictionaries in bencoded data; libtorrent has the same (threats BT1). */
export const MAX_BENCODE_DEPTH = 100
/** Values in one bencoded document, keys included. */
export const MAX_BENCODE_TOKENS = 3_000_000
/** Largest bencoded document: a .torrent file or an info dictionary. */
export const MAX_BENCODE_BYTES: number = 10 * 1024 * 1024
/** Pieces of a torrent (threats BT3). */
export const MAX_PIECES: number = 2 ** 21
/** A piece is a chunk slot in memory, so the largest is far below what libtorrent takes (512 MiB). */
export const MAX_PIECE_BYTES: number = 64 * 1024 * 1024
/** No program makes smaller pieces; each costs a hash and a message. */
export const MIN_PIECE_BYTES = 1024
/** Files of a torrent. */
export const MAX_FILES = 100_000
/** Files of a torrent whose path, upper and lower case taken as one, another one has already. */
export const MAX_DUPLICATE_NAMES = 100
/** Folders above a file. */
export const MAX_PATH_PARTS = 100
/** UTF-8 bytes of one part of a path. */
export const MAX_PATH_PART_BYTES = 1024
/** Trackers kept of a torrent or magnet (threats BT11); the rest is ignored. */
export const MAX_TRACKERS = 32
/** Web seeds kept of a torrent or magnet; the rest is ignored. */
export const MAX_WEB_SEEDS = 32
/** Addresses of peers kept of a magnet; the rest is ignored. */
export const MAX_MAGNET_PEERS = 32
/** Longest URL of a tracker or web seed in characters. */
export const MAX_URL_CHARS = 2048
/** Longest magnet in characters: 10,000 trackers do not fit. */
export const MAX_MAGNET_CHARS: number = 64 * 1024
/** Parameters of a magnet that are looked at. */
export const MAX_MAGNET_PARAMS = 256

/** What we ask of other programs; more is a protocol error for many of them. */
export const BLOCK_BYTES: number = 16 * 1024
/** Longest block we serve, and ask of Kith peers (threats BT5). */
export const MAX_BLOCK_BYTES: number = 128 * 1024
/** Requests waiting on one connection; one more closes it (threats BT5). */
export const MAX_QUEUED_REQUESTS = 2_000
/** Longest extended message: a piece of metadata with its header, or an extended handshake. */
export const MAX_EXTENDED_BYTES: number = 64 * 1024
/** Longest message of an unknown kind that is skipped. */
export const MAX_UNKNOWN_BYTES: number = 16 * 1024
/** Extension messages named in an extended handshake. */
export const MAX_EXTENSIONS = 64
/** Longest text in an extension message. */
export const MAX_REASON_BYTES = 512
/** Cancels, haves and other small messages of one kind that cost nothing to send: this many a second on average, else closed. */
export const MAX_IDLE_MESSAGES_PER_SECOND = 5_000
export const IDLE_MESSAGES_BURST = 50_000

/** Bitfields on one connection: some programs send a fresh one now and then. */
export const MAX_BITFIELDS = 256

/** Hashes of one layer in a hash request (BEP 52), which says so itself; more is rejected. */
export const MAX_HASHES = 512
/** Layers of a file's hash tree; 2^47 bytes, more than a torrent may hold, need 33. */
export const MAX_TREE_HEIGHT = 48
/** Hash requests waiting on one connection; one more closes it. */
export const MAX_HASH_REQUESTS = 64
/** Bytes of files that are read a second, for all connections together, to answer requests for leaf hashes; what is beyond is rejected. */
export const LEAF_BYTES_PER_SECOND: number = 16 * 1024 * 1024
export const LEAF_BYTES_BURST: number = 64 * 1024 * 1024
/** Upper layers of hash trees kept in memory: of so many shares, those asked about last. */
export const MAX_HASH_TREES = 8
/** Hash requests in flight at one peer while piece layers are fetched. */
export const HASH_REQUESTS_AHEAD = 4
/** Folders and files of a v2 file tree: no deeper than a path may be long, no more than a torrent may have. */
export const MAX_TREE_NODES = 200_000

/** Bytes asked for ahead on one connection: the least, the first and the most. */
export const MIN_WINDOW_BYTES: number = 256 * 1024
export const FIRST_WINDOW_BYTES: number = 1024 * 1024
export const MAX_WINDOW_BYTES: number = 8 * 1024 * 1024
/** Requests in flight when the peer does not say how many it queues. */
export const DEFAULT_REQUEST_QUEUE = 250
/** Longest run that a source takes in one call, in bytes. */
export const MAX_RUN_BYTES: number = 32 * 1024 * 1024

/** Bytes read from disk and sent in one go. */
export const SEND_BYTES: number = 256 * 1024
/** Chunks of a connection that were charged but not yet wholly sent. */
export const MAX_OPEN_CHUNKS = 256

/** Connections of the listener in all, and from one address. */
export const MAX_CONNECTIONS = 200
export const MAX_CONNECTIONS_PER_ADDRESS = 8
/** From connecting to the end of the handshake. */
export const HANDSHAKE_MS = 10_000
/** A peer that sends nothing for so long is gone: the protocol's keep-alive is 120 s. */
export const SILENCE_MS = 130_000
/** Something is sent at least so often. */
export const KEEP_ALIVE_MS = 90_000
/** A peer that takes nothing of a full buffer for so long is gone. */
export const WRITE_STALL_MS = 30_000
/** How often connections are looked over for the three times above. */
export const CARE_MS = 5_000

/** Metadata exchange of BEP 9 (threats BT6). */
export const METADATA_PIECE_BYTES: number = 16 * 1024
/** Requests for metadata that one connection may make: a few times the largest info dictionary would need per minute. */
export const MAX_METADATA_REQUESTS = 4_096
/** Peers asked for metadata at the same time, and how long one may take. */
export const METADATA_PEERS = 8
export const METADATA_MS = 20_000
/** Pause before a peer that hung up is asked for metadata again; doubles each time, up to the second. */
export const METADATA_RETRY_MS = 500
export const MAX_METADATA_RETRY_MS = 4_000
/** Times one peer is asked for metadata: for most of a minute, since a program that looks through its files first takes nobody until then. */
export const METADATA_DIALS = 14
/** How long peers are asked for the trees of a hybrid whose metadata is here, before SHA-1 has to do. */
export const TREES_MS = 3_000

/** Tracker answers (threats BT12). */
export const MAX_TRACKER_BYTES: number = 1024 * 1024
export const MAX_TRACKER_PEERS = 200
export const MIN_ANNOUNCE_MS = 60_000
export const MAX_ANNOUNCE_MS: number = 2 * 60 * 60 * 1000
/** Time for one announcement over HTTP; over UDP it is three tries of a third each. */
export const TRACKER_MS = 15_000
export const UDP_TRIES = 3
/** A tracker that failed is asked again after so long; the pause doubles up to MAX_ANNOUNCE_MS. */
export const TRACKER_RETRY_MS = 60_000

/** Peers that a swarm remembers; connections that it dials and holds. */
export const MAX_SWARM_PEERS = 1_000
export const MAX_SWARM_CONNECTIONS = 50
/** Pause before a lost peer is dialled again; doubles each time. */
export const REDIAL_MS = 5_000
/** Dials of one peer without success before it is forgotten. */
export const MAX_DIALS = 5
/** Bytes that may wait to be sent on one connection; a peer that asks but does not read is closed. */
export const MAX_SEND_QUEUE_BYTES: number = 4 * 1024 * 1024
/** Bytes read from a socket at once. */
export const READ_BYTES: number = 256 * 1024
/** How long a source may take to introduce itself and unchoke us before it is handed over as it is. */
export const READY_MS = 2_000
/** A run that ends while the socket reads straight into its slot waits so long for the rest of that block, then closes the connection. */
export const LINGER_MS = 500

/** Encryption handshake: longest padding of each part, and of the payload that comes with it. */
export const MAX_MSE_PAD_BYTES = 512
export const MAX_MSE_PAYLOAD_BYTES = 4_096
/** Encryption handshakes a second that one address may begin, and at once: each costs two powers of a 768-bit number. */
export const MSE_PER_SECOND = 2
export const MSE_BURST = 20

/** Peer exchange (threats BT7): addresses in one message, and the pause between two on one connection. */
export const MAX_PEX_PEERS = 50
export const PEX_MS = 60_000

/** Local service discovery: longest datagram, and torrents in one. */
export const MAX_LSD_BYTES = 1_400
export const MAX_LSD_TORRENTS = 20
/** Peers heard of one torrent in that time that are answered by an announcement. */
export const MAX_LSD_HEARD = 64
/** All torrents are announced again after so long. */
export const LSD_MS: number = 5 * 60_000
/** Torrents that are added within so long go out in one datagram. */
export const LSD_BATCH_MS = 50
/** Datagrams sent and looked at a second, and at once. */
export const LSD_SENT_PER_SECOND: number = 1 / 30
export const LSD_SENT_BURST = 8
export const LSD_RECEIVED_PER_SECOND = 10
export const LSD_RECEIVED_BURST = 50
/** Web seeds (BEP 19) that one download uses at once. */
export const MAX_WEB_SEED_SOURCES = 8
/** A web seed that failed is tried again after so long; the pause doubles. */
export const WEB_SEED_RETRY_MS = 5_000
export const MAX_WEB_SEED_TRIES = 5
/** Files of a torrent that are open at one web seed. */
export const MAX_WEB_SEED_FILES = 8
