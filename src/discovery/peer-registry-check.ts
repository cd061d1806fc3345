/** Reads a peer record that anybody may have handed on: its signature, its certificate and its dates decide, not who brought it. */
import { equalBytes } from '../base/bytes.ts'
import { decode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { verifyPeerCertificate } from '../identity/certificates.ts'
import { didOfKey, peerIdToText } from '../identity/peer-id.ts'
import { openSigned } from '../identity/signing.ts'
import { MAX_CLOCK_SKEW_MS, MAX_RECORD_AGE_MS, MAX_RECORD_BYTES } from '../wire/limits.ts'
import { peerCertificateCodec, peerChainCodec } from '../wire/peer-certificate.ts'
import { PEER_RECORD_DOMAIN, type PeerRecord, peerRecordCodec } from '../wire/peer-record.ts'
import { signedCodec } from '../wire/signed.ts'
import { STALE_RECORD_MS } from './limits.ts'

/** A record that is signed by its entity, whose certificate names the PeerId. */
export interface CheckedRecord {
  /** did:key of the signer. */
  readonly entityId: string
  /** Ed25519 key of the signer. */
  readonly key: Uint8Array
  /** libp2p PeerId text. */
  readonly peerId: string
  readonly record: PeerRecord
  /** The encoded Signed, to hand on. */
  readonly bytes: Uint8Array
}

/** Longest encoded Signed of a record: body, signer, signature, length. */
export const MAX_SIGNED_RECORD_BYTES: number = MAX_RECORD_BYTES + 100

/**
 * @throws BAD_RECORD (too long, too far ahead, too old, another signer than its certificate names), INVALID_CERTIFICATE, WIRE_SIGNATURE, any
 *   WIRE_ code
 */
export async function checkPeerRecord(bytes: Uint8Array, now: number): Promise<CheckedRecord> {
  if (bytes.length > MAX_SIGNED_RECORD_BYTES) throw new KithError('BAD_RECORD', 'a peer record is too long', { length: bytes.length })
  const signed = decode(signedCodec, bytes)
  const record = await openSigned(peerRecordCodec, PEER_RECORD_DOMAIN, signed)
  if (record.expiresAt > now + MAX_RECORD_AGE_MS + MAX_CLOCK_SKEW_MS)
    throw new KithError('BAD_RECORD', 'a peer record claims to hold for too long', { expiresAt: record.expiresAt })
  if (record.expiresAt + STALE_RECORD_MS < now)
    throw new KithError('BAD_RECORD', 'a peer record is too old', { expiresAt: record.expiresAt })
  const peerId = peerIdToText(decode(peerCertificateCodec, decode(peerChainCodec, record.certificate).peer.body).peerId)
  const { instanceKey } = await verifyPeerCertificate(record.certificate, peerId)
  if (!equalBytes(instanceKey, signed.signer))
    throw new KithError('BAD_RECORD', 'a peer record is not signed by whom its certificate names')
  return { entityId: didOfKey(signed.signer), key: signed.signer, peerId, record, bytes }
}
