/**
 * Framing of eDonkey over TCP, between clients and towards servers:
 *
 * | bytes | field    | notes                                                             |
 * | ----: | -------- | ----------------------------------------------------------------- |
 * |     1 | protocol | E3 eDonkey, C5 eMule extension, D4 zlib-compressed payload of a C5 |
 * |     4 | length   | little endian, 1 + payload, ≤ 2,000,000                           |
 * |     1 | opcode   |                                                                   |
 *
 * Any other first byte of a connection means obfuscation (obfuscation.ts). Spec: docs/wire/ed2k.md §1
 */
import { wireError } from './bytes.ts'
import { MAX_PACKET_BYTES } from './limits.ts'

export const protocols = { edonkey: 0xe3, emule: 0xc5, packed: 0xd4 } as const
export const PACKET_HEADER_BYTES = 6

export interface PacketHead {
  readonly protocol: number
  readonly opcode: number
  readonly payloadBytes: number
}

export interface Packet {
  readonly protocol: number
  readonly opcode: number
  readonly payload: Uint8Array
}

/** Whether a connection that begins with this byte is plain. */
export const isProtocol = (byte: number): boolean => byte === 0xe3 || byte === 0xc5 || byte === 0xd4

/** Writes the six bytes in front of a payload. */
export function writePacketHead(target: Uint8Array, at: number, head: PacketHead): void {
  const length = head.payloadBytes + 1
  target[at] = head.protocol
  target[at + 1] = length & 255
  target[at + 2] = (length >>> 8) & 255
  target[at + 3] = (length >>> 16) & 255
  target[at + 4] = length >>> 24
  target[at + 5] = head.opcode
}

/** @throws ED2K_WIRE when the payload is too long */
export function encodePacket(protocol: number, opcode: number, payload: Uint8Array = NOTHING): Uint8Array<ArrayBuffer> {
  if (payload.length + 1 > MAX_PACKET_BYTES) throw wireError('packet is too long', { length: payload.length })
  const out = new Uint8Array(PACKET_HEADER_BYTES + payload.length)
  writePacketHead(out, 0, { protocol, opcode, payloadBytes: payload.length })
  out.set(payload, PACKET_HEADER_BYTES)
  return out
}

/**
 * Reads the head of a packet.
 * @returns undefined when fewer than six bytes are there
 * @throws ED2K_WIRE unknown protocol byte, length 0 or above 2,000,000: with the first five bytes at the latest
 */
export function readPacketHead(b: Uint8Array, at = 0): PacketHead | undefined {
  const left = b.length - at
  if (left > 0 && !isProtocol(b[at]!)) throw wireError('unknown protocol byte', { protocol: b[at]! })
  if (left < 5) return undefined
  const length = (b[at + 1]! | (b[at + 2]! << 8) | (b[at + 3]! << 16) | (b[at + 4]! << 24)) >>> 0
  if (length === 0 || length > MAX_PACKET_BYTES) throw wireError('packet of an impossible length', { length })
  return left < PACKET_HEADER_BYTES ? undefined : { protocol: b[at]!, opcode: b[at + 5]!, payloadBytes: length - 1 }
}

/** Cuts a stream into packets: for connections that carry no files. Packed ones come out as they are (unpack.node.ts). */
export class PacketSplitter {
  readonly #maxBytes: number
  #rest: Uint8Array = NOTHING

  /** @param maxBytes longest packet that is kept in memory */
  constructor(maxBytes: number = MAX_PACKET_BYTES) {
    this.#maxBytes = maxBytes
  }

  /** Takes what a socket brought. The payloads are copies. @throws ED2K_WIRE */
  *push(bytes: Uint8Array): Generator<Packet, void> {
    let b = bytes
    if (this.#rest.length > 0) {
      b = new Uint8Array(this.#rest.length + bytes.length)
      b.set(this.#rest)
      b.set(bytes, this.#rest.length)
      this.#rest = NOTHING
    }
    let at = 0
    while (at < b.length) {
      const head = readPacketHead(b, at)
      if (head && head.payloadBytes + 1 > this.#maxBytes) throw wireError('packet is too long here', { length: head.payloadBytes + 1 })
      if (!head || b.length - at < PACKET_HEADER_BYTES + head.payloadBytes) break
      at += PACKET_HEADER_BYTES
      yield { protocol: head.protocol, opcode: head.opcode, payload: new Uint8Array(b.subarray(at, at + head.payloadBytes)) }
      at += head.payloadBytes
    }
    this.#rest = new Uint8Array(b.subarray(at))
  }
}

const NOTHING = new Uint8Array()
