/**
 * Replay protection of messages outside a session: each says a date and a random nonce; a nonce counts once, and a date only within five
 * minutes of ours, so that what must be remembered is bounded (threats SM10-SM14). Over any transport it is the same window.
 *
 * `check` before a signature is verified, `record` when the message is authentic and is being committed: in the same transaction, if the
 * store is durable, so that after a crash either both the message and its nonce are there, or neither.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, MAX_NONCE_PEERS, MAX_NONCES_PER_PEER } from './limits.ts'

/** Nonces that were seen, by sender. */
export interface NonceStore {
  /** Whether it survives kill -9. */
  readonly isDurable: boolean
  has(sender: string, nonce: string): boolean
  /** Nonces of this sender. */
  count(sender: string): number
  /** Senders with a nonce or a mark. */
  senders(): number
  add(sender: string, nonce: string, timestamp: number): void
  /** Forgets the sender's nonce of the lowest date. @returns that date */
  removeOldest(sender: string): number | undefined
  /** Messages of this sender up to this date are refused; 0: none. */
  markOf(sender: string): number
  setMark(sender: string, timestamp: number): void
  /** Forgets nonces of all senders dated before `timestamp`, and marks before it of senders without nonces. */
  prune(timestamp: number): void
}

export interface ReplayWindowDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly store: NonceStore
}

/** Between two looks for what is too old. */
const PRUNE_EVERY_MS = 10_000

export class ReplayWindow {
  readonly #clock: ReplayWindowDeps['clock']
  readonly #store: NonceStore
  /** A store that forgets cannot know what was received before it began. */
  readonly #refusedBefore: number
  /**
   * What the store counts, kept here: counting costs it more than all the rest. A transaction that is rolled back makes these too high, which
   * is on the safe side, until the next prune.
   */
  readonly #counts = new Map<string, number>()
  #senders: number | undefined
  #prunedAt: number

  constructor(deps: ReplayWindowDeps) {
    this.#clock = deps.clock
    this.#store = deps.store
    this.#refusedBefore = deps.store.isDurable ? 0 : deps.clock.now()
    this.#prunedAt = deps.clock.monotonic()
  }

  /**
   * @param nonce as it is in the message: 64 hex digits
   * @param timestamp ms since 1970
   * @throws CLOCK_SKEW (data.ours: our time), REPLAY_DETECTED, RATE_LIMITED
   */
  check(sender: string, nonce: string, timestamp: number): void {
    checkClock(this.#clock, timestamp)
    const store = this.#store
    if (timestamp < this.#refusedBefore || timestamp <= store.markOf(sender) || store.has(sender, nonce))
      throw new KithError('REPLAY_DETECTED', 'this message was received before, or may have been')
    if (this.#isNew(sender) && (this.#senders ??= store.senders()) >= MAX_NONCE_PEERS)
      throw new KithError('RATE_LIMITED', 'too many senders at once')
  }

  /** Remembers a message that is authentic. @throws as `check` */
  record(sender: string, nonce: string, timestamp: number): void {
    this.#prune()
    this.check(sender, nonce, timestamp)
    // One sender's flood costs that sender alone: what it sent before its oldest nonce is refused from now on.
    if (this.#countOf(sender) >= MAX_NONCES_PER_PEER) {
      const oldest = this.#store.removeOldest(sender)
      if (oldest !== undefined) this.#store.setMark(sender, Math.max(oldest, this.#store.markOf(sender)))
      this.#counts.set(sender, this.#countOf(sender) - 1)
      this.check(sender, nonce, timestamp)
    }
    if (this.#isNew(sender)) this.#senders = (this.#senders ?? this.#store.senders()) + 1
    const count = this.#countOf(sender)
    this.#store.add(sender, nonce, timestamp)
    this.#counts.set(sender, count + 1)
  }

  #isNew(sender: string): boolean {
    return this.#countOf(sender) === 0 && this.#store.markOf(sender) === 0
  }

  #countOf(sender: string): number {
    const known = this.#counts.get(sender)
    if (known !== undefined) return known
    const count = this.#store.count(sender)
    // Strangers whose messages are not authentic must not fill the map.
    if (count > 0) this.#counts.set(sender, count)
    return count
  }

  #prune(): void {
    if (this.#clock.monotonic() - this.#prunedAt < PRUNE_EVERY_MS) return
    this.#prunedAt = this.#clock.monotonic()
    this.#store.prune(this.#clock.now() - CLOCK_WINDOW_MS)
    this.#counts.clear()
    this.#senders = undefined
  }
}

/** @throws CLOCK_SKEW (data.ours: our time in ms since 1970) */
export function checkClock(clock: Pick<Clock, 'now'>, timestamp: number): void {
  const ours = clock.now()
  if (Math.abs(timestamp - ours) > CLOCK_WINDOW_MS)
    throw new KithError('CLOCK_SKEW', 'the date of the message is not near our time', { ours, timestamp })
}
