/**
 * SecureMessage of spec 001 as JSON: reading strictly, and writing in canonical form (RFC 8785).
 *
 * | member       | form                                                                            |
 * | ------------ | ------------------------------------------------------------------------------- |
 * | msg_type     | 1 to 64 of `A-Z a-z 0-9 _ . -`; which types there are: message-types.ts         |
 * | nonce        | 32 bytes as lower-case hex                                                      |
 * | payload      | {data: base64, encrypted: bool}                                                 |
 * | recipient_id | did:key of an Ed25519 key                                                       |
 * | sender_id    | the same; its key has signed                                                    |
 * | sequence_num | 0 to 2^53 - 2                                                                   |
 * | session_id   | UUID v4, lower case                                                             |
 * | signature    | 64 bytes as lower-case hex, over utf8("kith/message/1") ‖ 0x00 ‖ all other members |
 * | timestamp    | YYYY-MM-DDTHH:MM:SS[.mmm]Z                                                      |
 * | version      | "1.1" or "1.0"                                                                  |
 *
 * Other members are signed like these, and ignored, unless `critical` says that they must not be.
 * Spec: docs/wire/message.md §2
 */
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { keyOfDid, looksLikeDid } from './did-key.ts'
import { MAX_MESSAGE_FRAME_BYTES, MAX_SEQUENCE_NUM } from './limits.ts'
import { type MessageType, messageTypeOf } from './message-types.ts'
import { canonicalJson, isJsonObject, type Json, type JsonObject, parseJsonObject } from './strict-json.ts'
import { base64Length, base64ToBytes, bytesToBase64, hexToBytesOf, readBase64, writeAscii, writeBase64 } from './text-bytes.ts'

/** What signatures of messages begin with, before a zero byte. */
export const MESSAGE_DOMAIN = 'kith/message/1'

export type MessageVersion = '1.0' | '1.1'

/** All but payload and signature: what is authenticated beside an encrypted payload. */
export interface MessageHeader {
  readonly version: MessageVersion
  /** As on the wire: maybe an alias, maybe unknown. */
  readonly msgType: string
  /** did:key. */
  readonly senderId: string
  readonly recipientId: string
  /** UUID v4. */
  readonly sessionId: string
  readonly sequenceNum: number
  /** As on the wire, for example 2026-02-01T00:00:00.000Z. */
  readonly timestamp: string
  /** 64 lower-case hex digits. */
  readonly nonce: string
  /** Members that this version does not know. */
  readonly extra?: JsonObject
}

export interface SecureMessage extends MessageHeader {
  readonly encrypted: boolean
  /** Ciphertext with its tag, or the UTF-8 JSON of the type's payload. */
  readonly data: Uint8Array
}

export interface ReceivedSecureMessage extends SecureMessage {
  /** The type behind `msgType`; undefined for one that is not known here. */
  readonly type: MessageType | undefined
  /** `timestamp` in ms since 1970. */
  readonly sentAt: number
  /** Ed25519 key out of `senderId`: 32 bytes. */
  readonly senderKey: Uint8Array
  /** 64 bytes, not checked yet: over `signedBytes`, by `senderKey`. */
  readonly signature: Uint8Array
  readonly signedBytes: Uint8Array
  /** Associated data of an encrypted payload. */
  readonly header: Uint8Array
}

const MEMBERS: readonly string[] = [
  'msg_type',
  'nonce',
  'payload',
  'recipient_id',
  'sender_id',
  'sequence_num',
  'session_id',
  'signature',
  'timestamp',
  'version'
]
const KNOWN: ReadonlySet<string> = new Set(MEMBERS)

/**
 * Reads a message; its signature, recipient, time, nonce and sequence are still to be checked.
 * @throws MALFORMED_JSON, TOO_DEEP, TOO_LARGE, INVALID_VERSION, MALFORMED, UNKNOWN_SENDER (no did:key of Ed25519), INVALID_SIGNATURE (it has
 * the wrong form), SEQUENCE_ERROR (2^53 - 1: nothing could follow it), UNSUPPORTED (`critical` asks for what is not known here)
 */
