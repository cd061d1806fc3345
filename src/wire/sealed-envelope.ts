/**
 * Sealed envelope: a message that hops or waits. Only the recipient can open it; the author and the author's signature are inside. The head
 * (everything before `sealed`) is the associated data of the seal, so that nobody on the way can change it. The hop list is outside: whoever
 * carries the envelope on appends its own PeerId. There is no signature of the sender outside, because it would tell everybody on the way
 * who writes to whom; a relay knows and limits the peer that handed it the envelope.
 *
 * | bytes | field     | notes                                                                |
 * | ----: | --------- | -------------------------------------------------------------------- |
 * |     1 | version   | 1                                                                    |
 * |    16 | id        | random, new for each attempt to send                                  |
 * |    32 | to        | Ed25519 key of the recipient's instance                              |
 * |     8 | expiresAt | ms since 1970, at most 7 days ahead                                  |
 * |   4+n | sealed    | to a prekey of the recipient (docs/wire/session.md), ≤ 1 MiB + 4 KiB |
 * |     1 | hops      | count ≤ 8, each: PeerId bytes16 of a peer that carried it, none twice |
 *
 * Spec: docs/wire/reach.md §3
 */
import { bytesToHex } from '../base/bytes.ts'
import { type Codec, encode, expectVersion, type Reader } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_HOPS, MAX_PEER_ID_BYTES, MAX_SEALED_BYTES } from './limits.ts'

export interface EnvelopeHead {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** 32 bytes. */
  readonly to: Uint8Array
  readonly expiresAt: number
}

export interface SealedEnvelope extends EnvelopeHead {
  readonly sealed: Uint8Array
  /** PeerIds, multihash bytes, in the order in which they carried it. */
  readonly hops: readonly Uint8Array[]
}

const headCodec: Codec<EnvelopeHead> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.id)
    w.bytes(m.to)
    w.u64(m.expiresAt)
  },
  read(r) {
    expectVersion(r, 1)
    return { id: r.bytes(16), to: r.bytes(32), expiresAt: r.u64() }
  }
}

/** What the seal covers beside the message: its associated data. */
export const envelopeHeadBytes = (head: EnvelopeHead): Uint8Array<ArrayBuffer> => encode(headCodec, head)

export const sealedEnvelopeCodec: Codec<SealedEnvelope> = {
  write(w, m) {
    headCodec.write(w, m)
    w.bytes32(m.sealed)
    w.u8(m.hops.length)
    for (const hop of m.hops) w.bytes16(hop)
  },
  read(r) {
    const head = headCodec.read(r)
    const sealed = r.bytes32(MAX_SEALED_BYTES)
    if (sealed.length === 0) throw new KithError('WIRE_RANGE', 'an envelope without content')
    return { ...head, sealed, hops: readHops(r) }
  }
}

function readHops(r: Reader): Uint8Array[] {
  const n = r.u8()
  if (n > MAX_HOPS) throw new KithError('TOO_MANY_HOPS', 'an envelope has been carried too often', { hops: n })
  const hops: Uint8Array[] = []
  for (let i = 0; i < n; i++) {
    const hop = r.bytes16(MAX_PEER_ID_BYTES)
    if (hop.length === 0) throw new KithError('WIRE_RANGE', 'a hop without id')
    hops.push(hop)
  }
  if (new Set(hops.map(bytesToHex)).size !== n) throw new KithError('WIRE_RANGE', 'a hop stands there twice')
  return hops
}
