/** `#hash` in the browser: WebCrypto has no synchronous digest, so this is @noble/hashes. */
import { sha1 as nobleSha1 } from '@noble/hashes/legacy.js'
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'

/** SHA-256 of `bytes`: 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(nobleSha256(bytes))
}

/** SHA-1 of `bytes`: 20 bytes. Only BitTorrent v1 wants it. */
export function sha1(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(nobleSha1(bytes))
}

export interface Hasher {
  update(bytes: Uint8Array): void
  digest(): Uint8Array<ArrayBuffer>
}

/** SHA-256 in steps. */
export function createSha256(): Hasher {
  const h = nobleSha256.create()
  return { update: bytes => void h.update(bytes), digest: () => Uint8Array.from(h.digest()) }
}
