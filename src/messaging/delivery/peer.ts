/**
 * Everything about delivering to one peer: its queue, its one link, and when to try again without one. A peer exists in memory while
 * something waits for it or a link is open.
 */
import type { KithError } from '../../base/errors.ts'
import type { PeerFigures } from '../peer-figures.ts'
import type { EntityId } from '../types.ts'
import type { PeerLink } from './peer-link.ts'
import type { PeerQueue } from './peer-queue.ts'

export class Peer {
  readonly id: EntityId
  readonly queue: PeerQueue
  readonly figures: PeerFigures
  link: PeerLink | undefined
  /** A link that is being opened. */
  opening: AbortController | undefined
  /** Attempts since the last link. */
  failures = 0
  /** No attempt before this (monotonic ms). */
  retryAt = 0
  /** Why the last attempt failed. */
  lastError: KithError | undefined
  /** Sealed messages are being handed to somebody else. */
  isCarrying = false

  constructor(id: EntityId, queue: PeerQueue, figures: PeerFigures) {
    this.id = id
    this.queue = queue
    this.figures = figures
  }
}
