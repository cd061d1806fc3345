/**
 * A result is signed by the worker's instance, so that it can be shown to somebody else: Ed25519 over utf8("kith/task-result/1") ‖ 0x00 ‖
 * RFC 8785 canonical JSON of the payload of `task_result` without `signature` and `message_id`, members that are not known included.
 * It names giver, worker, task and the hash of what was asked for, so that it fits nothing else.
 */
import { ed25519Verify } from '#crypto'
import { sha256 } from '#hash'
import { bytesToHex, hexToBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { keyOfDid } from '../wire/did-key.ts'
import { hex } from '../wire/payload-fields.ts'
import { signedBytes } from '../wire/signed.ts'
import { canonicalJson, type JsonObject } from '../wire/strict-json.ts'
import { outcomeBody, requestBody, type TaskOutcome, type TaskRequest } from './payloads.ts'

const DOMAIN = 'kith/task-result/1'

/** A request as it is stored, and its hash in hex. */
export function fixRequest(request: TaskRequest): { readonly text: string; readonly hash: string } {
  const text = canonicalJson(requestBody(request))
  return { text, hash: bytesToHex(sha256(utf8(text))) }
}

/** The payload of task_result, signed. */
export async function signOutcome(outcome: TaskOutcome, sign: (bytes: Uint8Array) => Promise<Uint8Array>): Promise<JsonObject> {
  const body = outcomeBody(outcome)
  return { ...body, signature: bytesToHex(await sign(toSign(body))) }
}

/** @throws INVALID_SIGNATURE, BAD_PAYLOAD */
export async function checkOutcome(body: JsonObject, worker: EntityId): Promise<void> {
  const signature = hexToBytes(hex(body, 'signature', 64))
  const { signature: _, message_id: __, ...rest } = body
  const key = keyOfDid(worker)
  if (!key || !(await ed25519Verify(key, toSign(rest), signature)))
    throw new KithError('INVALID_SIGNATURE', 'the result is not signed by the worker')
}

const toSign = (body: JsonObject): Uint8Array => signedBytes(DOMAIN, utf8(canonicalJson(body)))
