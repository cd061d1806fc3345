/** Every number a peer, a program or a caller could otherwise choose in tasks. The full list is docs/limits.md. */

/** Input or output of a task as JSON inside a message; larger ones go as files. */
export const MAX_INLINE_BYTES: number = 256 * 1024
/** Levels of an input or output: a message around it has some of its own. */
export const MAX_VALUE_DEPTH = 56
/** Name of a skill in characters. */
export const MAX_SKILL_CHARS = 64
/** Description of a task or a skill in characters. */
export const MAX_DESCRIPTION_CHARS = 4096
/** Idempotency key in characters. */
export const MAX_KEY_CHARS = 128
/** Note beside a progress, and text of an error, in characters. */
export const MAX_NOTE_CHARS = 256
export const MAX_ERROR_CHARS = 4096
/** Files of one task. */
export const MAX_TASK_FILES = 16
/** Link and name of a file of a task. */
export const MAX_FILE_LINK_CHARS = 4096
export const MAX_FILE_NAME_CHARS = 255
/** Nodes a task may be passed on through (threats TA1). */
export const MAX_PATH = 8
/** Nodes that a task may be offered to, one after the other. */
export const MAX_CANDIDATES = 16
/** Tasks that wait or run here for one peer, unless its grant says less, and for all (threats TA1). */
export const MAX_QUEUED_PER_PEER = 1000
export const MAX_QUEUED = 10_000
/** Bytes of the inputs of all that wait or run here, and how much of it one peer may take. */
export const MAX_QUEUED_BYTES: number = 256 * 1024 * 1024
export const MAX_QUEUED_BYTES_PER_PEER: number = 64 * 1024 * 1024
/** Tasks that this node gave and that are not finished. */
export const MAX_GIVEN = 10_000
/** Finished tasks that are remembered, for how long, and their bytes: the oldest go first. */
export const MAX_FINISHED = 10_000
export const MAX_FINISHED_AGE_MS: number = 30 * 24 * 60 * 60 * 1000
export const MAX_FINISHED_BYTES: number = 256 * 1024 * 1024
/** How long a task may take, waiting included; also when no deadline is given. */
export const MAX_DEADLINE_MS: number = 7 * 24 * 60 * 60 * 1000
/** A deadline is a date of the giver's clock: so much later is still taken. */
export const DEADLINE_SKEW_MS: number = 5 * 60 * 1000
/** Runs of one task that ended with the process: then it is given up. */
export const MAX_RUNS = 5
/** Times that a task is offered, to whomever, before it is given up. */
export const MAX_OFFERS = 100
/** Tasks of one skill that may run at once. */
export const MAX_CONCURRENCY = 256
/** Cancelled tasks whose delegation may still come: of one peer, and of all. */
export const MAX_TOMBSTONES_PER_PEER = 64
export const MAX_TOMBSTONES = 4096
/** Progress messages of one task: at most one in this time. */
export const PROGRESS_INTERVAL_MS = 200
/** A task that runs for longer than this is reported as running. */
export const RUNNING_NOTICE_MS = 50
/** How long a lost worker may be away before its task goes to the next candidate. */
export const REBALANCE_AFTER_MS = 5000
/** Waits before a task is offered again to those whose queue was full. */
export const RETRY_FIRST_MS = 1000
export const RETRY_MAX_MS = 60_000
/** Every wake_up after the first in this time is ignored (threats TA3), of one peer; and how many peers are remembered. */
export const WAKE_UP_INTERVAL_MS = 60_000
export const MAX_WAKE_UP_PEERS = 1024
/** Status reports and errors that are kept: one a peer, the latest. */
export const MAX_STATUS_PEERS = 1024
export const MAX_KEPT_ERRORS = 256
/** Questions of our own that wait for an answer. */
export const MAX_QUESTIONS = 256
/** How long we wait for an answer. */
export const ANSWER_TIMEOUT_MS = 10_000
/** Output of a program on stdout unless said otherwise; what is kept of its stderr. */
export const MAX_PROGRAM_OUTPUT_BYTES: number = 8 * 1024 * 1024
export const MAX_STDERR_BYTES = 2048
/** A line of stderr; the rest of a longer one is not looked at. */
export const MAX_STDERR_LINE_BYTES = 4096
/** A program may run for so long, unless said otherwise. */
export const PROGRAM_TIMEOUT_MS: number = 10 * 60 * 1000
/** Between SIGTERM and SIGKILL. */
export const PROGRAM_GRACE_MS = 5000
/** Grants with a rate whose use is remembered. */
export const MAX_RATED = 4096
/** How long a node that closes waits for skills that do not end when they are told to. */
export const CLOSE_WAIT_MS = 8000
