/**
 * Where this node says it is, in answer to a capability_query: nowhere to strangers, as discovery-answers.ts has it for others; to those whom
 * the user knows its public addresses, and those of the local network or this machine when they are connected from there.
 */
import type { EntityId } from '../../messaging/types.ts'
import { parseAddress, type Scope, scopeOfIp } from '../../net/address-scope.ts'
import { mayBeTold } from '../../net/told-addresses.ts'
import type { PeerBook } from '../../trust/types.ts'
import { MAX_PEER_ADDRESSES } from '../../wire/limits.ts'
import { isChosen } from './peer-standing.ts'

export interface OwnEndpointsDeps {
  readonly host: {
    addresses(): readonly string[]
    /** multiaddrs of the open connections. */
    peers(): readonly { readonly peerId: string; readonly address: string }[]
  }
  readonly book: PeerBook
}

/** @param from who asks, proved by its session @returns multiaddrs */
export function ownEndpoints({ host, book }: OwnEndpointsDeps, from: EntityId): string[] {
  if (!isChosen(book, from)) return []
  const peerIds = book.peer(from)?.peerIds ?? []
  const scopes = host.peers().flatMap(p => (peerIds.includes(p.peerId) ? directScope(p.address) : []))
  return host
    .addresses()
    .filter(a => mayBeTold(a, scopes))
    .slice(0, MAX_PEER_ADDRESSES)
}

/** Through a relay it is the relay that is there. */
function directScope(address: string): Scope[] {
  const parsed = parseAddress(address)
  return !parsed || parsed.isName || parsed.relay !== undefined ? [] : [scopeOfIp(parsed.host)]
}
