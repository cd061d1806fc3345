/** UUID v4 (RFC 9562 §5.4): new ones, and their 16 bytes. wire/secure-message.ts says what is one. */
import { randomBytes } from '#crypto'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'

export const uuidToBytes = (text: string): Uint8Array<ArrayBuffer> => hexToBytes(text.replaceAll('-', ''))

export function bytesToUuid(bytes: Uint8Array): string {
  const hex = bytesToHex(bytes)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

/** @param random 16 bytes; absent: the system's */
export function newUuid(random: Uint8Array = randomBytes(16)): string {
  const bytes = random.slice(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytesToUuid(bytes)
}
