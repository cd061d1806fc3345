/** Who may send how much, and what faults cost: trust/ supplies it, node/ wires it. Without one everybody may. */
import type { MessageType } from '../wire/message-types.ts'
import type { EntityId } from './types.ts'

/** Where a frame came from: what is proved so far. */
export interface Origin {
  readonly entityId: EntityId | undefined
  /** libp2p PeerId text. */
  readonly peerId: string | undefined
  /** IP address. */
  readonly address: string | undefined
}

export interface Guard {
  /**
   * Whether a frame may be looked at (`type` undefined: before anything costly), then whether a message of this type may come in.
   * @returns undefined, or the code with which it is refused. A frame that is refused unseen ends its link.
   */
  admit(from: Origin, type: MessageType | undefined, bytes: number): string | undefined
  /** The other side did something that an honest one does not. `code` says what. */
  report(from: Origin, code: string): void
}

export const openGuard: Guard = { admit: () => undefined, report: () => {} }
