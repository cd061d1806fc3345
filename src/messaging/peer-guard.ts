/**
 * The guard that delivery asks (guard.ts), with the scores of trust/ behind it: who is banned is not read from, everybody has a share of
 * frames, bytes and of each type, and faults cost score. Faults count for an identity only where it is proved: a session on the very
 * link they came over; else for the PeerId, or the address, in memory.
 */
import type { Clock } from '../base/clock.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { rateKeyOf } from '../net/address-scope.ts'
import type { ScoreKeeper, Subject } from '../trust/types.ts'
import type { MessageType } from '../wire/message-types.ts'
import { originNetwork } from './delivery/origin-key.ts'
import { costOf } from './faults.ts'
import type { Guard, Origin } from './guard.ts'
import * as limits from './limits.ts'
import { RatedNames } from './rated.ts'
import type { EntityId } from './types.ts'

export interface PeerGuardDeps {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly scores: ScoreKeeper
  /** Whom the user marked as verified or granted something: shares by type do not hold for it, those of frames and bytes do. */
  isTrusted(entityId: EntityId): boolean
  /** Told once when somebody comes to be banned: its links are to be closed. */
  onBanned?(from: Origin, code: string): void
}

type Rated = keyof typeof limits.TYPE_RATES
/** Wake-ups and handshakes are few for everybody (threats TA3). */
const ALWAYS: ReadonlySet<MessageType> = new Set(['handshake', 'handshake_ack', 'handshake_confirm', 'wake_up'])
/** What is never put on disk: its bytes count as those of any frame, not as what strangers bring there. */
const UNSTORED: ReadonlySet<MessageType> = new Set(['handshake', 'handshake_ack', 'handshake_confirm', 'ack', 'heartbeat', 'ping'])
const perMinute = (n: number): number => n / 60

export class PeerGuard implements Guard {
  readonly #deps: PeerGuardDeps
  readonly #frames: RatedNames
  readonly #bytes: RatedNames
  readonly #strangers: RatedNames
  readonly #refusals: RatedNames
  readonly #bad: RatedNames
  readonly #types = new Map<MessageType, RatedNames>()
  /** What those whom nobody vouches for bring onto the disk. */
  readonly #stored: RatedNames
  readonly #storedByNetwork: RatedNames
  readonly #allStored: TokenBucket

  constructor(deps: PeerGuardDeps) {
    this.#deps = deps
    const rated = (perSecond: number, burst: number): RatedNames => new RatedNames(deps.clock, { perSecond, burst }, limits.MAX_RATED_PEERS)
    this.#frames = rated(limits.PEER_FRAMES_PER_SECOND, 2 * limits.PEER_FRAMES_PER_SECOND)
    this.#bytes = rated(limits.PEER_BYTES_PER_SECOND, 2 * limits.PEER_BYTES_PER_SECOND)
    this.#strangers = rated(limits.STRANGER_FRAMES_PER_SECOND, limits.STRANGER_FRAMES_BURST)
    this.#stored = rated(limits.STRANGER_STORE_BYTES_PER_SECOND, limits.STRANGER_STORE_BURST_BYTES)
    const share = limits.STRANGER_NETWORK_SHARE
    this.#storedByNetwork = rated(share * limits.ALL_STRANGERS_STORE_BYTES_PER_SECOND, share * limits.ALL_STRANGERS_STORE_BURST_BYTES)
    this.#allStored = new TokenBucket(deps.clock, limits.ALL_STRANGERS_STORE_BYTES_PER_SECOND, limits.ALL_STRANGERS_STORE_BURST_BYTES)
    this.#refusals = rated(perMinute(limits.FREE_REFUSALS), limits.FREE_REFUSALS)
    this.#bad = rated(limits.BAD_FRAMES_TO_BAN / (limits.BAD_FRAME_MS / 1000), limits.BAD_FRAMES_TO_BAN - 1)
    for (const [type, rate] of Object.entries(limits.TYPE_RATES)) {
      this.#types.set(type as Rated, rated(perMinute(rate.perMinute), rate.burst))
    }
  }

  admit(from: Origin, type: MessageType | undefined, bytes: number): string | undefined {
    const subjects = subjectsOf(from)
    for (const subject of subjects) if (this.#deps.scores.isBanned(subject)) return 'BANNED'
    // What came over HTTP or sealed is asked about only here, once its sender is proved.
    if (type !== undefined) return this.#admitType(from, type) ?? (UNSTORED.has(type) ? undefined : this.#admitBytes(from, bytes))
    const name = nameOf(subjects[0]!)
    const isFree =
      from.entityId === undefined ? this.#strangers.tryTake(name) : this.#frames.tryTake(name) && this.#bytes.tryTake(name, bytes)
    return isFree ? undefined : this.#tooMuch(from)
  }

  report(from: Origin, code: string): void {
    const cost = costOf(code)
    if (cost === undefined) return
    for (const subject of subjectsOf(from)) {
      const was = this.#deps.scores.view(subject).standing
      const { standing } = this.#deps.scores.penalise(subject, this.#bad.tryTake(nameOf(subject)) ? cost : 'fatal', code)
      if (standing === 'banned' && was !== 'banned') this.#deps.onBanned?.(from, code)
    }
  }

  #admitType(from: Origin, type: MessageType): string | undefined {
    const rate = this.#types.get(type)
    if (!rate || (from.entityId !== undefined && !ALWAYS.has(type) && this.#deps.isTrusted(from.entityId))) return undefined
    return rate.tryTake(nameOf(subjectsOf(from)[0]!)) ? undefined : this.#tooMuch(from)
  }

  #admitBytes(from: Origin, bytes: number): string | undefined {
    if (from.entityId !== undefined && this.#deps.isTrusted(from.entityId)) return undefined
    // Only one that its own share still holds takes from what all have together.
    const isFree = this.#stored.tryTake(nameOf(subjectsOf(from)[0]!), bytes) && this.#storedByNetwork.tryTake(originNetwork(from), bytes)
    if (isFree && this.#allStored.tryTake(bytes)) return undefined
    return 'QUEUE_FULL' // no fault: it waits with its sender until there is room, or the user says who that is
  }

  #tooMuch(from: Origin): string {
    for (const subject of subjectsOf(from)) {
      if (!this.#refusals.tryTake(nameOf(subject))) this.#deps.scores.penalise(subject, 'high', 'RATE_LIMITED')
    }
    return 'RATE_LIMITED'
  }
}

/** Who is to blame, the most certain first. The PeerId too: then the next link is refused before it costs a handshake. */
function subjectsOf(from: Origin): Subject[] {
  const peer: Subject[] = from.peerId === undefined ? [] : [{ addressKey: `peer ${from.peerId}` }]
  if (from.entityId !== undefined) return [{ entityId: from.entityId }, ...peer]
  return peer.length > 0 ? peer : [{ addressKey: rateKeyOf(from.address ?? '') }]
}

const nameOf = (subject: Subject): string => ('entityId' in subject ? subject.entityId : subject.addressKey)
