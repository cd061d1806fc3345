/**
 * The method `peer-record`: asks a peer for its own record, or for what it knows of another's.
 *
 * | bytes | field    | notes                                                                      |
 * | ----: | -------- | -------------------------------------------------------------------------- |
 * |     1 | about    | 0: you; 1: another                                                         |
 * |     8 | sequence | about 0: of the asker's own record, who may be asked for it in turn; 0: none |
 * |    32 | key      | about 1: Ed25519 key of the instance that is looked for                    |
 * |     1 | depth    | about 1: how many further peers may ask in turn, ≤ 3                       |
 *
 * The answer is an encoded Signed of a peer record, or empty: not known.
 * Spec: docs/wire/reach.md §2
 */
import type { Codec } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_RECORD_DEPTH } from './limits.ts'

export const PEER_RECORD_METHOD = 'peer-record'

/** About the peer that is asked, telling the sequence of one's own record; or about another. */
export type PeerRecordRequest = { readonly sequence: number } | { readonly key: Uint8Array; readonly depth: number }

export const peerRecordRequest: Codec<PeerRecordRequest> = {
  write(w, m) {
    w.u8('key' in m ? 1 : 0)
    if ('sequence' in m) return w.u64(m.sequence)
    w.bytes(m.key)
    w.u8(m.depth)
  },
  read(r) {
    const about = r.u8()
    if (about > 1) throw new KithError('WIRE_RANGE', 'flag is neither 0 nor 1', { value: about })
    if (about === 0) return { sequence: r.u64() }
    const key = r.bytes(32)
    const depth = r.u8()
    if (depth > MAX_RECORD_DEPTH) throw new KithError('WIRE_RANGE', 'a record is looked for too far away', { depth })
    return { key, depth }
  }
}
