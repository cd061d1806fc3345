/** Every number that an HTTP client or server on the other side could otherwise choose. */

/** Head of a request or an answer, all lines together. */
export const MAX_HEAD_BYTES: number = 16 * 1024
export const MAX_HEADERS = 100
/** Body of an answer that is not file content (the reason of a 402). Longer ones are not read. */
export const MAX_PROBLEM_BYTES = 4096
/** Characters of a reason that are kept. */
export const MAX_REASON_CHARS = 300
/** Bytes asked for in one request; a run of 64 chunks. */
export const MAX_RUN_BYTES: number = 16 * 1024 * 1024
/** Requests of one source at a time, each on its own connection. */
export const PARALLEL_REQUESTS = 2
/** Decrypted bytes that TLS may hand over after reading was stopped. */
export const MAX_SPILL_BYTES: number = 2 ** 20
/** From SYN to connected (and TLS done). */
export const CONNECT_TIMEOUT_MS = 10_000
/** From request to the end of the answer's head while probing a URL. */
export const PROBE_TIMEOUT_MS = 15_000
/** Characters of a URL's path that are part of a source's name. */
export const MAX_KEY_CHARS = 120
/** Redirects followed while probing a URL the user gave. A seeder gets none. */
export const MAX_REDIRECTS = 5

/** Open connections of all HTTP and HTTPS listeners together. */
export const MAX_CONNECTIONS = 300
/** Open connections from one IPv4 address or IPv6 /64, HTTP and HTTPS together. */
export const MAX_CONNECTIONS_PER_ADDRESS = 64
/** TLS handshakes that one address may begin in a second: each costs us a signature. */
export const HANDSHAKES_PER_SECOND = 32
/** Requests on one connection. */
export const MAX_REQUESTS_PER_CONNECTION = 10_000
/** Requests of one connection that may wait for their turn; more close it. */
export const MAX_PIPELINED = 16
/** From connecting to a complete head, however slowly it trickles in. */
export const HEADERS_TIMEOUT_MS = 10_000
/** From the first byte to a complete request. */
export const REQUEST_TIMEOUT_MS = 30_000
/** An idle connection is kept this long. */
export const KEEP_ALIVE_MS = 10_000
/** How long a refused connection is still read from, so that the client sees the refusal. */
export const LINGER_MS = 500
/** A reader that takes nothing for this long is dropped. */
export const WRITE_STALL_MS = 15_000
/** How often Node looks for connections past their deadline. */
export const DEADLINE_CHECK_MS = 1000
/** Piece of a file that is read and written at once; an answer has two of them in use. */
export const READ_BYTES: number = 512 * 1024
/** Free read buffers kept for later. */
export const MAX_POOLED_BUFFERS = 32
/** Chunks looked up before an answer to a long range begins; the rest is looked up on the way. */
export const MAX_CHUNKS_CHECKED = 16_384

/** How far behind the highest counter a request may come: requests on two connections overtake each other. */
export const COUNTER_WINDOW = 64
/** Answers that are compressed at once, by all listeners together; more are sent as they are. */
export const MAX_ENCODERS = 2
/** Files that are worth compressing, and that do not keep a processor busy for long. */
export const MIN_ENCODED_BYTES = 1024
export const MAX_ENCODED_BYTES: number = 64 * 1024 * 1024
