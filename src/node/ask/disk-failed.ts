/** What is said when the disk under messages or tasks has failed (store/file-sync.node.ts). */
import type { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'

const WHAT = 'the disk has failed: no messages and tasks are taken or acknowledged until it is well and this node was restarted'

export const diskFailed =
  (log: Logger): ((error: KithError) => void) =>
  ({ code, data, cause }) =>
    log.error(WHAT, { code, ...data, cause })
