/**
 * BlockProposal and ConsensusVote of spec 003, which names but does not define them. The fields are those that its origin and its JSON
 * forms have; transactions are bytes that only consensus reads.
 *
 * BlockProposal:
 *
 * | tag | type                 | field              | notes                                    |
 * | --: | -------------------- | ------------------ | ---------------------------------------- |
 * |   1 | uint64               | height             |                                          |
 * |   2 | bytes                | parent             | hash of the block before it, 32 bytes    |
 * |   3 | repeated bytes       | transactions       | ≤ 4096 of ≤ 16 KiB                       |
 * |   4 | repeated MemeContent | memes              | ≤ 64                                     |
 * |   5 | Timestamp            | timestamp          |                                          |
 * |   6 | string               | producer_id        | entity or agent id                       |
 * |   7 | bytes                | state_root         | 32 bytes                                 |
 * |   8 | uint32               | innovation_level   | ≤ 255                                    |
 * |   9 | string               | producer_strategy  | ≤ 256 bytes                              |
 * |  10 | uint32               | drama_level        | ≤ 10                                     |
 * |  11 | string               | producer_mood      | ≤ 256 bytes                              |
 * |  12 | bytes                | producer_signature | Ed25519, 64 bytes, may be absent         |
 *
 * ConsensusVote:
 *
 * | tag | type      | field      | notes                                         |
 * | --: | --------- | ---------- | --------------------------------------------- |
 * |   1 | bytes     | block_hash | 32 bytes                                      |
 * |   2 | uint64    | height     |                                               |
 * |   3 | uint32    | round      |                                               |
 * |   4 | string    | validator  | entity or agent id                            |
 * |   5 | enum      | choice     | 1 approve, 2 reject                           |
 * |   6 | string    | reason     | ≤ 16 KiB                                      |
 * |   7 | Timestamp | timestamp  |                                               |
 * |   8 | bytes     | signature  | of the vote itself, 64 bytes, may be absent   |
 *
 * Spec: docs/wire/agent-message.md §5, proto/chaoschain.proto
 */
import type { Codec } from '../base/codec.ts'
import { type MemeContent, memeContent } from './chaos-meme.ts'
import {
  MAX_AGENT_ID_BYTES,
  MAX_AGENT_NAME_BYTES,
  MAX_AGENT_TEXT_BYTES,
  MAX_BLOCK_MEMES,
  MAX_BLOCK_TRANSACTIONS,
  MAX_CHAOS_MESSAGE_BYTES,
  MAX_TRANSACTION_BYTES
} from './limits.ts'
import { bytesElement, choice, fixed, layout, list, optional, text, timestamp, uint } from './protobuf-fields.ts'

export interface BlockProposal {
  readonly height: number
  readonly parent: Uint8Array
  readonly transactions: readonly Uint8Array[]
  readonly memes: readonly MemeContent[]
  /** ms since 1970. */
  readonly timestamp: number
  readonly producerId: string
  readonly stateRoot: Uint8Array
  readonly innovationLevel: number
  readonly producerStrategy: string
  readonly dramaLevel: number
  readonly producerMood: string
  readonly producerSignature: Uint8Array | undefined
}

export interface ConsensusVote {
  readonly blockHash: Uint8Array
  readonly height: number
  readonly round: number
  readonly validator: string
  readonly choice: 'approve' | 'reject'
  readonly reason: string
  /** ms since 1970. */
  readonly timestamp: number
  readonly signature: Uint8Array | undefined
}

const U32 = 2 ** 32 - 1

export const blockProposal: Codec<BlockProposal> = layout<BlockProposal>({
  height: uint(1),
  parent: fixed(2, 32),
  transactions: list(3, bytesElement, MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION_BYTES),
  memes: list(4, memeContent, MAX_BLOCK_MEMES, MAX_CHAOS_MESSAGE_BYTES),
  timestamp: timestamp(5),
  producerId: text(6, MAX_AGENT_ID_BYTES),
  stateRoot: fixed(7, 32),
  innovationLevel: uint(8, 255),
  producerStrategy: text(9, MAX_AGENT_NAME_BYTES),
  dramaLevel: uint(10, 10),
  producerMood: text(11, MAX_AGENT_NAME_BYTES),
  producerSignature: optional(12, fixed(12, 64))
})

export const consensusVote: Codec<ConsensusVote> = layout<ConsensusVote>({
  blockHash: fixed(1, 32),
  height: uint(2),
  round: uint(3, U32),
  validator: text(4, MAX_AGENT_ID_BYTES),
  choice: choice(5, ['approve', 'reject']),
  reason: text(6, MAX_AGENT_TEXT_BYTES),
  timestamp: timestamp(7),
  signature: optional(8, fixed(8, 64))
})
