/**
 * Payloads about who can do what, and where.
 *
 * | type                | members                                                                                                   |
 * | ------------------- | --------------------------------------------------------------------------------------------------------- |
 * | capability_query    | none                                                                                                      |
 * | capability_response | reply_to?, protocol_version, supported_msg_types, crypto_features, endpoints, entity_id, skills [{name, description?}] |
 * | discovery, question | query {entity_id} or {capability}                                                                         |
 * | discovery, answer   | reply_to, peers [{entity_id, addresses, capabilities}]                                                    |
 *
 * What a peer says about others is a proposal: a signed record or a handshake decides (DESIGN §2.6).
 * Spec: docs/wire/message.md §4
 */
import {
  MAX_ADDRESS_CHARS,
  MAX_DISCOVERED_PEERS,
  MAX_PAYLOAD_TEXT_CHARS,
  MAX_PEER_ADDRESSES,
  MAX_PEER_CAPABILITIES,
  MAX_PEER_SKILLS,
  MAX_SKILL_NAME_CHARS
} from './limits.ts'
import { badPayload, entity, list, member, object, optionalUuid, text, texts, uuid } from './payload-fields.ts'
import { isJsonObject, type Json, type JsonObject } from './strict-json.ts'

export interface Skill {
  readonly name: string
  readonly description: string
}

export interface Capabilities {
  readonly replyTo: string | undefined
  readonly protocolVersion: string
  readonly supportedMsgTypes: readonly string[]
  readonly cryptoFeatures: readonly string[]
  /** Addresses: nothing is dialled because of them. */
  readonly endpoints: readonly string[]
  readonly entityId: string
  readonly skills: readonly Skill[]
}

export const capabilitiesBody = (c: Capabilities): JsonObject => ({
  ...(c.replyTo !== undefined && { reply_to: c.replyTo }),
  protocol_version: c.protocolVersion,
  supported_msg_types: c.supportedMsgTypes,
  crypto_features: c.cryptoFeatures,
  endpoints: c.endpoints,
  entity_id: c.entityId,
  skills: c.skills.map(s => ({ name: s.name, description: s.description }))
})

/** @throws BAD_PAYLOAD */
export const readCapabilities = (o: JsonObject): Capabilities => ({
  replyTo: optionalUuid(o, 'reply_to'),
  protocolVersion: text(o, 'protocol_version', 16),
  supportedMsgTypes: texts(o, 'supported_msg_types', MAX_PEER_CAPABILITIES, 64),
  cryptoFeatures: texts(o, 'crypto_features', MAX_PEER_CAPABILITIES, 64),
  endpoints: texts(o, 'endpoints', MAX_PEER_ADDRESSES, MAX_ADDRESS_CHARS),
  entityId: entity(o, 'entity_id'),
  skills: list(o, 'skills', MAX_PEER_SKILLS).map(readSkill)
})

function readSkill(value: Json): Skill {
  if (!isJsonObject(value)) throw badPayload('skills', 'a list of objects')
  return { name: text(value, 'name', MAX_SKILL_NAME_CHARS), description: text(value, 'description', MAX_PAYLOAD_TEXT_CHARS, '') }
}

export interface DiscoveredPeer {
  readonly entityId: string
  readonly addresses: readonly string[]
  readonly capabilities: readonly string[]
}

export type Discovery =
  | { readonly kind: 'entity'; readonly entityId: string }
  | { readonly kind: 'capability'; readonly capability: string }
  | { readonly kind: 'answer'; readonly replyTo: string; readonly peers: readonly DiscoveredPeer[] }

export function discoveryBody(d: Discovery): JsonObject {
  if (d.kind === 'entity') return { query: { entity_id: d.entityId } }
  if (d.kind === 'capability') return { query: { capability: d.capability } }
  return {
    reply_to: d.replyTo,
    peers: d.peers.map(p => ({ entity_id: p.entityId, addresses: p.addresses, capabilities: p.capabilities }))
  }
}

/** @throws BAD_PAYLOAD */
export function readDiscovery(o: JsonObject): Discovery {
  const query = object(o, 'query')
  if (!query) return { kind: 'answer', replyTo: uuid(o, 'reply_to'), peers: list(o, 'peers', MAX_DISCOVERED_PEERS).map(readPeer) }
  if (member(o, 'peers') !== undefined) throw badPayload('query', 'absent in an answer')
  const isEntity = member(query, 'entity_id') !== undefined
  if (isEntity === (member(query, 'capability') !== undefined)) throw badPayload('query', 'about an entity or a capability')
  return isEntity
    ? { kind: 'entity', entityId: entity(query, 'entity_id') }
    : { kind: 'capability', capability: text(query, 'capability', MAX_SKILL_NAME_CHARS) }
}

function readPeer(value: Json): DiscoveredPeer {
  if (!isJsonObject(value)) throw badPayload('peers', 'a list of objects')
  return {
    entityId: entity(value, 'entity_id'),
    addresses: texts(value, 'addresses', MAX_PEER_ADDRESSES, MAX_ADDRESS_CHARS),
    capabilities: texts(value, 'capabilities', MAX_PEER_CAPABILITIES, MAX_SKILL_NAME_CHARS)
  }
}
