/**
 * Canonical peer priority (BEP 40): both ends of a connection compute the same number from their two addresses, so that when there are
 * more peers than places everybody keeps the same ones, and nobody can fill all places with addresses of their choice. Pure.
 */
import { concatBytes } from '../../base/bytes.ts'
import { addressBytes } from './compact.ts'
import { crc32c } from './crc32c.ts'
import type { PeerAddress } from './urls.ts'

/** The higher number is to be preferred; 0 when one of the hosts is a name, or the families differ. */
export function peerPriority(a: PeerAddress, b: PeerAddress): number {
  const x = addressBytes(a.host)
  const y = addressBytes(b.host)
  if (!x || !y || x.length !== y.length) return 0
  const same = x.findIndex((v, i) => v !== y[i])
  if (same === -1) return crc32c(sorted(u16(a.port), u16(b.port)))
  return crc32c(sorted(masked(x, same), masked(y, same)))
}

/** The first half stays as it is and so does what both share; every other byte keeps every second bit. */
function masked(address: Uint8Array, sharedBytes: number): Uint8Array<ArrayBuffer> {
  const half = address.length === 4 ? 2 : 6
  const kept = sharedBytes < half ? half : sharedBytes + 1
  return Uint8Array.from(address, (v, i) => (i < kept ? v : v & 0x55))
}

const u16 = (v: number): Uint8Array => Uint8Array.of(v >> 8, v & 255)

function sorted(a: Uint8Array, b: Uint8Array): Uint8Array {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]! ? concatBytes(a, b) : concatBytes(b, a)
  return concatBytes(a, b)
}
