/**
 * Encryption of group messages: once for all members. The key is HKDF-SHA256(epoch key, salt = 32 random bytes in the message, info =
 * "kith/group/1" ‖ 0 ‖ group id ‖ epoch id ‖ sender's key), AES-256-GCM with a nonce of zeros: each message has a key of its own, so that
 * nothing has to be counted and a restored backup repeats nothing. Spec: docs/wire/groups.md §4
 */
import { aesGcmOpen, aesGcmSeal, hkdfSha256 } from '#crypto'
import { sha256 } from '#hash'
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES } from '../../platform/crypto-types.ts'
import { keyOfDid } from '../../wire/did-key.ts'
import type { GroupMessage } from '../../wire/group-payloads.ts'
import { canonicalJson, type JsonObject, parseJsonObject } from '../../wire/strict-json.ts'
import type { EntityId } from '../types.ts'

const NUL = Uint8Array.of(0)
const NONCE = new Uint8Array(AEAD_NONCE_BYTES)

/** 32 hex digits: an epoch is named by its key, so that no two members can mean different keys by one name. */
export const epochIdOf = async (key: Uint8Array): Promise<string> =>
  bytesToHex((await sha256(concatBytes(utf8('kith/group-epoch/1'), NUL, key))).subarray(0, 16))

type Head = Omit<GroupMessage, 'data'>

export async function sealPost(key: Uint8Array, head: Head, sender: EntityId, content: JsonObject): Promise<Uint8Array> {
  return aesGcmSeal(await keyFor(key, head, sender), NONCE, utf8(canonicalJson(content)), aadOf(head, sender))
}

/** @throws DECRYPTION_FAILED, MALFORMED_JSON, TOO_DEEP, TOO_LARGE */
export async function openPost(key: Uint8Array, message: GroupMessage, sender: EntityId): Promise<JsonObject> {
  const plain = await aesGcmOpen(await keyFor(key, message, sender), NONCE, message.data, aadOf(message, sender))
  if (!plain) throw new KithError('DECRYPTION_FAILED', 'the message does not open')
  return parseJsonObject(plain)
}

const keyFor = (key: Uint8Array, head: Head, sender: EntityId): Promise<Uint8Array> => {
  const info = concatBytes(utf8('kith/group/1'), NUL, hexToBytes(head.groupId), hexToBytes(head.epoch), keyOfDid(sender)!)
  return hkdfSha256(key, info, AEAD_KEY_BYTES, hexToBytes(head.salt))
}

const aadOf = (head: Head, sender: EntityId): Uint8Array =>
  utf8(canonicalJson([head.groupId, head.postId, head.epoch, head.transcript, sender]))
