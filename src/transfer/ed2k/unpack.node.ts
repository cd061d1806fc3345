/** Packed packets (protocol D4): a zlib stream that is the payload of an eMule extension packet. Clients also use it towards servers. */
import { deflateSync, inflateSync } from 'node:zlib'
import { wireError } from './bytes.ts'
import { MAX_INFLATED_BYTES } from './limits.ts'
import { encodePacket, type Packet, protocols } from './packet.ts'

/**
 * A packed packet as the extension packet in it; others as they are. `as` is what it becomes: servers read it as E3.
 * @throws ED2K_WIRE damaged, bytes left over, or more than `maxBytes` when inflated (threats ED1)
 */
export function unpack(packet: Packet, as: number = protocols.emule, maxBytes: number = MAX_INFLATED_BYTES): Packet {
  if (packet.protocol !== protocols.packed) return packet
  return { protocol: as, opcode: packet.opcode, payload: inflateExactly(packet.payload, maxBytes) }
}

/** One whole zlib stream and nothing after it. @throws ED2K_WIRE */
export function inflateExactly(bytes: Uint8Array, maxBytes: number): Uint8Array {
  let result: { readonly buffer: Uint8Array; readonly engine: { readonly bytesWritten: number } }
  try {
    result = inflateSync(bytes, { maxOutputLength: maxBytes, info: true }) as unknown as typeof result
  } catch {
    throw wireError('a compressed packet is damaged or inflates to too much', { length: bytes.length })
  }
  if (result.engine.bytesWritten !== bytes.length) throw wireError('bytes left after compressed data')
  return result.buffer
}

/** A packet, packed when that makes it shorter. @throws ED2K_WIRE when it is too long */
export function encodePacked(protocol: number, opcode: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const small = payload.length > 64 && payload.length <= MAX_INFLATED_BYTES ? deflateSync(payload) : payload
  return small.length < payload.length ? encodePacket(protocols.packed, opcode, small) : encodePacket(protocol, opcode, payload)
}
