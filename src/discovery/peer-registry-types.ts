/** What the peer registry asks for and answers. */
import type { Clock } from '../base/clock.ts'
import type { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import type { HostEvents } from '../net/host.ts'
import type { Rpc } from '../net/rpc.ts'
import type { AnnouncedAgent, PeerRecord, RelaysFor } from '../wire/peer-record.ts'
import type { Signed } from '../wire/signed.ts'

/** Provider records for 32-byte keys; DhtFinder has this shape. */
export interface KeyFinder {
  find(key: Uint8Array, signal: AbortSignal): AsyncGenerator<{ readonly peerId: string; readonly addresses: readonly string[] }, void>
  announce(key: Uint8Array): Promise<void>
  withdraw(key: Uint8Array): Promise<void>
}

/** Who is connected; Host has this shape. */
export interface Neighbourhood {
  peers(): readonly { readonly peerId: string }[]
  readonly events: Emitter<HostEvents>
}

/** This instance; Identity and a PeerId have this shape (node/ joins them). */
export interface RegistrySelf {
  /** did:key of the instance. */
  readonly entityId: string
  /** libp2p PeerId text. */
  readonly peerId: string
  /** Encoded peer chain. */
  readonly certificate: Uint8Array
  sign(domain: string, body: Uint8Array): Promise<Signed>
}

/** Records that outlive this process: of those whose record is kept (`keep`). */
export interface RecordMemory {
  records(): readonly Uint8Array[]
  saveRecord(entityId: string, bytes: Uint8Array): void
  removeRecord(entityId: string): void
}

export interface PeerRegistryDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly rpc: Rpc
  readonly self: RegistrySelf
  readonly network: Neighbourhood
  /** Absent: only neighbours, and theirs, are asked. */
  readonly finder?: KeyFinder | undefined
  readonly memory?: RecordMemory | undefined
}

/** What this instance tells about itself; the rest of its record follows from who it is. */
export interface Announcement {
  readonly relaysFor?: RelaysFor
  readonly agents?: readonly AnnouncedAgent[]
  readonly capabilities?: readonly string[]
  /** Encoded signed prekey. */
  readonly prekey?: Uint8Array | undefined
  /** Peers that keep messages for this instance or carry them to it, best first. */
  readonly via?: readonly { readonly peerId: string; readonly entityId: string }[]
}

export interface FoundPeer {
  /** did:key of the instance. */
  readonly entityId: string
  /** libp2p PeerId text. */
  readonly peerId: string
  /** multiaddr texts that were found with it; libp2p may know more. */
  readonly addresses: readonly string[]
  readonly relaysFor: RelaysFor
  readonly capabilities: readonly string[]
  readonly agents: readonly { readonly did: string; readonly certificate: Uint8Array; readonly skills: readonly string[] }[]
  /** Encoded signed prekey; whoever uses it checks it. */
  readonly prekey: Uint8Array | undefined
  readonly via: readonly { readonly peerId: string; readonly entityId: string }[]
  /** false: its record has expired. Its prekey and its mailboxes may still be right. */
  readonly isFresh: boolean
  readonly record: PeerRecord
}

export type PeerRegistryEvents = {
  /** A record was seen that is newer than what was known. `isProved`: whoever has its PeerId says the same; else the instance alone does. */
  readonly 'peer:found': { readonly peer: FoundPeer; readonly isProved: boolean }
}
