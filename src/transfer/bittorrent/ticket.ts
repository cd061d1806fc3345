/**
 * Proof of who is asking over BitTorrent. The seeder puts a fresh nonce into its extended handshake; the downloader answers with the
 * id of the ticket it was given over libp2p and a MAC that covers the nonce and both peer ids, so that a message that was
 * overheard is worth nothing on another connection.
 *
 * mac = HMAC-SHA256(ticket key, "kith/bt/1" ‖ info-hash (20) ‖ seeder's peer id (20) ‖ downloader's peer id (20) ‖ nonce (16))
 */
import { hmacSha256, timingSafeEqual } from '#crypto'
import { concatBytes, utf8 } from '../../base/bytes.ts'
import type { Ticket } from '../protocol.ts'

export interface TicketScope {
  readonly infoHash: Uint8Array
  readonly seederPeerId: Uint8Array
  readonly ownPeerId: Uint8Array
  readonly nonce: Uint8Array
}

const DOMAIN = utf8('kith/bt/1')

export const ticketMac = (key: Uint8Array, s: TicketScope): Uint8Array =>
  hmacSha256(key, concatBytes(DOMAIN, s.infoHash, s.seederPeerId, s.ownPeerId, s.nonce))

/** Compares in constant time. */
export const isTicketMac = (ticket: Ticket, scope: TicketScope, mac: Uint8Array): boolean =>
  timingSafeEqual(ticketMac(ticket.key, scope), mac)
