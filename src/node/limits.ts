/** Numbers of this folder that a peer could otherwise choose. */

/** One file of a task, in bytes: larger ones are for `kith get`. */
export const MAX_TASK_FILE_BYTES: number = 4 * 1024 ** 3
/** Messages of agents that are kept to be looked at; the oldest go. */
export const MAX_KEPT_AGENT_MESSAGES = 200
