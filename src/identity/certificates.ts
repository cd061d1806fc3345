/** The chain PeerId → instance → person: made once per device, checked by everybody who meets the PeerId. */
import { equalBytes } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { INSTANCE_CERTIFICATE_DOMAIN, type InstanceCertificate, instanceCertificateCodec } from '../wire/instance-certificate.ts'
import { PEER_CERTIFICATE_DOMAIN, peerCertificateCodec, peerChainCodec } from '../wire/peer-certificate.ts'
import { type Signed, signedCodec } from '../wire/signed.ts'
import { peerIdToBytes } from './peer-id.ts'
import { openSigned, signBody } from './signing.ts'

/** What a valid chain says about a PeerId. */
export interface PeerIdentity {
  /** Ed25519 key with which the instance signs offers and receipts. */
  readonly instanceKey: Uint8Array
  /** Ed25519 key of the person; undefined when the instance names none. */
  readonly personKey: Uint8Array | undefined
  /** X25519 key of the instance, when the person certified one. */
  readonly encryptionKey: Uint8Array | undefined
}

/** Certificate by which a person (32-byte seed) names an instance: an encoded Signed. */
export async function issueInstanceCertificate(personSeed: Uint8Array, certificate: InstanceCertificate): Promise<Uint8Array<ArrayBuffer>> {
  const body = encode(instanceCertificateCodec, certificate)
  return encode(signedCodec, await signBody(personSeed, INSTANCE_CERTIFICATE_DOMAIN, body))
}

/** Chain by which an instance (32-byte seed) names its PeerId (multihash bytes), with the person's certificate if there is one. */
export async function issuePeerChain(
  instanceSeed: Uint8Array,
  peerId: Uint8Array,
  issuedAt: number,
  instanceCertificate?: Uint8Array
): Promise<Uint8Array<ArrayBuffer>> {
  const body = encode(peerCertificateCodec, { peerId, issuedAt })
  const peer = await signBody(instanceSeed, PEER_CERTIFICATE_DOMAIN, body)
  return encode(peerChainCodec, { peer, instance: instanceCertificate && decode(signedCodec, instanceCertificate) })
}

/**
 * Checks a peer chain for the PeerId at which it was received. The caller must have authenticated that PeerId.
 * @throws INVALID_CERTIFICATE, BAD_PEER_ID, WIRE_SIGNATURE or any WIRE_ code
 */
export async function verifyPeerCertificate(bytes: Uint8Array, peerId: string): Promise<PeerIdentity> {
  const chain = decode(peerChainCodec, bytes)
  const { peerId: named } = await openSigned(peerCertificateCodec, PEER_CERTIFICATE_DOMAIN, chain.peer)
  if (!equalBytes(named, peerIdToBytes(peerId)))
    throw new KithError('INVALID_CERTIFICATE', 'the certificate is for another peer', { peer: peerId })
  const instanceKey = chain.peer.signer
  if (!chain.instance) return { instanceKey, personKey: undefined, encryptionKey: undefined }
  const { personKey, certificate } = await verifyInstanceCertificate(chain.instance)
  if (!equalBytes(certificate.instance, instanceKey))
    throw new KithError('INVALID_CERTIFICATE', 'the person named another instance', { peer: peerId })
  return { instanceKey, personKey, encryptionKey: certificate.encryption }
}

/** Checks an instance certificate by itself. @throws WIRE_SIGNATURE or any WIRE_ code */
export async function verifyInstanceCertificate(
  signed: Signed
): Promise<{ readonly personKey: Uint8Array; readonly certificate: InstanceCertificate }> {
  return { personKey: signed.signer, certificate: await openSigned(instanceCertificateCodec, INSTANCE_CERTIFICATE_DOMAIN, signed) }
}
