/**
 * Proof on HTTP of who asks, and that the right seeder answers (DESIGN §6: tickets).
 *
 * | header       | in       | value                                                          |
 * | ------------ | -------- | -------------------------------------------------------------- |
 * | Kith-Ticket  | request  | 32 hex digits: the ticket's id                                 |
 * | Kith-Counter | request  | decimal, 1 … 2^53-1, never used twice with one ticket          |
 * | Kith-Mac     | request  | 64 hex digits: HMAC-SHA256(key, "kith/http/1" ␊ method ␊ path ␊ Range or "" ␊ counter) |
 * | Kith-Mac     | answer   | 64 hex digits: HMAC-SHA256(key, "kith/http-answer/1" ␊ status ␊ Content-Range or "" ␊ counter) |
 *
 * Spec: docs/wire/http.md §3
 */
import { hmacSha256, timingSafeEqual } from '#crypto'
import { bytesToHex, hexToBytes, utf8 } from '../../base/bytes.ts'

export interface RequestFacts {
  readonly method: string
  /** Request target exactly as sent. */
  readonly path: string
  /** Value of Range exactly as sent; "" when absent. */
  readonly range: string
  readonly counter: number
}

export interface AnswerFacts {
  readonly status: number
  /** Value of Content-Range; "" when absent. */
  readonly contentRange: string
  /** Of the request that is answered. */
  readonly counter: number
}

/** Kith-Mac of a request, hex. */
export const requestMac = (key: Uint8Array, f: RequestFacts): string =>
  bytesToHex(hmacSha256(key, utf8(`kith/http/1\n${f.method}\n${f.path}\n${f.range}\n${f.counter}`)))

/** Kith-Mac of an answer, hex. */
export const answerMac = (key: Uint8Array, f: AnswerFacts): string =>
  bytesToHex(hmacSha256(key, utf8(`kith/http-answer/1\n${f.status}\n${f.contentRange}\n${f.counter}`)))

/** Compares two MACs in constant time; anything but 64 lower-case hex digits is unequal. */
export const sameMac = (a: string, b: string): boolean =>
  /^[0-9a-f]{64}$/.test(a) && /^[0-9a-f]{64}$/.test(b) && timingSafeEqual(hexToBytes(a), hexToBytes(b))

export interface TicketHeaders {
  /** 16 bytes. */
  readonly id: Uint8Array
  readonly counter: number
  readonly mac: string
}

/** Reads the three request headers; undefined unless all are there in their one spelling. */
export function readTicketHeaders(ticket: unknown, counter: unknown, mac: unknown): TicketHeaders | undefined {
  if (typeof ticket !== 'string' || typeof counter !== 'string' || typeof mac !== 'string') return undefined
  if (!/^[0-9a-f]{32}$/.test(ticket) || !/^[1-9][0-9]{0,15}$/.test(counter) || !/^[0-9a-f]{64}$/.test(mac)) return undefined
  const n = Number(counter)
  return Number.isSafeInteger(n) ? { id: hexToBytes(ticket), counter: n, mac } : undefined
}
