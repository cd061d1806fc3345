/** What routing asks of its surroundings. node/ hands it the peer registry, the mailbox and the messenger. */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import type { PrekeyStore } from '../session/prekeys.ts'
import type { EntityId } from './types.ts'

/** A peer as its record says; discovery's FoundPeer has this shape. */
export interface RoutePeer {
  readonly entityId: EntityId
  readonly peerId: string
  readonly addresses: readonly string[]
  readonly relaysFor: 'nobody' | 'contacts' | 'everyone'
  /** Encoded signed prekey. */
  readonly prekey: Uint8Array | undefined
  readonly via: readonly { readonly peerId: string; readonly entityId: EntityId }[]
}

/** Who is who; discovery's PeerRegistry has this shape. */
export interface RoutePeers {
  /** `refresh`: look for a newer record even if a fresh one is known. */
  find(entityId: EntityId, signal?: AbortSignal, options?: { readonly refresh?: boolean }): Promise<RoutePeer | undefined>
  known(entityId: EntityId): RoutePeer | undefined
  knownPeer(peerId: string): RoutePeer | undefined
  /** Those that are connected now. */
  neighbours(): readonly RoutePeer[]
}

/** Whose envelope is to be carried, and for whom. */
export interface RelayCase {
  /** PeerId that handed it over. */
  readonly peerId: string
  /** The entity behind it, if it is known. */
  readonly from: EntityId | undefined
  readonly to: EntityId
}

/** Who hands an envelope over. */
export interface Depositor {
  readonly peerId: string
  /** IP address; undefined through a relay. */
  readonly address: string | undefined
}

/** Messages kept for others; mailbox.ts has this shape. */
export interface Deposits {
  /** Whether messages for this entity are kept here. */
  accepts(owner: EntityId): boolean
  /** Resolves when the envelope is on disk; a second time it is kept once. @throws QUEUE_FULL, EXPIRED, DISK_FULL */
  deposit(owner: EntityId, envelope: Uint8Array, expiresAt: number, from: Depositor): Promise<void>
}

export interface RoutingDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly random: (n: number) => Uint8Array
  readonly rpc: Rpc
  readonly self: { readonly entityId: EntityId; readonly peerId: string }
  readonly peers: RoutePeers
  readonly prekeys: Pick<PrekeyStore, 'get'>
  /** Takes a whole signed message that was sealed for us. Resolves when it is on disk, also if it was there already. @throws any code */
  readonly receive: (message: Uint8Array) => Promise<void>
  /** Whether this node carries such an envelope. */
  readonly mayRelay: (envelope: RelayCase) => boolean
  /** Absent: messages are kept for nobody. */
  readonly deposits?: Deposits | undefined
}
