/**
 * NetworkState of spec 003: how a node sees itself and the network, as the spec's monitor counts it.
 *
 * | tag | type                | field              | notes                                                        |
 * | --: | ------------------- | ------------------ | ------------------------------------------------------------ |
 * |   1 | enum                | node_type          | 1 validator, 2 block producer, 3 full node, 4 light client   |
 * |   2 | uint32              | connected_peers    |                                                              |
 * |   3 | uint32              | agents             | agents on this node                                          |
 * |   4 | uint64              | message_latency_us | mean of recent messages, microseconds                        |
 * |   5 | uint64              | bytes_in           | per second                                                   |
 * |   6 | uint64              | bytes_out          | per second                                                   |
 * |   7 | repeated AgentCount | agent_distribution | {1 string kind, 2 uint32 count}, ≤ 256                       |
 * |   8 | uint32              | load               | per mille of what the node takes at most                     |
 * |   9 | uint64              | height             | of the newest block it knows; 0: none                        |
 * |  10 | bytes               | state_root         | of that block, 32 bytes, may be absent                       |
 *
 * Spec: docs/wire/agent-message.md §4, proto/chaoschain.proto
 */
import type { Codec } from '../base/codec.ts'
import { MAX_AGENT_KINDS, MAX_AGENT_NAME_BYTES } from './limits.ts'
import { choice, fixed, layout, list, optional, text, uint } from './protobuf-fields.ts'

/** Spec 003's node types. */
export type NodeType = 'validator' | 'block_producer' | 'full_node' | 'light_client'

export interface AgentCount {
  /** A skill, or whatever else agents are counted by. */
  readonly kind: string
  readonly count: number
}

export interface NetworkState {
  readonly nodeType: NodeType
  readonly connectedPeers: number
  readonly agents: number
  readonly messageLatencyUs: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly agentDistribution: readonly AgentCount[]
  /** Per mille. */
  readonly load: number
  readonly height: number
  readonly stateRoot: Uint8Array | undefined
}

const U32 = 2 ** 32 - 1
const agentCount: Codec<AgentCount> = layout<AgentCount>({ kind: text(1, MAX_AGENT_NAME_BYTES), count: uint(2, U32) })

export const networkState: Codec<NetworkState> = layout<NetworkState>({
  nodeType: choice<NodeType>(1, ['validator', 'block_producer', 'full_node', 'light_client']),
  connectedPeers: uint(2, U32),
  agents: uint(3, U32),
  messageLatencyUs: uint(4),
  bytesIn: uint(5),
  bytesOut: uint(6),
  agentDistribution: list(7, agentCount, MAX_AGENT_KINDS, 2 * MAX_AGENT_NAME_BYTES),
  load: uint(8, 1000),
  height: uint(9),
  stateRoot: optional(10, fixed(10, 32))
})
