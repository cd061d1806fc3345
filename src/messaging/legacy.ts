/**
 * Messages of before version 1.1, taken alone over HTTP from peers for whom the user has allowed it. They are signed and not encrypted, and
 * say neither for whom they are nor who signs, so they only ever become something to read: no task, no group, no answer.
 * Spec: docs/wire/message.md §6, message-http.md §2
 */
import { openVerifier } from '#crypto'
import { sha256 } from '#hash'
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { keyOfDid } from '../wire/did-key.ts'
import { type LegacyMessage, readLegacyMessage } from '../wire/legacy-message.ts'
import { checkBody } from '../wire/payloads.ts'
import { isJsonObject, type JsonObject } from '../wire/strict-json.ts'
import type { SingleMessage } from './delivery/single-message.ts'
import { MAX_LEGACY_PEERS, MAX_MESSAGE_BODY_BYTES } from './limits.ts'
import type { EntityId } from './types.ts'

export interface LegacyPeers {
  /** For whom the user has allowed the old form. */
  allowed(): readonly EntityId[]
  /** Whether a peer has spoken version 1.1 with this node: then the old form is not its own choice. */
  speaksNewer(entityId: EntityId): boolean
}

/** The old form; undefined: these bytes are something else. */
export function legacyFormOf(bytes: Uint8Array): LegacyMessage | undefined {
  try {
    return readLegacyMessage(bytes)
  } catch {
    return undefined
  }
}

/**
 * Finds out who signed a message of the old form.
 * @throws INVALID_VERSION (nobody for whom it is allowed), DOWNGRADE (somebody who speaks 1.1, and for whom it is not), UNSUPPORTED (a type that
 * would do something), TOO_LARGE
 */
export async function readLegacy(m: LegacyMessage, self: EntityId, peers: LegacyPeers): Promise<SingleMessage> {
  const named = keyOfDid(m.senderId) ? m.senderId : undefined
  const allowed = peers.allowed().slice(0, MAX_LEGACY_PEERS)
  if (named !== undefined && !allowed.includes(named) && peers.speaksNewer(named))
    throw new KithError('DOWNGRADE', 'this peer speaks version 1.1: the old one is not taken from it')
  const from = await signerOf(m, named === undefined ? allowed : allowed.filter(id => id === named))
  if (from === undefined) throw new KithError('INVALID_VERSION', 'messages of before version 1.1 are not taken from this sender')
  if (m.type !== 'agent_message') throw new KithError('UNSUPPORTED', 'only texts are taken in the old form', { type: m.msgType })
  const body = bodyOf(m.payload, from, self)
  // The same message again has the same id, also when its nonce is forgotten.
  const messageId = uuidOf(sha256(m.signedBytes))
  return { from, type: 'agent_message', messageId, body, sentAt: m.sentAt, nonce: m.nonce }
}

async function signerOf(m: LegacyMessage, candidates: readonly EntityId[]): Promise<EntityId | undefined> {
  for (const id of candidates) {
    const key = keyOfDid(id)
    if (key && (await openVerifier(key).verify(m.signedBytes, m.signature))) return id
  }
  return undefined
}

/** What the sender has put into members that have a text in them, or all that it says. */
function bodyOf(payload: JsonObject, from: EntityId, to: EntityId): JsonObject {
  const content = payload['content']
  const data = isJsonObject(content) ? content['data'] : undefined
  const inner = isJsonObject(data) ? data['text'] : undefined
  const text = [inner, payload['text'], payload['message'], content, payload['body']].find(v => typeof v === 'string')
  const body: JsonObject = { from, to, content: { type: 'text', data: { text: text ?? JSON.stringify(payload) } } }
  const bytes = utf8(JSON.stringify(body)).length
  if (bytes > MAX_MESSAGE_BODY_BYTES) throw new KithError('TOO_LARGE', 'the message is larger than messages may be', { bytes })
  checkBody('agent_message', body, bytes)
  return body
}

/** Like a UUID v4. */
function uuidOf(hash: Uint8Array): string {
  const b = Uint8Array.from(hash.subarray(0, 16))
  b[6] = (b[6]! & 0x0f) | 0x40
  b[8] = (b[8]! & 0x3f) | 0x80
  const hex = bytesToHex(b)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Whether bytes that are no SecureMessage may be of the old form: what was refused for other reasons stays refused. */
export const mayBeLegacy = (error: unknown): boolean =>
  ['INVALID_VERSION', 'MALFORMED', 'MALFORMED_JSON', 'UNKNOWN_SENDER'].some(c => hasCode(error, c))
