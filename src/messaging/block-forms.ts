/**
 * The JSON forms of spec 003 about blocks: `block_proposal`, to and from BlockProposal, and `block_notification`, which has no protobuf.
 * Who proposes, notifies and votes, and whether a block is right, is for consensus. Spec: docs/wire/agent-message.md §6
 */
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { encode } from '../base/codec.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { type BlockProposal, blockProposal } from '../wire/chaos-block.ts'
import { MAX_AGENT_ID_BYTES, MAX_AGENT_NAME_BYTES, MAX_BLOCK_MEMES, MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION_BYTES } from '../wire/limits.ts'
import { badPayload, hex, integer, list, member, object, text } from '../wire/payload-fields.ts'
import { isJsonObject, type JsonObject } from '../wire/strict-json.ts'
import { base64ToBytes, bytesToBase64 } from '../wire/text-bytes.ts'
import { isoTime, memeForm, readMemeForm, readTime } from './agent-forms.ts'

export interface BlockNotification {
  readonly blockHash: Uint8Array
  readonly producerId: string
  /** ms since 1970. */
  readonly timestamp: number
}

const ZEROS = '0'.repeat(64)

/** `{type: "block_proposal", block: {height, parent, transactions, memes, timestamp, …}, signature}`. */
export function blockProposalForm(b: BlockProposal): JsonObject {
  const block: JsonObject = {
    height: b.height,
    parent: bytesToHex(b.parent),
    transactions: b.transactions.map(bytesToBase64),
    memes: b.memes.map(memeForm),
    timestamp: isoTime(b.timestamp),
    producer_id: b.producerId,
    state_root: bytesToHex(b.stateRoot),
    innovation_level: b.innovationLevel,
    producer_strategy: b.producerStrategy,
    drama_level: b.dramaLevel,
    producer_mood: b.producerMood
  }
  return { type: 'block_proposal', block, ...(b.producerSignature ? { signature: bytesToHex(b.producerSignature) } : {}) }
}

/** @throws BAD_PAYLOAD */
export function readBlockProposalForm(form: JsonObject): BlockProposal {
  const o = object(form, 'block')
  if (member(form, 'type') !== 'block_proposal' || !o) throw badPayload('type', 'block_proposal, with a block')
  const block: BlockProposal = {
    height: integer(o, 'height', 0, Number.MAX_SAFE_INTEGER),
    parent: hexToBytes(hex(o, 'parent', 32)),
    transactions: list(o, 'transactions', MAX_BLOCK_TRANSACTIONS).map(transaction),
    memes: list(o, 'memes', MAX_BLOCK_MEMES).map(m => readMemeForm(isJsonObject(m) ? m : {})),
    timestamp: readTime(o, 'timestamp'),
    producerId: text(o, 'producer_id', MAX_AGENT_ID_BYTES, ''),
    stateRoot: hexToBytes(member(o, 'state_root') === undefined ? ZEROS : hex(o, 'state_root', 32)),
    innovationLevel: integer(o, 'innovation_level', 0, 255, 0),
    producerStrategy: text(o, 'producer_strategy', MAX_AGENT_NAME_BYTES, ''),
    dramaLevel: integer(o, 'drama_level', 0, 10, 0),
    producerMood: text(o, 'producer_mood', MAX_AGENT_NAME_BYTES, ''),
    producerSignature: member(form, 'signature') === undefined ? undefined : hexToBytes(hex(form, 'signature', 64))
  }
  try {
    encode(blockProposal, block)
  } catch (cause) {
    throw new KithError('BAD_PAYLOAD', 'a form whose block does not fit the message it stands for', { code: codeOf(cause) }, { cause })
  }
  return block
}

/** `{type: "block_notification", block_hash, producer_id, timestamp}`. */
export const blockNotificationForm = (n: BlockNotification): JsonObject => ({
  type: 'block_notification',
  block_hash: bytesToHex(n.blockHash),
  producer_id: n.producerId,
  timestamp: isoTime(n.timestamp)
})

/** @throws BAD_PAYLOAD */
export function readBlockNotificationForm(form: JsonObject): BlockNotification {
  if (member(form, 'type') !== 'block_notification') throw badPayload('type', 'block_notification')
  return {
    blockHash: hexToBytes(hex(form, 'block_hash', 32)),
    producerId: text(form, 'producer_id', MAX_AGENT_ID_BYTES),
    timestamp: readTime(form, 'timestamp')
  }
}

function transaction(value: unknown): Uint8Array {
  const bytes = typeof value === 'string' && value.length <= 2 * MAX_TRANSACTION_BYTES ? base64ToBytes(value) : undefined
  if (!bytes) throw badPayload('transactions', 'a list of base64')
  return bytes
}
