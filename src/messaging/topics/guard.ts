/**
 * What stands before the gossip library: it has no limits of its own for how much a peer sends, and checks the signature of every message
 * (threats BL6, BL7). Topics of other names, messages above the limits and those beyond the peer's rate are taken out of a frame before it
 * looks; a peer with too many penalty points is not heard at all.
 */
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { MAX_CHAOS_MESSAGE_BYTES } from '../../wire/limits.ts'
import {
  GOSSIP_BAD_MESSAGE_POINTS,
  GOSSIP_DEAF_EXTRA,
  GOSSIP_DEAF_POINTS,
  GOSSIP_MESSAGES_BURST,
  GOSSIP_MESSAGES_PER_SECOND,
  GOSSIP_POINTS_PER_SECOND,
  MAX_GOSSIP_POINTS,
  MAX_RATED_AUTHORS
} from '../limits.ts'
import { isTopic } from './name.ts'

interface Record {
  points: number
  at: number
  readonly bucket: TokenBucket
}

/** Penalty points and message rates of peers. */
export class GossipBook {
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #records = new Map<string, Record>()

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>) {
    this.#clock = clock
  }

  penalise(peerId: string, points: number): void {
    const record = this.#of(peerId)
    const goesDeaf = record.points < GOSSIP_DEAF_POINTS && record.points + points >= GOSSIP_DEAF_POINTS
    record.points = Math.min(MAX_GOSSIP_POINTS, record.points + points + (goesDeaf ? GOSSIP_DEAF_EXTRA : 0))
  }
  /** Points that are not forgiven yet. */
  points(peerId: string): number {
    return this.#records.has(peerId) ? this.#of(peerId).points : 0
  }
  isDeaf(peerId: string): boolean {
    return this.points(peerId) >= GOSSIP_DEAF_POINTS
  }
  /** Whether a message of the peer may be looked at now. One that may not costs a twentieth of a point, so that a flood ends by itself. */
  mayPass(peerId: string): boolean {
    if (this.#of(peerId).bucket.tryTake()) return true
    this.penalise(peerId, 0.05)
    return false
  }

  #of(peerId: string): Record {
    const now = this.#clock.monotonic()
    const record = this.#records.get(peerId) ?? {
      points: 0,
      at: now,
      bucket: new TokenBucket(this.#clock, GOSSIP_MESSAGES_PER_SECOND, GOSSIP_MESSAGES_BURST)
    }
    record.points = Math.max(0, record.points - ((now - record.at) / 1000) * GOSSIP_POINTS_PER_SECOND)
    record.at = now
    this.#records.delete(peerId)
    this.#records.set(peerId, record)
    if (this.#records.size > MAX_RATED_AUTHORS) this.#records.delete(this.#records.keys().next().value!)
    return record
  }
}

interface Frame {
  subscriptions?: { readonly topic?: string }[]
  messages?: { readonly topic?: string; readonly data?: Uint8Array }[]
}

/** What is used of the library: the one place through which every received frame goes. */
export interface FrameReceiver {
  handleReceivedRpc?: (from: { toString(): string }, frame: Frame) => Promise<void>
}

/** Puts the book before a gossip service. @throws Error when the library has changed, so that an update cannot take the limits away unseen */
export function guardFrames(service: FrameReceiver, book: GossipBook): void {
  const receive = service.handleReceivedRpc?.bind(service)
  if (!receive) throw new Error('the gossip library has changed: its frames cannot be limited')
  service.handleReceivedRpc = async (from, frame) => {
    const peer = from.toString()
    if (book.isDeaf(peer)) return
    const named = (topic: string | undefined): boolean => {
      const good = topic !== undefined && isTopic(topic)
      if (!good) book.penalise(peer, 1)
      return good
    }
    if (frame.subscriptions) frame.subscriptions = frame.subscriptions.filter(s => named(s.topic))
    if (frame.messages) {
      frame.messages = frame.messages.filter(m => {
        if (!named(m.topic) || !book.mayPass(peer)) return false
        const fits = (m.data?.length ?? 0) <= MAX_CHAOS_MESSAGE_BYTES
        if (!fits) book.penalise(peer, GOSSIP_BAD_MESSAGE_POINTS)
        return fits
      })
    }
    if (!book.isDeaf(peer)) await receive(from, frame)
  }
}
