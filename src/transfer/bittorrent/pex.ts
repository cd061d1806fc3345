/**
 * Peer exchange (BEP 11): which peers of a torrent somebody is connected to. Bencoded: `added` and `added6` are packed addresses, `added.f`
 * and `added6.f` one byte of flags for each, `dropped` and `dropped6` those that have left. Pure.
 *
 * Spec: docs/wire/bittorrent.md §8
 */
import { concatBytes } from '../../base/bytes.ts'
import { BDict, bdict, decodeBencode, encodeBencode } from './bencode.ts'
import { COMPACT4_BYTES, COMPACT6_BYTES, packPeer, unpackPeers } from './compact.ts'
import { MAX_EXTENDED_BYTES, MAX_PEX_PEERS } from './limits.ts'
import { protocolError } from './messages.ts'
import type { PeerAddress } from './urls.ts'

export interface PexMessage {
  readonly added: readonly PeerAddress[]
  readonly dropped: readonly PeerAddress[]
}

/** Writes at most 50 of each; names instead of addresses are left out. */
export function encodePex({ added, dropped }: PexMessage): Uint8Array<ArrayBuffer> {
  const pack = (peers: readonly PeerAddress[], length: number): Uint8Array | undefined => {
    const packed = peers.slice(0, MAX_PEX_PEERS).flatMap(p => packPeer(p) ?? [])
    const some = packed.filter(p => p.length === length)
    return some.length > 0 ? concatBytes(...some) : undefined
  }
  const v4 = pack(added, COMPACT4_BYTES)
  const v6 = pack(added, COMPACT6_BYTES)
  return encodeBencode(
    bdict({
      added: v4 ?? new Uint8Array(),
      'added.f': new Uint8Array((v4?.length ?? 0) / COMPACT4_BYTES),
      added6: v6,
      'added6.f': v6 && new Uint8Array(v6.length / COMPACT6_BYTES),
      dropped: pack(dropped, COMPACT4_BYTES) ?? new Uint8Array(),
      dropped6: pack(dropped, COMPACT6_BYTES)
    })
  )
}

/** At most 50 of each list are read (threats BT7). @throws PEER_WIRE for what is no dictionary */
export function decodePex(bytes: Uint8Array): PexMessage {
  const d = readDict(bytes)
  const list = (name: string): PeerAddress[] =>
    [
      ...unpackPeers(d.bytes(name) ?? EMPTY, COMPACT4_BYTES, MAX_PEX_PEERS),
      ...unpackPeers(d.bytes(`${name}6`) ?? EMPTY, COMPACT6_BYTES, MAX_PEX_PEERS)
    ].slice(0, MAX_PEX_PEERS)
  return { added: list('added'), dropped: list('dropped') }
}

const EMPTY = new Uint8Array()

function readDict(bytes: Uint8Array): BDict {
  try {
    const value = decodeBencode(bytes, { anyOrder: true, maxBytes: MAX_EXTENDED_BYTES })
    if (value instanceof BDict) return value
  } catch {
    // told below
  }
  throw protocolError('a peer exchange message is no dictionary')
}
