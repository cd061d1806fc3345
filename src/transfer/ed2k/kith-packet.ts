/**
 * What Kith peers say to each other over eDonkey beyond what others know (C5 4B). Sent only to peers whose hello has the tag "kith".
 *
 *     01 hash | ticket id 16 | MAC 32                                         who is asking for a paid file
 *     02 hash | u8 why | u16 length reason | u8 n | n × { u64 start, u64 end }  these ranges will not come; n = 0: nothing of the file
 *
 * MAC = HMAC-SHA256(ticket key, "kith/ed2k/1" ‖ hash ‖ seeder's user hash ‖ downloader's user hash ‖ nonce of the seeder's hello), so
 * that a packet that was overheard is worth nothing on another connection. Spec: docs/wire/ed2k.md §8
 */
import { hmacSha256, timingSafeEqual } from '#crypto'
import { concatBytes, utf8 } from '../../base/bytes.ts'
import type { Ticket } from '../protocol.ts'
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { MAX_TEXT_BYTES } from './limits.ts'
import type { ByteRange } from './parts.ts'

/** unpaid: settle, then ask again. missing: the seeder does not have it yet. */
export type RefusalCause = 'unpaid' | 'missing'

export type KithPacket =
  | { readonly kind: 'ticket'; readonly hash: Uint8Array; readonly id: Uint8Array; readonly mac: Uint8Array }
  | {
      readonly kind: 'refusal'
      readonly hash: Uint8Array
      readonly cause: RefusalCause
      readonly reason: string
      readonly ranges: readonly ByteRange[]
    }

const CAUSES = ['unpaid', 'missing'] as const

export function encodeKithPacket(p: KithPacket): Uint8Array<ArrayBuffer> {
  const w = new LeWriter()
  if (p.kind === 'ticket') return w.u8(1).bytes(p.hash).bytes(p.id).bytes(p.mac).done()
  w.u8(2).bytes(p.hash).u8(CAUSES.indexOf(p.cause)).text16(p.reason).u8(p.ranges.length)
  for (const { start, end } of p.ranges) w.u64(start).u64(end)
  return w.done()
}

/** @returns undefined for a kind that a later version may have @throws ED2K_WIRE */
export function decodeKithPacket(payload: Uint8Array): KithPacket | undefined {
  const r = new LeReader(payload)
  const kind = r.u8()
  if (kind !== 1 && kind !== 2) return undefined
  const hash = r.hash()
  if (kind === 1) {
    const packet = { kind: 'ticket', hash, id: r.bytes(16), mac: r.bytes(32) } as const
    r.end()
    return packet
  }
  const cause = CAUSES[r.u8()]
  if (!cause) throw wireError('a refusal for no known cause')
  const reason = r.text16(MAX_TEXT_BYTES)
  const ranges = Array.from({ length: r.u8() }, () => ({ start: r.u64(), end: r.u64() }))
  r.end()
  return { kind: 'refusal', hash, cause, reason, ranges }
}

export interface TicketScope {
  readonly hash: Uint8Array
  readonly seederHash: Uint8Array
  readonly ownHash: Uint8Array
  readonly nonce: Uint8Array
}

const DOMAIN = utf8('kith/ed2k/1')

export const ticketMac = (key: Uint8Array, s: TicketScope): Uint8Array =>
  hmacSha256(key, concatBytes(DOMAIN, s.hash, s.seederHash, s.ownHash, s.nonce))

/** Compares in constant time. */
export const isTicketMac = (ticket: Ticket, scope: TicketScope, mac: Uint8Array): boolean =>
  timingSafeEqual(ticketMac(ticket.key, scope), mac)
