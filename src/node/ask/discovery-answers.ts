/**
 * What this node tells of others to whoever asks (spec 001's `discovery`). Strangers hear what those others have published themselves in
 * their signed records: that they exist and what they can do. Where somebody is, is told to those whom the user knows.
 */
import type { DiscoveryQuestion } from '../../agents/handlers.ts'
import type { FoundPeer } from '../../discovery/peer-registry-types.ts'
import type { EntityId } from '../../messaging/types.ts'
import type { DiscoveredPeer } from '../../wire/capability-payloads.ts'

export interface DiscoveryAnswersDeps {
  readonly registry: {
    known(entityId: EntityId): FoundPeer | undefined
    neighbours(): readonly FoundPeer[]
  }
  /** Whether the user verified or named this peer, or granted it something. */
  isKnown(entityId: EntityId): boolean
}

/** @param from who asks, proved by its session */
export function answerDiscovery(
  { registry, isKnown }: DiscoveryAnswersDeps,
  question: DiscoveryQuestion,
  from: EntityId
): DiscoveredPeer[] {
  const found =
    question.kind === 'entity'
      ? [registry.known(question.entityId)].flatMap(p => p ?? [])
      : registry.neighbours().filter(p => p.capabilities.includes(question.capability))
  const mayKnowWhere = isKnown(from)
  return found
    .filter(p => mayKnowWhere || p.isFresh)
    .map(({ entityId, addresses, capabilities }) => ({ entityId, addresses: mayKnowWhere ? addresses : [], capabilities }))
}
