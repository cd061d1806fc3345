/** Numbers of this folder that a peer could otherwise choose, and of what peers may bring onto this disk beside messages. */

/** One file of a task, in bytes: larger ones are for `kith get`. */
export const MAX_TASK_FILE_BYTES: number = 4 * 1024 ** 3
/** Messages of agents that are kept to be looked at; the oldest go. */
export const MAX_KEPT_AGENT_MESSAGES = 200
/** A long text that a known peer sent is fetched without being asked for up to this size; and how many at once. */
export const MAX_LONG_TEXT_BYTES: number = 64 * 1024 * 1024
export const LONG_TEXTS_AT_ONCE = 2
/** Bytes of such texts that are kept, of one peer and in all; the oldest go. */
export const MAX_LONG_TEXTS_BYTES_PER_PEER: number = 128 * 1024 * 1024
export const MAX_LONG_TEXTS_BYTES: number = 512 * 1024 * 1024
/** Received messages that are looked through for long texts that are still to be fetched, and how often they are tried again. */
export const LONG_TEXTS_LOOKED_AT = 500
/** A message that is only a link to its text is not longer than this. */
export const MAX_LINK_MESSAGE_BYTES: number = 16 * 1024
/** Characters of a text in a list and in events; the message alone has all. */
export const LISTED_TEXT_CHARS: number = 64 * 1024
export const LONG_TEXT_RETRY_MS: number = 5 * 60_000
/** How long such a text is tried for. */
export const LONG_TEXT_TRIED_MS: number = 7 * 24 * 60 * 60_000
/**
 * How long a file that was shared for one message or task stays shared: after the recipient has said that it has it, after a message was
 * delivered, after a task was over; and the result of a task.
 */
export const LENT_AFTER_FETCH_MS: number = 10 * 60_000
export const LENT_AFTER_DELIVERY_MS: number = 7 * 24 * 60 * 60_000
export const LENT_AFTER_TASK_MS: number = 60 * 60_000
export const LENT_RESULT_MS: number = 7 * 24 * 60 * 60_000
/** How often it is looked for what is to be unshared; one that belongs to nothing after so long is. */
export const LENT_LOOK_MS: number = 10 * 60_000
export const LENT_UNCLAIMED_MS: number = 60 * 60_000
