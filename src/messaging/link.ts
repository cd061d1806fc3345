/**
 * A way on which whole frames (each one SecureMessage as JSON) go to and come from one peer, and who opens one. The link proves at most a
 * PeerId; who speaks is proved by the handshake on it.
 */
import type { EntityId } from './types.ts'

export interface MessageLink extends AsyncDisposable {
  readonly via: 'stream' | 'http' | 'memory'
  /** Authenticated libp2p PeerId text; undefined where the link proves none. */
  readonly peerId: string | undefined
  /** IP address of the other end, for limits before anybody is known; undefined through a relay. */
  readonly address: string | undefined
  readonly closed: AbortSignal
  /** The next whole frame, at most MAX_MESSAGE_FRAME_BYTES; undefined when the other side has ended. @throws PEER_PROTOCOL, PEER_TIMEOUT */
  next(): Promise<Uint8Array | undefined>
  /** Resolves when more may be sent. @throws PEER_TIMEOUT, PEER_PROTOCOL */
  send(frame: Uint8Array): Promise<void>
  /**
   * Where frames are answered one by one (HTTP): told what became of a frame that `next` gave (the same object), once. Without a refusal it
   * is durable, or was acted on. Such a link carries frames of anybody who knows its session, so a bad one says nothing about the peer
   * and must not end the link.
   */
  settled?(frame: Uint8Array, refusal?: { readonly code: string; readonly message: string }): void
}

export interface LinkOpener {
  /** Opens a link to an entity. @throws PEER_UNREACHABLE, UNKNOWN_PEER (no address is known for it) */
  open(to: EntityId, signal: AbortSignal): Promise<MessageLink>
  /** Told who is at the other end of a link that somebody else has opened, once that is proved. */
  identify?(link: MessageLink, entityId: EntityId): void
}

/** Brings sealed messages on when no link to the recipient can be opened: hops and mailboxes. */
export interface SealedCarrier {
  /** @returns true: somebody has taken it durably; else false, or the code of why nobody could */
  carry(to: EntityId, sealed: Uint8Array, signal: AbortSignal): Promise<boolean | string>
}
