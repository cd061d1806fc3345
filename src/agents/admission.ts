/** Which delegations are taken: who may, how many, how much (threats TA1). Counts live in memory; the tasks they count are on disk. */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { EntityId } from '../messaging/types.ts'
import { MAX_CONCURRENCY, MAX_QUEUED, MAX_QUEUED_BYTES, MAX_QUEUED_BYTES_PER_PEER, MAX_QUEUED_PER_PEER, MAX_RATED } from './limits.ts'
import type { DelegationLimits, TaskError } from './types.ts'

interface Held {
  tasks: number
  bytes: number
}

export class Admission {
  readonly #mayDelegate: (entity: EntityId, skill: string) => DelegationLimits
  readonly #clock: Clock
  readonly #all: Held = { tasks: 0, bytes: 0 }
  readonly #peers = new Map<EntityId, Held>()
  readonly #rates = new Map<string, { readonly perHour: number; readonly bucket: TokenBucket }>()

  constructor(mayDelegate: (entity: EntityId, skill: string) => DelegationLimits, clock: Clock) {
    this.#mayDelegate = mayDelegate
    this.#clock = clock
  }

  isGranted(peer: EntityId, skill: string): boolean {
    return this.#mayDelegate(peer, skill) !== false
  }

  /** Tasks of one skill that a peer may have running. */
  concurrent(peer: EntityId, skill: string): number {
    return numberOf(this.#mayDelegate(peer, skill), 'concurrent') ?? MAX_CONCURRENCY
  }

  /** Why one more task is not taken now; undefined: it is, and counts against its grant's rate. */
  refusal(peer: EntityId, skill: string, bytes: number): TaskError | undefined {
    const limits = this.#mayDelegate(peer, skill)
    const held = this.#peers.get(peer) ?? { tasks: 0, bytes: 0 }
    const most = Math.min(MAX_QUEUED_PER_PEER, numberOf(limits, 'queued') ?? MAX_QUEUED_PER_PEER)
    const isFull = held.tasks >= most || held.bytes + bytes > MAX_QUEUED_BYTES_PER_PEER
    if (isFull || this.#all.tasks >= MAX_QUEUED || this.#all.bytes + bytes > MAX_QUEUED_BYTES)
      return { code: 'QUEUE_FULL', message: 'too many tasks wait already' }
    const perHour = numberOf(limits, 'perHour')
    if (perHour !== undefined && !this.#rate(peer, skill, perHour).tryTake())
      return { code: 'RATE_LIMITED', message: `no more than ${perHour} tasks in an hour` }
    return undefined
  }

  count(peer: EntityId, bytes: number): void {
    const held = this.#peers.get(peer) ?? { tasks: 0, bytes: 0 }
    this.#peers.set(peer, held)
    for (const h of [held, this.#all]) {
      h.tasks++
      h.bytes += bytes
    }
  }
  discount(peer: EntityId, bytes: number): void {
    const held = this.#peers.get(peer)
    if (!held) return
    for (const h of [held, this.#all]) {
      h.tasks--
      h.bytes -= bytes
    }
    if (held.tasks === 0) this.#peers.delete(peer)
  }

  #rate(peer: EntityId, skill: string, perHour: number): TokenBucket {
    const name = `${peer} ${skill}`
    let rate = this.#rates.get(name)
    if (rate?.perHour !== perHour) rate = { perHour, bucket: new TokenBucket(this.#clock, perHour / 3600, perHour) }
    this.#rates.delete(name)
    this.#rates.set(name, rate)
    // Only peers with a grant come here: the one that has not asked for longest is forgotten.
    for (const oldest of this.#rates.keys()) {
      if (this.#rates.size <= MAX_RATED) break
      this.#rates.delete(oldest)
    }
    return rate.bucket
  }
}

function numberOf(limits: DelegationLimits, name: string): number | undefined {
  return typeof limits === 'object' && Object.hasOwn(limits, name) ? limits[name] : undefined
}
