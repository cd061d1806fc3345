/** What is measured about one peer, over all its links while this process runs. */

import { Latencies } from './latencies.ts'
import type { EntityId } from './types.ts'

export class PeerFigures {
  sent = 0
  delivered = 0
  received = 0
  /** Sent again because a link ended before they were acknowledged: the loss that is left above TCP. */
  resent = 0
  bytesIn = 0
  bytesOut = 0
  /** From sending a message to its acknowledgement. */
  readonly latencies: Latencies = new Latencies()
}

/** One row of `stats()`. */
export interface PeerStats {
  readonly entityId: EntityId
  readonly connected: boolean
  readonly sessionAgeMs: number | undefined
  /** Messages that wait, on disk. */
  readonly queued: number
  readonly sent: number
  readonly delivered: number
  readonly received: number
  readonly resent: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Unacknowledged bytes that may be on their way now; undefined without a link. */
  readonly windowBytes: number | undefined
  readonly ackP50Ms: number | undefined
  readonly ackP99Ms: number | undefined
}
