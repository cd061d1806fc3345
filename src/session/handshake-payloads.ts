/**
 * The payloads of `handshake`, `handshake_ack` and `handshake_confirm`. Bytes are lower-case hex. Members that are not known are ignored, and
 * covered by the transcript.
 *
 * | handshake      | form                                              |
 * | -------------- | ------------------------------------------------- |
 * | versions       | 1 to 8 texts, best first                          |
 * | public_key     | Ed25519, 32 bytes: the one inside sender_id       |
 * | ephemeral_key  | X25519, 32 bytes; without it nothing is encrypted |
 * | challenge      | 32 bytes                                          |
 * | network        | 16 hex digits, optional                           |
 * | certificate    | encoded peer chain (identity.md), optional        |
 *
 * handshake_ack: selected_version, public_key, ephemeral_key, challenge, certificate, challenge_response (64 bytes).
 * handshake_confirm: challenge_response.
 * Spec: docs/wire/session.md §2
 */
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { canonicalJson, type Json, type JsonObject, parseJsonObject } from '../wire/strict-json.ts'
import { hexToBytesOf } from '../wire/text-bytes.ts'
import { MAX_CERTIFICATE_BYTES, MAX_VERSION_CHARS, MAX_VERSIONS } from './limits.ts'

export interface Offer {
  readonly versions: readonly string[]
  readonly publicKey: Uint8Array
  readonly ephemeralKey: Uint8Array
  readonly challenge: Uint8Array
  readonly network: string | undefined
  readonly certificate: Uint8Array | undefined
}

export interface Answer {
  readonly selectedVersion: string
  readonly publicKey: Uint8Array
  readonly ephemeralKey: Uint8Array
  readonly challenge: Uint8Array
  readonly certificate: Uint8Array | undefined
}

export const offerPayload = (o: Offer): Uint8Array<ArrayBuffer> =>
  encode({
    versions: o.versions,
    public_key: bytesToHex(o.publicKey),
    ephemeral_key: bytesToHex(o.ephemeralKey),
    challenge: bytesToHex(o.challenge),
    ...(o.network !== undefined && { network: o.network }),
    ...(o.certificate && { certificate: bytesToHex(o.certificate) })
  })

/** @throws MALFORMED, DOWNGRADE (it offers no key to encrypt with), MALFORMED_JSON, TOO_DEEP */
export function readOffer(data: Uint8Array): Offer {
  const json = parseJsonObject(data)
  const versions = json['versions']
  const isText = (v: Json): v is string => typeof v === 'string' && v.length <= MAX_VERSION_CHARS
  if (!Array.isArray(versions) || versions.length === 0 || versions.length > MAX_VERSIONS || !versions.every(isText))
    return malformed('versions')
  const network = json['network']
  if (network !== undefined && (typeof network !== 'string' || !/^[0-9a-f]{16}$/.test(network))) return malformed('network')
  return { versions: versions as readonly string[], ...commonFields(json), network }
}

/** The ack's payload without the response: what the responder signs. */
export const answerObject = (a: Answer): JsonObject => ({
  selected_version: a.selectedVersion,
  public_key: bytesToHex(a.publicKey),
  ephemeral_key: bytesToHex(a.ephemeralKey),
  challenge: bytesToHex(a.challenge),
  ...(a.certificate && { certificate: bytesToHex(a.certificate) })
})

export const answerPayload = (answer: JsonObject, response: Uint8Array): Uint8Array<ArrayBuffer> =>
  encode({ ...answer, challenge_response: bytesToHex(response) })

/** @returns also the payload without the response, canonical @throws MALFORMED, DOWNGRADE, MALFORMED_JSON, TOO_DEEP */
export function readAnswer(data: Uint8Array): { readonly answer: Answer; readonly response: Uint8Array; readonly unsigned: Uint8Array } {
  const json = parseJsonObject(data)
  const selectedVersion = json['selected_version']
  if (typeof selectedVersion !== 'string' || selectedVersion.length > MAX_VERSION_CHARS) return malformed('selected_version')
  const { challenge_response: _, ...rest } = json
  return { answer: { selectedVersion, ...commonFields(json) }, response: hex(json, 'challenge_response', 64), unsigned: encode(rest) }
}

export const confirmPayload = (response: Uint8Array): Uint8Array<ArrayBuffer> => encode({ challenge_response: bytesToHex(response) })

/** @throws MALFORMED, MALFORMED_JSON, TOO_DEEP */
export const readConfirm = (data: Uint8Array): Uint8Array => hex(parseJsonObject(data), 'challenge_response', 64)

/** What an `error` in place of a handshake_ack says. @throws MALFORMED, MALFORMED_JSON, TOO_DEEP */
export function readErrorCode(data: Uint8Array): string {
  const code = parseJsonObject(data)['error_code']
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : malformed('error_code')
}

export const encode = (json: JsonObject): Uint8Array<ArrayBuffer> => utf8(canonicalJson(json))

function commonFields(json: JsonObject): Omit<Answer, 'selectedVersion'> {
  if (json['ephemeral_key'] === undefined) throw new KithError('DOWNGRADE', 'the peer offers no key to encrypt with')
  const certificate = json['certificate']
  return {
    publicKey: hex(json, 'public_key', 32),
    ephemeralKey: hex(json, 'ephemeral_key', 32),
    challenge: hex(json, 'challenge', 32),
    certificate: certificate === undefined ? undefined : hexUpTo(certificate, MAX_CERTIFICATE_BYTES)
  }
}

function hex(json: JsonObject, field: string, bytes: number): Uint8Array {
  const text = json[field]
  return (typeof text === 'string' ? hexToBytesOf(bytes, text) : undefined) ?? malformed(field)
}

function hexUpTo(text: Json, maxBytes: number): Uint8Array {
  if (typeof text !== 'string' || text.length > maxBytes * 2) return malformed('certificate')
  return hexToBytesOf(text.length / 2, text) ?? malformed('certificate')
}

function malformed(field: string): never {
  throw new KithError('MALFORMED', `the ${field} of a handshake is missing or has a wrong form`, { field })
}
