/**
 * Messages of entities before version 1.1 (spec 001's origin, 0.3 and 1.0), read only. The receiving user must have asked for it for one
 * peer, whose key is known from elsewhere: the form names no key, and signs neither the recipient nor session and sequence.
 *
 * | member    | form                                                             | signed |
 * | --------- | ---------------------------------------------------------------- | ------ |
 * | version   | "0.3" or "1.0"                                                   | yes    |
 * | msg_type  | as in a SecureMessage                                            | yes    |
 * | sender_id | text of 1 to 256 characters                                      | yes    |
 * | payload   | an object, not encrypted                                         | yes    |
 * | timestamp | ISO 8601 in UTC with seconds, at most six decimals, Z or +00:00  | yes    |
 * | nonce     | 16 bytes as lower-case hex                                       | yes    |
 * | signature | base64 of an Ed25519 signature over Python's JSON of these six   |        |
 *
 * Other members are ignored.
 * Spec: docs/wire/message.md §6
 */
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { MAX_LEGACY_ID_CHARS } from './limits.ts'
import { type MessageType, messageTypeOf } from './message-types.ts'
import { type PythonJson, parsePythonJson, plainJson, pythonJson, pythonObject } from './python-json.ts'
import { isJsonObject, type JsonObject } from './strict-json.ts'
import { base64ToBytes } from './text-bytes.ts'

export interface LegacyMessage {
  readonly version: '0.3' | '1.0'
  readonly msgType: string
  /** undefined: not known here. */
  readonly type: MessageType | undefined
  /** A name that its sender chose: who it is depends on the key that `signature` matches. */
  readonly senderId: string
  readonly payload: JsonObject
  /** ms since 1970. */
  readonly sentAt: number
  /** 32 hex digits. */
  readonly nonce: string
  /** 64 bytes, not checked yet: over `signedBytes`. */
  readonly signature: Uint8Array
  /** Begins with `{`, so that it is never what a signature with a domain covers. */
  readonly signedBytes: Uint8Array
}

const SIGNED = ['version', 'msg_type', 'sender_id', 'payload', 'timestamp', 'nonce'] as const
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)$/

/** @throws MALFORMED_JSON, TOO_DEEP, TOO_LARGE, INVALID_VERSION, MALFORMED, UNKNOWN_SENDER (no name), INVALID_SIGNATURE (wrong form) */
export function readLegacyMessage(bytes: Uint8Array): LegacyMessage {
  const json = pythonObject(parsePythonJson(bytes))
  const text = (name: string, form: RegExp): string => {
    const value = json[name]
    if (typeof value !== 'string' || !form.test(value))
      throw new KithError('MALFORMED', `the ${name} of the message is missing or has a wrong form`)
    return value
  }
  const version = json['version']
  if (version !== '0.3' && version !== '1.0') throw new KithError('INVALID_VERSION', 'not a message before version 1.1')
  const msgType = text('msg_type', /^[A-Za-z0-9_.-]{1,64}$/)
  const senderId = json['sender_id']
  if (typeof senderId !== 'string' || senderId === '' || senderId.length > MAX_LEGACY_ID_CHARS)
    throw new KithError('UNKNOWN_SENDER', 'the message does not say who sends it')
  const sentAt = timeOf(text('timestamp', TIME))
  const nonce = text('nonce', /^[0-9a-f]{32}$/)
  const payload = plainJson(json['payload'] ?? null)
  if (!isJsonObject(payload)) throw new KithError('MALFORMED', 'the payload of the message is not an object')
  const signature = typeof json['signature'] === 'string' ? base64ToBytes(json['signature']) : undefined
  if (signature?.length !== 64) throw new KithError('INVALID_SIGNATURE', 'the signature is not base64 of 64 bytes')
  const signed: Record<string, PythonJson> = {}
  for (const name of SIGNED) signed[name] = json[name]!
  const signedBytes = utf8(pythonJson(signed))
  return { version, msgType, type: messageTypeOf(msgType), senderId, payload, sentAt, nonce, signature, signedBytes }
}

function timeOf(text: string): number {
  const [, seconds = '', fraction = ''] = TIME.exec(text)!
  const ms = Date.parse(`${seconds}Z`)
  // Date.parse takes 30 February for 2 March.
  if (!(ms >= 0) || new Date(ms).toISOString().slice(0, 19) !== seconds)
    throw new KithError('MALFORMED', 'the timestamp of the message is no date')
  return ms + Math.floor(Number(`0.${fraction || 0}`) * 1000)
}
