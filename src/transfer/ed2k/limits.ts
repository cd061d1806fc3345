/** Every number an eDonkey peer or link could otherwise choose. Listed in docs/limits.md. */
import { AICH_BLOCK_BYTES } from '../hashing/aich.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'

/** Largest packet, opcode and payload together: aMule has the same (threats ED1). */
export const MAX_PACKET_BYTES = 2_000_000
/** What a packed packet may inflate to; more is refused, not cut (threats ED1). */
export const MAX_INFLATED_BYTES = 250_000
/** Tags in one list (threats ED2). */
export const MAX_TAGS = 255
/** Longest name of a tag. */
export const MAX_TAG_NAME_BYTES = 255
/** Longest blob in a tag. */
export const MAX_TAG_BLOB_BYTES: number = 64 * 1024

/** Nickname, file name, comment and reason in packets, in bytes; longer ones are refused. */
export const MAX_TEXT_BYTES = 4096
/** Longest packet kept in memory before the hello of a peer, and after it for kinds that need no more. Longer ones of unknown kinds are skipped. */
export const MAX_HELLO_BYTES: number = 16 * 1024
export const MAX_CONTROL_BYTES: number = 64 * 1024
/** Ranges in one request. */
export const RANGES_PER_REQUEST = 3
/** Longest range that may be asked for: three blocks (threats ED5). */
export const MAX_RANGE_BYTES: number = 3 * AICH_BLOCK_BYTES
/** Parts of a file: the field in packets has 16 bits. */
export const MAX_PARTS = 65_535
/** Largest file: what so many parts hold. */
export const MAX_FILE_BYTES: number = (MAX_PARTS - 1) * PART_BYTES
/** Sources in one answer of source exchange. */
export const MAX_EXCHANGED_SOURCES = 500
/** Bytes by which a compressed range may be longer than what it inflates to (threats ED4). */
export const COMPRESSION_SLACK_BYTES = 1024

/** Longest ed2k link in characters (threats ED7). */
export const MAX_ED2K_LINK_CHARS: number = 256 * 1024
/** Sources kept of a link; the rest is ignored. */
export const MAX_LINK_SOURCES = 64
/** UTF-8 bytes of the name in a link. */
export const MAX_LINK_NAME_BYTES = 1024

/** From connecting to the hello of the other side. */
export const HANDSHAKE_MS = 10_000
/** A peer that sends nothing for so long is gone; aMule gives up after 40 s. */
export const SILENCE_MS = 100_000
/** Kith peers say something at least so often. */
export const KEEP_ALIVE_MS = 30_000
/** A peer that takes nothing of a full buffer for so long is gone. */
export const WRITE_STALL_MS = 30_000
/** How often connections and slots are looked over for the times above and below. */
export const CARE_MS = 5_000
/** Bytes that may wait to be sent on one connection; a peer that asks but does not read is closed. */
export const MAX_SEND_QUEUE_BYTES: number = 4 * 1024 * 1024
/** Bytes read from a socket at once. */
export const READ_BYTES: number = 256 * 1024
/** Packets that cost nothing to send: this many a second on average, else closed. */
export const MAX_IDLE_PACKETS_PER_SECOND = 200
export const IDLE_PACKETS_BURST = 2_000
/** One that holds more, also only after it was inflated, counts once more for each so many bytes: what is sent is little, what it costs is not. */
export const IDLE_PACKET_BYTES = 1_024

/** Clients served at the same time, and of those from one address. */
export const UPLOAD_SLOTS = 64
export const SLOTS_PER_ADDRESS = 3
/** Clients that wait for a slot, and of those from one address. */
export const MAX_WAITING = 1_000
export const MAX_WAITING_PER_ADDRESS = 16
/** When others wait, a turn ends after so many bytes or so long, or when nothing is asked for so long. */
export const TURN_BYTES: number = 10 * 1024 * 1024
export const TURN_MS: number = 60 * 60 * 1000
export const SLOT_IDLE_MS = 60_000
/** A client that waits and has not asked again for so long loses its place. */
export const WAIT_MS: number = 60 * 60 * 1000
/** Asking again sooner than that while waiting is rude; after more than so many times the client is not answered for so long. */
export const MIN_REASK_MS = 590_000
export const MAX_RUDE_ASKS = 4
export const BAN_MS: number = 2 * 60 * 60 * 1000
/** Bans that are remembered; the oldest is forgotten. */
export const MAX_BANS = 1_000
/** Ranges that wait on one connection; one more closes it. */
export const MAX_QUEUED_RANGES = 64
/** Ranges sent last, and how long they are not sent again while aMule repeats itself. */
export const SENT_RANGES_KEPT = 16
export const REPEAT_MS = 30_000
/** Files that one connection may show tickets for; the oldest is forgotten. */
export const MAX_TICKETS_PER_CONNECTION = 64
/** Data in one packet to programs other than Kith. */
export const PIECE_BYTES: number = 10 * 1024
/** Bytes read from disk and sent in one go. */
export const SEND_BYTES: number = 256 * 1024
/** Connections of the listener in all, and from one address. */
export const MAX_CONNECTIONS = 300
export const MAX_CONNECTIONS_PER_ADDRESS = 8
/** Signatures made or checked a second for strangers, and saved up. */
export const KEY_OPERATIONS_PER_SECOND = 10
export const KEY_OPERATIONS_BURST = 40
/** Files whose askers are remembered for source exchange, and askers of each; the oldest are forgotten. */
export const MAX_KNOWN_FILES = 1_000
export const MAX_KNOWN_ASKERS = 100

