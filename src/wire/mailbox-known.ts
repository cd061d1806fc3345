/**
 * The method `mailbox-known`: an owner tells its mailbox for whom there is always room, without naming them: the mailbox knows a PeerId
 * again when it comes with an envelope, and learns of nobody else. The last request replaces the one before. The answer is empty.
 *
 * | bytes | field       | notes                                                             |
 * | ----: | ----------- | ----------------------------------------------------------------- |
 * |     1 | version     | 1                                                                 |
 * |   2+n | certificate | peer chain of the caller: names the entity whose mailbox is meant  |
 * |   2+… | tags        | count ≤ 4096, 8 bytes each                                         |
 *
 * Spec: docs/wire/reach.md §6
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { KNOWN_TAG_BYTES, MAX_KNOWN_TAGS } from './limits.ts'
import { MAX_PEER_CHAIN_BYTES } from './peer-certificate.ts'

export const MAILBOX_KNOWN_METHOD = 'mailbox-known'

export interface KnownRequest {
  readonly certificate: Uint8Array
  readonly tags: readonly Uint8Array[]
}

export const knownRequest: Codec<KnownRequest> = {
  write(w, m) {
    w.u8(1)
    w.bytes16(m.certificate)
    w.u16(m.tags.length)
    for (const tag of m.tags) w.bytes(tag)
  },
  read(r) {
    expectVersion(r, 1)
    const certificate = r.bytes16(MAX_PEER_CHAIN_BYTES)
    const count = r.u16()
    if (count > MAX_KNOWN_TAGS) throw new KithError('WIRE_RANGE', 'too many tags', { count })
    return { certificate, tags: Array.from({ length: count }, () => r.bytes(KNOWN_TAG_BYTES)) }
  }
}