export function readSecureMessage(bytes: Uint8Array): ReceivedSecureMessage {
  const known = readAlready.get(bytes)
  if (!known) return read(bytes)
  readAlready.delete(bytes)
  return known
}

/** As readSecureMessage; whoever reads these very bytes next, which nobody may change until then, gets the same without reading again. */
export function readSecureMessageAhead(bytes: Uint8Array): ReceivedSecureMessage {
  const message = read(bytes)
  readAlready.set(bytes, message)
  return message
}
const readAlready = new WeakMap<Uint8Array, ReceivedSecureMessage>()

function read(bytes: Uint8Array): ReceivedSecureMessage {
  const json = parseJsonObject(bytes)
  const payload = json['payload']
  if (!isJsonObject(payload)) return malformed('payload')
  const extra = extraOf(json)
  const header: MessageHeader = {
    version: json['version'] as MessageVersion,
    msgType: json['msg_type'] as string,
    senderId: json['sender_id'] as string,
    recipientId: json['recipient_id'] as string,
    sessionId: json['session_id'] as string,
    sequenceNum: json['sequence_num'] as number,
    timestamp: json['timestamp'] as string,
    nonce: json['nonce'] as string,
    ...(extra && { extra })
  }
  const sentAt = checkHeader(header)
  const senderKey = keyOfDid(header.senderId)
  if (!senderKey) throw new KithError('UNKNOWN_SENDER', 'the sender is no did:key of an Ed25519 key')
  const { data: text, encrypted } = payload
  if (typeof text !== 'string') return malformed('payload.data')
  if (typeof encrypted !== 'boolean' || Object.keys(payload).length !== 2) return malformed('payload.encrypted')
  const written = extra
    ? withExtra(header, extra, text, encrypted)
    : withoutExtra(header, encrypted, text.length, out => writeAscii(text, out))
  const data = written && (written.base64 ? readBase64(written.base64) : base64ToBytes(text))
  if (!data) return malformed('payload.data')
  const signature = typeof json['signature'] === 'string' ? hexToBytesOf(64, json['signature']) : undefined
  if (!signature) throw new KithError('INVALID_SIGNATURE', 'the signature is not 128 lower-case hex digits')
  const { signed: signedBytes, header: headerBytes } = written
  return { ...header, encrypted, data, type: messageTypeOf(header.msgType), sentAt, senderKey, signature, signedBytes, header: headerBytes }
}

/**
 * Writes a message in canonical form. `sign` gets the bytes to sign, which are its until it has resolved, and returns the 64 bytes of the
 * sender's Ed25519 signature.
 * @throws MALFORMED, INVALID_VERSION, UNKNOWN_SENDER for fields no reader would take, TOO_LARGE
 */
export async function writeSecureMessage(
  message: SecureMessage,
  sign: (bytes: Uint8Array) => Promise<Uint8Array>
): Promise<Uint8Array<ArrayBuffer>> {
  checkHeader(message)
  const { data, encrypted, extra } = message
  const written = extra
    ? withExtra(message, extra, bytesToBase64(data), encrypted)
    : withoutExtra(message, encrypted, base64Length(data.length), out => writeBase64(data, out))!
  return signed(written, sign)
}

async function signed(written: Written, sign: (bytes: Uint8Array) => Promise<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const frame = written.frame(bytesToHex(await sign(written.signed)))
  if (frame.length > MAX_MESSAGE_FRAME_BYTES) throw new KithError('TOO_LARGE', 'the message is too large', { bytes: frame.length })
  return frame
}

/**
 * Encrypts and writes a message. `encrypt` gets the associated data and returns `bytes` bytes; else as writeSecureMessage, with the same
 * result as messageHeaderBytes and writeSecureMessage one after the other.
 */
