/**
 * Node ids (BEP 5: 160 bits, distance by XOR) and their binding to an address (BEP 42): the first 21 bits of an id follow from the
 * node's public IP address and three random bits, so that nobody can choose to be close to a torrent. Pure.
 */
import { classOfAddress } from '../address-filter.ts'
import { addressBytes } from '../bittorrent/compact.ts'
import { crc32c } from '../bittorrent/crc32c.ts'

export const ID_BYTES = 20

const MASK4 = [0x03, 0x0f, 0x3f, 0xff]
const MASK6 = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff]

/**
 * Makes an id for a node at `host`, an IP literal.
 * @param random 20 bytes; the last decides which of the eight prefixes of the address is taken (as the BEP's vectors do)
 */
export function makeNodeId(host: string, random: Uint8Array): Uint8Array<ArrayBuffer> {
  const id = Uint8Array.from(random)
  const crc = prefixOf(host, id[19]!)
  id[0] = crc >>> 24
  id[1] = crc >>> 16
  id[2] = ((crc >>> 8) & 0xf8) | (id[2]! & 7)
  return id
}

/** Whether the id belongs to the address. Private, loopback and link-local addresses are exempt. */
export function isIdOfAddress(id: Uint8Array, host: string): boolean {
  if (classOfAddress(host) !== 'public') return true
  const crc = prefixOf(host, id[19]!)
  return id[0] === crc >>> 24 && id[1] === ((crc >>> 16) & 0xff) && (id[2]! & 0xf8) === ((crc >>> 8) & 0xf8)
}

function prefixOf(host: string, random: number): number {
  const address = addressBytes(host)!
  const mask = address.length === 4 ? MASK4 : MASK6
  const masked = Uint8Array.from(mask, (m, i) => address[i]! & m)
  masked[0] = masked[0]! | ((random & 7) << 5)
  return crc32c(masked)
}
