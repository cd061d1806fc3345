/** A peer's record after something was learned about it, or the user decided something. Pure; whatever the peer chose is bounded. */
import { utf8 } from '../base/bytes.ts'
import { checkAlias } from './checks.ts'
import * as limits from './limits.ts'
import type { PeerMarks, PeerObservation, PeerRecord } from './types.ts'

export const newPeer = (entityId: string, now: number): PeerRecord => ({
  entityId,
  name: undefined,
  personId: undefined,
  peerIds: [],
  addresses: [],
  firstSeen: now,
  lastSeen: now,
  verified: false,
  allowsLegacy: false,
  allowsRelay: false,
  isMailbox: false,
  capabilities: [],
  status: undefined
})

/** Newest first, without doubles. */
const inFront = (value: string | undefined, old: readonly string[], max: number, maxChars: number): readonly string[] =>
  value === undefined || value.length > maxChars || value === old[0] ? old : [value, ...old.filter(v => v !== value)].slice(0, max)

const isSmall = (status: unknown): boolean => {
  const text = JSON.stringify(status)
  return text.isWellFormed() && utf8(text).length <= limits.MAX_PEER_STATUS_BYTES
}

export function withObservation(peer: PeerRecord, seen: PeerObservation, now: number): PeerRecord {
  const capabilities = seen.capabilities
    ?.filter(c => c.length > 0 && c.length <= limits.MAX_CAPABILITY_CHARS && c.isWellFormed())
    .slice(0, limits.MAX_PEER_CAPABILITIES)
  return {
    ...peer,
    lastSeen: Math.max(peer.lastSeen, now),
    personId: seen.personId ?? peer.personId,
    peerIds: inFront(seen.peerId, peer.peerIds, limits.MAX_PEER_IDS, limits.MAX_ENTITY_ID_CHARS),
    addresses: inFront(seen.address, peer.addresses, limits.MAX_PEER_ADDRESSES, limits.MAX_PEER_ADDRESS_CHARS),
    capabilities: capabilities ?? peer.capabilities,
    status: seen.status && isSmall(seen.status) ? seen.status : peer.status
  }
}

/** @throws BAD_ALIAS */
export function withMarks(peer: PeerRecord, marks: PeerMarks): PeerRecord {
  const { name, ...flags } = marks
  const kept = name === null ? undefined : name === undefined ? peer.name : checkAlias(name)
  return {
    ...peer,
    name: kept,
    verified: flags.verified ?? peer.verified,
    allowsLegacy: flags.allowsLegacy ?? peer.allowsLegacy,
    allowsRelay: flags.allowsRelay ?? peer.allowsRelay,
    isMailbox: flags.isMailbox ?? peer.isMailbox
  }
}

/** Whether anything but the time has changed. */
export const saysMore = (old: PeerRecord, seen: PeerRecord): boolean =>
  JSON.stringify({ ...old, lastSeen: 0 }) !== JSON.stringify({ ...seen, lastSeen: 0 })
