/**
 * Instance certificate: a person says that a device or browser profile acts for them. Signed (signed.ts) with
 * INSTANCE_CERTIFICATE_DOMAIN; the signer is the person's signing key.
 *
 * | bytes | field      | notes                                          |
 * | ----: | ---------- | ---------------------------------------------- |
 * |     1 | version    | 1                                              |
 * |    32 | instance   | Ed25519 key with which the instance signs      |
 * |    32 | encryption | X25519 key to which messages are encrypted     |
 * |     8 | issuedAt   | ms since 1970; the newest certificate is meant |
 *
 * Spec: docs/wire/identity.md §2
 */
import { type Codec, expectVersion } from '../base/codec.ts'

export const INSTANCE_CERTIFICATE_DOMAIN = 'kith/instance-certificate/1'

export interface InstanceCertificate {
  readonly instance: Uint8Array
  readonly encryption: Uint8Array
  readonly issuedAt: number
}

export const instanceCertificateCodec: Codec<InstanceCertificate> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.instance)
    w.bytes(m.encryption)
    w.u64(m.issuedAt)
  },
  read(r) {
    expectVersion(r, 1)
    return { instance: r.bytes(32), encryption: r.bytes(32), issuedAt: r.u64() }
  }
}
