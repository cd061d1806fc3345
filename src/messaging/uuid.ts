/** New UUIDs v4 (RFC 9562 §5.4). wire/secure-message.ts says what is one. */
import { randomBytes } from '#crypto'
import { bytesToHex } from '../base/bytes.ts'

const POOL = 16 * 256
let pool = new Uint8Array()
let at = 0

export function newUuid(): string {
  if (at === pool.length) {
    pool = randomBytes(POOL)
    at = 0
  }
  const bytes = pool.slice(at, (at += 16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytesToHex(bytes)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
