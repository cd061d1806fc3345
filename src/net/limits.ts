/** Every number of this folder that a peer could otherwise choose (threats CO1, CO8-CO11, CO15-CO18, DH8). */

/** Connections in all, whoever opened them. */
export const MAX_CONNECTIONS = 300
/** Inbound connections from one address: an IPv4 address or an IPv6 /64. */
export const MAX_CONNECTIONS_PER_IP = 8
/** The same from one network of others (IPv4 /24, IPv6 /48). */
export const MAX_CONNECTIONS_PER_NETWORK = 64
/** The same for this machine itself, where many nodes may run. */
export const MAX_CONNECTIONS_LOOPBACK = 64
/** Inbound connections from one address in a second. Loopback is exempt. */
export const INBOUND_PER_SECOND = 5
/** Inbound connections whose handshake is not finished; the oldest of the network that has most makes room. */
export const MAX_PENDING_CONNECTIONS = 64
/** Addresses whose rate is remembered; the one unseen for longest is forgotten. */
export const MAX_RATED_ADDRESSES = 4096
/** A whole dial with name resolution and handshake; an inbound handshake. */
export const HANDSHAKE_TIMEOUT_MS = 10_000
export const MAX_DIAL_QUEUE = 500
export const MAX_PARALLEL_DIALS = 50
export const MAX_ADDRESSES_PER_PEER = 25
export const MAX_INBOUND_STREAMS = 32
export const MAX_OUTBOUND_STREAMS = 64
/** Peers that are remembered without a connection; the one unused for longest is forgotten. */
export const MAX_UNKNOWN_PEERS = 1000
/** What is remembered about one peer, in bytes. */
export const MAX_PEER_RECORD_BYTES: number = 16 * 1024
/** Provider records: for one file, from one provider, and together. */
export const MAX_PROVIDERS_PER_FILE = 1000
export const MAX_RECORDS_PER_PROVIDER = 10_000
export const MAX_PROVIDER_RECORDS = 50_000
/** Entries under prefixes that have no limit of their own. */
export const MAX_OTHER_RECORDS = 1000
/** Time between pings of an idle connection: it is closed when one is not answered. */
export const PING_INTERVAL_MS = 30_000
/** How long a connection in doubt may be silent: this machine has lost an address, or the peer has come by another way. */
export const CHECK_TIMEOUT_MS = 5_000
/** Time between looks at the addresses of this machine. */
export const ADDRESS_WATCH_MS = 5_000

/** Longest multiaddr text. */
export const MAX_ADDRESS_CHARS = 512
/** Hosts that the scope gate remembers for each way of learning them. */
export const MAX_KNOWN_HOSTS = 1024

/** Request and response in all, unless the caller gives another time. */
export const REQUEST_TIMEOUT_MS = 10_000
/** How long a request may take to arrive. */
export const REQUEST_READ_TIMEOUT_MS = 10_000
/** How long a handler may work before its caller is told PEER_TIMEOUT. */
export const HANDLER_TIMEOUT_MS = 120_000
/** Requests of one peer that are being answered at once, over all methods. */
export const MAX_REQUESTS_PER_PEER = 32
/** Our own requests to one peer at once; others wait in line. */
export const MAX_CALLS_PER_PEER = 16
/** Calls that wait in that line; further ones fail. */
export const MAX_WAITING_CALLS = 1024
/** A burst is this many seconds' worth of requests. */
export const BURST_SECONDS = 5
/** Peers and addresses whose rate is remembered; the one unseen for longest is forgotten. */
export const MAX_RATED_PEERS = 4096
/** Largest request and response that any method may ask for. */
export const MAX_MESSAGE_BYTES: number = 4 * 1024 * 1024
/** Characters of a method's name and of an error code in a response. */
export const MAX_METHOD_CHARS = 64
export const MAX_CODE_BYTES = 64

/** Largest frame that any stream protocol may ask for. */
export const MAX_FRAME_BYTES: number = 4 * 1024 * 1024
/** Bytes of a stream that are taken from the network before somebody reads them; then it is paused. */
export const READ_AHEAD_BYTES: number = 256 * 1024
/** Largest receive window of a muxed stream, and what may pile up in a stream that is paused: more than a window. */
export const MAX_STREAM_WINDOW_BYTES: number = 4 * 1024 * 1024
export const MAX_PAUSED_BYTES: number = 6 * 1024 * 1024
/** Framed streams that others have opened to us, of all peers and protocols. */
export const MAX_STREAMS = 512
/** How long somebody may wait for the next frame; for the rest of one, or for the other side to read. */
export const STREAM_IDLE_MS = 60_000
export const STREAM_STALL_MS = 30_000
/** How often that is looked at. */
export const STREAM_CHECK_MS = 5_000

/** Relays where a host may reserve a slot, and addresses of one that it announces. */
export const MAX_RELAYS = 8
export const MAX_ADDRESSES_PER_RELAY = 8
/** Inbound connections through relays at a time, of all relays together. */
export const MAX_RELAYED_CONNECTIONS = 64
/** Reserving a slot at a relay; and the wait after a failure, doubled each time up to the longest. */
export const RELAY_TIMEOUT_MS = 10_000
export const RELAY_RETRY_MS = 1_000
export const RELAY_RETRY_MAX_MS: number = 5 * 60_000
/** A relay for others: peers that may hold a slot, from one address (an IPv6 /64 counts as one), and how long one lasts without renewal. */
export const MAX_RELAY_RESERVATIONS = 128
export const MAX_RELAY_RESERVATIONS_PER_IP = 8
export const RELAY_RESERVATION_MS: number = 2 * 60 * 60_000
/** Connections through this relay at a time, and from one peer. */
export const MAX_RELAY_CIRCUITS = 128
export const MAX_RELAY_CIRCUITS_PER_PEER = 8
/** What one of them may carry, both ways together, and how long it may last. */
export const RELAY_CIRCUIT_BYTES: number = 1024 * 1024 * 1024
export const RELAY_CIRCUIT_MS: number = 60 * 60_000
/** Bytes that a relay holds for one direction of a connection whose reader is slow; then it reads no more. */
export const RELAY_BUFFER_BYTES: number = 256 * 1024

/** AutoNAT: a whole round of dialling back; requests of one connection at once, ours and theirs; also the verdicts that are kept. */
export const AUTONAT_TIMEOUT_MS = 30_000
export const MAX_INBOUND_DIALBACKS = 2
export const MAX_OUTBOUND_DIALBACKS = 20