/** Recovery data of parts that are made for others a second, and at once; the last ones are kept. */
export const RECOVERIES_PER_SECOND = 2
export const RECOVERIES_BURST = 8
export const MAX_KEPT_RECOVERIES = 64
/** Addresses that must name the same AICH root before it is used, if the link has none; addresses that are counted. */
export const MIN_AICH_VOTES = 2
export const MAX_AICH_VOTERS = 1_000
/** Clients asked for recovery data of a bad part, and then for its wrong blocks; how long one may take for either. */
export const MENDING_SOURCES = 4
export const RECOVERY_MS = 20_000
export const MEND_MS = 60_000

/** Longest run that a source takes in one call, in bytes. */
export const MAX_RUN_BYTES: number = 32 * 1024 * 1024
/** Ranges under way on one connection to other programs: the least, and the most (aMule wants many and long ones to be quick). */
export const MIN_RANGES_AHEAD = 2
export const MAX_RANGES_AHEAD = 9
/** Bytes under way from a Kith peer: the least and the most. */
export const MIN_AHEAD_BYTES: number = 1024 * 1024
export const MAX_AHEAD_BYTES: number = 8 * 1024 * 1024
/** Ranges asked for lately: aMule answers the same one only once, so a repetition is cut differently. */
export const ASKED_RANGES_KEPT = 8_192
/** How long a source may take to introduce itself and serve us before it is handed over as it is. */
export const READY_MS = 2_000
/** A run that ends while the socket reads straight into its slot waits so long for the end of that read, then closes the connection. */
export const LINGER_MS = 500
/** A source in whose queue we are is asked again after so long if it did not call back, at most so often in vain. */
export const REASK_MS: number = 20 * 60 * 1000
export const MAX_REASKS = 3
/** Peers that a swarm remembers; connections that it dials and holds; pause before a lost one is dialled again, doubled each time; dials in vain. */
export const MAX_SWARM_PEERS = 1_000
export const MAX_SWARM_CONNECTIONS = 50
export const REDIAL_MS = 5_000
export const MAX_DIALS = 4
/** Peers asked for part hashes at the same time, and how long one may take. */
export const HASHSET_PEERS = 8
export const HASHSET_MS = 20_000

/** As a client of a server. Longest packet that a server may send, and packets a second from it, on average and at once; more ends the connection. */
export const MAX_SERVER_PACKET_BYTES: number = 250_000
export const SERVER_PACKETS_PER_SECOND = 50
export const SERVER_PACKETS_BURST = 500
/** From connecting to a server to the id it gives us; it connects back to us in between. */
export const LOGIN_MS = 30_000
/** A server is told that we are there when nothing else was sent for so long. */
export const SERVER_KEEP_ALIVE_MS: number = 4 * 60_000
/** Pause before a server that was lost is dialled again; it doubles. */
export const SERVER_RETRY_MS = 5_000
export const MAX_SERVER_RETRY_MS: number = 15 * 60_000
/** Files that a server is told of in all, and in one packet. */
export const MAX_OFFERED_FILES = 2_000
export const OFFERS_PER_PACKET = 200
/** A server is asked again for sources of a file after so long, doubled each time; requests a second, and at once. */
export const ASK_SOURCES_MS = 15_000
export const MAX_ASK_SOURCES_MS: number = 15 * 60_000
export const ASK_SOURCES_PER_SECOND = 1
export const ASK_SOURCES_BURST = 20
/** Clients that a server may have us connect to a second, and at once. */
export const CALLBACKS_PER_SECOND = 1
export const CALLBACKS_BURST = 10
/** Clients that a server is asked to have connect to us a second, and at once; how long one may take. */
export const ASK_CALLS_PER_SECOND = 1
export const ASK_CALLS_BURST = 20
export const CALLBACK_MS = 20_000

/** Longest nodes.dat or server.met; servers in one, and how many of them we log in at. */
export const MAX_NETWORK_FILE_BYTES: number = 1024 * 1024
export const MAX_SERVERS_IN_FILE = 1_000
export const MAX_MET_SERVERS = 4

/** As a server. Clients in all and from one address (this machine is not counted); connections that have not logged in. */
export const MAX_SERVER_CLIENTS = 1_000
export const MAX_SERVER_CLIENTS_PER_ADDRESS = 8
export const MAX_SERVER_GUESTS = 64
/** Files that are known in all, of one client, and sources of one file; the rest is left out. */
export const MAX_SERVER_FILES = 50_000
export const MAX_SERVER_CLIENT_FILES = 2_000
export const MAX_SERVER_FILE_SOURCES = 1_000
/** Bytes of the name and the kind of a file that are kept; longer ones are left out. */
export const MAX_SERVER_NAME_BYTES = 255
/** Packets a second of one client, and at once; more ends the connection. Searches: more are not answered. */
export const CLIENT_PACKETS_PER_SECOND = 10
export const CLIENT_PACKETS_BURST = 200
/** A packet of a client of the server counts once more for each so many bytes, inflated. */
export const CLIENT_PACKET_BYTES: number = 16 * 1024
export const SEARCHES_PER_SECOND = 1
export const SEARCHES_BURST = 5
/** The same for all clients together: each looks at every file. */
export const ALL_SEARCHES_PER_SECOND = 5
export const ALL_SEARCHES_BURST = 20
/** Terms of a search, and how deep they are nested (recursion ends there). */
export const MAX_SEARCH_TERMS = 64
export const MAX_SEARCH_DEPTH = 24
/** Files in the answer to a search, sources in the answer to a request, servers in a list. */
export const MAX_SEARCH_RESULTS = 200
export const MAX_FOUND_SOURCES = 200
export const MAX_SERVER_LIST = 64
/** Clients that are connected back to at the same time, and how long that may take. */
export const MAX_PROBES = 32
export const PROBE_MS = 5_000
/** Bytes that may wait to be sent to one client of the server; beyond it the connection ends. */
export const MAX_SERVER_QUEUE_BYTES: number = 512 * 1024
