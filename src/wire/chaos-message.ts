/**
 * ChaoschainMessage of spec 003: one signed message to one agent or to all who listen. Fields 1 to 9 are the spec's; `sender_key` is added,
 * because a signature alone does not say whose it is.
 *
 * | tag | type               | field          | notes                                                              |
 * | --: | ------------------ | -------------- | ------------------------------------------------------------------ |
 * |   1 | uint64             | version        | 1                                                                  |
 * |   2 | string             | message_id     | UUID v4, lower case                                                |
 * |   3 | Timestamp          | created_at     | google.protobuf.Timestamp in whole milliseconds                    |
 * |   4 | BlockProposal      | block_proposal | one of 4 to 8                                                      |
 * |   5 | ConsensusVote      | consensus_vote |                                                                    |
 * |   6 | AgentCommunication | agent_comm     |                                                                    |
 * |   7 | NetworkState       | state_update   |                                                                    |
 * |   8 | MemeContent        | meme           |                                                                    |
 * |   9 | bytes              | signature      | Ed25519, 64 bytes                                                  |
 * |  10 | bytes              | sender_key     | Ed25519 public key, 32 bytes: did:key of it is the sender          |
 *
 * Signed: utf8("kith/chaos-message/1") ‖ 0x00 ‖ the message without field 9. Spec: docs/wire/agent-message.md §2, proto/chaoschain.proto
 */
import { concatBytes } from '../base/bytes.ts'
import { type Codec, decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { type AgentCommunication, agentCommunication } from './agent-communication.ts'
import { type BlockProposal, blockProposal, type ConsensusVote, consensusVote } from './chaos-block.ts'
import { type MemeContent, memeContent } from './chaos-meme.ts'
import { type NetworkState, networkState } from './chaos-network-state.ts'
import { MAX_CHAOS_MESSAGE_BYTES } from './limits.ts'
import { type Field, fixed, layout, oneof, text, timestamp, uint, type Variant } from './protobuf-fields.ts'
import { signedBytes } from './signed.ts'

export const CHAOS_MESSAGE_VERSION = 1
export const CHAOS_MESSAGE_DOMAIN = 'kith/chaos-message/1'

export interface ChaosPayloads {
  readonly block_proposal: BlockProposal
  readonly consensus_vote: ConsensusVote
  readonly agent_comm: AgentCommunication
  readonly state_update: NetworkState
  readonly meme: MemeContent
}
export type ChaosPayload = Variant<ChaosPayloads>

export interface UnsignedChaosMessage {
  /** UUID v4. */
  readonly messageId: string
  /** ms since 1970. */
  readonly createdAt: number
  readonly payload: ChaosPayload
  /** Ed25519 public key of whoever signs. */
  readonly senderKey: Uint8Array
}
export interface ChaosMessage extends UnsignedChaosMessage {
  readonly signature: Uint8Array
}

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Read first: what another version has behind it is not looked at. */
const version: Field<number> = {
  write: (w, v) => uint(1).write(w, v),
  read(r) {
    const v = r.uint(1)
    if (v !== CHAOS_MESSAGE_VERSION) throw new KithError('WIRE_VERSION', 'unknown version of a message', { version: v })
    return v
  }
}
const head = {
  version,
  messageId: text(2, 36, UUID_V4),
  createdAt: timestamp(3),
  payload: oneof<ChaosPayloads>(
    {
      block_proposal: [4, blockProposal],
      consensus_vote: [5, consensusVote],
      agent_comm: [6, agentCommunication],
      state_update: [7, networkState],
      meme: [8, memeContent]
    },
    MAX_CHAOS_MESSAGE_BYTES
  )
}
const senderKey = fixed(10, 32)
type Versioned<T> = T & { readonly version: number }
const whole: Codec<Versioned<ChaosMessage>> = layout<Versioned<ChaosMessage>>({ ...head, signature: fixed(9, 64), senderKey })
const unsigned: Codec<Versioned<UnsignedChaosMessage>> = layout<Versioned<UnsignedChaosMessage>>({ ...head, senderKey })

/** Bytes of field 9, and of field 10 behind it: tag, length, content. */
const SIGNATURE_FIELD = 66
const KEY_FIELD = 34

/** Reads and checks everything but the signature. @throws WIRE_VERSION, WIRE_RANGE, WIRE_TEXT, WIRE_TRUNCATED */
export function readChaosMessage(received: Uint8Array): ChaosMessage {
  if (received.length > MAX_CHAOS_MESSAGE_BYTES) throw new KithError('WIRE_RANGE', 'a message above the limit', { length: received.length })
  const { version: _, ...message } = decode(whole, received)
  return message
}

/** What the signature of a message that could be read is over: cut out of the received bytes, never written again. */
export function chaosSignedBytes(received: Uint8Array): Uint8Array<ArrayBuffer> {
  const end = received.length - KEY_FIELD
  return signedBytes(CHAOS_MESSAGE_DOMAIN, concatBytes(received.subarray(0, end - SIGNATURE_FIELD), received.subarray(end)))
}

/** What has to be signed to send a message. @throws WIRE_RANGE, WIRE_TEXT, BAD_TEXT when it is not one */
export const chaosBytesToSign = (message: UnsignedChaosMessage): Uint8Array<ArrayBuffer> =>
  signedBytes(CHAOS_MESSAGE_DOMAIN, encode(unsigned, { ...message, version: CHAOS_MESSAGE_VERSION }))

/** The bytes to send. @throws WIRE_RANGE also above MAX_CHAOS_MESSAGE_BYTES, WIRE_TEXT, BAD_TEXT */
export function writeChaosMessage(message: ChaosMessage): Uint8Array<ArrayBuffer> {
  const bytes = encode(whole, { ...message, version: CHAOS_MESSAGE_VERSION })
  if (bytes.length > MAX_CHAOS_MESSAGE_BYTES) throw new KithError('WIRE_RANGE', 'a message above the limit', { length: bytes.length })
  return bytes
}
