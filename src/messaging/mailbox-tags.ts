/** How a mailbox knows again whom its owner knows, without being told a name (docs/wire/reach.md §6). */
import { sha256 } from '#hash'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { KNOWN_TAG_BYTES } from '../wire/limits.ts'

const DOMAIN = 'kith/mailbox-known/1'

/** @param ownerKey Ed25519 @param peerId in bytes @returns 8 bytes */
export const knownTag = async (ownerKey: Uint8Array, peerId: Uint8Array): Promise<Uint8Array> =>
  (await sha256(concatBytes(utf8(DOMAIN), Uint8Array.of(0), ownerKey, peerId))).subarray(0, KNOWN_TAG_BYTES)
