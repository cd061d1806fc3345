/** libp2p PeerIds as bytes and text, without loading libp2p. */
import { base58btc } from 'multiformats/bases/base58'
import { concatBytes, equalBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { keyOfDid as readDid, didOfKey as writeDid } from '../wire/did-key.ts'
import { MAX_PEER_ID_BYTES } from '../wire/limits.ts'
import { MAX_PEER_ID_CHARS } from './limits.ts'

/** identity multihash (0x00, 36 bytes) of a protobuf {type: Ed25519 (1), data: 32 bytes}. */
const ED25519_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/** Multihash bytes of the PeerId of an Ed25519 public key. */
export const peerIdOfKey = (publicKey: Uint8Array): Uint8Array<ArrayBuffer> => concatBytes(ED25519_PREFIX, publicKey)

/** The Ed25519 key inside a PeerId; undefined for PeerIds that only hash their key (RSA) or hold another kind. */
export function keyOfPeerId(peerId: Uint8Array): Uint8Array | undefined {
  return peerId.length === 38 && equalBytes(peerId.subarray(0, 6), ED25519_PREFIX) ? peerId.subarray(6) : undefined
}

/** Text as libp2p prints it: base58btc of the multihash ("12D3KooW…"). */
export const peerIdToText = (peerId: Uint8Array): string => base58btc.baseEncode(peerId)

/**
 * Multihash bytes of a PeerId's base58 text. Only identity and SHA-256 multihashes exist as PeerIds; others are refused.
 * @throws BAD_PEER_ID
 */
export function peerIdToBytes(text: string): Uint8Array {
  const bytes = text.length > MAX_PEER_ID_CHARS ? undefined : decode(text)
  const isIdentity = bytes?.[0] === 0x00 && bytes[1] === bytes.length - 2 && bytes.length > 2
  const isSha256 = bytes?.[0] === 0x12 && bytes[1] === 32 && bytes.length === 34
  if (!bytes || bytes.length > MAX_PEER_ID_BYTES || !(isIdentity || isSha256) || peerIdToText(bytes) !== text)
    throw new KithError('BAD_PEER_ID', 'not a libp2p PeerId', { length: text.length })
  return bytes
}

function decode(text: string): Uint8Array | undefined {
  try {
    return base58btc.baseDecode(text)
  } catch {
    return undefined
  }
}

/** did:key of an Ed25519 public key: multicodec 0xed01, base58btc. */
export const didOfKey = (publicKey: Uint8Array): string => writeDid(publicKey)

/** The Ed25519 key inside a did:key; undefined for any other text. Each key has exactly one did:key. */
export const keyOfDid = (text: string): Uint8Array | undefined => readDid(text)
