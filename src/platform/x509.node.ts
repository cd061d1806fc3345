/**
 * A self-signed certificate (RFC 5280) for a key of our own: Node reads X.509 but cannot write it. Whoever connects pins the key
 * (docs/wire/http.md), so names and dates in it decide nothing; they are constants, and say nothing about who made it or when.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate
} from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder, readSecretFile, writeFileDurably } from './files.node.ts'
import { bits, der, generalizedTime, octets, oid, positive, sequence, TRUE, utcTime, utf8String } from './x509-der.ts'

export interface TlsIdentity {
  /** PKCS #8 PEM. */
  readonly key: string
  /** Self-signed, PEM. */
  readonly certificate: string
  /** SHA-256 of the certificate's SubjectPublicKeyInfo: what others pin. 32 bytes. */
  readonly pin: Uint8Array
}

/** The name in every such certificate; reserved, so that it belongs to nobody (RFC 6761). */
const NAME = 'kith.invalid'

/**
 * The TLS key kept in `path` (mode 0600), made and written durably when there is none, with a fresh certificate for it.
 * @throws KEY_FILE_MODE, KEY_FILE_EMPTY, KEY_FILE_DAMAGED
 */
export function openTlsIdentity(path: string): TlsIdentity {
  if (!existsSync(path)) {
    makePrivateFolder(dirname(path))
    writeFileDurably(path, makeKey().export({ type: 'pkcs8', format: 'pem' }) as string)
  }
  const pem = readSecretFile(path)
  return tlsIdentity(readKey(pem, path))
}

/** A key that is forgotten with the process. */
export const temporaryTlsIdentity = (): TlsIdentity => tlsIdentity(makeKey())

/** SHA-256 of the key in a certificate, 32 bytes; undefined when there is none, or one of a kind that cannot be read. */
export function pinOf(certificate: X509Certificate | undefined): Uint8Array | undefined {
  try {
    return certificate && pinOfKey(certificate.publicKey)
  } catch {
    return undefined
  }
}

function tlsIdentity(key: KeyObject): TlsIdentity {
  return {
    key: key.export({ type: 'pkcs8', format: 'pem' }) as string,
    certificate: toPem(selfSigned(key)),
    pin: pinOfKey(createPublicKey(key))
  }
}

/** P-256: the one curve that every TLS 1.3 implementation must know (RFC 8446 §9.1). */
const makeKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

function readKey(pem: string, path: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  } catch {
    // said below
  }
  throw new KithError('KEY_FILE_DAMAGED', `${path} is not a TLS key of this program`, { path }, { hint: 'delete it: a new key is made' })
}

function pinOfKey(key: KeyObject): Uint8Array {
  return new Uint8Array(
    createHash('sha256')
      .update(key.export({ type: 'spki', format: 'der' }))
      .digest()
  )
}

/** Certificate in DER, signed with ecdsa-with-SHA256. */
function selfSigned(key: KeyObject): Uint8Array {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'))
  const name = sequence(der(0x31, sequence(oid('2.5.4.3'), utf8String(NAME))))
  const body = sequence(
    der(0xa0, positive(Uint8Array.of(2))), // v3
    positive(randomBytes(16)),
    algorithm,
    name,
    sequence(utcTime('200101000000Z'), generalizedTime('99991231235959Z')), // "no well-defined expiration date", RFC 5280 §4.1.2.5
    name,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions()))
  )
  return sequence(body, algorithm, bits(sign('sha256', body, key)))
}

function extensions(): Uint8Array[] {
  const one = (id: string, critical: boolean, value: Uint8Array): Uint8Array =>
    sequence(oid(id), ...(critical ? [TRUE] : []), octets(value))
  return [
    one('2.5.29.19', true, sequence()), // basicConstraints: no authority
    one('2.5.29.15', true, bits(Uint8Array.of(0x80), 7)), // keyUsage: digitalSignature
    one('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))), // extKeyUsage: serverAuth
    one('2.5.29.17', false, sequence(der(0x82, new TextEncoder().encode(NAME)))) // subjectAltName: dNSName
  ]
}

const toPem = (bytes: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(bytes)
    .toString('base64')
    .replace(/.{64}(?!$)/g, '$&\n')}\n-----END CERTIFICATE-----\n`