export async function sealSecureMessage(
  header: MessageHeader,
  bytes: number,
  encrypt: (header: Uint8Array) => Uint8Array | Promise<Uint8Array>,
  sign: (bytes: Uint8Array) => Promise<Uint8Array>
): Promise<Uint8Array<ArrayBuffer>> {
  if (header.extra) return writeSecureMessage({ ...header, encrypted: true, data: await encrypt(messageHeaderBytes(header)) }, sign)
  checkHeader(header)
  const written = withoutExtra(header, true, base64Length(bytes), () => true)!
  writeBase64(await encrypt(written.header), written.base64!)
  return signed(written, sign)
}

/** Associated data under which the payload of such a message is encrypted. @throws as writeSecureMessage */
export function messageHeaderBytes(header: MessageHeader): Uint8Array<ArrayBuffer> {
  checkHeader(header)
  if (header.extra) return withExtra(header, header.extra, '', true).header
  const [front, middle, back] = piecesOf(header)
  return utf8(front + middle + back)
}

/** `ms` since 1970 as a message writes it. @throws MALFORMED outside the years 1970 to 9999 */
export function messageTime(ms: number): string {
  if (!(ms >= 0 && ms < 253_402_300_800_000)) return malformed('timestamp')
  return new Date(ms).toISOString()
}

/** A message in canonical form, in pieces. */
interface Written {
  /** Associated data. */
  readonly header: Uint8Array<ArrayBuffer>
  /** What is signed, domain included. */
  readonly signed: Uint8Array<ArrayBuffer>
  /** Where the payload stands in `signed`, if it was written there. */
  readonly base64?: Uint8Array
  /** What is sent. To be called once, when `signed` is not needed any more. */
  readonly frame: (signature: string) => Uint8Array<ArrayBuffer>
}

const DOMAIN_AND_ZERO = `${MESSAGE_DOMAIN}\0`
const SIGNATURE_MEMBER_CHARS = '"signature":"",'.length + 128

/** Members around payload and signature. None needs an escape. */
function piecesOf(m: MessageHeader): readonly [front: string, middle: string, back: string] {
  return [
    `{"msg_type":"${m.msgType}","nonce":"${m.nonce}",`,
    `"recipient_id":"${m.recipientId}","sender_id":"${m.senderId}","sequence_num":${m.sequenceNum},"session_id":"${m.sessionId}",`,
    `"timestamp":"${m.timestamp}","version":"${m.version}"}`
  ]
}

/**
 * Nearly every message: a fixed order of members, put together in one buffer without looking at the payload as text. A property holds this to
 * be what canonicalJson writes.
 * @param write puts the payload's base64 into its place, or returns false
 */
function withoutExtra(m: MessageHeader, encrypted: boolean, base64Chars: number, write: (out: Uint8Array) => unknown): Written | undefined {
  const [front, middle, back] = piecesOf(m)
  const before = `${DOMAIN_AND_ZERO}${front}"payload":{"data":"`
  const after = `","encrypted":${encrypted}},${middle}`
  const end = before.length + base64Chars + after.length + back.length
  // Room for the signature: the frame takes the place of what was signed.
  const headerAt = end + SIGNATURE_MEMBER_CHARS
  const bytes = new Uint8Array(headerAt + front.length + middle.length + back.length)
  const base64 = bytes.subarray(before.length, before.length + base64Chars)
  writeAscii(before, bytes)
  if (write(base64) === false) return undefined
  writeAscii(`${after}${back}`, bytes.subarray(before.length + base64Chars))
  writeAscii(`${front}${middle}${back}`, bytes.subarray(headerAt))
  const frame = (signature: string): Uint8Array<ArrayBuffer> => {
    writeAscii(`"signature":"${signature}",${back}`, bytes.subarray(end - back.length))
    return bytes.subarray(DOMAIN_AND_ZERO.length, headerAt)
  }
  return { header: bytes.subarray(headerAt), signed: bytes.subarray(0, end), base64, frame }
}

