/**
 * The method `peer-record`: asks a peer for its own record, or for what it knows of another's.
 *
 * | bytes | field  | notes                                                                    |
 * | ----: | ------ | ------------------------------------------------------------------------ |
 * |     1 | about  | 0: you; 1: `key` follows                                                 |
 * |    32 | key    | Ed25519 key of the instance that is looked for, only when about is 1      |
 * |     1 | depth  | how many further peers may ask in turn, ≤ 3, only when about is 1         |
 *
 * The answer is an encoded Signed of a peer record, or empty: not known.
 * Spec: docs/wire/reach.md §2
 */
import type { Codec } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_RECORD_DEPTH } from './limits.ts'

export const PEER_RECORD_METHOD = 'peer-record'

/** undefined: about the peer that is asked. */
export type PeerRecordRequest = { readonly key: Uint8Array; readonly depth: number } | undefined

export const peerRecordRequest: Codec<PeerRecordRequest> = {
  write(w, m) {
    w.u8(m ? 1 : 0)
    if (!m) return
    w.bytes(m.key)
    w.u8(m.depth)
  },
  read(r) {
    const about = r.u8()
    if (about > 1) throw new KithError('WIRE_RANGE', 'flag is neither 0 nor 1', { value: about })
    if (about === 0) return undefined
    const key = r.bytes(32)
    const depth = r.u8()
    if (depth > MAX_RECORD_DEPTH) throw new KithError('WIRE_RANGE', 'a record is looked for too far away', { depth })
    return { key, depth }
  }
}
