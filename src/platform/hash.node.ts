/** `#hash` in Node: OpenSSL through node:crypto. */
import { createHash, hash } from 'node:crypto'

/** SHA-256 of `bytes`: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hash('sha256', bytes, 'buffer'))
}

/** SHA-1 of `bytes`: 20 bytes. Only BitTorrent v1 wants it. */
export function sha1(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hash('sha1', bytes, 'buffer'))
}

export interface Hasher {
  update(bytes: Uint8Array): void
  digest(): Uint8Array<ArrayBuffer>
}

/** SHA-256 in steps. */
export function createSha256(): Hasher {
  const h = createHash('sha256')
  return { update: bytes => void h.update(bytes), digest: () => new Uint8Array(h.digest()) }
}
