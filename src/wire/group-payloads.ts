/**
 * Payloads of `group_update` and `group_message`, strictly read. Unknown members are ignored.
 *
 * group_update: {group_id, ops: [base64 of a Signed operation], epochs: [{key, heads}], heads, want}
 * group_message: {group_id, post_id, epoch, heads, transcript, salt, data}
 *
 * `heads` are the newest operations that the sender knows; who knows them knows all that they follow, so that two members with the same heads
 * have seen the same history. Spec: docs/wire/groups.md §3 and §4
 */
import { KithError } from '../base/errors.ts'
import { MAX_GROUP_MESSAGE_BYTES, MAX_GROUP_OP_BYTES, MAX_GROUP_OPS, MAX_GROUP_PARENTS, MAX_GROUP_UPDATE_EPOCHS } from './limits.ts'
import { badPayload, hex, member, uuid } from './payload-fields.ts'
import { isJsonObject, type Json, type JsonObject } from './strict-json.ts'
import { base64ToBytes, bytesToBase64 } from './text-bytes.ts'

/** The key of an epoch, and the operations after which it was made. */
export interface GroupEpoch {
  /** 32 bytes in hex. */
  readonly key: string
  readonly heads: readonly string[]
}

export interface GroupUpdate {
  /** 64 hex digits. */
  readonly groupId: string
  /** Encoded Signed operations. */
  readonly ops: readonly Uint8Array[]
  readonly epochs: readonly GroupEpoch[]
  readonly heads: readonly string[]
  /** The sender asks for what it lacks. */
  readonly want: boolean
}

export interface GroupMessage {
  readonly groupId: string
  /** UUID v4: one for all copies of a message. */
  readonly postId: string
  /** Id of the epoch, 32 hex digits. */
  readonly epoch: string
  readonly heads: readonly string[]
  /** SHA-256 of the heads, 64 hex digits. */
  readonly transcript: string
  /** 64 hex digits. */
  readonly salt: string
  readonly data: Uint8Array
}

export const groupUpdateBody = (m: GroupUpdate): JsonObject => ({
  group_id: m.groupId,
  ops: m.ops.map(bytesToBase64),
  epochs: m.epochs.map(e => ({ key: e.key, heads: e.heads })),
  heads: m.heads,
  want: m.want
})

/** @throws BAD_PAYLOAD */
export function readGroupUpdate(body: JsonObject): GroupUpdate {
  const want = member(body, 'want') ?? false
  if (typeof want !== 'boolean') throw badPayload('want', 'true or false')
  return {
    groupId: hex(body, 'group_id', 32),
    ops: list(body, 'ops', MAX_GROUP_OPS).map(o => bytesOf(o, 'ops', MAX_GROUP_OP_BYTES)),
    epochs: list(body, 'epochs', MAX_GROUP_UPDATE_EPOCHS).map(e => {
      if (!isJsonObject(e)) throw badPayload('epochs', 'objects')
      return { key: hex(e, 'key', 32), heads: headsOf(e) }
    }),
    heads: headsOf(body),
    want
  }
}

export const groupMessageBody = (m: GroupMessage): JsonObject => ({
  group_id: m.groupId,
  post_id: m.postId,
  epoch: m.epoch,
  heads: m.heads,
  transcript: m.transcript,
  salt: m.salt,
  data: bytesToBase64(m.data)
})

/** @throws BAD_PAYLOAD */
export function readGroupMessage(body: JsonObject): GroupMessage {
  return {
    groupId: hex(body, 'group_id', 32),
    postId: uuid(body, 'post_id'),
    epoch: hex(body, 'epoch', 16),
    heads: headsOf(body),
    transcript: hex(body, 'transcript', 32),
    salt: hex(body, 'salt', 32),
    data: bytesOf(member(body, 'data'), 'data', MAX_GROUP_MESSAGE_BYTES)
  }
}

function list(o: JsonObject, field: string, max: number): readonly Json[] {
  const value = member(o, field) ?? []
  if (!Array.isArray(value) || value.length > max) throw badPayload(field, `a list of at most ${max}`)
  return value as readonly Json[]
}

function bytesOf(value: Json | undefined, field: string, max: number): Uint8Array {
  const bytes = typeof value === 'string' && value.length <= Math.ceil(max / 3) * 4 ? base64ToBytes(value) : undefined
  if (!bytes || bytes.length > max) throw badPayload(field, `base64 of at most ${max} bytes`)
  return bytes
}

function headsOf(o: JsonObject): string[] {
  const heads = list(o, 'heads', MAX_GROUP_PARENTS)
  if (heads.length === 0 || !heads.every((h): h is string => typeof h === 'string' && /^[0-9a-f]{64}$/.test(h)))
    throw badPayload('heads', 'hashes of operations')
  if (heads.some((h, i) => i > 0 && h <= heads[i - 1]!)) throw new KithError('BAD_PAYLOAD', 'heads are not in order')
  return [...heads]
}
