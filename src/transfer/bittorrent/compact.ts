/** Addresses as BitTorrent packs them: 4 or 16 bytes of IP and two of port, big endian (BEP 5, 7, 11, 23). Pure. */
import { concatBytes } from '../../base/bytes.ts'
import { parseIpv6 } from '../address-filter.ts'
import type { PeerAddress } from './urls.ts'

/** Bytes of a packed address with its port. */
export const COMPACT4_BYTES = 6
export const COMPACT6_BYTES = 18

/** 4 or 16 bytes of an IP literal; undefined for anything else, such as a name. */
export function addressBytes(host: string): Uint8Array<ArrayBuffer> | undefined {
  if (!host.includes(':')) {
    const parts = host.split('.')
    const ok = parts.length === 4 && parts.every(p => /^(0|[1-9][0-9]{0,2})$/.test(p) && Number(p) < 256)
    return ok ? Uint8Array.from(parts, Number) : undefined
  }
  return parseIpv6(host) && Uint8Array.from(parseIpv6(host)!.flatMap(w => [w >> 8, w & 255]))
}

/** IP literal of 4 or 16 bytes. */
export function hostOfBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  return Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16)).join(':')
}

/** 6 or 18 bytes; undefined when the host is a name. */
export function packPeer({ host, port }: PeerAddress): Uint8Array<ArrayBuffer> | undefined {
  const address = addressBytes(host)
  return address && concatBytes(address, Uint8Array.of(port >> 8, port & 255))
}

/** Reads 6 or 18 bytes; undefined for another length and for port 0. */
export function unpackPeer(bytes: Uint8Array): PeerAddress | undefined {
  if (bytes.length !== COMPACT4_BYTES && bytes.length !== COMPACT6_BYTES) return undefined
  const port = bytes[bytes.length - 2]! * 256 + bytes[bytes.length - 1]!
  return port === 0 ? undefined : { host: hostOfBytes(bytes.subarray(0, -2)), port }
}

/** Reads packed addresses one after the other, at most `max`; a rest that is no whole entry and port 0 are left out. */
export function unpackPeers(bytes: Uint8Array, entryBytes: typeof COMPACT4_BYTES | typeof COMPACT6_BYTES, max: number): PeerAddress[] {
  const peers: PeerAddress[] = []
  for (let at = 0; at + entryBytes <= bytes.length && peers.length < max; at += entryBytes) {
    const peer = unpackPeer(bytes.subarray(at, at + entryBytes))
    if (peer) peers.push(peer)
  }
  return peers
}
