/**
 * Offer: what one seeder has of one file, how it can be had, and what it costs. Signed (signed.ts) with domain OFFER_DOMAIN by
 * the seeder's instance key; the peer certificate that binds that key to `peerId` travels beside it.
 *
 * | bytes | field       | notes                                                            |
 * | ----: | ----------- | ---------------------------------------------------------------- |
 * |     1 | version     | 1                                                                |
 * |    32 | fileId      | SHA-256 of the stored bytes                                      |
 * |    32 | root        | Merkle root, docs/wire/transfer.md §3                            |
 * |     8 | size        | bytes                                                            |
 * |   2+n | peerId      | libp2p PeerId (multihash bytes)                                  |
 * |     8 | sequence    | a later offer of the same peer for the same file has a higher one |
 * |     8 | expiresAt   | ms since 1970, at most 24 h ahead                                |
 * |     8 | creditBytes | unpaid bytes the seeder allows this reader                       |
 * |   2+n | pricePerMb  | wei, decimal; "0" is free                                        |
 * |     8 | chainId     | 0 when free                                                      |
 * |    20 | wallet      | zeros when free                                                  |
 * |     1 | all         | 1: every chunk, no ranges follow; 0: `chunks` follows            |
 * |   2+n | chunks      | ranges.ts, only when `all` is 0                                  |
 * |     1 | protocols   | count ≤ 8, each: name text16, port u16, extra bytes16            |
 *
 * An offer names ports, not hosts: the host is the address at which the PeerId was authenticated (DESIGN §6).
 * Spec: docs/wire/transfer.md §4
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import {
  CHUNK_BYTES,
  MAX_CHUNKS,
  MAX_OFFER_PROTOCOLS,
  MAX_PEER_ID_BYTES,
  MAX_PROTOCOL_EXTRA_BYTES,
  MAX_PROTOCOL_NAME_BYTES,
  MAX_WEI_DIGITS
} from './limits.ts'
import { type Range, rangesCodec } from './ranges.ts'
import { parseWei } from './wei.ts'

export const OFFER_DOMAIN = 'kith/offer/1'

export interface OfferProtocol {
  /** "http", "bittorrent", … Unknown names are ignored by the reader of the offer. */
  readonly name: string
  readonly port: number
  /** bittorrent: the 20-byte info-hash. Others: empty. */
  readonly extra: Uint8Array
}

export interface Offer {
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly size: number
  readonly peerId: Uint8Array
  readonly sequence: number
  readonly expiresAt: number
  readonly creditBytes: number
  readonly pricePerMb: bigint
  readonly chainId: number
  readonly wallet: Uint8Array
  /** undefined: every chunk. */
  readonly chunks: readonly Range[] | undefined
  readonly protocols: readonly OfferProtocol[]
}

export const offerCodec: Codec<Offer> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.fileId)
    w.bytes(m.root)
    w.u64(m.size)
    w.bytes16(m.peerId)
    w.u64(m.sequence)
    w.u64(m.expiresAt)
    w.u64(m.creditBytes)
    w.text16(m.pricePerMb.toString())
    w.u64(m.chainId)
    w.bytes(m.wallet)
    w.u8(m.chunks ? 0 : 1)
    if (m.chunks) rangesCodec.write(w, m.chunks)
    w.u8(m.protocols.length)
    for (const p of m.protocols) {
      w.text16(p.name)
      w.u16(p.port)
      w.bytes16(p.extra)
    }
  },
  read(r) {
    expectVersion(r, 1)
    const head = {
      fileId: r.bytes(32),
      root: r.bytes(32),
      size: r.u64(),
      peerId: r.bytes16(MAX_PEER_ID_BYTES),
      sequence: r.u64(),
      expiresAt: r.u64(),
      creditBytes: r.u64(),
      pricePerMb: parseWei(r.text16(MAX_WEI_DIGITS)),
      chainId: r.u64(),
      wallet: r.bytes(20)
    }
    if (head.size > MAX_CHUNKS * CHUNK_BYTES) throw new KithError('WIRE_RANGE', 'file is too large', { size: head.size })
    const all = r.u8()
    if (all > 1) throw new KithError('WIRE_RANGE', 'flag is neither 0 nor 1', { value: all })
    const chunks = all === 1 ? undefined : rangesCodec.read(r)
    const last = chunks?.at(-1)
    if (last && last.first + last.count > Math.ceil(head.size / CHUNK_BYTES))
      throw new KithError('WIRE_RANGE', 'offer names chunks beyond the file')
    const n = r.u8()
    if (n > MAX_OFFER_PROTOCOLS) throw new KithError('WIRE_RANGE', 'too many protocols', { count: n })
    const protocols: OfferProtocol[] = []
    for (let i = 0; i < n; i++) {
      protocols.push({ name: r.text16(MAX_PROTOCOL_NAME_BYTES), port: r.u16(), extra: r.bytes16(MAX_PROTOCOL_EXTRA_BYTES) })
    }
    return { ...head, chunks, protocols }
  }
}
