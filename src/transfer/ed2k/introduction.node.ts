/** What a client is told and asked first, when we want a file of it: ticket, name, parts, sources, a slot. */
import { KithError } from '../../base/errors.ts'
import type { Grid } from '../grid.ts'
import { PART_BYTES } from '../hashing/ed2k-hash.ts'
import type { Ticket } from '../protocol.ts'
import { encodeFileRequest, type PartStatus } from './file-request.ts'
import { encodeKithPacket, ticketMac } from './kith-packet.ts'
import { edonkey, emule } from './opcodes.ts'
import { protocols } from './packet.ts'
import type { PeerSession } from './session.node.ts'

export interface Introduction {
  readonly hash: Uint8Array
  readonly grid: Grid
  /** Hex instance key of the Kith seeder; undefined: others are asked for sources, too. */
  readonly seeder: string | undefined
  readonly ticket: Ticket | undefined
  readonly ownHash: Uint8Array
  /** Parts of the file that we have; undefined: none, or nobody may know. */
  ownStatus?(): PartStatus | undefined
}

/** @throws SOURCE_LOST when the client does not take files of this size */
export function introduce(session: PeerSession, deps: Introduction): void {
  const remote = session.remote!
  const { hash, grid, ticket, ownHash, seeder } = deps
  const { size } = grid
  if (ticket && remote.kithNonce) {
    const mac = ticketMac(ticket.key, { hash, seederHash: remote.userHash, ownHash, nonce: remote.kithNonce })
    session.send(protocols.emule, emule.kith, encodeKithPacket({ kind: 'ticket', hash, id: ticket.id, mac }))
  }
  const { multiPacketExt, multiPacket, aich, extendedRequests, sourceExchange2, largeFiles } = remote.abilities
  if (size >= 2 ** 32 && !largeFiles) throw new KithError('SOURCE_LOST', 'the client does not take files of this size')
  if (multiPacketExt || multiPacket) {
    const q = {
      hash,
      size: multiPacketExt ? size : undefined,
      status: deps.ownStatus?.(),
      wantsName: true,
      wantsStatus: size > PART_BYTES,
      wantsAich: aich && grid.chunkBytes === PART_BYTES, // for smaller chunks nobody needs it
      wantsSources: sourceExchange2 && !seeder ? 4 : undefined
    }
    session.send(protocols.emule, multiPacketExt ? emule.multiPacketExt : emule.multiPacket, encodeFileRequest(q, extendedRequests))
  } else {
    // A request for a name carries as much as the other side announced to read.
    const payload = new Uint8Array(16 + 2 * extendedRequests)
    payload.set(hash)
    session.send(protocols.edonkey, edonkey.nameRequest, payload)
    if (size > PART_BYTES) session.send(protocols.edonkey, edonkey.statusRequest, hash)
  }
  session.send(protocols.edonkey, edonkey.startUpload, hash)
}
