/** Every number of Kith's own stream that the other side could otherwise choose. */
import { DATA_HEAD_BYTES, MAX_FILE_MESSAGE_BYTES } from '../../wire/file-stream.ts'
import { CHUNK_BYTES } from '../../wire/limits.ts'

/** Largest frame: a chunk and what is around it. */
export const MAX_FILE_FRAME_BYTES: number = CHUNK_BYTES + DATA_HEAD_BYTES + MAX_FILE_MESSAGE_BYTES
/** Bytes that one request may ask for; a run of 128 chunks. */
export const MAX_RUN_BYTES: number = 32 * 1024 * 1024
/** Streams that one peer may have open to us: one for each download of ours it takes part in. Two chunks are in memory for each. */
export const MAX_STREAMS_PER_PEER = 8
/** Runs of one source that are under way at once, one behind the other on its stream. */
export const PIPELINED_RUNS = 2
/** Refusals in a row after which a stream is ended. */
export const MAX_REFUSALS = 64