function withExtra(m: MessageHeader, extra: JsonObject, base64: string, encrypted: boolean): Written {
  const header: JsonObject = {
    ...extra,
    msg_type: m.msgType,
    nonce: m.nonce,
    recipient_id: m.recipientId,
    sender_id: m.senderId,
    sequence_num: m.sequenceNum,
    session_id: m.sessionId,
    timestamp: m.timestamp,
    version: m.version
  }
  const whole = { ...header, payload: { data: base64, encrypted } }
  return {
    header: utf8(canonicalJson(header)),
    signed: utf8(DOMAIN_AND_ZERO + canonicalJson(whole)),
    frame: signature => utf8(canonicalJson({ ...whole, signature }))
  }
}

const TYPE_NAME = /^[A-Za-z0-9_.-]{1,64}$/
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const NONCE = /^[0-9a-f]{64}$/
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z$/

/** Whether a text is a UUID v4 in lower case. */
export const isUuidV4 = (text: Json | undefined): text is string => typeof text === 'string' && UUID_V4.test(text)

/** @returns `timestamp` in ms since 1970 */
function checkHeader(m: MessageHeader): number {
  if (m.version !== '1.1' && m.version !== '1.0')
    throw new KithError('INVALID_VERSION', 'the message has a version that is not spoken here')
  if (typeof m.msgType !== 'string' || !TYPE_NAME.test(m.msgType)) malformed('msg_type')
  if (typeof m.senderId !== 'string') malformed('sender_id')
  if (!looksLikeDid(m.senderId)) throw new KithError('UNKNOWN_SENDER', 'the sender is no did:key of an Ed25519 key')
  if (typeof m.recipientId !== 'string' || !looksLikeDid(m.recipientId)) malformed('recipient_id')
  if (!isUuidV4(m.sessionId)) malformed('session_id')
  if (!Number.isSafeInteger(m.sequenceNum) || m.sequenceNum < 0) malformed('sequence_num')
  if (m.sequenceNum > MAX_SEQUENCE_NUM) throw new KithError('SEQUENCE_ERROR', 'nothing could follow this sequence number')
  if (typeof m.nonce !== 'string' || !NONCE.test(m.nonce)) malformed('nonce')
  if (m.extra) checkExtra(m.extra)
  return (typeof m.timestamp === 'string' ? timeOf(m.timestamp) : undefined) ?? malformed('timestamp')
}

/** ms since 1970 of a date that exists: Date.parse takes 30 February for 2 March, and 24:00 for the next day. */
function timeOf(text: string): number | undefined {
  if (!TIME.test(text)) return undefined
  const ms = Date.parse(text)
  const day = Number(text.slice(8, 10))
  const exists = day <= 28 || new Date(ms).getUTCDate() === day
  return ms >= 0 && exists && text.slice(11, 13) !== '24' ? ms : undefined
}

function extraOf(json: JsonObject): JsonObject | undefined {
  const names = Object.keys(json)
  if (names.length <= MEMBERS.length && names.every(n => KNOWN.has(n))) return undefined
  return Object.fromEntries(names.filter(n => !KNOWN.has(n)).map(n => [n, json[n]!]))
}

function checkExtra(extra: JsonObject): void {
  if (Object.keys(extra).some(n => KNOWN.has(n))) malformed('extra')
  const critical = extra['critical']
  if (critical === undefined) return
  if (!Array.isArray(critical) || !critical.every(c => typeof c === 'string')) malformed('critical')
  if ((critical as readonly Json[]).length > 0)
    throw new KithError('UNSUPPORTED', 'the message asks for an extension that is not known here')
}

function malformed(field: string): never {
  throw new KithError('MALFORMED', `the ${field} of the message is missing or has a wrong form`, { field })
}
