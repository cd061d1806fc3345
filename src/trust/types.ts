/** What is kept about peers, as the rest of Kith sees it. */
import type { Penalty, ScoreView } from './scores.ts'

/** did:key of an instance. */
type EntityId = string

/** A peer as far as it is known. Only signed or otherwise proven things come in. */
export interface PeerRecord {
  readonly entityId: EntityId
  /** The name the user gave; nobody else can. */
  readonly name: string | undefined
  /** did:key of the person, from a checked certificate. */
  readonly personId: string | undefined
  /** libp2p PeerIds certified by it, newest first. */
  readonly peerIds: readonly string[]
  /** Where it was reached, newest first: multiaddrs and URLs. */
  readonly addresses: readonly string[]
  /** ms since 1970. */
  readonly firstSeen: number
  readonly lastSeen: number
  /** The user compared fingerprints. */
  readonly verified: boolean
  /** Messages without session, in spec 001's 0.3, are taken from it. */
  readonly allowsLegacy: boolean
  /** It may use us as a relay. */
  readonly allowsRelay: boolean
  /** We chose it to keep messages for us. */
  readonly isMailbox: boolean
  readonly capabilities: readonly string[]
  /** Its last status report, as it said it. */
  readonly status: Readonly<Record<string, unknown>> | undefined
}

/** What was learned about a peer by talking to it. Absent fields stay as they are. */
export interface PeerObservation {
  readonly personId?: string
  readonly peerId?: string
  readonly address?: string
  readonly capabilities?: readonly string[]
  readonly status?: Readonly<Record<string, unknown>>
}

/** What only the user decides. Absent fields stay as they are; `name: null` takes it away. */
export interface PeerMarks {
  readonly name?: string | null
  readonly verified?: boolean
  readonly allowsLegacy?: boolean
  readonly allowsRelay?: boolean
  readonly isMailbox?: boolean
}

/** `task:<skill>`, `task:*`, `relay`, `mailbox` or `stats`. */
export type GrantWhat = string

export interface Grant {
  /** An entity, a person, or `*` for everybody. */
  readonly to: EntityId | '*'
  readonly what: GrantWhat
  /** Numbers by name; what they mean is up to who asks (for example `perHour`, `concurrent`). */
  readonly limits: Readonly<Record<string, number>>
  readonly createdAt: number
}

export interface PeerBook extends AsyncDisposable {
  peer(entityId: EntityId): PeerRecord | undefined
  /** By the name the user gave, an entity id, or a PeerId. */
  find(text: string): PeerRecord | undefined
  /** Seen last first. */
  peers(limit?: number): PeerRecord[]
  /** Notes what was learned; it is on disk within a second. Call it only for what is authenticated. @throws BAD_ENTITY */
  observe(entityId: EntityId, seen?: PeerObservation): void
  /** Durable when it returns. @throws BAD_ENTITY, BAD_ALIAS, ALIAS_TAKEN */
  mark(entityId: EntityId, marks: PeerMarks): PeerRecord
  /** Everything about a peer but its score goes, grants too; durable when it returns. @returns whether there was one */
  forget(entityId: EntityId): boolean

  /** Durable when it returns. A second grant of the same replaces its limits. @throws BAD_GRANT, BAD_ENTITY, TOO_MANY_GRANTS */
  grant(to: EntityId | '*', what: GrantWhat, limits?: Readonly<Record<string, number>>): Grant
  /** Durable when it returns: from then on `allowed` says no, also after a crash. @returns whether there was one */
  revoke(to: EntityId | '*', what: GrantWhat): boolean
  grants(to?: EntityId | '*'): Grant[]
  /** The grant by which a peer may do something: its own, its person's, everybody's, in this order. */
  allowed(entityId: EntityId, what: GrantWhat): Grant | undefined

  /** Whether a PeerId is banned, or stands for an identity that is. Asked for each connection. */
  isRefused(peerId: string): boolean
  readonly scores: ScoreKeeper
}

/** Whom a penalty meets: an identity that proved to be at fault, or only where something came from. */
export type Subject = { readonly entityId: EntityId } | { readonly addressKey: string }

export interface ScoreKeeper {
  penalise(who: Subject, penalty: Penalty, code: string): ScoreView
  reward(who: Subject, points: number): ScoreView
  view(who: Subject): ScoreView
  isBanned(who: Subject): boolean
  /** Told when somebody comes to be banned, until the signal. */
  onBanned(listener: (who: Subject) => void, signal?: AbortSignal): void
  /** The user's own word: -100 until it is taken back, or back to 0. Durable within a second. */
  ban(entityId: EntityId): void
  pardon(entityId: EntityId): void
  /** Identities with a score that is not 0, worst first. */
  list(): readonly {
    readonly entityId: EntityId
    readonly score: number
    readonly bannedUntil: number | undefined
    readonly code: string
  }[]
}
