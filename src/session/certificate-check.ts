/** Which PeerId and person belong to an instance that speaks: its certificate, against the link on which it came (threats CO22). */
import { equalBytes } from '../base/bytes.ts'
import { decode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { verifyPeerCertificate } from '../identity/certificates.ts'
import { peerIdToText } from '../identity/peer-id.ts'
import { peerCertificateCodec, peerChainCodec } from '../wire/peer-certificate.ts'

export interface CertifiedPeer {
  readonly instanceKey: Uint8Array
  readonly peerId: string
  readonly personKey: Uint8Array | undefined
}

/** Checks an encoded peer chain by itself. @throws INVALID_CERTIFICATE, BAD_PEER_ID, WIRE_ codes */
export type CertificateCheck = (certificate: Uint8Array) => Promise<CertifiedPeer>

export const verifyPeerChain: CertificateCheck = async certificate => {
  const chain = decode(peerChainCodec, certificate)
  const peerId = peerIdToText(decode(peerCertificateCodec, chain.peer.body).peerId)
  const { instanceKey, personKey } = await verifyPeerCertificate(certificate, peerId)
  return { instanceKey, peerId, personKey }
}

/**
 * undefined when the peer told no certificate: then nobody knows its PeerId.
 * @throws IDENTITY_MISMATCH when the certificate is not valid, names another instance than `senderKey`, or another PeerId than the link's
 */
export async function checkCertificate(
  verify: CertificateCheck,
  certificate: Uint8Array | undefined,
  senderKey: Uint8Array,
  linkPeerId: string | undefined
): Promise<CertifiedPeer | undefined> {
  if (!certificate) return undefined
  let certified: CertifiedPeer
  try {
    certified = await verify(certificate)
  } catch (cause) {
    throw new KithError('IDENTITY_MISMATCH', 'the certificate of the peer is not valid', {}, { cause })
  }
  if (!equalBytes(certified.instanceKey, senderKey))
    throw new KithError('IDENTITY_MISMATCH', 'the certificate is of another instance than the sender')
  if (linkPeerId !== undefined && certified.peerId !== linkPeerId)
    throw new KithError('IDENTITY_MISMATCH', 'the certificate is of another PeerId than the link', { link: linkPeerId })
  return certified
}
