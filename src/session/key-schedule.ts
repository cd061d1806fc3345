/**
 * From two ephemeral keys and the transcript of a handshake to the keys of a session. Every byte that was said goes in, so that two sides
 * that saw something else have other keys.
 * Spec: docs/wire/session.md §3, §4
 */
import { hkdfSha256 } from '#crypto'
import { sha256 } from '#hash'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { AEAD_NONCE_BYTES } from '../platform/crypto-types.ts'

export type Role = 'initiator' | 'responder'

/** What transcripts, and the signatures over them, begin with, before a zero byte. */
const DOMAIN = concatBytes(utf8('kith/handshake/1'), Uint8Array.of(0))

export interface Transcript {
  /** Name of the network; not sent as such. */
  readonly network: string
  /** What the signature of the handshake covers, as it was received. */
  readonly handshake: Uint8Array
  /** All members of the ack but payload and signature, canonical. */
  readonly ackHeader: Uint8Array
  /** The ack's payload without `challenge_response`, canonical. */
  readonly ackPayload: Uint8Array
}

/** What the responder signs: all that was said before. 32 bytes. */
export function answerTranscript(t: Transcript): Uint8Array<ArrayBuffer> {
  const parts = [utf8(t.network), t.handshake, t.ackHeader, t.ackPayload]
  return sha256(concatBytes(DOMAIN, ...parts.flatMap(part => [u32(part.length), part])))
}

/** What the initiator signs, and the salt of the keys: the same and the responder's answer. 32 bytes. */
export const finalTranscript = (answered: Uint8Array, response: Uint8Array): Uint8Array<ArrayBuffer> =>
  sha256(concatBytes(DOMAIN, answered, response))

/** The bytes under a `challenge_response`. The role is in it, so that no side's answer can be sent back to it (threats HS4). */
export const responseBytes = (role: Role, transcript: Uint8Array): Uint8Array<ArrayBuffer> =>
  concatBytes(DOMAIN, utf8(role), Uint8Array.of(0), transcript)

/** The key under which `role` encrypts: 32 bytes. */
export const directionKey = (shared: Uint8Array, transcript: Uint8Array, role: Role): Promise<Uint8Array<ArrayBuffer>> =>
  hkdfSha256(shared, utf8(`kith/session/1 ${role}`), 32, transcript)

/** Nonce of a message: four zero bytes, then its sequence number. One key never sees a number twice, so neither a nonce. */
export function nonceOf(sequenceNum: number): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(AEAD_NONCE_BYTES)
  let rest = sequenceNum
  for (let i = AEAD_NONCE_BYTES - 1; rest > 0; i--) {
    nonce[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return nonce
}

/** 16 hex digits that tell networks apart without naming them. */
export const networkTag = (network: string): string =>
  [...sha256(concatBytes(utf8('kith/network/1'), Uint8Array.of(0), utf8(network))).subarray(0, 8)]
    .map(b => b.toString(16).padStart(2, '0'))
    .join('')

function u32(n: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, n)
  return out
}
