/**
 * Peer certificate: an instance says that a libp2p key speaks for it. Signed (signed.ts) with PEER_CERTIFICATE_DOMAIN; the signer
 * is the instance key.
 *
 * | bytes | field    | notes                                          |
 * | ----: | -------- | ---------------------------------------------- |
 * |     1 | version  | 1                                              |
 * |   2+n | peerId   | libp2p PeerId, multihash bytes, 1..64          |
 * |     8 | issuedAt | ms since 1970                                  |
 *
 * Peer chain: what travels beside an offer. It proves PeerId → instance, and → person if the instance has one.
 *
 * | bytes | field    | notes                                            |
 * | ----: | -------- | ------------------------------------------------ |
 * |     1 | version  | 1                                                |
 * |     n | peer     | Signed peer certificate                          |
 * |     1 | flag     | 1: an instance certificate follows; 0: none      |
 * |     n | instance | Signed instance certificate (instance-certificate.ts) |
 *
 * Spec: docs/wire/identity.md §3 and §4
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_PEER_ID_BYTES } from './limits.ts'
import { type Signed, signedCodec } from './signed.ts'

export const PEER_CERTIFICATE_DOMAIN = 'kith/peer-certificate/1'
/** Longest peer chain: two Signed bodies of fixed layout are 325 bytes at most. */
export const MAX_PEER_CHAIN_BYTES = 512

export interface PeerCertificate {
  readonly peerId: Uint8Array
  readonly issuedAt: number
}

export const peerCertificateCodec: Codec<PeerCertificate> = {
  write(w, m) {
    w.u8(1)
    w.bytes16(m.peerId)
    w.u64(m.issuedAt)
  },
  read(r) {
    expectVersion(r, 1)
    const peerId = r.bytes16(MAX_PEER_ID_BYTES)
    if (peerId.length === 0) throw new KithError('WIRE_RANGE', 'certificate names no peer')
    return { peerId, issuedAt: r.u64() }
  }
}

export interface PeerChain {
  readonly peer: Signed
  readonly instance: Signed | undefined
}

export const peerChainCodec: Codec<PeerChain> = {
  write(w, m) {
    w.u8(1)
    signedCodec.write(w, m.peer)
    w.u8(m.instance ? 1 : 0)
    if (m.instance) signedCodec.write(w, m.instance)
  },
  read(r) {
    if (r.left > MAX_PEER_CHAIN_BYTES) throw new KithError('WIRE_RANGE', 'peer chain is too long', { length: r.left })
    expectVersion(r, 1)
    const peer = signedCodec.read(r)
    const flag = r.u8()
    if (flag > 1) throw new KithError('WIRE_RANGE', 'flag is neither 0 nor 1', { value: flag })
    return { peer, instance: flag === 1 ? signedCodec.read(r) : undefined }
  }
}
