/** Every number a client of the API could otherwise choose. The full list is docs/limits.md. */

/** Bytes of a request body. */
export const MAX_BODY_BYTES: number = 12 * 1024 * 1024
/** Characters of an address to fetch. */
export const MAX_ADDRESS_CHARS: number = 256 * 1024
/** Bytes of the request line and all headers: Node answers 431 above it. */
export const MAX_HEADER_BYTES: number = 24 * 1024
/** Characters of a request target. */
export const MAX_TARGET_CHARS: number = 16 * 1024
/** Time for all headers of a request; for the whole request. */
export const HEADERS_TIMEOUT_MS = 10_000
export const REQUEST_TIMEOUT_MS = 30_000
export const MAX_CONNECTIONS = 64
/** Wrong tokens in one minute; further ones get 429. */
export const MAX_WRONG_TOKENS_PER_MINUTE = 10
/** Event streams open at once. */
export const MAX_EVENT_STREAMS = 16
/** Events waiting for a slow reader. Newer progress replaces older; when still full, the stream ends. */
export const MAX_QUEUED_EVENTS = 256
/** An empty line is sent after this much silence, so that both ends notice a dead connection. */
export const HEARTBEAT_MS = 15_000
/** Hashing jobs at once. */
export const MAX_SHARE_JOBS = 8
/** How long POST /v1/shares waits before it answers 202 (ask again). Below every client's timeout. */
export const SHARE_WAIT_MS = 20_000
/** A hashing job that nobody asked about for this long is stopped. */
export const SHARE_ABANDONED_MS = 10_000
/** How long a closing server lets answers finish. */
export const CLOSE_GRACE_MS = 1_500
/** Characters of one line of the event stream that the client accepts: a download with thousands of sources. */
export const MAX_EVENT_LINE_CHARS: number = 4 * 1024 * 1024
/** Fields of requests. */
export const MAX_PATH_CHARS = 4096
export const MAX_PROTOCOLS = 8
export const MAX_TRACKERS = 20
export const MAX_PHRASE_CHARS = 512
export const MAX_PASSPHRASE_CHARS = 1024
export const MAX_ID_CHARS = 4096
/** Characters of a peer's name or address; of a text; of a name; and how many of each thing one request may hold. */
export const MAX_PEER_CHARS = 1024
export const MAX_TEXT_CHARS: number = 10 * 1024 * 1024
export const MAX_NAME_CHARS = 256
export const MAX_LISTED = 1000
export const MAX_GROUP_CHANGE = 256
export const MAX_ARGUMENTS = 256
export const MAX_CONCURRENCY = 256
export const MAX_TASK_FILES = 16
/** Longest wait of a message or a task. */
export const MAX_TTL_MS: number = 7 * 24 * 60 * 60 * 1000
